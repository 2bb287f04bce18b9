# Connections to a real Postfix that serve several transactions: whom it takes each for, and whose connection
# goes on to whom.
# SPDX-License-Identifier: Apache-2.0
import email
import smtplib
import subprocess

import case
from balancer import Balancer
from lab import LOOPBACK, wait_until
from world import ALICE, BOB, DOMAIN, WORDS, fresh, message

ONE, TWO = ("127.0.0.8", "one.client.test"), ("127.0.0.9", "two.client.test")


class LegsTest(case.Case):
    @classmethod
    def setUpClass(cls):
        world = case.world
        lab, base = world.lab, world.config()
        cls.plain = lab.start_pair("legs", WORDS, [DOMAIN])
        told, proxied, plain, plain_store = world.pair1, world.pair2.postfix, cls.plain, cls.plain.dovecot
        ports = {"told": (told.smtp, told.submission, "xclient"), "plain": (plain.smtp, plain.submission, "none"),
                 "proxied": (proxied.smtp_proxied, proxied.submission_proxied, "proxy-v2"),
                 "proxied1": (proxied.smtp_proxied, proxied.submission_proxied, "proxy-v1")}
        cls.servers = {"told": world.pair1, "proxied": world.pair2, "proxied1": world.pair2, "plain": cls.plain,
                       "store": cls.plain}
        cls.ports = {(name, protocol): lab.free_port() for name in ports for protocol in ("smtp", "submission")}
        cls.ports["store", "smtp"] = lab.free_port()
        verify = base["backends"]["pair1"]["verify"]
        cls.admin = f"{LOOPBACK}:{lab.free_port()}"
        cls.balancer = Balancer(lab, world.binary, {
            **{key: base[key] for key in ("hostname", "tls", "limits", "timeouts", "drain")},
            "workers": 1,  # each has a store of its own
            "listeners": [{"name": f"{name}-{protocol}", "protocol": protocol, "tls": "starttls", "route": name,
                           "address": f"{LOOPBACK}:{port}"} for (name, protocol), port in cls.ports.items()],
            "backends": {
                "store": {"host": LOOPBACK, "verify": verify, "lmtp": world.endpoint(plain_store.lmtp, "starttls")},
                **{name: {"host": LOOPBACK, "verify": verify, "smtp": world.endpoint(smtp, "starttls", address),
                          "submission": world.endpoint(submission, "starttls", address)}
                   for name, (smtp, submission, address) in ports.items()}},
            "routes": {name: [{"name": "all", "backend": name}] for name in ("store", *ports)},
            "health": {"checks": False, "relay_check": False},
            "smtp": {"legs": {"idle": "1m"}},
        }, "postern-legs")
        socket = cls.balancer.folder + "/admin.sock"
        cls.balancer.set_config({**cls.balancer.config, "admin": {"address": cls.admin, "socket": socket}})
        cls.balancer.start(cls.admin)

    @classmethod
    def tearDownClass(cls):
        cls.balancer.stop()
        cls.plain.postfix.kill()
        cls.plain.dovecot.kill()

    # --- what is done -----------------------------------------------------------------------------

    def client(self, backend, who, user=None):
        source, name = who
        client = smtplib.SMTP("localhost", self.ports[backend, "submission" if user else "smtp"], name, timeout=30,
                              source_address=(source, 0))
        client.starttls(context=self.world.context)
        if user:
            client.login(user, WORDS[user])
        client.ehlo()
        return client

    def send(self, client, to=ALICE, body="Hello.\r\n"):
        subject = fresh("legs")
        client.sendmail("x@elsewhere.test", [to], message(subject, body, to=to))
        return subject

    def visit(self, backend, who, **what):
        client = self.client(backend, who)
        subject = self.send(client, **what)
        client.quit()
        return subject

    def say(self, *words):
        done = subprocess.run([self.world.binary, *words, "--config", self.balancer.path], capture_output=True,
                              text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)

    def connects(self, backend, protocol="smtp"):
        return self.balancer.metric("backend_phase_duration_seconds_count", backend=backend, protocol=protocol,
                                    phase="connect")

    def fetch(self, backend, subject, part, user=ALICE):
        server = self.servers[backend]
        self.world.wait_for(subject, user, server)
        box = self.world.imap(user, port=server.imaps)
        box.select("INBOX", readonly=True)
        number = box.search(None, "SUBJECT", f'"{subject}"')[1][0].split()[0]
        found = box.fetch(number, f"(BODY.PEEK[{part}])")[1][0][1]
        box.logout()
        return found

    def received(self, backend, subject):
        """What the server has written of the client that it took the message from."""
        head = email.message_from_bytes(self.fetch(backend, subject, "HEADER"))
        lines = head.get_all("Received")  # a Postfix hands it on to its Dovecot
        self.assertEqual(len(lines), 1 if backend == "store" else 2, lines)
        return " ".join(lines[-1].split())

    def expect_client(self, backend, subject, who, user=None):
        source, name = who
        line = self.received(backend, subject)
        self.assertTrue(line.startswith(f"from {name} "), line)
        self.assertIn(f"[{source}]", line)
        self.assertIn("with ESMTP", line)
        self.expect_login(backend, line, user)

    def expect_login(self, backend, line, user):
        """Postfix logs the login with the number that it gives to the message."""
        server, number = self.servers[backend], line.split(" id ")[1].split()[0]

        def logged():
            text = getattr(server, "postfix", server).log_text()
            return [row for row in text.splitlines() if f" {number}: client=" in row]
        row = wait_until(logged, f"{number} in the log")[0]
        self.assertEqual(row.partition(" sasl_username=")[2].split(",")[0], user or "", row)

    # --- each server that is told of clients ------------------------------------------------------

    def check_own_legs(self, backend):
        before = self.connects(backend)
        clients = [(who, self.client(backend, who)) for who in (ONE, TWO)]
        sent = [(who, self.send(client)) for _ in range(3) for who, client in clients]
        for _, client in clients:
            client.quit()
        self.assertEqual(self.connects(backend) - before, 2, "a leg of each client")
        for who in (ONE, TWO, ONE):
            client = self.client(backend, who)
            sent += [(who, self.send(client)), (who, self.send(client))]
            client.quit()
        self.assertEqual(self.connects(backend) - before, 5, "in turn: one for each session")
        for who, subject in sent:
            self.expect_client(backend, subject, who)

    def check_logins(self, backend):
        before = self.connects(backend, "submission")
        clients = [(who, user, self.client(backend, who, user)) for who, user in ((ONE, ALICE), (TWO, BOB))]
        sent = [(who, user, self.send(client)) for _ in range(2) for who, user, client in clients]
        for _, _, client in clients:
            client.quit()
        for who, user in ((TWO, ALICE), (ONE, BOB)):
            client = self.client(backend, who, user)
            sent.append((who, user, self.send(client)))
            client.quit()
        self.assertEqual(self.connects(backend, "submission") - before, 4, "one for each login")
        return sent

    def test_xclient(self):
        self.check_own_legs("told")
        for who, user, subject in self.check_logins("told"):
            self.expect_client("told", subject, who, user)

    def test_proxy(self):
        for backend in ("proxied", "proxied1"):
            with self.subTest(backend):
                self.check_own_legs(backend)
                for who, user, subject in self.check_logins(backend):
                    self.expect_client(backend, subject, who, user)

    def test_xclient_tells_who_says_helo(self):
        client = smtplib.SMTP("localhost", self.ports["told", "smtp"], timeout=30, source_address=(ONE[0], 0))
        client.helo(ONE[1])
        subjects = [self.send(client), self.send(client)]
        client.quit()
        for subject in subjects:
            self.assertIn("with SMTP ", self.received("told", subject))

    # --- and one that is not ----------------------------------------------------------------------

    def closed(self):
        """What Postfix says of each connection at its end."""
        return [line for line in self.plain.postfix.log_text().splitlines()
                if ": disconnect from " in line and " quit=1 " in line]

    def close_idle(self):
        """Closes the connection that waits; what Postfix says of it."""
        before = len(self.closed())
        self.assertTrue(self.balancer.reload())
        wait_until(lambda: len(self.closed()) > before, "the connection that waits to be closed")
        return self.closed()[-1]

    def test_a_leg_goes_on_to_other_clients(self):
        self.visit("plain", ONE)
        self.close_idle()
        before = self.connects("plain")
        sent = [(who, self.visit("plain", who)) for who in (ONE, TWO, TWO) * 4]
        self.assertEqual(self.connects("plain") - before, 1)
        # One connection for twelve clients in turn, and seven times another name: Postfix has counted.
        line = self.close_idle()
        for count in (" ehlo=9 ", " mail=12 ", " rcpt=12 ", " data=12 ", " rset=11 "):
            self.assertIn(count, line)
        for (_, name), subject in sent:
            line = self.received("plain", subject)
            self.assertTrue(line.startswith(f"from {name} "), line)
            self.assertIn("[127.0.0.1]", line)

    def test_nothing_of_one_client_reaches_the_next(self):
        body = "".join(f"{i} .dot\r\n.\r\n..{'x' * (i % 90)}\r\n" for i in range(2000))
        self.visit("plain", ONE)
        before = self.connects("plain")
        for leave in (b"RSET\r\n", b"QUIT\r\n", b"NOOP\r\n", b"BDAT 4\r\nhalf"):
            client = self.client("plain", TWO)
            self.assertEqual(client.mail("former@elsewhere.test")[0], 250)
            self.assertEqual(client.rcpt(BOB)[0], 250)
            client.send(leave)
            self.assertIn(client.getreply()[0], (221, 250))
            client.close()
            subject = self.visit("plain", ONE, body=body)
            head = email.message_from_bytes(self.fetch("plain", subject, "HEADER"))
            self.assertEqual(head["Return-Path"], "<x@elsewhere.test>")
            self.assertEqual(self.fetch("plain", subject, "TEXT").decode(), body)
            box = self.world.imap(BOB, port=self.plain.imaps)
            self.assertEqual(box.select("INBOX", readonly=True)[1], [b"0"])
            box.logout()
        # Who left within an envelope or a message has left nothing behind.
        self.assertLess(self.connects("plain") - before, 4)

    def test_a_leg_to_a_store_goes_on_too(self):
        sent = [(who, self.visit("store", who)) for who in (ONE, TWO, TWO, ONE)]
        self.assertEqual(self.connects("store", "lmtp"), 1)
        for (_, name), subject in sent:
            self.assertTrue(self.received("store", subject).startswith(f"from {name} "))

    def test_what_waits_is_closed(self):
        def stop():
            self.balancer.stop()
            self.balancer.start(self.admin)
        for what in (lambda: self.say("drain", "plain"), lambda: self.say("maintenance", "plain"), stop):
            self.visit("plain", ONE)
            self.visit("plain", TWO)
            before = len(self.closed())
            what()
            wait_until(lambda: len(self.closed()) > before, "the connection that waits to be closed")
            self.say("resume", "plain")

    def test_a_leg_never_goes_on_after_a_login(self):
        for _, user, subject in self.check_logins("plain"):
            self.expect_login("plain", self.received("plain", subject), user)

    def test_a_leg_that_the_server_has_closed_is_replaced(self):
        client = self.client("plain", ONE)
        self.send(client)
        client.quit()
        before = self.connects("plain")
        self.plain.postfix.kill()
        self.plain.postfix.start()
        self.plain.postfix.wait_ready()
        client = self.client("plain", TWO)
        subject = self.send(client)
        client.quit()
        self.assertEqual(self.connects("plain") - before, 1)
        self.assertTrue(self.received("plain", subject).startswith(f"from {TWO[1]} "))
