# Whose address real servers see: each way of handing it on, and that a client cannot choose it.
# SPDX-License-Identifier: Apache-2.0
import socket

import case
from lab import wait_until
from world import ALICE, BOB, CLIENT, DAVE, LOOPBACK, WORDS, fresh, message

FORGED = "203.0.113.66"


class HandedOnTest(case.Case):
    def expect(self, server, *words):
        """A line of the server's log that has all of these."""
        def seen():
            return any(all(w in line for w in words) for line in server.log_text().splitlines())
        wait_until(seen, f"a line with {words} in the log of {server.name}", 10)

    def send(self, user, door="mx"):
        subject = fresh("address")
        client = self.world.smtp(door, user if door != "mx" else None, source=CLIENT)
        client.sendmail("x@elsewhere.test", [user], message(subject, to=user))
        client.quit()
        self.world.wait_for(subject, user)

    def test_xclient_to_postfix(self):
        self.send(ALICE)
        self.expect(self.world.pair1.postfix, "client=", f"[{CLIENT}]")

    def test_xclient_to_postfix_submission(self):
        self.send(ALICE, "submissions")
        self.expect(self.world.pair1.postfix, "submission/smtpd", "client=", f"[{CLIENT}]", f"sasl_username={ALICE}")

    def test_proxy_v2_to_postfix(self):
        self.send(BOB)
        self.expect(self.world.pair2.postfix, "client=", f"[{CLIENT}]")
        self.send(BOB, "submission")
        self.expect(self.world.pair2.postfix, "submission/smtpd", "client=", f"[{CLIENT}]", f"sasl_username={BOB}")

    def test_proxy_v1_to_postfix(self):
        self.send(DAVE, "submission")
        self.expect(self.world.pair2.postfix, "submission/smtpd", "client=", f"[{CLIENT}]", f"sasl_username={DAVE}")

    def test_imap_id_to_dovecot(self):
        self.world.imap(ALICE, source=CLIENT).logout()
        self.expect(self.world.pair1.dovecot, "imap-login: Info: Login", ALICE, f"rip={CLIENT}")

    def test_pop3_xclient_to_dovecot(self):
        self.world.pop3(ALICE, source=CLIENT).quit()
        self.expect(self.world.pair1.dovecot, "pop3-login: Info: Login", ALICE, f"rip={CLIENT}")

    def test_proxy_v2_to_dovecot(self):
        self.world.imap(BOB, source=CLIENT).logout()
        self.expect(self.world.pair2.dovecot, "imap-login: Info: Login", BOB, f"rip={CLIENT}")
        self.world.pop3(BOB, source=CLIENT).quit()
        self.expect(self.world.pair2.dovecot, "pop3-login: Info: Login", BOB, f"rip={CLIENT}")

    def test_proxy_v1_to_dovecot(self):
        self.world.imap(DAVE, source=CLIENT).logout()
        self.expect(self.world.pair2.dovecot, "imap-login: Info: Login", DAVE, f"rip={CLIENT}")
        self.world.pop3(DAVE, source=CLIENT).quit()
        self.expect(self.world.pair2.dovecot, "pop3-login: Info: Login", DAVE, f"rip={CLIENT}")

    def test_a_proxy_header_that_comes_in_is_handed_on(self):
        header = f"PROXY TCP4 198.51.100.7 {LOOPBACK} 4711 993\r\n".encode()
        with socket.create_connection((LOOPBACK, self.world.doors["imaps-edge"]), 20) as sock:
            sock.sendall(header)
            tls = self.world.context.wrap_socket(sock, server_hostname="localhost")
            lines = tls.makefile("rb")
            self.assertIn(b"OK", lines.readline())
            word = WORDS[BOB].replace("\\", "\\\\").replace('"', '\\"')
            tls.sendall(f'a LOGIN {BOB} "{word}"\r\n'.encode())
            answer = lines.readline()
            while answer.startswith(b"*"):
                answer = lines.readline()
            self.assertTrue(answer.startswith(b"a OK"), answer)
            tls.sendall(b"b LOGOUT\r\n")
            lines.read()
        self.expect(self.world.pair2.dovecot, "imap-login: Info: Login", BOB, "rip=198.51.100.7")

    def test_a_door_that_wants_a_proxy_header_serves_nobody_without(self):
        with socket.create_connection((LOOPBACK, self.world.doors["mx-edge"]), 20) as sock:
            sock.sendall(b"EHLO client.test\r\n")
            try:
                self.assertEqual(sock.recv(100), b"")
            except ConnectionResetError:
                pass


class ForgedTest(case.Case):
    def tearDown(self):
        for server in (self.world.pair1.postfix, self.world.pair1.dovecot, self.world.pair2.dovecot):
            self.assertNotIn(FORGED, server.log_text(), server.name)

    def test_xclient_of_a_client_is_refused_in_every_phase(self):
        client = self.world.smtp("mx")
        command = f"XCLIENT ADDR={FORGED} NAME=evil.test"
        self.assertGreaterEqual(client.docmd(command)[0], 500)
        client.ehlo()
        self.assertNotIn("xclient", client.esmtp_features)
        self.assertGreaterEqual(client.docmd(command)[0], 500)
        client.mail("x@elsewhere.test")
        self.assertEqual(client.rcpt(ALICE)[0], 250)
        self.assertGreaterEqual(client.docmd(command)[0], 500)
        self.assertGreaterEqual(client.docmd(f"XFORWARD ADDR={FORGED}")[0], 500)
        subject = fresh("forged")
        self.assertEqual(client.data(message(subject))[0], 250)
        self.assertGreaterEqual(client.docmd(command)[0], 500)
        client.close()
        self.world.wait_for(subject)

    def test_xclient_of_a_client_is_refused_after_submission_login(self):
        client = self.world.smtp("submissions", ALICE)
        self.assertGreaterEqual(client.docmd(f"XCLIENT ADDR={FORGED}")[0], 500)
        client.close()

    def test_the_originating_address_in_a_clients_id_goes_nowhere(self):
        box = self.world.imap(login=False)
        box.send(f'i ID ("name" "evil" "x-originating-ip" "{FORGED}" "x-proxy-ttl" "1")\r\n'.encode())
        answer = box.readline()
        while answer.startswith(b"*"):
            answer = box.readline()
        box.login(ALICE, WORDS[ALICE])
        box.logout()

    def test_xclient_of_a_pop3_client_is_refused(self):
        box = self.world.pop3(BOB)
        box.quit()
        with socket.create_connection((LOOPBACK, self.world.doors["pop3s"]), 20) as sock:
            tls = self.world.context.wrap_socket(sock, server_hostname="localhost")
            lines = tls.makefile("rb")
            lines.readline()
            tls.sendall(f"XCLIENT ADDR={FORGED} PORT=1\r\n".encode())
            self.assertTrue(lines.readline().startswith(b"-ERR"))
