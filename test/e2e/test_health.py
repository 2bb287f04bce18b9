# Checks, states and an operator's words on real Postfix and Dovecot: killed hard, drained, provoked.
# SPDX-License-Identifier: Apache-2.0
import json
import re
import smtplib
import subprocess
import threading

import case
from balancer import Balancer
from lab import LOOPBACK, wait_until
from world import ALICE, CAROL, DOMAIN, WORDS, fresh, message


class OwnFarm(case.Case):
    """Two Postfixes over one Dovecot, two Dovecots over one mail folder, and a Postern in front, for each test."""

    extra = ""
    health = {}
    smtp = {}

    def setUp(self):
        lab = self.world.lab
        name = lambda what: fresh(what).replace(" ", "-")  # noqa: E731
        folder = lab.make_folder(name("mail"))
        self.stores = [lab.start_dovecot(name("store"), WORDS, mail_folder=folder) for _ in range(2)]
        self.farm = [lab.start_postfix(name("mx"), domains=[DOMAIN], users=list(WORDS), store=self.stores[0],
                                       extra=self.extra) for _ in range(2)]
        for server in self.stores + self.farm:
            self.addCleanup(server.kill)
            server.wait_ready()
        verify = {"name": "localhost", "ca": lab.ca}
        self.ports = {door: lab.free_port() for door in ("mx", "imap")}
        backends = {}
        for number, (postfix, store) in enumerate(zip(self.farm, self.stores), 1):
            backends[f"mx{number}"] = {"host": LOOPBACK, "verify": verify, "smtp": {
                "port": postfix.smtp, "tls": "starttls", "client_address": "none", **self.smtp}}
            backends[f"store{number}"] = {"host": LOOPBACK, "verify": verify,
                                          "imap": {"port": store.imap, "tls": "starttls"}}
        cert, key = lab.certificate("localhost")
        self.config = {
            "hostname": "localhost", "workers": 2, "tls": {"certificates": [{"cert": cert, "key": key}]},
            "listeners": [
                {"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:{self.ports['mx']}", "tls": "none",
                 "route": "inbound"},
                {"name": "imap", "protocol": "imap", "address": f"{LOOPBACK}:{self.ports['imap']}", "tls": "implicit",
                 "route": "users"}],
            "backends": backends,
            "pools": {"mx": {"backends": ["mx1", "mx2"]},
                      "stores": {"backends": ["store1", "store2"], "storage": "shared"}},
            "routes": {"inbound": [{"name": "all", "pool": "mx"}], "users": [{"name": "all", "pool": "stores"}]},
            "limits": {"exempt": ["127.0.0.0/8"]},
            "health": {"interval": "1s", "fast_interval": "200ms", "cooldown": "2s", "slow_start": "2s", **self.health},
        }
        admin = f"{LOOPBACK}:{lab.free_port()}"
        self.postern = Balancer(lab, self.world.binary, self.config, name("postern"))
        self.config["admin"] = {"address": admin, "socket": self.postern.folder + "/admin.sock"}
        self.postern.set_config(self.config)
        self.postern.start(admin)
        self.addCleanup(self.postern.stop)
        for backend in backends:
            wait_until(lambda: self.postern.metric("checks_total", backend=backend, result="ok") >= 1,
                       f"a check of {backend}:\n" + self.postern.log_text()[-2000:])

    def endpoint(self, backend):
        rows = json.loads(self.postern.get("/api/v1/backends")[1])["backends"]
        return next(row for row in rows if row["name"] == backend)["endpoints"][0]

    def wait_state(self, backend, state):
        wait_until(lambda: self.endpoint(backend)["state"] == state,
                   f"{backend} to be {state}:\n" + self.postern.log_text()[-2000:], 30)

    def say(self, *words):
        done = subprocess.run([self.world.binary, *words, "--config", self.postern.path], capture_output=True,
                              text=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def client(self):
        return smtplib.SMTP(LOOPBACK, self.ports["mx"], timeout=60)

    def deliver(self, client, to=ALICE):
        client.sendmail("x@elsewhere.test", [to], message(fresh("health"), to=to))

    def imap(self):
        return self.world.imap(CAROL, port=self.ports["imap"])


class Load:
    """Clients that deliver mail or log in without a pause; what went wrong is kept."""

    def __init__(self, case_, what, number):
        self.errors, self.done, self.stopping = [], 0, threading.Event()
        self.lock = threading.Lock()

        def run():
            while not self.stopping.is_set():
                try:
                    what()
                    with self.lock:
                        self.done += 1
                except Exception as error:  # pylint: disable=broad-except
                    self.errors.append(repr(error))
        self.threads = [threading.Thread(target=run, daemon=True) for _ in range(number)]
        for thread in self.threads:
            thread.start()
        case_.addCleanup(self.stop)

    def wait(self, more):
        before = self.done
        wait_until(lambda: self.done >= before + more, f"{more} more: {self.errors[:3]}")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)


class KillTest(OwnFarm):
    def test_a_postfix_killed_hard_costs_no_client(self):
        unknown = []

        def session():
            with self.client() as client:
                try:
                    self.deliver(client)
                except smtplib.SMTPDataError as error:
                    # Handed over when it died: nobody knows, and the client is told so.
                    if error.smtp_code != 451 or b"4.4.2" not in error.smtp_error:
                        raise
                    unknown.append(error)
        load = Load(self, session, 4)
        load.wait(20)
        self.farm[0].kill()
        load.wait(40)
        self.wait_state("mx1", "down")
        self.assertEqual(self.postern.metric("backend_up", backend="mx1", protocol="smtp"), 0)
        self.assertIn("connect refused", self.endpoint("mx1")["reason"])
        self.assertRegex(self.say("status"), r"mx1 +smtp +\S+ +down +ready .*connection refused")
        self.farm[0].start()
        self.farm[0].wait_ready()
        self.wait_state("mx1", "up")
        before = self.postern.metric("backend_sessions_total", backend="mx1", result="client_quit")
        wait_until(lambda: self.postern.metric("backend_sessions_total", backend="mx1", result="client_quit") > before,
                   "mx1 to be used again")
        load.stop()
        self.assertEqual(load.errors, [])
        self.assertLessEqual(len(unknown), 4)

    def test_a_dovecot_killed_hard_costs_no_login(self):
        load = Load(self, lambda: self.imap().logout(), 4)
        load.wait(20)
        self.stores[0].kill()
        load.wait(40)
        self.wait_state("store1", "down")
        self.stores[0].start()
        self.stores[0].wait_ready()
        self.wait_state("store1", "up")
        load.wait(20)
        load.stop()
        # A session past its login on the killed store ends with it, and says so at LOGOUT.
        errors = [error for error in load.errors if "LOGIN" in error or "refused" in error]
        self.assertEqual(errors, [])
        self.assertLessEqual(len(load.errors), 4)


class OperatorTest(OwnFarm):
    def test_a_drained_store_gets_no_new_work_and_keeps_what_it_has(self):
        logins = lambda: self.stores[0].log_text().count("Login: user")  # noqa: E731
        wait_until(lambda: self.imap() and logins() > 0, "a login at store1")
        box = self.imap()
        while logins() == 0 or self.endpoint("store1")["sessions"] == 0:
            box = self.imap()
        self.say("drain", "store1")
        self.assertEqual(self.endpoint("store1")["admin_state"], "drain")
        self.assertEqual(self.endpoint("store1")["reason"].split(";")[0], "drain by an operator")
        self.assertEqual(self.postern.metric("backend_admin_state", backend="store1", state="drain"), 1)
        before = logins()
        for _ in range(10):
            self.imap().logout()
        self.assertEqual(logins(), before)
        self.assertGreater(self.endpoint("store1")["sessions"], 0)
        self.assertEqual(box.noop()[0], "OK")
        self.assertTrue(self.postern.reload())
        self.assertEqual(self.endpoint("store1")["admin_state"], "drain")
        self.imap().logout()
        self.assertEqual(logins(), before)
        self.say("resume", "store1/imap")
        wait_until(lambda: self.imap().logout() and logins() > before, "store1 to be used again")

    def test_a_session_takes_its_next_message_elsewhere(self):
        with self.client() as client:
            self.deliver(client)
            wait_until(lambda: self.postern.log_lines(event="transaction"), "the first line of the log")
            used = self.postern.log_lines(event="transaction")[0]["backend"]
            self.say("maintenance", used)
            for _ in range(3):
                self.deliver(client)
        wait_until(lambda: len(self.postern.log_lines(event="transaction")) == 4, "the lines of the log")
        rows = self.postern.log_lines(event="transaction")
        self.assertEqual({row["backend"] for row in rows[1:]}, {"mx1", "mx2"} - {used})

    def test_a_weight_is_an_operators_too(self):
        self.assertEqual(self.say("weight", "mx1", "0"), "mx1: weight 0\n")
        self.assertEqual(self.endpoint("mx1")["weight"], 0)
        self.assertEqual(self.endpoint("mx1")["configured_weight"], 100)
        for _ in range(10):
            with self.client() as client:
                self.deliver(client)
        wait_until(lambda: len(self.postern.log_lines(event="transaction")) == 10, "the lines of the log")
        self.assertEqual({row["backend"] for row in self.postern.log_lines(event="transaction")}, {"mx2"})
        status = json.loads(self.say("status", "--json"))
        self.assertEqual({row["name"] for row in status["backends"]}, {"mx1", "mx2", "store1", "store2"})

    def test_what_cannot_be_is_refused(self):
        for words in (("drain", "nobody"), ("drain", "mx1/imap"), ("weight", "mx1", "10001")):
            done = subprocess.run([self.world.binary, *words, "--config", self.postern.path], capture_output=True)
            self.assertEqual(done.returncode, 1, words)


class ProvokedTest(OwnFarm):
    smtp = {"tls": "none"}
    extra = "smtpd_hard_error_limit = 1\nsmtpd_soft_error_limit = 1000\nsmtpd_error_sleep_time = 0"

    def test_a_thousand_times_too_many_errors_take_nothing_away_from_others(self):
        stop = threading.Event()

        def provoke():
            while not stop.is_set():
                try:
                    with self.client() as client:
                        client.ehlo()
                        for _ in range(100):
                            client.send("MAIL FROM:<x@elsewhere.test>\r\n" +
                                        f"RCPT TO:<nobody@{DOMAIN}>\r\n" * 2 + "RSET\r\n")
                            for _ in range(4):
                                client.getreply()
                            if stop.is_set():
                                return
                except (smtplib.SMTPException, OSError):
                    pass
        attacker = threading.Thread(target=provoke, daemon=True)

        def session():
            with self.client() as client:
                self.deliver(client)
        attacker.start()
        self.addCleanup(stop.set)
        load = Load(self, session, 2)
        seen = set()

        def provoked():
            seen.update(self.endpoint(backend)["state"] for backend in ("mx1", "mx2"))
            return self.postern.metric("backend_failures_total", protocol="smtp", kind="tempfail") >= 1000
        wait_until(provoked, "a thousand of them", 120)
        stop.set()
        load.stop()
        self.assertEqual(load.errors, [])
        self.assertGreater(load.done, 20)
        self.assertNotIn("down", seen)
        logs = [postfix.log_text() for postfix in self.farm]
        self.assertGreaterEqual(sum(log.count("too many errors") for log in logs), 1000)


class RelayTest(OwnFarm):
    extra = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\nmynetworks = 127.0.0.0/8"

    def test_a_server_that_trusts_posterns_address_is_named_loudly(self):
        def named():
            problems = json.loads(self.postern.get("/api/v1/status")[1])["problems"]
            return all(any(f"OPEN RELAY: mx{number}/smtp" in problem for problem in problems) for number in (1, 2))
        wait_until(named, "the problems to be named")
        self.assertIn('"event":"open_relay"', self.postern.log_text())


class ToldRelayTest(OwnFarm):
    """The same servers are no danger where they are told who the client is."""

    extra = RelayTest.extra + "\nsmtpd_authorized_xclient_hosts = 127.0.0.0/8"
    smtp = {"client_address": "xclient"}

    def test_a_server_that_is_told_the_client_is_not_named(self):
        for postfix in self.farm:
            wait_until(lambda: "relay-check@www.example.com" in postfix.log_text(), "the stranger to be refused")
        self.assertNotIn("open_relay", self.postern.log_text())


class PoliteTest(OwnFarm):
    health = {"interval": "100ms", "fast_interval": "100ms", "timeout": "60s", "relay_check": False,
              "login": {"user": ALICE, "password": WORDS[ALICE]}, "mail": {"from": "", "to": ALICE}}

    def test_servers_see_nothing_but_connections_that_come_and_go(self):
        for backend in ("mx1", "store1"):
            wait_until(lambda: self.postern.metric("checks_total", backend=backend, result="ok") >= 20,
                       f"checks of {backend}")
            self.assertEqual(self.postern.metric("checks_total", backend=backend, result="failed"), 0,
                             [line for line in self.postern.log_text().splitlines() if "check_failed" in line])
        quiet = re.compile(r"smtpd\[\d+\]: ((dis)?connect from|Anonymous TLS connection established)|"
                           r"[0-9A-F]+: client=|master\[|statistics:|postlogd\[|postfix-script")
        lines = [line for line in self.farm[0].log_text().splitlines() if not quiet.search(line)]
        # The first ones are of the test's own looking whether the port is open.
        self.assertEqual([line for line in lines if "lost connection after CONNECT" not in line], [])
        self.assertLess(len(lines), 4)
        self.assertRegex(self.farm[0].log_text(), r"disconnect from .* ehlo=2 starttls=1 mail=1 rcpt=1 rset=1 quit=1")
        # LMTP and implicit TLS are ports that the test looked at, and no check.
        quiet = re.compile(r"Login: user|Logged out|Dovecot v|starting up|lmtp\(|TLS handshaking")
        lines = [line for line in self.stores[0].log_text().splitlines() if line.strip() and not quiet.search(line)]
        self.assertEqual(lines, [])
