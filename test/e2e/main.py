# main: runs the end-to-end tests, prints the table of clients, protocols and TLS modes, and counts.
# SPDX-License-Identifier: Apache-2.0
import os
import sys
import time
import unittest

sys.dont_write_bytecode = True

import case  # noqa: E402
from world import World  # noqa: E402


class Result(unittest.TextTestResult):
    def startTest(self, test):
        super().startTest(test)
        test.started = time.monotonic()

    def note(self, test, is_good):
        print(f"{'ok  ' if is_good else 'FAIL'} {time.monotonic() - test.started:6.2f} s  {test.id()}", flush=True)
        row = getattr(test, "row", None) or getattr(getattr(test, test._testMethodName, None), "row", None)
        if row:
            case.rows[row] = case.rows.get(row, True) and is_good

    def addSuccess(self, test):
        super().addSuccess(test)
        self.note(test, True)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.note(test, False)

    def addError(self, test, err):
        super().addError(test, err)
        if hasattr(test, "started"):
            self.note(test, False)


def all_tests(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_tests(test)
        else:
            yield test


def print_table():
    if not case.rows:
        return
    print(f"\n{'client':<22}{'protocol':<12}{'TLS':<10}result")
    for (client, protocol, tls), is_good in sorted(case.rows.items()):
        print(f"{client:<22}{protocol:<12}{tls:<10}{'ok' if is_good else 'FAILED'}")


def main():
    binary = None if sys.argv[1] == "--direct" else os.path.abspath(sys.argv[1])
    patterns = sys.argv[2:]
    if binary and not os.access(binary, os.X_OK):
        print(f"no program {binary}\n0 passed, 1 failed")
        return 1
    loader = unittest.TestLoader()
    found = list(all_tests(loader.discover(os.path.dirname(os.path.abspath(__file__)), "test_*.py")))
    tests = [t for t in found if isinstance(t, unittest.loader._FailedTest) or
             ((binary or not t.needs_postern) and (not patterns or any(p in t.id() for p in patterns)))]
    world = case.world = World(binary)
    runner = unittest.TextTestRunner(stream=sys.stdout, resultclass=Result, verbosity=0)
    runner._makeResult = lambda: Result(runner.stream, runner.descriptions, 0)
    try:
        result = runner.run(unittest.TestSuite(tests))
        failed = len(result.failures) + len(result.errors)
        if failed and world.balancer:
            print("\n--- the end of postern's log\n" + world.balancer.log_text()[-6000:])
    finally:
        world.close()
    print_table()
    print(f"\n{result.testsRun - failed} passed, {failed} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
