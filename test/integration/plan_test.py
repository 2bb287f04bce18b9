#!/usr/bin/env python3
"""postern explain --plan: who would move with another configuration, as an operator asks it."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess
import unittest

from postern import BINARY, temporary_folder


def config(people, **more):
    made = {
        "hostname": "mail.example.com",
        "listeners": [
            {"name": "imap", "protocol": "imap", "address": "127.0.0.1:0", "tls": "none", "auth_requires_tls": False,
             "route": "people"},
            {"name": "mx", "protocol": "smtp", "address": "127.0.0.1:0", "tls": "none", "route": "inbound"}],
        "backends": {name: {"host": "127.0.0.1", "imap": {"port": 9, "tls": "none"}, "smtp": {"port": 9, "tls": "none"}}
                     for name in ("mail1", "mail2")},
        "pools": {"old": {"backends": ["mail1"]}, "new": {"backends": ["mail2"]}},
        "routes": {"people": people, "inbound": [{"recipient": "*@example.com", "name": "ours", "pool": "old"}]},
        "users": {"default_domain": "example.com"},
    }
    made.update(more)
    return made


BEFORE = [{"name": "rest", "pool": "old"}]
AFTER = [{"name": "moved", "directory": "map"}, {"name": "rest", "pool": "old"}]


class PlanTest(unittest.TestCase):
    def setUp(self):
        self.holder = temporary_folder()
        self.addCleanup(self.holder.cleanup)
        self.folder = self.holder.name
        self.write("moved.map", "bob@example.com new\n@lab.example.com mail2\n")
        self.before = self.write("before.json", config(BEFORE))
        self.after = self.write("after.json", config(
            AFTER, directories={"map": {"type": "file", "path": "moved.map"}}))

    def write(self, name, content):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else json.dumps(content).encode())
        return path

    def plan(self, names, *words, listener="imap"):
        users = self.write("users.txt", names)
        done = subprocess.run([BINARY, "explain", "-c", self.before, "--listener", listener, "--plan", users, *words],
                              capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout, done.stderr

    def test_says_who_moves_and_the_totals(self):
        code, out, err = self.plan("alice\nBob\n# nobody\nx@lab.example.com\n", "--against", self.after)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, "Bob  old (rest) -> new (moved)\n"
                              "x@lab.example.com  old (rest) -> mail2 (moved)\n"
                              "2 of 3 would move\n"
                              "       1  old -> mail2\n"
                              "       1  old -> new\n")

    def test_as_json(self):
        code, out, _ = self.plan("alice\nbob\n", "--against", self.after, "--json")
        self.assertEqual(code, 0)
        self.assertEqual(json.loads(out), {
            "names": [{"name": "bob", "known": True,
                       "now": {"home": "old", "answer": None, "route": "people", "rule": "rest"},
                       "then": {"home": "new", "answer": None, "route": "people", "rule": "moved"}}],
            "totals": [{"now": "old", "then": "new", "names": 1}],
            "names_read": 2, "moved": 1, "unknown": 0, "bad_lines": 0})

    def test_without_another_says_where_everybody_is(self):
        code, out, _ = self.plan("a@example.com\nb@other.example\n", listener="mx")
        self.assertEqual(code, 0)
        self.assertEqual(out, "a@example.com  old (ours)\n"
                              "b@other.example  nowhere (no rule: 550 5.1.1 No such recipient here (no rule matches))\n"
                              "2 read\n       1  nowhere\n       1  old\n")

    def test_reads_standard_input(self):
        done = subprocess.run([BINARY, "explain", "-c", self.before, "--listener", "imap", "--plan", "-"],
                              input="alice\n", capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stdout), (0, "alice  old (rest)\n1 read\n       1  old\n"))

    def test_bad_lines_have_their_place(self):
        code, out, err = self.plan("alice\nb\x01d\n" + 2000 * "x" + "\nbob\n", "--against", self.after)
        self.assertEqual(code, 1)
        users = os.path.join(self.folder, "users.txt")
        self.assertEqual(err, "error: %s:2: no user can have this name\n"
                              "error: %s:3: the line is longer than 1024 bytes\n" % (users, users))
        self.assertIn("1 of 2 would move\n", out)

    def test_a_directory_that_cannot_be_asked_is_no_plan(self):
        down = self.write("down.json", config(AFTER, directories={
            "map": {"type": "redis", "addresses": ["127.0.0.1:9"], "timeout": "1s"}}))
        code, out, _ = self.plan("alice\n", "--against", down)
        self.assertEqual(code, 1)
        self.assertIn("cannot be known\n0 of 1 would move\n       1  cannot be known\n", out)

    def test_what_is_wrong_is_said(self):
        for words, said in (((), "has no listener"), (("--against", self.write("bad.json", "{")), "bad.json:1:")):
            code, out, err = self.plan("alice\n", *words, listener="imap" if words else "pop")
            self.assertEqual((code, out), (1, ""))
            self.assertIn(said, err)
        self.write("moved.map", "bob@example.com old new\n")
        code, out, err = self.plan("alice\n", "--against", self.after)
        self.assertEqual((code, out), (1, ""))
        self.assertIn("moved.map:1", err)

    def test_usage(self):
        for words in (("--user", "x"), ("--recipient", "x"), ("--agains", "x")):
            self.assertEqual(self.plan("alice\n", *words)[0], 2)
        done = subprocess.run([BINARY, "explain", "--listener", "imap", "--against", self.after], capture_output=True,
                              timeout=60)
        self.assertEqual(done.returncode, 2)

    def test_memory_does_not_grow_with_the_names(self):

        def peak_kib(num_names):
            users = self.write("many.txt", "".join("user%07d@example.com\n" % i for i in range(num_names)))
            before = subprocess.Popen([BINARY, "explain", "-c", self.before, "--listener", "imap", "--plan", users,
                                       "--against", self.after], stdout=subprocess.DEVNULL,
                                      # What was freed and is kept aside by ASan is nobody's memory.
                                      env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"})
            _, status, usage = os.wait4(before.pid, 0)
            before.returncode = os.waitstatus_to_exitcode(status)
            self.assertEqual(before.returncode, 0)
            return usage.ru_maxrss
        self.assertLess(peak_kib(100_000), peak_kib(100) + 4096)


if __name__ == "__main__":
    unittest.main()
