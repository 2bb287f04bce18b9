# smtp.commit after_data with a real Postfix: it sees nothing of a message before its last dot, and what
# it says of recipients comes back to the sender.
# SPDX-License-Identifier: Apache-2.0
import case
from balancer import Balancer
from lab import LOOPBACK, wait_until
from world import ALICE, BOB, CAROL, DOMAIN, WORDS, fresh, message

NOBODY = f"nobody@{DOMAIN}"


class CommitTest(case.Case):
    @classmethod
    def setUpClass(cls):
        world, lab = case.world, case.world.lab
        cls.server = lab.start_postfix(fresh("commit").replace(" ", "-"), domains=[DOMAIN], users=WORDS,
                                       store=world.pair1.dovecot, xclient="127.0.0.0/8")
        cls.server.wait_ready()
        cls.port, admin = lab.free_port(), f"{LOOPBACK}:{lab.free_port()}"
        base = world.config()
        cls.balancer = Balancer(lab, world.binary, {
            **{key: base[key] for key in ("hostname", "tls", "users", "limits")}, "workers": 1,
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:{cls.port}", "tls": "starttls",
                           "route": "in"}],
            "backends": {"mx": {"host": LOOPBACK, "verify": {"name": "localhost", "ca": lab.ca},
                                "smtp": world.endpoint(cls.server.smtp, "starttls", "xclient")}},
            "routes": {"in": [{"recipient": f"*@{DOMAIN}", "backend": "mx"},
                              {"reject": "550 5.7.1 Relaying denied"}]},
            "health": {"interval": "1h", "relay_check": False},
            "smtp": {"commit": "after_data", "spool_dir": lab.make_folder(fresh("spool").replace(" ", "-"))},
            "admin": {"address": admin},
        }, fresh("commit").replace(" ", "-"))
        cls.balancer.start(admin)
        # The one check that there is.
        wait_until(lambda: cls.connections("disconnect") == 1, "the check to be over")

    @classmethod
    def tearDownClass(cls):
        cls.balancer.stop()
        cls.server.kill()

    @classmethod
    def connections(cls, word="connect"):
        return cls.server.log_text().count(f": {word} from ")

    def envelope(self, *recipients):
        client = self.world.smtp(port=self.port)
        client.ehlo()
        self.assertEqual(client.mail("x@elsewhere.test")[0], 250)
        return client, [client.rcpt(recipient)[0] for recipient in recipients]

    def end(self, client):
        client.send(b"\r\n.\r\n")
        reply = client.getreply()
        client.quit()
        return reply

    def send(self, *recipients):
        """The codes of the recipients, and the reply to the text."""
        client, codes = self.envelope(*recipients)
        self.assertEqual(client.docmd("DATA")[0], 354)
        client.send(message(fresh("commit")).encode())
        return codes, self.end(client)

    def test_the_server_sees_no_connection_before_the_last_dot(self):
        before = self.connections()
        subject = fresh("slow")
        client, codes = self.envelope(ALICE)
        self.assertEqual(codes, [250])
        self.assertEqual(client.docmd("DATA")[0], 354)
        for line in message(subject).splitlines():
            client.send(line.encode() + b"\r\n")
        body = b"a line of a slow client\r\n" * 20_000  # beyond replay_memory
        client.send(body)
        # Postern has read it, so that it is not on its way there either.
        wait_until(lambda: self.balancer.metric("smtp_spool_bytes") > 0, "the text to be kept")
        self.assertEqual(self.connections(), before)
        self.assertEqual(self.end(client)[0], 250)
        wait_until(lambda: self.connections() == before + 1, "one connection in the log")
        self.assertEqual(self.world.wait_for(subject)[0], 1)

    def test_several_recipients_get_one_message(self):
        subject = fresh("several")
        client, codes = self.envelope(ALICE, BOB, CAROL)
        self.assertEqual(codes, [250] * 3)
        self.assertEqual(client.docmd("DATA")[0], 354)
        client.send(message(subject).encode())
        self.assertEqual(self.end(client)[0], 250)
        for user in (ALICE, BOB, CAROL):
            self.assertEqual(self.world.wait_for(subject, user, self.world.pair1)[0], 1)

    def test_a_refused_recipient_is_told_at_the_next_try(self):
        codes, reply = self.send(ALICE, NOBODY, BOB)
        self.assertEqual(codes, [250] * 3)
        self.assertEqual(reply, (451, b"4.1.0 Some recipients were refused, try again to hear which"))
        codes, reply = self.send(ALICE, NOBODY, BOB)
        self.assertEqual(codes, [250, 550, 250])
        self.assertEqual(reply[0], 250)
        # Once.
        codes, reply = self.send(NOBODY)
        self.assertEqual(codes, [250])
        self.assertEqual(reply[0], 550)
        self.assertIn(b"5.1.1", reply[1])

    def test_a_refusal_survives_a_reload(self):
        self.assertEqual(self.send(ALICE, NOBODY)[1][0], 451)
        self.assertTrue(self.balancer.reload())
        self.assertEqual(self.send(ALICE, NOBODY)[0], [250, 550])
