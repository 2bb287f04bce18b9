# Messages in chunks (BDAT), and messages with ends hidden in them, to Postfixes that have no guard of
# their own, with CHUNKING and without, and to a server that takes any LF.LF for the end.
# SPDX-License-Identifier: Apache-2.0
import re
import socket
import threading

import case
from balancer import Balancer
from lab import LOOPBACK, wait_until
from world import ALICE, DOMAIN, WORDS, fresh, message

MODES = ("reject", "normalize", "pass")
ENDS = (b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\n.\r\n\0", b"\0\n.\n")


class Lenient:
    """A server for which a dot between any newlines ends a text; keeps every octet."""
    END = re.compile(rb"(?:\r\n|\n|\r)\.(?:\r\n|\n|\r)")

    def __init__(self):
        self.socket = socket.create_server((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        self.messages, self.texts = [], []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            connection, _ = self.socket.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            connection.sendall(b"220 lenient\r\n")
            rest, text = b"", None
            while piece := connection.recv(65536):
                rest += piece
                while rest:
                    if text is not None:
                        text[0] += rest
                        end = self.END.search(b"\n" + text[0])
                        if not end:
                            rest = b""
                            break
                        self.messages.append(text[0][:max(0, end.start() - 1)])
                        rest, text = text[0][end.end() - 1:], None
                        connection.sendall(b"250 2.0.0 Ok: queued as L1\r\n")
                        continue
                    line, newline, behind = rest.partition(b"\n")
                    if not newline:
                        break
                    rest, verb = behind, line[:4].upper()
                    if verb == b"DATA":
                        text = [b""]
                        self.texts.append(text)
                    connection.sendall({b"EHLO": b"250-lenient\r\n250-8BITMIME\r\n250 PIPELINING\r\n",
                                        b"DATA": b"354 go\r\n", b"QUIT": b"221 bye\r\n"}.get(verb, b"250 2.0.0 Ok\r\n"))


class ChunksCase(case.Case):
    @classmethod
    def setUpClass(cls):
        world, lab = case.world, case.world.lab
        options = dict(domains=[DOMAIN], users=WORDS, store=world.pair1.dovecot)
        no_guard = "smtpd_forbid_bare_newline = no\n"
        cls.chunky = lab.start_postfix(fresh("chunky").replace(" ", "-"), extra=no_guard, **options)
        cls.plain = lab.start_postfix(fresh("plain").replace(" ", "-"), **options,
                                      extra=no_guard + "smtpd_discard_ehlo_keywords = chunking\n")
        cls.lenient = Lenient()
        cls.chunky.wait_ready()
        cls.plain.wait_ready()
        cls.ports, cls.balancers = {}, []
        base = world.config()
        backends = {"chunky": cls.chunky.smtp, "plain": cls.plain.smtp, "lenient": cls.lenient.port}
        for mode in MODES:
            admin = f"{LOOPBACK}:{lab.free_port()}"
            cls.ports.update({(mode, name): lab.free_port() for name in backends})
            balancer = Balancer(lab, world.binary, {
                **{key: base[key] for key in ("hostname", "tls", "users", "limits")}, "workers": 1,
                "listeners": [{"name": name, "protocol": "smtp", "address": f"{LOOPBACK}:{cls.ports[mode, name]}",
                               "tls": "starttls", "route": name} for name in backends],
                "backends": {name: {"host": LOOPBACK, "smtp": {"port": port, "tls": "none"}}
                             for name, port in backends.items()},
                "routes": {name: [{"recipient": f"*@{DOMAIN}", "backend": name}] for name in backends},
                "health": {"relay_check": False}, "smtp": {"bare_newline": mode}, "admin": {"address": admin},
            }, fresh("chunks").replace(" ", "-"))
            balancer.start(admin)
            cls.balancers.append(balancer)

    @classmethod
    def tearDownClass(cls):
        for balancer in cls.balancers:
            balancer.stop()
        cls.chunky.kill()
        cls.plain.kill()

    def envelope(self, port, *options):
        client = self.world.smtp(port=port)
        client.ehlo()
        self.assertEqual(client.mail("x@elsewhere.test", options)[0], 250)
        self.assertEqual(client.rcpt(ALICE)[0], 250)
        return client

    def send_chunks(self, client, *chunks):
        """The reply to the last."""
        for number, chunk in enumerate(chunks, 1):
            client.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if number == len(chunks) else b"") + chunk)
            reply = client.getreply()
        return reply

    def send_data(self, client, text):
        self.assertEqual(client.docmd("DATA")[0], 354)
        client.send(text + b"\r\n.\r\n")
        return client.getreply()

    def body(self, subject):
        self.world.wait_for(subject)
        box = self.world.imap(port=self.world.pair1.imaps)
        box.select("INBOX", readonly=True)
        number = box.search(None, "SUBJECT", f'"{subject}"')[1][0]
        body = box.fetch(number, "(BODY.PEEK[TEXT])")[1][0][1]
        box.logout()
        return body


class ChunkTest(ChunksCase):
    def test_a_message_in_chunks_arrives_unchanged(self):
        lines = [".", "..", ".dot first", "x" * 900, "gr\u00fc\u00df", "", "end"]
        body = "".join(line + "\r\n" for line in lines).encode()
        for name, used in (("chunky", "bdat="), ("plain", " data=")):
            subject = fresh(f"chunks {name}")
            text = message(subject, "").encode() + body
            client = self.envelope(self.ports["reject", name], "BODY=8BITMIME")
            self.assertIn("chunking", client.esmtp_features)
            self.assertEqual(self.send_chunks(client, text[:50], b"", text[50:51], text[51:])[0], 250)
            client.quit()
            self.assertEqual(self.body(subject), body)
            server = getattr(self, name)
            wait_until(lambda: used in server.log_text(), f"{used} in the log of {name}", 30)
            self.assertEqual("bdat=" in server.log_text(), name == "chunky")

    def test_a_group_in_one_packet(self):
        for name in ("chunky", "plain"):
            subject = fresh(f"group {name}")
            text = message(subject, "one\r\n.\r\nQUIT\r\n").encode()
            client = self.world.smtp(port=self.ports["reject", name])
            client.ehlo()
            client.send(b"MAIL FROM:<x@elsewhere.test>\r\nRCPT TO:<%s>\r\nBDAT 10\r\n%sBDAT %d LAST\r\n%sNOOP\r\n" %
                        (ALICE.encode(), text[:10], len(text) - 10, text[10:]))
            self.assertEqual([client.getreply()[0] for _ in range(5)], [250] * 5)
            client.quit()
            self.assertEqual(self.body(subject), b"one\r\n.\r\nQUIT\r\n")

    def test_a_large_message_in_many_chunks(self):
        body = b"".join(b".%d %s\r\n" % (n, b"y" * 60) for n in range(60_000))
        for name in ("chunky", "plain"):
            subject = fresh(f"large {name}")
            text = message(subject, "").encode() + body
            client = self.envelope(self.ports["reject", name])
            chunks = [text[at:at + 60_000] for at in range(0, len(text), 60_000)]
            self.assertEqual(self.send_chunks(client, *chunks, b"")[0], 250)
            client.quit()
            self.assertEqual(self.body(subject), body)

    def test_a_client_that_leaves_in_its_last_chunk_has_sent_nothing(self):
        lost, sent = fresh("lost"), fresh("sent")
        for name in ("chunky", "plain"):
            client = self.envelope(self.ports["reject", name])
            text = message(lost).encode()
            client.send(b"BDAT %d LAST\r\n" % (len(text) + 1) + text)
            client.close()
            client = self.envelope(self.ports["reject", name])
            self.assertEqual(self.send_chunks(client, message(sent).encode())[0], 250)
            client.quit()
        wait_until(lambda: self.world.wait_for(sent)[0] == 2, "what was sent")
        self.assertEqual(self.copies(lost), 0)

    def copies(self, subject):
        box = self.world.imap(port=self.world.pair1.imaps)
        box.select("INBOX", readonly=True)
        found = box.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
        box.logout()
        return len(found)


class SmuggleTest(ChunksCase):
    copies = ChunkTest.copies

    def hidden(self, outer, inner, end):
        return (b"Subject: %s\r\n\r\nhi%sMAIL FROM:<>\r\nRCPT TO:<%s>\r\nDATA\r\nSubject: %s\r\n\r\nbad" %
                (outer.encode(), end, ALICE.encode(), inner.encode()))

    def test_the_servers_have_no_guard_of_their_own(self):
        for server in (self.chunky, self.plain):
            outer, inner = fresh("control"), fresh("hidden")
            client = self.envelope(server.smtp)
            self.send_data(client, self.hidden(outer, inner, b"\n.\r\n"))
            self.world.wait_for(outer)
            self.world.wait_for(inner)
            client.close()

    def test_one_message_arrives_or_none(self):
        for mode in ("reject", "normalize"):
            for name in ("chunky", "plain"):
                for form in ("data", "bdat", "two chunks"):
                    outer, inner = fresh(f"outer {mode}"), fresh("inner")
                    for end in ENDS:
                        client = self.envelope(self.ports[mode, name])
                        text = self.hidden(outer, inner, end)
                        cut = text.index(b"hi") + 3
                        code, words = (self.send_data(client, text) if form == "data" else
                                       self.send_chunks(client, text + b"\r\n") if form == "bdat" else
                                       self.send_chunks(client, text[:cut], text[cut:] + b"\r\n"))
                        where = (mode, name, form, end)
                        self.assertEqual(code, 550 if mode == "reject" else 250, where)
                        if mode == "reject":
                            self.assertTrue(words.startswith(b"5.6.11"), where)
                        self.assertEqual(client.noop()[0], 250, where)
                        client.quit()
                    if mode == "normalize":
                        wait_until(lambda: self.world.wait_for(outer)[0] == len(ENDS), f"the messages of {outer}")
                    self.assertEqual(self.copies(outer), len(ENDS) if mode == "normalize" else 0)
                    self.assertEqual(self.copies(inner), 0, (mode, name, form))

    def test_what_is_passed_in_chunks_ends_nothing(self):
        outer, inner = fresh("passed"), fresh("inner")
        for end in ENDS:
            client = self.envelope(self.ports["pass", "chunky"])
            self.assertEqual(self.send_chunks(client, self.hidden(outer, inner, end) + b"\r\n")[0], 250)
            client.quit()
        wait_until(lambda: self.world.wait_for(outer)[0] == len(ENDS), "what was passed")
        self.assertEqual(self.copies(inner), 0)

    def test_each_octet_is_what_the_mode_promises(self):
        lenient = self.lenient
        for mode in MODES:
            for form in ("data", "bdat"):
                for end in ENDS:
                    before = len(lenient.messages), len(lenient.texts)
                    client = self.envelope(self.ports[mode, "lenient"])
                    text = b"one" + end + b"two"
                    code, _ = (self.send_data(client, text) if form == "data" else
                               self.send_chunks(client, text))
                    where = (mode, form, end)
                    if mode == "reject":
                        self.assertEqual((code, len(lenient.messages)), (550, before[0]), where)
                    elif mode == "normalize":
                        made = re.sub(rb"\r\n|\r|\n", b"\r\n", text).replace(b"\r\n.", b"\r\n..")
                        self.assertEqual((code, lenient.messages[before[0]:]), (250, [made]), where)
                    else:  # as it came; what such a server makes of it is its own affair
                        self.assertEqual(len(lenient.texts), before[1] + 1, where)
                        passed = text if form == "data" else text.replace(b"\r\n.", b"\r\n..")
                        wait_until(lambda: lenient.texts[-1][0].startswith(passed), f"the text of {where}", 30)
                    client.close()
