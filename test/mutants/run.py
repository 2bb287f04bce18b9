#!/usr/bin/env python3
"""run.py: shows that the tests notice: plants one defect at a time and says which test fails.

  test/mutants/run.py [--sim] [--work DIR] [--only WORD]... [--programs A,B]

--work: a checkout to work in, kept for the next time (default: a worktree of HEAD in a temporary
folder); its sources are changed and put back. --only: the mutants with WORD in their name; may be
given more than once.
--programs: of the test programs only these (io, ..., sim), where a quick answer is wanted.
--sim: the list is sim_mutants.txt in place of mutants.txt, of which each has to be found by the
simulation of SMTP alone, with the seeds that test/run.sh has; says after which seed, and how long.
The exit code is 0 only if every mutant was killed.
"""
# SPDX-License-Identifier: Apache-2.0
import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import mutant_list

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# From the quickest to the slowest: the first that fails has killed the mutant.
PROGRAMS = ["io", "balance", "route", "conf", "directory", "proto", "dialogue", "session", "matrix", "sim"]
SECONDS = 180
# As test/run.sh, but all seeds in one process.
SIM_TRANSACTIONS = 500000
SIM_SECONDS = 600


def build(work, programs):
    targets = [program + "_test" for program in programs]
    done = subprocess.run(["cmake", "--build", "--preset", "sim", "--parallel", str(len(os.sched_getaffinity(0))),
                           "--target", *targets], cwd=work,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0, done.stdout


def find_killer(work, programs):
    """The first program that fails and its first failing test; None: all pass."""
    environment = dict(os.environ, POSTERN_SIM_SEEDS="1000")
    for program in programs:
        try:
            done = subprocess.run([f"build/sim/test/{program}_test", "--gtest_brief=1"], cwd=work, env=environment,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"{program} (does not end)"
        if done.returncode == 0:
            continue
        output = done.stdout.decode(errors="replace")
        test = re.search(r"^\[  FAILED  \] (\S+?)[,\s(]", output, re.M)
        aborted = re.search(r"check failed: (.*)", output)
        what = test.group(1) if test else "check failed: " + aborted.group(1) if aborted else "crash"
        return f"{program}: {what}"
    return None


def find_seed(work, transactions=SIM_TRANSACTIONS):
    """The first seed of the SMTP simulation that fails, and after how long; None: all pass."""
    environment = dict(os.environ, POSTERN_SIM_TRANSACTIONS=str(transactions))
    begun = time.monotonic()
    try:
        done = subprocess.run(["build/sim/test/sim_test", "--gtest_filter=SmtpSimTest.*", "--gtest_brief=1",
                               "--gtest_fail_fast"], cwd=work, env=environment,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SIM_SECONDS)
    except subprocess.TimeoutExpired:
        return "does not end"
    if done.returncode == 0:
        return None
    output = done.stdout.decode(errors="replace")
    found = re.search(r"POSTERN_SIM_SEED=(\d+) .*'SmtpSimTest\.(\w+)'", output)
    where = f"{found.group(2)}, seed {found.group(1)}" if found else "unknown seed"
    return f"{where}, after {time.monotonic() - begun:.1f} s"


def main():
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument("--sim", action="store_true")
    options.add_argument("--work")
    options.add_argument("--only", action="append")
    options.add_argument("--programs", default=",".join(PROGRAMS))
    args = options.parse_args()
    programs = ["sim"] if args.sim else args.programs.split(",")
    find = find_seed if args.sim else lambda work: find_killer(work, programs)
    look = (lambda work: find_seed(work, 20000)) if args.sim else find  # that the tests pass at all
    the_list = HERE / ("sim_mutants.txt" if args.sim else "mutants.txt")
    mutants = [mutant for mutant in mutant_list.parse(the_list.read_text())
               if any(word in mutant.name for word in args.only or [""])]
    is_temporary = args.work is None
    work = pathlib.Path(args.work or tempfile.mkdtemp(prefix="mutants."))
    if not (work / "CMakeLists.txt").exists():
        subprocess.run(["git", "worktree", "add", "--detach", "--force", work, "HEAD"], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    subprocess.run(["cmake", "--preset", "sim"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    survived = []
    try:
        is_built, output = build(work, programs)
        killer = look(work) if is_built else output[-2000:]
        if killer:
            print("without a mutant:", killer)
            return 1
        for number, (_, name, file, old, new) in enumerate(mutants, 1):
            path = work / file
            source = path.read_text()
            if source.count(old) != 1:
                print(f"{number:3} LOST      {name}: {file} has the old text {source.count(old)} times")
                survived.append(name)
                continue
            try:
                path.write_text(source.replace(old, new))
                is_built, output = build(work, programs)
                killer = find(work) if is_built else None
            finally:
                path.write_text(source)
            if not is_built:
                print(f"{number:3} NO BUILD  {name}\n{output[-1500:]}")
            print(f"{number:3} {'KILLED' if killer else 'SURVIVED':9} {name}: {killer or file}", flush=True)
            if not killer:
                survived.append(name)
    finally:
        if is_temporary:
            subprocess.run(["git", "worktree", "remove", "--force", work], cwd=ROOT, check=False)
    print(f"{len(mutants) - len(survived)} of {len(mutants)} mutants killed")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
