# What happens inside sessions: payloads, IDLE, COMPRESS, refusals, certificates by name.
# SPDX-License-Identifier: Apache-2.0
import hashlib
import imaplib
import os
import poplib
import smtplib
import socket
import ssl
import zlib

import case
from world import ALICE, BOB, CAROL, LOOPBACK, WORDS, fresh, message


class ImapSessionTest(case.Case):
    needs_postern = False

    def test_append_with_a_literal_and_fetch_it_back_unchanged(self):
        body = message(fresh("literal"), "".join(f"line {n}: {'x' * (n % 70)}\r\n" for n in range(200))).encode()
        for door in ("imap", "imaps"):
            box = self.world.imap(door=door)
            answer = box.append("INBOX", None, None, body)
            uid = answer[1][0].split(b"]")[0].split()[-1]
            box.select("INBOX")
            self.assertEqual(box.uid("FETCH", uid, "(BODY.PEEK[])")[1][0][1], body)
            box.logout()

    def test_twenty_mebibytes_pass_unchanged_both_ways(self):
        line = os.urandom(36).hex().encode() + b"\r\n"
        body = message(fresh("large")).encode() + line * (20 * 1024 * 1024 // len(line))
        box = self.world.imap()
        box.append("INBOX", None, None, body)
        box.select("INBOX")
        number = box.search(None, "LARGER", str(19 * 1024 * 1024))[1][0].split()[-1]
        data = box.fetch(number, "(BODY.PEEK[])")[1][0][1]
        self.assertEqual(hashlib.sha256(data).digest(), hashlib.sha256(body).digest())
        box.store(number, "+FLAGS", "\\Deleted")
        box.expunge()
        box.logout()

    def test_idle_tells_of_a_message_that_comes_in_meanwhile(self):
        box = self.world.imap()
        box.select("INBOX")
        tag = box.idle_start()
        other = self.world.imap(port=self.world.pair1.imaps)
        other.append("INBOX", None, None, message(fresh("idle")).encode())
        other.logout()
        self.assertIn(b"EXISTS", box.readline())
        self.assertIn(b"OK", box.idle_done(tag)[-1])
        box.logout()

    def test_capabilities_come_after_the_login_and_name_the_backends(self):
        box = self.world.imap()
        names = box.capability()[1][0].split()
        self.assertIn(b"UIDPLUS", names)
        self.assertIn(b"IDLE", names)
        self.assertFalse([n for n in names if n.startswith(b"AUTH=") or n in (b"STARTTLS", b"LOGINDISABLED")])
        box.logout()

    def test_compress_passes_through(self):
        box = self.world.imap()
        self.assertIn(b"COMPRESS=DEFLATE", box.capability()[1][0])
        box.send(b"c1 COMPRESS DEFLATE\r\n")
        self.assertTrue(box.readline().startswith(b"c1 OK"))
        squeeze, stretch = zlib.compressobj(9, zlib.DEFLATED, -15), zlib.decompressobj(-15)
        box.send(squeeze.compress(b"c2 NOOP\r\n") + squeeze.flush(zlib.Z_SYNC_FLUSH))
        answer = b""
        while not answer.endswith(b"\r\n"):
            answer += stretch.decompress(box.sock.recv(4096))
        self.assertTrue(answer.startswith(b"c2 OK"), answer)
        box.shutdown()

    def test_authenticate_plain_with_and_without_an_initial_response(self):
        token = f"\0{ALICE}\0{WORDS[ALICE]}".encode()
        box = self.world.imap(login=False)
        self.assertEqual(box.authenticate("PLAIN", lambda _: token)[0], "OK")
        box.logout()
        box = self.world.imap(login=False)
        import base64
        box.send(b"a1 AUTHENTICATE PLAIN " + base64.b64encode(token) + b"\r\n")
        answer = box.readline()
        while answer.startswith(b"*"):
            answer = box.readline()
        self.assertTrue(answer.startswith(b"a1 OK"), answer)
        box.shutdown()


class RefusalTest(case.Case):
    needs_postern = False

    def test_a_wrong_password_is_refused_in_each_protocol(self):
        box = self.world.imap(login=False)
        with self.assertRaises(imaplib.IMAP4.error) as refusal:
            box.login(ALICE, "wrong")
        self.assertIn("AUTHENTICATIONFAILED", str(refusal.exception))
        self.assertEqual(box.login(ALICE, WORDS[ALICE])[0], "OK")  # the session goes on
        box.logout()
        pop = poplib.POP3_SSL("localhost", self.world.doors["pop3s"], context=self.world.context, timeout=20)
        pop.user(ALICE)
        with self.assertRaises(poplib.error_proto):
            pop.pass_("wrong")
        pop.close()
        for door in ("submission", "submissions"):
            client = self.world.smtp(door)
            with self.assertRaises(smtplib.SMTPAuthenticationError) as refusal:
                client.login(ALICE, "wrong")
            self.assertEqual(refusal.exception.smtp_code, 535)
            client.close()

    def test_submission_wants_a_login_before_mail(self):
        client = self.world.smtp("submissions")
        client.ehlo()
        code, text = client.mail("x@elsewhere.test")
        if code == 250:  # Postfix itself waits for the recipient
            code, text = client.rcpt("y@elsewhere.test")
        self.assertGreaterEqual(code, 500, text)
        client.close()

    def test_the_mx_relays_for_nobody(self):
        client = self.world.smtp("mx")
        client.ehlo()
        self.assertNotIn("auth", client.esmtp_features)
        client.mail("x@elsewhere.test")
        code, text = client.rcpt("y@elsewhere.test")
        self.assertGreaterEqual(code, 450, text)
        client.close()


class BeforeTlsTest(case.Case):
    def test_login_is_disabled_before_tls(self):
        with socket.create_connection((LOOPBACK, self.world.doors["imap"]), 20) as sock:
            lines = sock.makefile("rb")
            lines.readline()
            sock.sendall(b"a1 CAPABILITY\r\n")
            self.assertIn(b"LOGINDISABLED", lines.readline())
            lines.readline()
            sock.sendall(b"a2 LOGIN alice@example.test secret\r\n")
            answer = lines.readline()
            while answer.startswith(b"*"):
                answer = lines.readline()
            self.assertTrue(answer.startswith(b"a2 NO"), answer)


class HomeTest(case.Case):
    def test_an_unknown_user_reads_like_a_wrong_password(self):
        said = []
        for user in (ALICE, "nobody@example.test"):
            box = self.world.imap(login=False)
            with self.assertRaises(imaplib.IMAP4.error) as refusal:
                box.login(user, "wrong")
            said.append(str(refusal.exception))
            box.shutdown()
        self.assertEqual(said[0], said[1])

    def test_each_user_is_at_home_and_nowhere_else(self):
        for user, home, other in ((ALICE, self.world.pair1, self.world.pair2),
                                  (BOB, self.world.pair2, self.world.pair1)):
            subject = fresh("home")
            box = self.world.imap(user)
            box.append("INBOX", None, None, message(subject).encode())
            box.logout()
            _, at_home = self.world.wait_for(subject, user, home)
            self.assertEqual(at_home(), 1)
            box = self.world.imap(user, port=other.imaps)
            box.select("INBOX", readonly=True)
            self.assertEqual(box.search(None, "SUBJECT", f'"{subject}"')[1], [b""])
            box.logout()

    def test_carol_reaches_both_stores(self):
        for door in ("imap", "imaps", "pop3", "pop3s"):
            for _ in range(2):
                box = self.world.imap(CAROL, door) if door.startswith("imap") else self.world.pop3(CAROL, door)
                box.logout() if door.startswith("imap") else box.quit()
        for store in (self.world.store1, self.world.store2):
            self.assertIn(CAROL, store.log_text())


class CertificateTest(case.Case):
    def names(self, sock, server_name):
        with self.world.context.wrap_socket(sock, server_hostname=server_name) as tls:
            self.assertIn(tls.version(), ("TLSv1.2", "TLSv1.3"))
            return [value for kind, value in tls.getpeercert()["subjectAltName"] if kind == "DNS"]

    def connect(self, door):
        return socket.create_connection((LOOPBACK, self.world.doors[door]), 20)

    def test_the_name_asked_for_chooses_the_certificate_with_implicit_tls(self):
        for name in ("localhost", "other.test"):
            for door in ("imaps", "pop3s", "submissions"):
                self.assertEqual(self.names(self.connect(door), name), [name], door)

    def test_the_name_asked_for_chooses_the_certificate_with_starttls(self):
        words = {"imap": (b"a STARTTLS\r\n", b"a OK"), "pop3": (b"STLS\r\n", b"+OK"),
                 "mx": (b"STARTTLS\r\n", b"220"), "submission": (b"STARTTLS\r\n", b"220")}
        for name in ("localhost", "other.test"):
            for door, (command, yes) in words.items():
                sock = self.connect(door)
                lines = sock.makefile("rb", 0)
                lines.readline()
                if door in ("mx", "submission"):
                    sock.sendall(b"EHLO client.test\r\n")
                    while lines.readline()[3:4] == b"-":
                        pass
                sock.sendall(command)
                self.assertTrue(lines.readline().startswith(yes), door)
                self.assertEqual(self.names(sock, name), [name], door)

    def test_tls_1_1_is_refused(self):
        old = ssl.create_default_context(cafile=self.world.lab.ca)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            old.wrap_socket(self.connect("imaps"), server_hostname="localhost")
