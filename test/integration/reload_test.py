#!/usr/bin/env python3
"""What goes on while a configuration is read at a reload, and a reload that cannot be done."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import socket
import subprocess
import unittest

import backends
from postern import BINARY
from proxy_case import ProxyCase

ROWS = 1_000_000


class ReloadTest(ProxyCase):
    def begin(self):
        people = os.path.join(self.folder, "people.map")
        with open(people, "w") as file:
            file.write("alice mail1\n")
        self.config = {"directories": {"people": {"type": "file", "path": people}},
                       "routes": {"r": [{"name": "mapped", "directory": "people"}]}}
        return self.start("imap", [self.server(backends.imap, "mail1")], **self.config)

    def write(self, change):
        with open(self.postern.path) as file:
            config = json.load(file)
        change(config)
        self.postern.write(config)

    # A file that takes a while: another one than the watched, so that only a reload reads it.
    def want_large_map(self):
        self.large = os.path.join(self.folder, "large.map")
        with open(self.large, "w") as file:
            file.writelines("user%07d mail1\n" % i for i in range(ROWS))
            file.write("alice mail1\n")
        self.write(lambda config: config["directories"]["people"].update(path=self.large))

    def is_being_read(self):
        folder = "/proc/%d/fd" % self.postern.process.pid
        for name in os.listdir(folder):
            try:
                if os.readlink(os.path.join(folder, name)) == self.large:
                    return True
            except FileNotFoundError:
                pass  # closed since it was listed
        return False

    def wait_until_it_is_read(self):
        self.postern.wait_for(self.is_being_read, "the map to be opened")

    # As somebody does it who does not wait for the answer.
    def ask_for_a_reload_and_leave(self):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.path.join(self.folder, "admin.sock"))
            client.sendall(b"POST /api/v1/reload HTTP/1.1\r\nHost: postern\r\nContent-Length: 0\r\n\r\n")
            self.wait_until_it_is_read()

    def generation(self):
        return self.postern.metric("postern_config_generation")

    def login(self):
        client = self.imap()
        client.login("alice", "secret")
        client.logout()

    def test_all_goes_on_while_a_large_map_is_read(self):
        self.begin()
        self.want_large_map()
        self.ask_for_a_reload_and_leave()
        self.assertEqual(self.generation(), 1)
        sessions = os.path.join(self.folder, "sessions.log")
        os.rename(sessions, sessions + ".old")
        self.postern.signal(signal.SIGUSR1)
        self.postern.wait_for(lambda: os.path.exists(sessions), "the new log")
        # All this was done while the file was open.
        self.assertTrue(self.is_being_read())
        self.login()
        for _ in range(20):
            self.postern.signal(signal.SIGHUP)
            self.postern.get("/livez")
        self.postern.wait_for(lambda: self.generation() >= 2, "the reload", 120)
        self.login()
        # Those that came while one was under way are one.
        self.postern.wait_for(lambda: self.generation() == 3, "the second reload", 120)
        self.assertEqual(self.postern.metric('postern_config_reloads_total{result="accepted"}'), 2)
        self.assertEqual(self.postern.metric('postern_config_reloads_total{result="rejected"}'), 0)

    def test_who_ends_does_not_wait_for_the_map(self):
        self.begin()
        self.want_large_map()
        self.ask_for_a_reload_and_leave()
        self.postern.signal(signal.SIGTERM)
        self.assertEqual(self.postern.process.wait(20), 0)
        output = self.postern.output()
        self.assertIn('"event":"stopped"', output)
        # It was not read to its end: neither has come of it.
        self.assertNotIn('"event":"reloaded"', output)
        self.assertNotIn('"event":"reload_rejected"', output)

    def test_a_new_listener_whose_address_is_taken_changes_nothing(self):
        self.begin()
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = "127.0.0.1:%d" % other.getsockname()[1]

            def add_listener(config):
                config["listeners"].append({"name": "new", "protocol": "imap", "address": taken, "tls": "starttls",
                                            "route": "r"})

            self.write(add_listener)
            reload = [BINARY, "reload", "--config", self.postern.path]
            refused = subprocess.run(reload, capture_output=True, text=True, timeout=30)
            self.assertEqual(refused.returncode, 1)
            self.assertIn("listener new: cannot listen on %s: Address already in use" % taken, refused.stderr)
            self.assertEqual(self.generation(), 1)
            self.assertEqual([each["name"] for each in self.postern.status()["listeners"]],
                             ["imap-implicit", "imap-starttls"])
            self.login()
        self.assertEqual(subprocess.run(reload, capture_output=True, timeout=30).returncode, 0)
        self.assertEqual(self.generation(), 2)


if __name__ == "__main__":
    unittest.main()
