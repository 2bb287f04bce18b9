#!/usr/bin/env python3
"""Real clients (Python's imaplib, poplib, smtplib) through a running postern to small servers on loopback."""
# SPDX-License-Identifier: Apache-2.0
import imaplib
import os
import poplib
import select
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import unittest
from types import SimpleNamespace

import backends
from postern import BINARY, Postern, server_tls, temporary_folder
from proxy_case import USERS, ProxyCase


class ProxyTest(ProxyCase):
    # --- IMAP ---
    def test_imap_in_every_tls_mode(self):
        for backend_tls in ("none", "implicit", "starttls"):
            tls = None if backend_tls == "none" else server_tls(self.folder)
            server = self.server(backends.imap, "mail1", tls=tls, starttls=backend_tls == "starttls")
            self.start("imap", [server], backend_tls=backend_tls)
            for mode in ("implicit", "starttls"):
                for user, password in USERS.items():
                    with self.subTest(front=mode, back=backend_tls, user=user):
                        client = self.imap(mode)
                        self.assertEqual(client.login(user, password)[0], "OK")
                        self.assertEqual(client.noop()[0], "OK")
                        client.logout()
            self.postern.stop()

    def test_imap_authenticate_plain(self):
        self.start("imap", [self.server(backends.imap, "mail1")])
        client = self.imap()
        self.assertEqual(client.authenticate("PLAIN", lambda _: b"\0alice\0secret")[0], "OK")
        client.logout()

    def test_imap_literals_large_fetch_and_append(self):
        server = self.server(backends.imap, "mail1")
        self.start("imap", [server])
        client = self.imap()
        client.login("alice", "secret")
        client.select()
        data = client.fetch("1", "(BODY[])")[1][0][1]
        self.assertEqual(data, b"mail1\r\n" * 100000)
        self.assertEqual(client.append("INBOX", None, None, b"Subject: x\r\n\r\nhello\r\n")[0], "OK")
        client.logout()

    def test_imap_wrong_password_is_final_and_told(self):
        first, second = self.server(backends.imap, "mail1"), self.server(backends.imap, "mail2")
        self.start("imap", [first, second])
        client = self.imap()
        with self.assertRaises(imaplib.IMAP4.error) as caught:
            client.login("alice", "wrong")
        self.assertIn("AUTHENTICATIONFAILED", str(caught.exception))
        logins = [line for s in (first, second) for line in s.seen if "LOGIN" in line or "AUTHENTICATE" in line]
        self.assertEqual(len(logins), 1)
        self.assertEqual(client.login("alice", "secret")[0], "OK")
        client.logout()

    def test_imap_faults_go_to_the_next_backend(self):
        for fault in ("close", "reset", "hang", "garbage", "busy", "tempfail"):
            with self.subTest(fault=fault):
                bad = self.server(backends.imap, "mail1", fault=fault)
                good = self.server(backends.imap, "mail2")
                self.start("imap", [bad, good])
                for _ in range(4):
                    client = self.imap()
                    self.assertEqual(client.login("alice", "secret")[0], "OK")
                    client.logout()
                self.postern.stop()

    def test_imap_without_a_backend_is_unavailable_and_the_session_stays(self):
        self.start("imap", [self.server(backends.imap, "mail1", fault="busy")])
        client = self.imap()
        for _ in range(2):
            with self.assertRaises(imaplib.IMAP4.error) as caught:
                client.login("alice", "secret")
            self.assertIn("UNAVAILABLE", str(caught.exception))
        client.logout()

    def test_imap_backend_certificate_is_verified(self):
        server = self.server(backends.imap, "mail1", tls=server_tls(self.folder, "other"))
        self.start("imap", [server], backend_tls="implicit")
        client = self.imap()
        with self.assertRaises(imaplib.IMAP4.error) as caught:
            client.login("alice", "secret")
        self.assertIn("UNAVAILABLE", str(caught.exception))
        self.assertFalse(any("secret" in line for line in server.seen))
        client.logout()

    def test_imap_no_login_in_clear(self):
        server = self.server(backends.imap, "mail1")
        self.start("imap", [server])
        client = imaplib.IMAP4("127.0.0.1", self.postern.ports["imap-starttls"])
        self.assertIn("LOGINDISABLED", client.capabilities)
        with self.assertRaises(imaplib.IMAP4.error):
            client.login("alice", "secret")
        client.logout()
        self.assertFalse(any("secret" in line for line in server.seen))

    def test_sni_chooses_the_certificate(self):
        self.start("imap", [self.server(backends.imap, "mail1")])
        context = ssl.create_default_context(cafile=os.path.join(self.folder, "ca.pem"))
        for name in ("mail.example.com", "other.example.com"):
            raw = socket.create_connection(("127.0.0.1", self.postern.ports["imap-implicit"]))
            with context.wrap_socket(raw, server_hostname=name) as client:
                self.assertIn(("DNS", name), client.getpeercert()["subjectAltName"])

    def test_reload_keeps_idle_sessions_and_a_bad_one_changes_nothing(self):
        server = self.server(backends.imap, "mail1")
        postern = self.start("imap", [server])
        client = self.imap()
        client.login("alice", "secret")
        postern.signal(signal.SIGHUP)
        postern.wait_for(lambda: postern.metric("postern_config_generation") == 2, "the reload")
        self.assertEqual(client.noop()[0], "OK")
        with open(postern.path, "a") as file:
            file.write("}")
        postern.signal(signal.SIGHUP)
        postern.wait_for(lambda: postern.metric("postern_config_last_reload_successful") == 0, "the refusal")
        self.assertEqual(postern.metric("postern_config_generation"), 2)
        self.assertEqual(client.noop()[0], "OK")
        self.assertEqual(self.imap().login("alice", "secret")[0], "OK")
        client.logout()

    def test_term_drains_with_bye(self):
        server = self.server(backends.imap, "mail1")
        postern = self.start("imap", [server], drain={"spread": "0s", "deadline": "20s"})
        client = self.imap()
        client.login("alice", "secret")
        postern.signal(signal.SIGTERM)
        with self.assertRaises((imaplib.IMAP4.abort, OSError)):
            for _ in range(50):
                client.noop()
        self.assertEqual(postern.process.wait(20), 0)

    def test_drain_is_spread(self):
        postern = self.start("imap", [self.server(backends.imap, "mail1")], drain={"spread": "60s", "deadline": "90s"})
        clients = [self.imap() for _ in range(12)]
        for client in clients:
            client.login("alice", "secret")
        postern.signal(signal.SIGTERM)
        told = select.select([client.sock for client in clients], [], [], 30)[0]
        self.assertGreater(len(told), 0)
        told = select.select([client.sock for client in clients], [], [], 0)[0]
        self.assertLess(len(told), len(clients))
        self.assertIn(b"* BYE", told[0].recv(1000))
        self.assertIsNone(postern.process.poll())

    def test_drain_is_cut_at_its_deadline(self):
        server = self.server(backends.pop3, "mail1")
        postern = self.start("pop3", [server], drain={"spread": "0s", "deadline": "3s"}, health={"interval": "60s"})
        checks = 'postern_checks_total{backend="mail1",protocol="pop3",result="ok"}'
        postern.wait_for(lambda: postern.metric(checks) == 1, "the first check, whose QUIT is not the client's")
        client = self.pop3()
        client.user("alice")
        client.pass_("secret")
        client.dele(1)
        postern.signal(signal.SIGTERM)
        postern.wait_for(lambda: '"event":"draining"' in postern.output(), "the drain")
        self.assertTrue(client.noop().startswith(b"+OK"))  # between DELE and QUIT nothing is said
        self.assertEqual(client.file.read(), b"")  # waits for the end
        self.assertEqual(postern.process.wait(20), 0)
        self.assertIn('"event":"drain_deadline"', postern.output())
        self.assertEqual(server.seen[-2:], ["DELE 1", "NOOP"])  # no QUIT: nothing is deleted

    def test_sessions_are_counted_and_logged(self):
        postern = self.start("imap", [self.server(backends.imap, "mail1")])
        client = self.imap()
        client.login("alice", "secret")
        client.logout()
        ended = 'postern_sessions_total{listener="imap-implicit",protocol="imap",result="client_quit"}'
        postern.wait_for(lambda: postern.metric(ended) == 1, "the session's end")
        postern.wait_for(lambda: postern.sessions(), "the session's line")
        line = postern.sessions()[-1]
        self.assertEqual((line["user"], line["backend"], line["result"]), ("alice", "mail1", "client_quit"))
        self.assertEqual(line["tls_version"], "TLSv1.3")
        self.assertEqual(postern.metric('postern_backend_sessions_active{backend="mail1",protocol="imap"}'), 0)
        self.assertEqual(
            postern.metric('postern_backend_phase_duration_seconds_count{backend="mail1",protocol="imap",phase="login"}'),
            1)

    def test_two_posterns_use_the_best_group_that_the_library_has(self):
        text = subprocess.run([BINARY, "version"], check=True, capture_output=True, text=True).stdout
        best = "X25519" if "without X25519MLKEM768" in text else "X25519MLKEM768"
        for mode in ("implicit", "starttls"):
            with self.subTest(mode=mode), temporary_folder() as folder:
                for name in ("ca.pem", "backend.crt", "backend.key"):
                    shutil.copy(os.path.join(self.folder, name), folder)
                server = self.server(backends.imap, "mail1")
                inner = Postern(folder, {
                    "listeners": [{"name": "imap", "protocol": "imap", "address": "127.0.0.1:0", "tls": mode, "route": "r"}],
                    "tls": {"certificates": [{"cert": "backend.crt", "key": "backend.key"}]},
                    "backends": {"mail1": {"host": "127.0.0.1", "imap": {"port": server.port, "tls": "none"}}},
                    "pools": {"p": {"backends": ["mail1"], "storage": "shared"}},
                    "routes": {"r": [{"pool": "p"}]}})
                try:
                    outer = self.start("imap", [SimpleNamespace(name="inner", port=inner.ports["imap"])], backend_tls=mode)
                    client = self.imap()
                    self.assertEqual(client.login("alice", "secret")[0], "OK")
                    client.logout()
                    for postern, side in ((outer, "back"), (inner, "front")):
                        ok = [line for line in postern.get("/metrics")[1].splitlines()
                              if line.startswith('postern_tls_handshakes_total{side="%s"' % side)
                              and 'result="ok"' in line and not line.endswith(" 0")]
                        self.assertTrue(ok)
                        for line in ok:
                            self.assertIn('version="TLSv1.3",group="%s"' % best, line)
                    self.assertEqual(outer.stop(), 0)
                finally:
                    self.assertEqual(inner.stop(), 0, inner.output()[-3000:])

    # --- POP3 ---
    def test_pop3_in_every_tls_mode(self):
        for backend_tls in ("none", "implicit", "starttls"):
            tls = None if backend_tls == "none" else server_tls(self.folder)
            server = self.server(backends.pop3, "mail1", tls=tls, starttls=backend_tls == "starttls")
            self.start("pop3", [server], backend_tls=backend_tls)
            for mode in ("implicit", "starttls"):
                for user, password in USERS.items():
                    with self.subTest(front=mode, back=backend_tls, user=user):
                        client = self.pop3(mode)
                        client.user(user)
                        client.capa()
                        self.assertTrue(client.pass_(password).startswith(b"+OK"))
                        self.assertEqual(client.retr(1)[1], [b"mail1"])
                        client.quit()
            self.postern.stop()

    def test_pop3_faults_go_to_the_next_backend(self):
        for fault in ("close", "busy", "tempfail", "hang"):
            with self.subTest(fault=fault):
                bad = self.server(backends.pop3, "mail1", fault=fault)
                self.start("pop3", [bad, self.server(backends.pop3, "mail2")])
                for _ in range(3):
                    client = self.pop3()
                    client.user("alice")
                    self.assertTrue(client.pass_("secret").startswith(b"+OK"))
                    client.quit()
                self.postern.stop()

    def test_pop3_wrong_password(self):
        self.start("pop3", [self.server(backends.pop3, "mail1")])
        client = self.pop3()
        client.user("alice")
        with self.assertRaises(poplib.error_proto):
            client.pass_("wrong")
        client.user("alice")
        client.pass_("secret")
        client.quit()

    # --- SMTP and submission ---
    def test_smtp_in_every_tls_mode(self):
        for backend_tls in ("none", "implicit", "starttls"):
            tls = None if backend_tls == "none" else server_tls(self.folder)
            server = self.server(backends.smtp, "mx1", passwords={}, tls=tls, starttls=backend_tls == "starttls")
            self.start("smtp", [server], backend_tls=backend_tls)
            for mode in ("implicit", "starttls"):
                with self.subTest(front=mode, back=backend_tls):
                    client = self.smtp("smtp", mode)
                    for number in range(3):
                        refused = client.sendmail("a@example.org", ["b@example.com", "nobody@example.com"],
                                                  "Subject: %d\r\n\r\n.dot\r\n" % number)
                        self.assertEqual(list(refused), ["nobody@example.com"])
                    client.quit()
            self.assertEqual(len(server.messages), 6)
            self.assertEqual(server.messages[0][2], b"Subject: 0\r\n\r\n..dot\r\n")
            self.postern.stop()

    def test_submission_needs_a_login(self):
        server = self.server(backends.smtp, "sub1")
        self.start("submission", [server])
        for mode in ("implicit", "starttls"):
            client = self.smtp("submission", mode)
            client.ehlo()
            self.assertEqual(client.mail("a@example.com")[0], 530)
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                client.login("alice", "wrong")
            client.login("alice", "secret")
            client.sendmail("a@example.com", ["b@example.org"], "Subject: x\r\n\r\nhello\r\n")
            client.quit()
        self.assertEqual(len(server.messages), 2)

    def test_smtp_faults_move_the_transaction(self):
        for fault in ("close", "busy", "hang", "tempfail"):
            with self.subTest(fault=fault):
                bad = self.server(backends.smtp, "mx1", passwords={}, fault=fault)
                good = self.server(backends.smtp, "mx2", passwords={})
                self.start("smtp", [bad, good])
                client = self.smtp()
                body = "Subject: x\r\n\r\n" + "line\r\n" * 5000
                for _ in range(4):
                    client.sendmail("a@example.org", ["b@example.com"], body)
                client.quit()
                self.assertEqual(len(good.messages), 4)
                self.assertEqual({message[2] for message in good.messages}, {body.encode()})
                self.postern.stop()

    def test_smtp_a_long_message_moves_from_its_spool_file(self):
        spool = os.path.join(self.folder, "spool")
        os.makedirs(spool, exist_ok=True)
        bad = self.server(backends.smtp, "mx1", passwords={}, fault="die_late_in_data")
        good = self.server(backends.smtp, "mx2", passwords={})
        self.start("smtp", [bad, good], smtp={"spool_dir": "spool", "replay_memory": "64KiB"})
        client = self.smtp()
        body = "Subject: x\r\n\r\n" + "".join("line %d\r\n" % i for i in range(650000))
        for _ in range(2):
            client.sendmail("a@example.org", ["b@example.com"], body)
        client.quit()
        self.assertIn("DATA", bad.seen)
        self.assertEqual([message[2] == body.encode() for message in good.messages], [True] * 2)
        self.assertEqual(os.listdir(spool), [])
        for reason in ("too_long", "full", "disk"):
            self.assertEqual(self.postern.metric('postern_smtp_copies_lost_total{reason="%s"}' % reason), 0)
        self.postern.wait_for(lambda: self.postern.metric("postern_smtp_spool_bytes") == 0, "no file to be left")

    def test_smtp_a_long_message_needs_no_disk(self):
        good = self.server(backends.smtp, "mx1", passwords={})
        self.start("smtp", [good], smtp={"spool_dir": "nowhere", "replay_memory": "64KiB"})
        client = self.smtp()
        # More than may wait for the disk: the end is not there before its failure is known.
        body = "Subject: x\r\n\r\n" + "line\r\n" * 200000
        client.sendmail("a@example.org", ["b@example.com"], body)
        client.quit()
        self.assertEqual(good.messages[0][2], body.encode())
        self.assertEqual(self.postern.metric('postern_smtp_copies_lost_total{reason="disk"}'), 1)
        self.assertIn("spool_failed", self.postern.output())

    def test_smtp_unknown_outcome_is_451_and_not_repeated(self):
        servers = [self.server(backends.smtp, n, passwords={}, fault="die_at_dot") for n in ("mx1", "mx2")]
        self.start("smtp", servers)
        client = self.smtp()
        with self.assertRaises(smtplib.SMTPDataError) as caught:
            client.sendmail("a@example.org", ["b@example.com"], "Subject: x\r\n\r\nhello\r\n")
        self.assertEqual(caught.exception.smtp_code, 451)
        seen = [line for s in servers for line in s.seen if line.upper() == "DATA"]
        self.assertEqual(len(seen), 1)


if __name__ == "__main__":
    unittest.main(warnings="ignore")
