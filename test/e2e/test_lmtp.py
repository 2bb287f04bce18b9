# Mail that goes by LMTP into real Dovecots: by SMTP into two over one mail folder, and from a real
# Postfix that speaks LMTP itself into two with mailboxes of their own.
# SPDX-License-Identifier: Apache-2.0
import smtplib

import case
from balancer import Balancer
from lab import LOOPBACK, wait_until

DOMAIN = "lmtp.test"
WORDS = {f"{name}@{DOMAIN}": f"{name} word" for name in ("ann", "ben", "full")}
ANN, BEN, FULL = WORDS
# What the client is at the store: XCLIENT is believed from here; one user has no room.
EXTRA = """
mail_plugins = $mail_plugins quota
protocol lmtp {
  mail_plugins = $mail_plugins quota
}
plugin {
  quota = maildir:User quota
  quota_rule = *:storage=1M
  quota_grace = 0
}
quota_full_tempfail = yes
"""


class LmtpTest(case.Case):
    """Two stores for all tests; each runs its own Postern."""

    stores = None

    def setUp(self):
        lab = self.world.lab
        if LmtpTest.stores is None:
            first = lab.start_dovecot("lmtp1", WORDS, extra=EXTRA, trusted_networks="127.0.0.0/8")
            second = lab.start_dovecot("lmtp2", WORDS, extra=EXTRA, trusted_networks="127.0.0.0/8",
                                       mail_folder=first.mail)
            LmtpTest.stores = [first, second]
        for store in self.stores:
            store.wait_ready()
        self.start()

    def start(self):
        lab = self.world.lab
        self.mx, admin = lab.free_port(), f"{LOOPBACK}:{lab.free_port()}"
        cert, key = lab.certificate("localhost")
        config = {
            "hostname": "localhost", "workers": 1,
            "tls": {"certificates": [{"cert": cert, "key": key}]},
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:{self.mx}", "tls": "starttls",
                           "route": "in"}],
            "backends": {store.name: {
                "host": LOOPBACK, "verify": {"name": "localhost", "ca": lab.ca},
                "lmtp": {"port": store.lmtp, "tls": "starttls", "client_address": "xclient"}} for store in self.stores},
            "pools": {"stores": {"backends": [store.name for store in self.stores], "storage": "shared",
                                 "balance": "first"}},
            "routes": {"in": [{"recipient": f"*@{DOMAIN}", "pool": "stores"}]},
            "health": {"interval": "1s"}, "admin": {"address": admin}}
        self.balancer = Balancer(lab, self.world.binary, config, name="postern-lmtp")
        code, said = self.balancer.check()
        self.assertEqual((code, "no effect" in said), (0, False), said)
        self.balancer.start(admin)
        self.addCleanup(self.balancer.stop)

    def client(self):
        client = smtplib.SMTP(LOOPBACK, self.mx, timeout=30)
        self.addCleanup(client.close)
        client.ehlo("client.test")
        client.starttls(context=self.world.context)
        client.ehlo("client.test")
        return client

    def send(self, to, subject, size=0):
        """The replies to RCPT, and to the text."""
        client = self.client()
        self.assertEqual(client.mail("sender@elsewhere.test")[0], 250)
        said = [client.rcpt(each) for each in to]
        text = client.data(f"Subject: {subject}\r\n\r\n..dots\r\n" + ("y" * 78 + "\r\n") * size)
        client.quit()
        return said, text

    def subjects(self, user, store=0):
        box = self.world.imap(user, port=self.stores[store].imaps, login=False)
        box.login(user, WORDS[user])
        box.select("INBOX", readonly=True)
        numbers = box.search(None, "ALL")[1][0].split()
        found = [box.fetch(number, "(BODY[])")[1][0][1].decode() for number in numbers]
        box.logout()
        return found

    def test_arrives_whole_and_tells_the_client(self):
        said, text = self.send([ANN], "arrives")
        self.assertEqual((said[0][0], text[0]), (250, 250), (said, text))
        self.assertIn(ANN.encode(), text[1])
        found = [each for each in self.subjects(ANN) if "Subject: arrives" in each]
        self.assertEqual(len(found), 1)
        self.assertIn("\r\n..dots\r\n", found[0])
        # Dovecot writes who brought it: the client, not Postern.
        self.assertIn("from client.test", found[0])

    def test_one_recipient_a_transaction(self):
        said, text = self.send([ANN, BEN], "for two")
        self.assertEqual([code for code, _ in said] + [text[0]], [250, 452, 250], (said, text))
        self.assertEqual(self.send([BEN], "for two")[1][0], 250)
        for user in (ANN, BEN):
            self.assertEqual(len([each for each in self.subjects(user) if "Subject: for two" in each]), 1, user)

    def test_unknown_user_is_the_stores_verdict(self):
        client = self.client()
        client.mail("sender@elsewhere.test")
        code, words = client.rcpt(f"nobody@{DOMAIN}")
        self.assertEqual(code, 550)
        self.assertIn(b"5.1.1", words)
        self.assertEqual(client.rcpt(ANN)[0], 250)
        self.assertEqual(client.data("Subject: behind nobody\r\n\r\n")[0], 250)
        client.quit()

    def test_no_room_behind_the_dot(self):
        said, text = self.send([FULL], "much", size=20000)
        self.assertEqual(said[0][0], 250)
        self.assertEqual(text[0], 452, text)
        self.assertIn(b"4.2.2", text[1])
        self.assertEqual(self.subjects(FULL), [])

    def test_the_other_store_takes_over(self):
        first = self.stores[0]
        first.kill()
        try:
            self.assertEqual(self.send([ANN], "other store")[1][0], 250)
        finally:
            first.start()
            first.wait_ready()
        self.assertEqual(len([each for each in self.subjects(ANN, 1) if "Subject: other store" in each]), 1)

    def test_checks_speak_lmtp(self):
        for store in self.stores:
            wait_until(lambda name=store.name: self.balancer.metric("checks_total", backend=name, protocol="lmtp",
                                                                    result="ok") >= 2, "checks")
            self.assertEqual(self.balancer.metric("checks_total", backend=store.name, result="failed"), 0)
            self.assertEqual(self.balancer.metric("backend_up", backend=store.name, protocol="lmtp"), 1)


HOMES = {f"user{number}@homes.{DOMAIN}": number % 2 for number in range(8)}
HOME_WORDS = {user: "home word" for user in HOMES}


class LmtpListenerTest(case.Case):
    """Postfix speaks LMTP to Postern; each user lives on one of two stores, and each store knows all."""

    def setUp(self):
        lab = self.world.lab
        self.stores = [lab.start_dovecot(f"home{number}", HOME_WORDS) for number in range(2)]
        for store in self.stores:
            store.wait_ready()
            self.addCleanup(store.kill)
        self.door, admin = lab.free_port(), f"{LOOPBACK}:{lab.free_port()}"
        cert, key = lab.certificate("localhost")
        homes = lab.make_folder("lmtp-homes")
        with open(f"{homes}/people.map", "w", encoding="utf-8") as rows:
            rows.writelines(f"{user} home{home}\n" for user, home in HOMES.items())
        config = {
            "hostname": "localhost", "workers": 1,
            "tls": {"certificates": [{"cert": cert, "key": key}]},
            "listeners": [{"name": "lmtp", "protocol": "lmtp", "address": f"{LOOPBACK}:{self.door}", "tls": "none",
                           "route": "in"}],
            "backends": {store.name: {"host": LOOPBACK, "verify": {"name": "localhost", "ca": lab.ca},
                                      "lmtp": {"port": store.lmtp, "tls": "starttls"}} for store in self.stores},
            "directories": {"people": {"type": "file", "path": f"{homes}/people.map"}},
            "routes": {"in": [{"name": "people", "directory": "people"}]},
            "health": {"interval": "1s"}, "admin": {"address": admin}}
        self.balancer = Balancer(lab, self.world.binary, config, name="postern-lmtp-listener")
        code, said = self.balancer.check()
        self.assertEqual((code, "no effect" in said), (0, False), said)
        self.balancer.start(admin)
        self.addCleanup(self.balancer.stop)
        domain = f"homes.{DOMAIN}"
        self.sender = lab.start_postfix("lmtp-sender", transport={domain: f"lmtp:inet:{LOOPBACK}:{self.door}"},
                                        extra="smtpd_relay_restrictions = permit_mynetworks, reject\n"
                                              "mynetworks = 127.0.0.0/8\n")
        self.sender.wait_ready()
        self.addCleanup(self.sender.kill)

    def sender_greets(self):
        try:
            return smtplib.SMTP(LOOPBACK, self.sender.smtp, timeout=5)
        except OSError:
            return None

    def send(self, subject, users):
        # On a busy machine a process of the sender's may be long in coming; nothing has been said to it then.
        with wait_until(self.sender_greets, "the sender's greeting") as client:
            client.sock.settimeout(30)
            text = f"Subject: {subject}\r\n\r\n..dots\r\n"
            self.assertEqual(client.sendmail("sender@elsewhere.test", users, text), {})

    def count(self, user, store, subject):
        box = self.world.imap(user, port=self.stores[store].imaps, login=False)
        box.login(user, HOME_WORDS[user])
        box.select("INBOX", readonly=True)
        number = len(box.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
        box.logout()
        return number

    def wait_at_home(self, subject, users):
        wait_until(lambda: all(self.count(user, HOMES[user], subject) for user in users), f"{subject} to arrive", 60)

    def expect_once(self, subject, users):
        for user in users:
            self.assertEqual([self.count(user, store, subject) for store in range(2)],
                             [int(HOMES[user] == store) for store in range(2)], user)

    def recipients(self, result):
        return self.balancer.metric("smtp_recipients_total", listener="lmtp", result=result)

    def test_everybody_gets_it_once_at_home(self):
        for number in range(3):
            self.send(f"round {number}", list(HOMES))
        for number in range(3):
            self.wait_at_home(f"round {number}", HOMES)
        wait_until(lambda: self.sender.queue_length() == 0, "an empty queue", 60)
        for number in range(3):
            self.expect_once(f"round {number}", HOMES)
        # Nobody had to come again for living elsewhere: Postfix brings all eight in one transaction.
        self.assertEqual(self.recipients("accepted"), 3 * len(HOMES))
        self.assertEqual(self.recipients("deferred_other_home") + self.recipients("rejected"), 0)
        self.assertEqual(self.balancer.metric("smtp_transactions_total", listener="lmtp", reply="2xx"), 3 * 2)

    def test_a_dead_stores_users_wait_and_the_others_do_not(self):
        self.stores[1].kill()
        self.send("half", list(HOMES))
        at_first = [user for user, home in HOMES.items() if home == 0]
        self.wait_at_home("half", at_first)
        self.assertEqual(self.sender.queue_length(), 1)
        self.assertEqual(self.recipients("accepted"), len(at_first))
        self.stores[1].start()
        self.stores[1].wait_ready()
        self.wait_at_home("half", HOMES)
        wait_until(lambda: self.sender.queue_length() == 0, "an empty queue", 60)
        self.expect_once("half", HOMES)
