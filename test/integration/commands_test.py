#!/usr/bin/env python3
"""The commands as a new operator meets them: what they say of mistakes, and how they exit."""
# SPDX-License-Identifier: Apache-2.0
import http.server
import json
import os
import re
import signal
import socket
import socketserver
import subprocess
import threading
import unittest

import backends
from postern import BINARY, Postern, make_certificates, server_tls, temporary_folder


def config(**more):
    made = {
        "hostname": "mail.example.com", "workers": 1,
        "listeners": [{"name": "imap", "protocol": "imap", "address": "127.0.0.1:0", "tls": "starttls", "route": "r"}],
        "tls": {"certificates": [{"cert": "mail.crt", "key": "mail.key"}]},
        "backends": {"mail1": {"host": "127.0.0.1", "imap": {"port": 9, "tls": "none"}}},
        "pools": {"p": {"backends": ["mail1"]}},
        "routes": {"r": [{"pool": "p"}]},
    }
    made.update(more)
    return made


class CommandsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = temporary_folder()
        cls.folder = cls.holder.name
        make_certificates(cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def setUp(self):
        self.running = None

    def tearDown(self):
        if self.running is not None:
            self.assertEqual(self.running.stop(), 0, self.running.output()[-2000:])

    def write(self, content, name="c.json"):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content if isinstance(content, bytes) else json.dumps(content, indent=1).encode())
        return path

    def run_command(self, *words):
        done = subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    def start(self, **more):
        self.running = Postern(self.folder, config(**more))
        return self.running

    def refused(self, content, *texts, command="check"):
        """The command exits 1 and says each of the texts, on stderr."""
        path = content if isinstance(content, str) else self.write(content)
        code, out, err = self.run_command(command, "--config", path)
        self.assertEqual((code, out), (1, ""), err)
        for text in texts:
            self.assertIn("error: " + path + text, err)

    # --- usage ---
    def test_usage(self):
        for words in ((), ("chek",), ("check", "--confg", "x"), ("run", "extra")):
            with self.subTest(words=words):
                code, out, err = self.run_command(*words)
                self.assertEqual((code, out), (2, ""))
                self.assertNotEqual(err, "")
        for words in (("--help",), ("check", "--help"), ("version",), ("--version",), ("schema",)):
            with self.subTest(words=words):
                code, out, err = self.run_command(*words)
                self.assertEqual((code, err), (0, ""))
                self.assertNotEqual(out, "")
        self.assertEqual(json.loads(self.run_command("schema")[1])["type"], "object")

    # --- check ---
    def test_check_says_that_all_is_well(self):
        code, out, err = self.run_command("check", "--config", self.write(config()))
        self.assertEqual(code, 0)
        self.assertIn("c.json: good (1 listeners", out)
        self.assertNotIn("error", err)

    def test_check_of_files_that_are_none(self):
        self.refused(os.path.join(self.folder, "none.json"), ": /: cannot be read: No such file or directory")
        self.refused(self.folder, ": /: this is a folder, not a file")
        self.refused(b"", ":1:1: /: the text ends too early (a configuration is one object: { ... })")
        self.refused(b" \n\t\n", ":3:1: /: the text ends too early")
        self.refused(b"// nothing yet\n", ":2:1: /: the text ends too early")
        self.refused(b"[]", ":1:1: /: expected an object")

    def test_check_of_broken_text(self):
        self.refused(b'{"hostname": "a.example",}', ":1:25: /hostname: a comma before '}' (remove it)")
        self.refused(b'{"hostname": "a.example"', ":1:25: /hostname: the text ends too early ('{' of 1:1 is not closed)")
        self.refused(b'{"hostname": "a\xff.example"}', ":1:16: ")
        self.refused(b'{"hostname": "a.example",\n "hostname": "b.example"}', ":2:2: /hostname: ")
        self.refused('{"hostname": "a.example"}'.encode("utf-16"), ":1:4: /: a NUL byte (this is not a text file in UTF-8)")
        big = b'{"hostname": "' + b"a" * (1 << 20) + b'"}'
        self.refused(big, ":1:14: /hostname: ")
        self.assertLess(len(self.run_command("check", "--config", self.write(big))[2]), 4096)

    def test_check_takes_a_byte_order_mark(self):
        path = self.write(b"\xef\xbb\xbf" + json.dumps(config()).encode())
        self.assertEqual(self.run_command("check", "--config", path)[0], 0)

    def test_check_says_all_errors_at_once_with_their_places(self):
        wrong = config(hostnam="x", pools={"p": {"backends": ["mail2"]}})
        code, _, err = self.run_command("check", "--config", self.write(wrong))
        self.assertEqual(code, 1)
        places = re.findall(r"^error: \S+c\.json:(\d+):(\d+): (/\S*): .* \(.*\)$", err, re.M)
        self.assertEqual([place[2] for place in places], ["/pools/p/backends/0", "/hostnam"], err)
        self.assertIn("2 errors", err)

    def test_check_of_certificates(self):
        def pair(cert, key):
            return config(tls={"certificates": [{"cert": cert, "key": key}]})
        self.refused(pair("mail.crt", "other.key"), ":")
        self.refused(pair("none.crt", "mail.key"), ":")
        code, _, err = self.run_command("check", "--config", self.write(pair("mail.crt", "other.key")))
        self.assertRegex(err, r"/tls/certificates/0: \S+other\.key is not the key of \S+mail\.crt")
        code, _, err = self.run_command("check", "--config", self.write(pair("none.crt", "mail.key")))
        self.assertRegex(err, r"/tls/certificates/0: cannot read \S+none\.crt: No such file")

    def test_check_finds_loops(self):
        listeners = config()["listeners"]
        listeners[0]["address"] = "0.0.0.0:14300"
        backends = {"mail1": {"host": "127.0.0.1", "imap": {"port": 14300, "tls": "none"}}}
        code, _, err = self.run_command("check", "--config", self.write(config(listeners=listeners, backends=backends)))
        self.assertEqual(code, 1)
        self.assertIn("/backends/mail1/imap/port: a loop: ", err)

    # --- check --diff ---
    def test_diff_tells_what_a_reload_would_do(self):
        directory = {"type": "redis", "addresses": ["127.0.0.1:9"], "password": "hush-hush"}
        running = self.start(directories={"d": directory})
        check = ("check", "--diff", "--config", running.path)
        code, out, err = self.run_command(*check)
        self.assertEqual(code, 0, err)
        self.assertRegex(out, r"c?\.json: good .*\nthe running configuration 1 of \S+postern\.json, loaded \S+\n"
                              r"a reload changes nothing\n$")
        listeners = config()["listeners"] + [{"name": "pop3", "protocol": "pop3", "address": "127.0.0.1:0",
                                              "tls": "implicit", "route": "r"}]
        backends = {"mail1": {"host": "127.0.0.1", "imap": {"port": 10, "tls": "none"}, "weight": 7,
                              "pop3": {"port": 11, "tls": "none"}}}
        running.write(config(listeners=listeners, backends=backends, workers=2,
                             directories={"d": dict(directory, password={"env": "HOME"})}))
        code, out, err = self.run_command(*check)
        self.assertEqual(code, 0, err)
        for line in ("changed /workers: 1 -> 2, after a restart", "changed /backends/mail1/imap/port: 9 -> 10, for new sessions",
                     "added /backends/mail1/weight: not set (100) -> 7, for new sessions",
                     'changed /directories/d/password: "***" -> {"env":"HOME"}, for new sessions',
                     "listener pop3 opens 127.0.0.1:0", "1 listener keeps its sockets",
                     "backend mail1 is another server now: what is known of it is forgotten", "directory d is changed",
                     "a restart is needed for /workers"):
            self.assertIn(line + "\n", out)
        self.assertIn("added /listeners/pop3: not set -> {", out)
        self.assertNotIn("hush-hush", out + running.get("/api/v1/config")[1])
        self.assertEqual(running.metric("postern_config_generation"), 1)

    def test_diff_without_a_process(self):
        code, out, err = self.run_command("check", "--diff", "--config", self.write(config(admin={"socket": "gone.sock"})))
        self.assertEqual(code, 1)
        self.assertIn("error: cannot ask the running postern: ", err)
        self.assertEqual(self.run_command("check", "--diff", "--online", "--config", self.write(config()))[0], 2)

    # --- check --online ---
    def check_online(self, **more):
        return self.run_command("check", "--online", "--config", self.write(config(**more)))

    def test_online_says_what_each_server_can_do(self):
        server = backends.imap("one", tls=server_tls(self.folder), starttls=True)
        self.addCleanup(server.stop)
        code, out, err = self.check_online(backends={"mail1": {
            "host": "localhost", "verify": {"ca": "ca.pem", "name": "backend.example.com"},
            "imap": {"port": server.port, "tls": "starttls"}}})
        self.assertEqual(code, 0, out + err)
        self.assertRegex(out, r"\nbackend mail1/imap localhost:%d: ok, certificate good until 2\S+Z, "
                              r"capabilities IMAP4rev1, .*LITERAL\+.*\nall 1 answer\n$" % server.port)

    def test_online_asks_queue_sources_and_directories(self):
        class Agent(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.sendall(b"up queue:12\n")

        class AuthHttp(http.server.BaseHTTPRequestHandler):
            asked = []

            def do_GET(self):
                self.asked.append((self.headers["Auth-Method"], self.headers["Auth-Pass"], self.headers["Auth-SMTP-To"]))
                self.send_response(200)
                self.send_header("Auth-Status", "No such user")
                self.end_headers()

            def log_message(self, *_):
                pass
        ports = []
        for handler in (Agent, AuthHttp):
            server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.addCleanup(server.server_close)
            self.addCleanup(server.shutdown)
            ports.append(server.server_address[1])
        server = backends.smtp("one")
        self.addCleanup(server.stop)
        code, out, err = self.check_online(
            backends={"mail1": {"host": "127.0.0.1", "smtp": {"port": server.port, "tls": "none"},
                                "imap": {"port": server.port, "tls": "none"},
                                "queue": {"source": "agent", "address": "127.0.0.1:%d" % ports[0], "soft": 1, "hard": 2}}},
            directories={"h": {"type": "auth_http", "url": "http://127.0.0.1:%d/" % ports[1]}},
            routes={"r": [{"directory": "h"}, {"pool": "p"}]})
        self.assertEqual(code, 1, "an SMTP server speaks no IMAP")
        self.assertIn("error: 1 of 4 ", err)
        self.assertIn("\nbackend mail1/smtp 127.0.0.1:%d: ok, capabilities " % server.port, out)
        self.assertIn("\nbackend mail1/imap 127.0.0.1:%d: FAILED, greeting protocol: " % server.port, out)
        self.assertIn("\nqueue of mail1: ok, depth 12\n", out)
        self.assertIn("\ndirectory h http://127.0.0.1:%d/: ok, answers\n" % ports[1], out)
        ((method, password, recipient),) = AuthHttp.asked
        self.assertEqual((method, password or ""), ("none", ""))
        self.assertIn("postern-check@mail.example.com", recipient)

    def test_online_says_who_fails_and_where(self):
        wrong = backends.imap("wrong", tls=server_tls(self.folder, "other"))
        broken = backends.smtp("broken", fault="busy")
        for server in (wrong, broken):
            self.addCleanup(server.stop)
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            code, out, err = self.check_online(
                backends={"mail1": {"host": "127.0.0.1", "imap": {"port": port, "tls": "none"},
                                    "queue": {"source": "showq", "address": "127.0.0.1:%d" % port, "soft": 1, "hard": 2}},
                          "mail2": {"host": "127.0.0.1", "imap": {"port": wrong.port, "tls": "implicit"},
                                    "verify": {"ca": "ca.pem", "name": "backend.example.com"}},
                          "mail3": {"host": "127.0.0.1", "smtp": {"port": broken.port, "tls": "none"}},
                          "mail4": {"host": "nowhere.invalid", "imap": {"port": 143, "tls": "none"}}},
                directories={"d": {"type": "redis", "addresses": ["127.0.0.1:%d" % port]},
                             "h": {"type": "auth_http", "url": "http://127.0.0.1:%d/" % port}},
                routes={"r": [{"directory": "d"}, {"directory": "h"}, {"pool": "p"}]})
        self.assertEqual(code, 1, out + err)
        self.assertIn("error: 7 of 7 do not answer as they should", err)
        for start in ("backend mail1/imap 127.0.0.1:%d: FAILED, connect refused: " % port,
                      "backend mail2/imap 127.0.0.1:%d: FAILED, tls tls_verify: " % wrong.port,
                      "backend mail3/smtp 127.0.0.1:%d: FAILED, greeting tempfail: " % broken.port,
                      "backend mail4/imap nowhere.invalid:143: FAILED, resolve: ",
                      "queue of mail1: FAILED, showq: ", "directory d 127.0.0.1:%d: FAILED, " % port,
                      "directory h http://127.0.0.1:%d/: FAILED, " % port):
            self.assertIn("\n" + start, out)

    def leading_back(self):
        """A listener, and a backend whose name, in letters that `check` does not know, is this machine's."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        listeners = config()["listeners"]
        listeners[0]["address"] = "0.0.0.0:%d" % port
        return dict(listeners=listeners, backends={"mail1": {"host": "LOCALHOST", "imap": {"port": port, "tls": "none"}}}), port

    def test_online_finds_a_name_that_leads_back(self):
        changed, port = self.leading_back()
        code, out, err = self.check_online(**changed)
        self.assertEqual(code, 1, out + err)
        self.assertIn("mail1/imap LOCALHOST:%d: FAILED, a loop: 127.0.0.1:%d is Postern's own listener imap\n"
                      % (port, port), out)

    def test_a_name_that_leads_back_is_down(self):
        changed, port = self.leading_back()
        running = self.start(**changed)
        words = "a loop: 127.0.0.1:%d of LOCALHOST is postern's own listener imap" % port
        running.wait_for(lambda: "mail1/imap: " + words in running.status()["problems"], "the problem")
        out = self.run_command("status", "--config", running.path)[1]
        self.assertRegex(out, r"\nmail1 +imap +LOCALHOST:%d +down +ready .* %s\n" % (port, words))

    # --- run ---
    def test_run_refuses_what_check_refuses(self):
        self.refused(os.path.join(self.folder, "none.json"), ": /: cannot be read", command="run")
        self.refused(b"{", ":1:2: ", command="run")

    def test_run_names_the_address_that_is_in_use(self):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            address = "127.0.0.1:%d" % other.getsockname()[1]
            listeners = config()["listeners"]
            listeners[0]["address"] = address
            for changed, name in ((config(listeners=listeners), "listener imap"),
                                  (config(admin={"address": address}), "admin.address")):
                with self.subTest(name=name):
                    code, _, err = self.run_command("run", "--config", self.write(changed))
                    self.assertEqual(code, 1)
                    self.assertIn("error: %s: cannot listen on %s: Address already in use" % (name, address), err)

    def test_run_twice(self):
        running = self.start()
        taken = "127.0.0.1:%d" % running.ports["imap"]
        listeners = config()["listeners"]
        listeners[0]["address"] = taken
        code, _, err = self.run_command("run", "--config", self.write(config(listeners=listeners)))
        self.assertEqual(code, 1)
        self.assertIn("error: listener imap: cannot listen on %s: Address already in use" % taken, err)
        code, _, err = self.run_command("run", "--config", self.write(config(admin={"address": running.admin})))
        self.assertEqual(code, 1)
        self.assertIn("error: admin.address: cannot listen on %s: Address already in use" % running.admin, err)

    def test_a_reload_may_rename_a_listener_or_give_its_port_back(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        listeners = config()["listeners"]
        listeners[0]["address"] = address
        running = self.start(listeners=listeners)
        for name in ("renamed", "imap"):
            listeners[0]["name"] = name
            running.write(config(listeners=listeners))
            self.assertEqual(self.run_command("reload", "--config", running.path)[0], 0)
            self.assertEqual(running.status()["listeners"][0],
                             {"name": name, "protocol": "imap", "addresses": [address]})
            with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), 10) as client:
                self.assertTrue(client.recv(100).startswith(b"* OK"))

    def test_run_names_the_log_and_the_socket_that_cannot_be_made(self):
        for changed, text in ((config(log={"sessions": "none/sessions.log"}), "error: log.sessions: "),
                              (config(admin={"socket": "none/admin.sock"}), "error: admin.socket: ")):
            with self.subTest(text=text):
                code, _, err = self.run_command("run", "--config", self.write(changed))
                self.assertEqual(code, 1)
                self.assertRegex(err, re.escape(text) + r".*none/\S+: No such file or directory")

    def test_an_expired_certificate_stops_check_and_reload_but_not_a_start(self):
        subprocess.run(["openssl", "x509", "-req", "-in", "mail.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                        "-CAcreateserial", "-days", "-1", "-extfile", "mail.ext", "-out", "old.crt"],
                       check=True, cwd=self.folder, capture_output=True)
        old = {"certificates": [{"cert": "old.crt", "key": "mail.key"}]}
        running = self.start(tls=old)
        self.assertIn('"event":"certificate_invalid"', running.output())
        self.assertTrue(any("has expired on" in problem for problem in running.status()["problems"]))
        code, _, err = self.run_command("check", "--config", running.path)
        self.assertEqual(code, 1)
        self.assertRegex(err, r"/tls/certificates/0: \S+old\.crt: the certificate has expired on ")
        code, _, err = self.run_command("reload", "--config", running.path)
        self.assertEqual(code, 1)
        self.assertIn("has expired on", err)
        self.assertEqual(running.metric("postern_config_last_reload_successful"), 0)

    def test_a_listener_without_a_session_is_not_opened(self):
        listeners = config()["listeners"]
        listeners.insert(0, {"name": "local", "protocol": "sieve", "address": "127.0.0.1:0", "tls": "none",
                             "route": "t"})
        backends = dict(config()["backends"], sieve1={"host": "127.0.0.1", "sieve": {"port": 9, "tls": "none"}})
        running = self.start(listeners=listeners, backends=backends,
                             routes={"r": [{"pool": "p"}], "t": [{"backend": "sieve1"}]})
        self.assertEqual(running.status()["listeners"][0], {"name": "local", "protocol": "sieve", "addresses": []})
        self.assertIn('"event":"listener_not_opened"', running.output())
        self.assertTrue(any("the listener is not opened" in problem for problem in running.status()["problems"]))
        self.assertIn("listener local (sieve) is not open", self.run_command("status", "--config", running.path)[1])

    # --- the running process ---
    def test_status(self):
        running = self.start()
        code, out, err = self.run_command("status", "--config", running.path)
        self.assertEqual((code, err), (0, ""))
        self.assertIn("listener imap (imap) 127.0.0.1:%d" % running.ports["imap"], out)
        code, out, _ = self.run_command("status", "--json", "--config", running.path)
        self.assertEqual((code, json.loads(out)["listeners"]), (0, running.status()["listeners"]))

    def watch(self, running):
        child = subprocess.Popen([BINARY, "status", "--watch", "--interval", "0.1", "--config", running.path],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.stderr.close)
        return child

    def test_status_watched_until_a_signal(self):
        child = self.watch(self.start())
        first = child.stdout.readline()
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read()
        self.assertEqual((child.wait(20), child.stderr.read()), (0, ""))
        self.assertRegex(first, r"^\d{4}-\S+Z\n$")
        self.assertIn("\nBACKEND ", rest)

    def test_status_watched_until_the_process_ends(self):
        running = self.start()
        child = self.watch(running)
        blocks = 0
        while blocks < 3:  # each has the whole of it
            line = child.stdout.readline()
            self.assertNotEqual(line, "", "it has ended")
            self.assertNotIn("\x1b", line)
            blocks += line.startswith("listener imap (imap) 127.0.0.1:")
        self.assertEqual(running.stop(), 0)
        child.stdout.read()
        self.assertEqual(child.wait(20), 0)
        self.assertIn("error: cannot ask the running postern", child.stderr.read())

    def test_status_watched_without_a_process(self):
        path = self.write(config(admin={"socket": "gone.sock"}))
        self.assertEqual(self.run_command("status", "--watch", "--config", path)[0], 1)
        self.assertEqual(self.run_command("status", "--interval", "1", "--config", path)[0], 2)
        self.assertEqual(self.run_command("status", "--watch", "--interval", "0", "--config", path)[0], 2)

    def test_status_without_a_process(self):
        for admin, where in (({"socket": "gone.sock"}, "gone.sock: No such file or directory"),
                             ({"address": "127.0.0.1:9"}, "127.0.0.1:9: Connection refused")):
            code, out, err = self.run_command("status", "--config", self.write(config(admin=admin)))
            self.assertEqual((code, out), (1, ""))
            self.assertRegex(err, "^error: cannot ask the running postern: .*" + re.escape(where) + " .is it running")
        code, _, err = self.run_command("status", "--config", self.write(config()))
        self.assertEqual(code, 1)
        self.assertIn("names neither admin.socket nor an admin.address", err)

    def test_a_broken_file_does_not_hide_the_process(self):
        running = self.start()
        running.write(config(hostnam="x"))
        self.assertEqual(self.run_command("status", "--config", running.path)[0], 0)
        code, out, err = self.run_command("reload", "--config", running.path)
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, r"^error: \S+postern\.json:\d+:\d+: /hostnam: unknown key \(.*hostname.*\)\n$")
        self.assertEqual(running.metric('postern_config_reloads_total{result="rejected"}'), 1)
        running.write(config())
        code, out, _ = self.run_command("reload", "--config", running.path)
        self.assertEqual((code, out), (0, "reloaded: configuration 2 is in force\n"))

    def test_events_tell_what_operators_did_and_what_became_of_backends(self):
        with socket.socket() as closed:  # nobody listens there
            closed.bind(("127.0.0.1", 0))
            backends = {"mail1": {"host": "127.0.0.1", "imap": {"port": closed.getsockname()[1], "tls": "none"}}}
            running = self.start(backends=backends)

            def events(kind):
                every = json.loads(running.get("/api/v1/events")[1])["events"]
                return [(event["object"], event["text"]) for event in every if event["kind"] == kind]
            running.wait_for(lambda: events("backend_down"), "the event of a dead backend")
            ((name, text),) = events("backend_down")
            self.assertEqual(name, "mail1/imap")
            self.assertRegex(text, "^was up: .*connect refused")
            self.assertEqual(self.run_command("drain", "mail1/imap", "--config", running.path)[0], 0)
            self.assertEqual(self.run_command("weight", "mail1", "50", "--config", running.path)[0], 0)
            running.write(config(hostnam="x"))
            self.assertEqual(self.run_command("reload", "--config", running.path)[0], 1)
            running.write(config(backends=backends))
            self.assertEqual(self.run_command("reload", "--config", running.path)[0], 0)
            self.assertEqual(events("backend_admin_state"), [("mail1/imap", "drain by an operator, was ready")])
            self.assertEqual(events("backend_weight"), [("mail1/imap", "50 by an operator")])
            ((name, text),) = events("reload_rejected")
            self.assertEqual(name, "configuration")
            self.assertRegex(text, r"postern\.json:\d+:\d+: /hostnam: unknown key")
            self.assertEqual(events("reloaded"), [("configuration", "generation 2 is in force")])

    # --- explain ---
    def test_explain(self):
        self.write(b"alice p\nbob mail1\n", "people.map")
        running = self.start(directories={"people": {"type": "file", "path": "people.map"}},
                             routes={"r": [{"name": "far", "client": "192.0.2.0/24", "reject": "550 5.7.1 No"},
                                           {"name": "mapped", "directory": "people"}]})

        def explain(*words):
            return self.run_command("explain", "--config", running.path, "--listener", "imap", *words)
        code, out, err = explain("--user", "Alice")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^ROUTE +RULE +DECIDES +WHY\nr +far +no +client is in none of the networks\n"
                              r"r +mapped +yes +every condition holds\ndirectory people: p, \S+ s old\npool p\n"
                              r"BACKEND +TIER +WEIGHT +STATE +REASON\nmail1 +1 +100 +(up|degraded|down) .*\n"
                              r"(choice: mail1|no choice: .*)\n$")
        code, out, err = explain("--user", "bob", "--client", "198.51.100.7", "--sni", "a.example", "--json")
        self.assertEqual((code, err), (0, ""))
        status, text = running.get("/api/v1/route?listener=imap&user=bob&recipient=&client=198.51.100.7&sni=a.example")
        self.assertEqual(status, 200)
        answer = json.loads(out)
        self.assertEqual([(rule["rule"], rule["matched"]) for rule in answer["rules"]], [("far", False), ("mapped", True)])
        self.assertEqual((answer["directory"]["name"], answer["directory"]["answer"], answer["pool"]),
                         ("people", "mail1", None))
        self.assertEqual([one["backend"] for one in answer["candidates"]], ["mail1"])
        self.assertEqual(set(json.loads(text)), set(answer))
        code, out, err = explain("--user", "alice", "--client", "192.0.2.1")
        self.assertEqual((code, err), (0, ""))
        self.assertTrue(out.endswith("\nno choice: 550 5.7.1 No\n"), out)
        self.assertIn("(no rule matches)", explain("--user", "carol")[1])

    def test_explain_of_what_makes_no_sense(self):
        running = self.start()
        for words, text in ((("--listener", "none", "--user", "a"), 'there is no listener "none"'),
                            (("--listener", "imap"), "user and recipient are missing"),
                            (("--listener", "imap", "--user", "a", "--client", "b"), "client is no IP address")):
            with self.subTest(words=words):
                code, out, err = self.run_command("explain", "--config", running.path, *words)
                self.assertEqual((code, out), (1, ""))
                self.assertIn(text, err)
        self.assertEqual(self.run_command("explain", "--config", running.path, "--user", "a")[0], 2)
        status, text = running.get("/api/v1/route?listener=imap")
        self.assertEqual((status, json.loads(text)["error"]["code"]), (400, "bad_query"))

    def test_changes_need_the_token(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % free.getsockname()[1]
        self.write(b"one\n", "token")
        running = self.start(admin={"address": address, "token_file": "token"})
        reload = ("reload", "--config", running.path)
        self.assertEqual(self.run_command(*reload)[0], 0)
        # A new token is in force after a reload, and not before it.
        self.write(b"two\n", "token")
        code, _, err = self.run_command(*reload)
        self.assertEqual(code, 1)
        self.assertIn("a change needs the bearer token", err)
        running.signal(signal.SIGHUP)
        running.wait_for(lambda: running.metric("postern_config_generation") == 3, "the reload")
        self.assertEqual(self.run_command(*reload)[0], 0)

    def test_endpoints_show_from_the_start(self):
        running = self.start()
        self.assertIn('postern_backend_up{backend="mail1",protocol="imap"} ', running.get("/metrics")[1])
        self.assertIn('postern_event_loop_lag_seconds{worker="0"} ', running.get("/metrics")[1])
        self.assertIn('postern_tls_handshakes_total{side="front",version="TLSv1.3",group="X25519",resumed="false",'
                      'result="ok"} 0\n', running.get("/metrics")[1])


if __name__ == "__main__":
    unittest.main(warnings="ignore")
