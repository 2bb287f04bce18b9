# What operators do and what fails: reload, drain, a wrong configuration, a server killed.
# Each test has a Postern of its own, on the shared servers.
# SPDX-License-Identifier: Apache-2.0
import copy
import os
import signal
import subprocess

import case
from balancer import Balancer
from lab import LOOPBACK, LabError, accepts, wait_until
from world import ALICE, CAROL, WORDS, fresh, message


class OwnPostern(case.Case):
    def setUp(self):
        lab = self.world.lab
        self.config = copy.deepcopy(self.world.balancer.config)
        self.ports = {}
        self.config["listeners"] = [door for door in self.config["listeners"] if "accept_proxy_from" not in door]
        for door in self.config["listeners"]:
            self.ports[door["name"]] = lab.free_port()
            door["address"] = f"{LOOPBACK}:{self.ports[door['name']]}"
        admin = f"{LOOPBACK}:{lab.free_port()}"
        self.config["admin"] = {"address": admin}
        self.prepare()
        self.postern = Balancer(lab, self.world.binary, self.config, fresh("postern").replace(" ", "-"))
        self.postern.start(admin)
        self.addCleanup(self.postern.stop)

    def prepare(self):
        pass

    def imap(self, user=ALICE):
        return self.world.imap(user, port=self.ports["imaps"])


class ReloadTest(OwnPostern):
    def test_a_reload_keeps_an_idle_session_and_applies_the_new_routes(self):
        box = self.imap()
        box.select("INBOX")
        tag = box.idle_start()
        self.config["routes"]["users"].insert(0, {"name": "out", "user": ALICE, "reject": ""})
        self.postern.set_config(self.config)
        self.assertTrue(self.postern.reload())
        with self.assertRaises(Exception):
            self.imap()
        self.assertIn(b"OK", box.idle_done(tag)[-1])
        self.assertEqual(box.noop()[0], "OK")
        box.logout()

    def test_a_wrong_configuration_leaves_the_old_one_running(self):
        for text in ("{ not json", '{ "hostname": 7 }', '{ "listenrs": [] }'):
            self.postern.set_config(text)
            self.assertFalse(self.postern.reload(), text)
            self.assertEqual(self.postern.metric("config_last_reload_successful"), 0)
            self.imap().logout()

    def test_a_certificate_that_cannot_be_read_leaves_the_old_one(self):
        self.config["tls"]["certificates"][0]["cert"] = "/nonexistent.crt"
        self.postern.set_config(self.config)
        self.assertFalse(self.postern.reload())
        self.imap().logout()


class StopTest(OwnPostern):
    def test_sigterm_lets_go_of_an_idle_session_with_bye(self):
        box = self.imap()
        box.select("INBOX")
        box.idle_start()
        self.postern.process.signal(signal.SIGTERM)
        line = box.readline()
        while line and not line.startswith(b"* BYE"):
            line = box.readline()
        self.assertTrue(line.startswith(b"* BYE"), "no BYE")
        self.assertEqual(self.postern.process.wait(20), 0)
        self.assertFalse(accepts(self.ports["imaps"]))

    def test_sigterm_lets_a_message_end(self):
        subject = fresh("drain")
        client = self.world.smtp("mx", port=self.ports["mx"])
        client.ehlo()
        client.mail("x@elsewhere.test")
        client.rcpt(ALICE)
        self.assertEqual(client.docmd("DATA")[0], 354)
        client.send(f"Subject: {subject}\r\n\r\n")
        self.postern.process.signal(signal.SIGTERM)
        wait_until(lambda: not accepts(self.ports["mx"]), "the doors to be closed")
        client.send("the rest\r\n.\r\n")
        self.assertEqual(client.getreply()[0], 250)
        client.close()
        self.world.wait_for(subject)
        self.assertEqual(self.postern.process.wait(20), 0)

    def test_sigint_stops_at_once(self):
        box = self.imap()
        self.postern.process.signal(signal.SIGINT)
        self.assertIsNotNone(self.postern.process.wait(10))
        box.shutdown()


class FailoverTest(OwnPostern):
    def prepare(self):
        lab = self.world.lab
        folder = lab.make_folder(fresh("mail").replace(" ", "-"))
        self.stores = [lab.start_dovecot(fresh("spare").replace(" ", "-"), WORDS, mail_folder=folder)
                       for _ in range(2)]
        for name, store in zip(("store1", "store2"), self.stores):
            store.wait_ready()
            self.addCleanup(store.kill)
            self.config["backends"][name]["imap"]["port"] = store.imap
            self.config["backends"][name]["pop3"]["port"] = store.pop3

    def test_a_store_killed_hard_costs_no_login(self):
        for _ in range(4):
            self.imap(CAROL).logout()
        box = self.imap(CAROL)
        box.append("INBOX", None, None, message(fresh("kept")).encode())
        box.logout()
        self.stores[0].kill()
        for _ in range(8):
            box = self.imap(CAROL)
            self.assertEqual(box.select("INBOX")[1], [b"1"])
            box.logout()
        self.stores[0].start()
        self.stores[0].wait_ready()

        def back_in_use():
            self.imap(CAROL).logout()
            return self.stores[0].log_text().count("Login: user") > before
        before = self.stores[0].log_text().count("Login: user")
        wait_until(back_in_use, "the store to be used again", 15)

    def test_the_death_of_a_store_ends_its_sessions(self):
        boxes = [self.imap(CAROL) for _ in range(2)]  # one on each
        for store in self.stores:
            store.kill()
        for box in boxes:
            box.sock.settimeout(5)
            while box.readline():
                pass
        box = self.world.imap(CAROL, port=self.ports["imaps"], login=False)
        with self.assertRaises(Exception) as refusal:
            box.login(CAROL, WORDS[CAROL])
        self.assertIn("UNAVAILABLE", str(refusal.exception))
        box.shutdown()


class CheckTest(case.Case):
    def check(self, config):
        balancer = Balancer(self.world.lab, self.world.binary, config, fresh("check").replace(" ", "-"))
        return balancer.check()

    def test_the_configuration_of_these_tests_is_good(self):
        self.assertEqual(self.world.balancer.check()[0], 0, self.world.balancer.check()[1])

    def test_every_mistake_is_reported_with_its_place(self):
        code, text = self.check('{\n  "hostname": "localhost",\n  "listeners": [\n'
                                '    { "name": "imaps", "protocol": "imap", "addres": "127.0.0.1:1", "tls": "implict",'
                                ' "route": "nowhere" }\n  ]\n}\n')
        self.assertEqual(code, 1)
        self.assertRegex(text, r"postern\.json:4:\d+: /listeners/0/addres: .*\(.*address")
        self.assertRegex(text, r"postern\.json:4:\d+: /listeners/0/tls: ")

    def test_a_key_that_is_not_the_certificates_is_refused(self):
        config = copy.deepcopy(self.world.balancer.config)
        config["tls"]["certificates"][0]["key"] = config["tls"]["certificates"][1]["key"]
        code, text = self.check(config)
        self.assertEqual(code, 1)
        self.assertIn("/tls/certificates/0", text)

    def test_wrong_usage_ends_with_2(self):
        self.assertEqual(subprocess.run([self.world.binary, "dance"], capture_output=True).returncode, 2)


class MetricsTest(case.Case):
    def test_sessions_and_logins_are_counted_and_logged(self):
        balancer = self.world.balancer
        before = balancer.metric("sessions_total", listener="imaps"), balancer.metric("auth_attempts_total", result="ok")
        self.world.imap().logout()
        wait_until(lambda: balancer.metric("sessions_total", listener="imaps") > before[0], "the session to count")
        self.assertGreater(balancer.metric("auth_attempts_total", result="ok"), before[1])
        rows = balancer.log_lines(event="session", listener="imaps", user=ALICE)
        self.assertTrue(rows)
        self.assertEqual(rows[-1]["backend"], "pair1")
        for word in WORDS.values():
            self.assertNotIn(word, balancer.log_text())

    def test_the_admin_address_answers(self):
        for path in ("/livez", "/readyz", "/metrics", "/api/v1/status"):
            self.assertEqual(self.world.balancer.get(path)[0], 200, path)
