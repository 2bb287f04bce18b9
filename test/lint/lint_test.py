#!/usr/bin/env python3
# lint_test: every rule of lint.py finds a breach that is planted, and nothing in a clean tree.
# SPDX-License-Identifier: Apache-2.0
import contextlib
import io
import os
import tempfile
import unittest

import lint

README = """# Floors
```
 6  lb/main.cc
 5  lb/daemon/            wires everything, lb/net/ and lb/session/ too
 4  lb/net/ (libevent)  |  lb/session/  |  health/      neighbours; none includes another
 3  lb/tls/ (BoringSSL) |  lb/route/    |  lb/balance/   bytes or values in, bytes or values out
 2  lb/io/ (interfaces) |  lb/proto/    |  conf/  |  metrics/
 1  lb/base/              standard library only
```
"""
LICENCE = "SPDX-License-" + "Identifier: Apache-2.0"


def source(path, body="", head=""):
    """A proper file of that path with something in it."""
    stem = os.path.splitext(os.path.basename(path))[0]
    once = "#pragma once\n" if path.endswith(".h") else ""
    return f"// {stem}: a thing.\n{head}// {LICENCE}\n{once}{body}\n"


class LintTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.write("lb/README.md", README)
        self.plant("lb/base/bytes.h", "#include <string>")
        self.plant("lb/net/loop.cc", '#include <event2/event.h>\n#include "lb/base/bytes.h"')
        self.plant("lb/main.cc", '#include <CLI/CLI.hpp>\n#include "revision.h"')
        self.plant("test/base/bytes_test.cc", "#include <gtest/gtest.h>")

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)

    def plant(self, path, body="", head=""):
        self.write(path, source(path, body, head))

    def problems(self):
        return lint.run(lint.RULES, lint.Tree(self.root))

    def assert_found(self, path, what, line=None):
        """Exactly one breach, there, that says so."""
        problems = self.problems()
        self.assertEqual(len(problems), 1, problems)
        self.assertEqual(problems[0][0], path)
        self.assertIn(what, problems[0][2])
        if line is not None:
            self.assertEqual(problems[0][1], line)

    def assert_clean(self):
        self.assertEqual(self.problems(), [])

    def test_a_clean_tree_is_clean(self):
        self.assert_clean()

    def test_floors_are_read_from_the_picture(self):
        floors = lint.Tree(self.root).floors
        self.assertEqual(floors, {
            "lb/main.cc": 6, "lb/daemon": 5, "lb/net": 4, "lb/session": 4, "health": 4, "lb/tls": 3,
            "lb/route": 3, "lb/balance": 3, "lb/io": 2, "lb/proto": 2, "conf": 2, "metrics": 2,
            "lb/base": 1})

    def test_a_tree_without_floors(self):
        self.write("lb/README.md", "# nothing\n")
        self.assertIn(("lb/README.md", 1, "draws no floors"), self.problems())

    def test_code_outside_of_boxes(self):
        self.plant("lb/odds/ends.cc")
        self.assert_found("lb/odds/ends.cc", "in no box")

    def test_include_upwards(self):
        self.plant("lb/io/stream.h", '#include "lb/net/socket.h"')
        self.assert_found("lb/io/stream.h", "floor 2", line=4)

    def test_include_of_a_neighbour(self):
        self.plant("lb/session/one.cc", '#include "lb/net/socket.h"')
        self.assert_found("lb/session/one.cc", "floor 4")

    def test_include_downwards_and_within(self):
        self.plant("lb/session/one.cc", '#include "lb/session/two.h"\n#include "lb/proto/three.h"')
        self.plant("metrics/one.cc", '#include "conf/config.h"')
        self.plant("lb/main.cc", '#include "lb/daemon/process.h"')
        self.assert_clean()

    def test_extra_includes_are_single_files(self):
        self.plant("metrics/one.cc", '#include "conf/keys.h"')
        self.assert_found("metrics/one.cc", "conf on floor 2")

    def test_include_of_tests(self):
        self.plant("lb/io/x.cc", '#include "test/support/sim_net.h"')
        self.assert_found("lb/io/x.cc", "of the tests")

    def test_include_without_a_box(self):
        self.plant("lb/io/x.cc", '#include "stream.h"')
        self.assert_found("lb/io/x.cc", "in no box")

    def test_include_of_our_own_with_angles(self):
        self.plant("lb/io/x.cc", "#include <lb/base/bytes.h>")
        self.assert_found("lb/io/x.cc", "with <>")

    def test_an_include_in_a_comment_or_string_is_none(self):
        self.plant("lb/io/x.cc", '// #include "lb/net/x.h"\nconst char* t = "#include <re2/re2.h>";')
        self.assert_clean()

    def test_libraries(self):
        rows = [("lb/session/x.cc", "event2/event.h"), ("lb/net/x.cc", "openssl/ssl.h"),
                ("lb/session/x.cc", "openssl/ssl.h"), ("lb/daemon/x.cc", "nlohmann/json.hpp"),
                ("lb/daemon/x.cc", "prometheus/registry.h"), ("lb/proto/x.cc", "re2/re2.h"),
                ("lb/daemon/x.cc", "CLI/CLI.hpp"), ("health/x.cc", "ares.h"),
                ("lb/base/x.cc", "gtest/gtest.h"), ("test/proto/x_test.cc", "openssl/ssl.h"),
                ("test/session/x_test.cc", "event2/event.h")]
        for path, header in rows:
            with self.subTest(path=path, header=header):
                self.plant(path, f"#include <{header}>")
                self.assert_found(path, header)
                self.plant(path)

    def test_libraries_in_their_boxes(self):
        rows = [("lb/net/x.cc", "ares.h"), ("lb/tls/x.cc", "openssl/ssl.h"),
                ("conf/x.cc", "nlohmann/json.hpp"), ("conf/x.cc", "re2/re2.h"),
                ("lb/route/x.cc", "re2/re2.h"), ("metrics/x.cc", "prometheus/registry.h"),
                ("test/tls/x_test.cc", "openssl/ssl.h"), ("test/net/x_test.cc", "event2/event.h"),
                ("test/support/tls/x.cc", "openssl/ssl.h"), ("test/io/x_test.cc", "gmock/gmock.h")]
        for path, header in rows:
            with self.subTest(path=path, header=header):
                self.plant(path, f"#include <{header}>")
                self.assert_clean()

    def test_system_headers_of_pure_boxes(self):
        for header in ("sys/socket.h", "unistd.h", "netinet/in.h", "thread", "fstream", "poll.h"):
            with self.subTest(header=header):
                self.plant("lb/proto/x.cc", f"#include <{header}>")
                self.assert_found("lb/proto/x.cc", header)
        self.plant("lb/proto/x.cc", "#include <string>\n#include <cstdio>")
        self.plant("lb/net/x.cc", "#include <sys/socket.h>")
        self.assert_clean()

    def test_clocks_and_chance(self):
        calls = ("auto t = std::chrono::steady_clock::now();", "auto t = system_clock :: now();",
                 "std::random_device device;", "int x = rand();", "srand(1);", "sleep(1);",
                 "usleep(5);", "nanosleep(&a, &b);", "std::this_thread::sleep_for(x);",
                 "clock_gettime(CLOCK_MONOTONIC, &t);", "time_t t = std::time(nullptr);",
                 "time_t t = time(NULL);", "gettimeofday(&t, nullptr);", "auto x = random();")
        for path in ("lb/session/x.cc", "test/session/x_test.cc"):
            for call in calls:
                with self.subTest(path=path, call=call):
                    self.plant(path, call)
                    self.assert_found(path, "Loop, Clock and Rng", line=3)
            self.plant(path)

    def test_clocks_where_they_may_be_read(self):
        self.plant("lb/base/clock.cc", "clock_gettime(CLOCK_MONOTONIC, &t);")
        self.plant("lb/net/x.cc", "auto t = std::chrono::steady_clock::now();")
        self.assert_clean()

    def test_words_that_only_look_like_calls(self):
        self.plant("lb/session/x.cc",
                   "// never sleep(1) or call rand()\nconst char* t = \"sleep(1)\";\n"
                   "int operand(int);\nint y = operand(1) + my.time(zone) + 1'000'000;\n"
                   "char q = '\"'; int z = Brand(2); auto t = R\"(rand())\";\nSetTime(nullptr);")
        self.assert_clean()

    def test_a_call_behind_digit_separators(self):
        self.plant("lb/session/x.cc", "int a = 1'000; int b = rand(); int c = 2'000;")
        self.assert_found("lb/session/x.cc", "rand")

    def test_unsafe_calls(self):
        for call in ("atoi(x)", "strcpy(a, b)", "sprintf(a, b)", "std::regex r", "gmtime(&t)"):
            with self.subTest(call=call):
                self.plant("lb/net/x.cc", call + ";")
                self.assert_found("lb/net/x.cc", "not used here")
        self.plant("test/conf/x_test.cc", "std::regex pattern;")
        self.plant("lb/net/x.cc", "std::snprintf(a, 1, b); gmtime_r(&t, &p); my_atoi(x);")
        self.assert_clean()

    def test_throw(self):
        self.plant("lb/net/x.cc", "void F() { throw 1; }")
        self.assert_found("lb/net/x.cc", "throws")
        self.plant("lb/net/x.cc", "void F() noexcept;  // does not throw")
        self.assert_clean()

    def test_using_namespace_in_a_header(self):
        self.plant("lb/net/x.h", "using namespace std;")
        self.assert_found("lb/net/x.h", "in a header")

    def test_heads(self):
        self.write("lb/net/x.cc", f"// something: else.\n// {LICENCE}\n")
        self.assert_found("lb/net/x.cc", '"// x: what it is"', line=1)
        self.write("lb/net/x.cc", f"#include <string>\n// {LICENCE}\n")
        self.assert_found("lb/net/x.cc", '"// x: what it is"', line=1)

    def test_pragma_once(self):
        self.write("lb/net/x.h", f"// x: a thing.\n// {LICENCE}\nint x;\n")
        self.assert_found("lb/net/x.h", "#pragma once")

    def test_licence(self):
        self.write("lb/net/x.cc", "// x: a thing.\n")
        self.assert_found("lb/net/x.cc", "does not say")
        self.write("lb/net/x.cc", "// x: a thing.\n" + "\n" * 50 + f"// {LICENCE}\n")
        self.assert_found("lb/net/x.cc", "does not say")
        self.write("lb/net/x.cc", f"// x: a thing.\n// {LICENCE}\n// {LICENCE}\n")
        self.assert_found("lb/net/x.cc", "twice")
        self.plant("lb/net/x.cc")
        self.write("packaging/x.sh", "#!/bin/sh\necho\n")
        self.assert_found("packaging/x.sh", "does not say")

    def test_length(self):
        self.plant("lb/net/x.cc", "\n" * 1000)
        self.assert_found("lb/net/x.cc", "longer than 1000")

    def test_clean_lines(self):
        for text, what in (("int x; ", "white space"), ("int x;\r", "white space"), ("\tint x;", "a tab")):
            with self.subTest(text=text):
                self.plant("lb/net/x.cc", text)
                self.assert_found("lb/net/x.cc", what, line=3)
        self.write("lb/net/x.cc", source("lb/net/x.cc", "int x;").rstrip("\n"))
        self.assert_found("lb/net/x.cc", "newline")

    def test_foreign_words(self):
        rows = [("see /wo" "rk/main", "path"), ("in /tmp/br" "ief/x", "path"), ("/ro" "ot/x", "path"),
                ("iss" "ue 3", "issue"), ("iss" "ue #12", "issue"), ("iss" "ues/7", "issue"),
                ("written by an A" "I", "how the text was made"), ("TO" "DO later", "undone"),
                ("FIX" "ME", "undone")]
        for path in ("lb/net/x.cc", "packaging/notes.md"):
            for words, what in rows:
                with self.subTest(path=path, words=words):
                    body = "// " + words
                    self.plant(path, body) if path.endswith(".cc") else self.write(path, body + "\n")
                    self.assert_found(path, what)
            self.plant(path) if path.endswith(".cc") else self.write(path, "\n")
        self.plant("lb/net/x.cc", "// the issuer /var/lib/homework/x, tls/root/x AID, issue a ticket, XXXXXX")
        self.assert_clean()

    def test_skipped_tests(self):
        for path, text in (("test/net/x_test.cc", "GTEST_SKIP();"),
                           ("test/net/x_test.cc", "TEST(A, DISABLED_B) {}")):
            with self.subTest(text=text):
                self.plant(path, text)
                self.assert_found(path, "skipped")

    def test_mutants(self):
        self.plant("lb/net/x.cc", "int x = 1;\nint y = 2;")
        mutant = "x is two\nlb/net/x.cc\n- int x = 1;\n+ int x = 2;\n"
        rows = [("- int x = 3;", "has its old text 0 times"), ("- int ", "has its old text 2 times")]
        for old, what in rows:
            with self.subTest(old=old):
                self.write(lint.MUTANTS, "# a list\n\n" + mutant.replace("- int x = 1;", old))
                self.assert_found(lint.MUTANTS, what, line=3)
        self.write(lint.MUTANTS, mutant + "\n" + mutant.replace("net/x.cc", "net/gone.cc"))
        self.assert_found(lint.MUTANTS, "lb/net/gone.cc is not there", line=6)
        self.write(lint.MUTANTS, mutant + "\nhalf a mutant\nlb/net/x.cc\n")
        self.assert_found(lint.MUTANTS, "line 6: not a name")
        self.write(lint.MUTANTS, mutant)
        self.assert_clean()
        self.write(lint.SIM_MUTANTS, mutant.replace("- int x = 1;", "- int x = 3;"))
        self.assert_found(lint.SIM_MUTANTS, "has its old text 0 times", line=1)

    def notes(self):
        return lint.run(lint.NOTES, lint.Tree(self.root))

    def test_notes(self):
        self.assertEqual(self.notes(), [])
        self.plant("lb/net/x.cc", "\n" * 600)
        self.plant("lb/net/y.cc", "x" * 101)
        self.plant("lb/net/z.h", head="// Tests: test/net/z_test.cc, test/base/bytes_test.cc, test/base/\n")
        self.write("lb/net/w.cc", f"// w: a thing. Tests:    none. {LICENCE}\n")
        self.assertEqual([(path, what.split(",")[0]) for path, _, what in self.notes()],
                         [("lb/net/w.cc", '"SPDX-License-' + 'Identifier:" begins a line'),
                          ("lb/net/x.cc", "is longer than 600 lines"),
                          ("lb/net/y.cc", "is wider than 100 columns"),
                          ("lb/net/z.h", "names test/net/z_test.cc")])
        self.assert_clean()

    def test_exit_code(self):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            self.assertEqual(lint.main([self.root]), 0)
            self.plant("lb/net/x.cc", "\n" * 600)
            self.assertEqual(lint.main([self.root]), 0)
            self.assertEqual(lint.main(["--strict", self.root]), 1)
            self.plant("lb/session/x.cc", "int x = rand();")
            self.assertEqual(lint.main([self.root]), 1)
        self.assertIn("lb/session/x.cc:3: rand: ", printed.getvalue())


if __name__ == "__main__":
    unittest.main()
