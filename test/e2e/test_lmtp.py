# Mail that comes by SMTP and goes by LMTP into two real Dovecots over one mail folder.
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
