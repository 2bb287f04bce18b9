#!/usr/bin/env python3
"""tcp listeners of a running postern: plain relay, TLS that ends there, TLS passed on by name."""
# SPDX-License-Identifier: Apache-2.0
import os
import select
import signal
import socket
import ssl
import unittest

import backends
from postern import Postern, server_tls
from proxy_case import ProxyCase


class Echo(backends.Conversation):
    """Greets with its name, says back each line, ends at "quit"; a PROXY header is kept."""

    def run(self):
        self.say(self.server.name)
        while True:
            line = self.line()
            if line == "quit":
                return
            self.say(line)


class Counted(Echo):
    """Says nothing before its client has closed its side; then, how many bytes came."""

    def run(self):
        count = 0
        while piece := self.connection.recv(65536):
            count += len(piece)
        self.connection.sendall(b"%d\r\n" % count)


class Speaker(Echo):
    """Says much, then closes its side, then waits for its client's end."""
    SIZE = 20_000_000

    def run(self):
        self.connection.sendall(b"y" * self.SIZE)
        self.connection.shutdown(socket.SHUT_WR)
        while self.connection.recv(65536):
            pass


class SlowHandshake:
    """A TLS client whose first flight is sent as a test wants it."""

    def __init__(self, context, name, raw):
        self.incoming, self.outgoing, self.raw = ssl.MemoryBIO(), ssl.MemoryBIO(), raw
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name)
        self.hello = self.step(self.tls.do_handshake)[1]

    def step(self, action, *words):
        """What the action gave, or None while it wants more; and what is to be sent."""
        try:
            done = action(*words)
        except ssl.SSLWantReadError:
            done = None
        return done, self.outgoing.read()

    def finish(self):
        """The handshake, and the first line that the server says inside it."""
        for action in (self.tls.do_handshake, lambda: self.tls.read(100)):
            while True:
                done, out = self.step(lambda: (action(), True))
                self.raw.sendall(out)
                if done:
                    break
                self.incoming.write(self.raw.recv(65536))
        return done[0].strip().decode()


def in_records_of(size, record):
    """The same handshake message in records of so many bytes."""
    body = record[5:]
    return b"".join(record[:3] + len(piece).to_bytes(2, "big") + piece
                    for piece in (body[i:i + size] for i in range(0, len(body), size)))


class TcpTest(ProxyCase):
    def server_of(self, conversation, name, **options):
        return self.server(lambda its, **more: backends.Server(conversation, its, **more), name, **options)

    def begin(self, listener, servers, rules=None, **more):
        config = {
            "listeners": [{"name": "t", "protocol": "tcp", "address": "127.0.0.1:0", "route": "r", **listener}],
            "backends": {s.name: {"host": "127.0.0.1", "tcp": {"port": s.port, **more.pop(s.name, {})},
                                  "verify": {"ca": "ca.pem", "name": "backend.example.com"}} for s in servers},
            "pools": {"p": {"backends": [s.name for s in servers], "balance": "first"}},
            "routes": {"r": rules or [{"pool": "p"}]},
            "timeouts": {"connect": "1s", "tls": "1s"},
            "health": {"checks": False},
        }
        for key, value in more.items():
            config[key] = {**config.get(key, {}), **value}
        self.config = config
        self.postern = Postern(self.folder, config)

    def connect(self, name=None, tls=False):
        raw = socket.create_connection(("127.0.0.1", self.postern.ports["t"]), timeout=10)
        self.addCleanup(raw.close)
        if not tls:
            return raw
        context = ssl.create_default_context(cafile=os.path.join(self.folder, "ca.pem"))
        context.check_hostname = name is not None
        client = context.wrap_socket(raw, server_hostname=name)
        self.addCleanup(client.close)
        return client

    def hear(self, client):
        """The name of the server that greets; the connection stays."""
        return client.recv(100).strip().decode()

    def converse(self, client):
        """The server's name, after a line was said back."""
        with client.makefile("rwb") as lines:  # while it is open, so is the connection
            name = lines.readline().strip().decode()
            lines.write(b"hello\r\n")
            lines.flush()
            self.assertEqual(lines.readline(), b"hello\r\n")
            lines.write(b"quit\r\n")
            lines.flush()
            self.assertEqual(lines.read(), b"")
            return name

    def account(self):
        self.postern.wait_for(self.postern.sessions, "the session's line")
        return self.postern.sessions()[0]

    def test_plain_relay_and_its_books(self):
        self.begin({}, [self.server_of(Echo, "one"), self.server_of(Echo, "two")])
        client = self.connect()
        self.assertEqual(self.converse(client), "one")
        client.close()
        account = self.account()
        self.assertEqual((account["protocol"], account["backend"], account["result"], account["bytes_in"]),
                         ("tcp", "one", "client_quit", 13))
        self.assertEqual(self.postern.metric('postern_sessions_total{listener="t",protocol="tcp",result="client_quit"}'), 1)

    def test_many_bytes_and_a_half_close(self):
        self.begin({}, [self.server_of(Counted, "one")])
        client = self.connect()
        client.sendall(b"x" * 20_000_000)
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(client.makefile("rb").read(), b"20000000\r\n")

    def test_a_server_that_refuses_is_left_for_the_next(self):
        gone = self.server_of(Echo, "gone")
        gone.listener.shutdown(socket.SHUT_RDWR)
        gone.listener.close()
        self.begin({}, [gone, self.server_of(Echo, "two")])
        self.assertEqual(self.converse(self.connect()), "two")

    def test_tls_ends_here_and_begins_anew(self):
        tls = server_tls(self.folder)
        self.begin({"tls": "implicit"}, [self.server_of(Echo, "one", tls=tls)], one={"tls": "implicit"})
        client = self.connect("mail.example.com", tls=True)
        self.assertIn(("DNS", "mail.example.com"), client.getpeercert()["subjectAltName"])
        self.assertEqual(self.converse(client), "one")

    def test_a_servers_certificate_is_verified(self):
        wrong = self.server_of(Echo, "wrong", tls=server_tls(self.folder, "other"))
        self.begin({}, [wrong, self.server_of(Echo, "two")], wrong={"tls": "implicit"})
        self.assertEqual(self.converse(self.connect()), "two")
        self.assertEqual(wrong.seen, [])

    def test_a_proxy_header_goes_first(self):
        self.begin({}, [self.server_of(Echo, "one")], one={"client_address": "proxy-v1"})
        client = self.connect()
        lines = client.makefile("rb")
        self.assertEqual(lines.readline(), b"one\r\n")
        self.assertEqual(lines.readline(), b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (
            client.getsockname()[1], self.postern.ports["t"]))

    def test_tls_is_passed_on_by_name(self):
        servers = [self.server_of(Echo, name, tls=server_tls(self.folder, name)) for name in ("mail", "other")]
        rules = [{"name": s.name, "sni": s.name + ".example.com", "backend": s.name} for s in servers]
        self.begin({"tls": "passthrough"}, servers, rules + [{"name": "rest", "reject": ""}])
        for name in ("mail", "other"):
            client = self.connect(name + ".example.com", tls=True)
            self.assertIn(("DNS", name + ".example.com"), client.getpeercert()["subjectAltName"])
            self.assertEqual(self.converse(client), name)
        for name in ("third.example.com", None):
            with self.subTest(name=name), self.assertRaises((ssl.SSLError, ConnectionError)):
                self.connect(name, tls=True)
        client = self.connect()
        client.sendall(b"a LOGIN alice secret\r\n")
        self.assertEqual(client.recv(100), b"")
        self.assertEqual(self.postern.metric('postern_route_decisions_total{route="r",rule="rest",pool=""}'), 2)

    def by_name(self, **more):
        """Passes TLS on to `mail` or `other`."""
        servers = [self.server_of(Echo, name, tls=server_tls(self.folder, name)) for name in ("mail", "other")]
        rules = [{"sni": s.name + ".example.com", "backend": s.name} for s in servers]
        self.begin({"tls": "passthrough"}, servers, rules, **more)

    def test_a_hello_may_come_in_any_pieces(self):
        self.by_name(timeouts={"tls": "10s"})
        ways = {
            "whole": lambda hello: [hello],
            "byte by byte": lambda hello: [hello[i:i + 1] for i in range(len(hello))],
            "in two packets": lambda hello: [hello[:60], hello[60:]],
            "in records of 50": lambda hello: [in_records_of(50, hello)],
            "in records of 50, byte by byte": lambda hello: [bytes([b]) for b in in_records_of(50, hello)],
            "in records of 1": lambda hello: [in_records_of(1, hello)],
        }
        for name, cut in ways.items():
            with self.subTest(way=name):
                raw = self.connect()
                raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client = SlowHandshake(self.tls, "other.example.com", raw)
                for piece in cut(client.hello):
                    raw.sendall(piece)
                self.assertEqual(client.finish(), "other")

    def test_a_hello_without_end_is_not_read_for_long(self):
        self.by_name(timeouts={"tls": "60s"})
        client = self.connect()
        # A hello of 16 MiB less a byte, in records of 1000.
        first = b"\x01\xff\xff\xff" + b"\x03\x03"
        with self.assertRaises(OSError):
            client.sendall(b"\x16\x03\x01" + (1000).to_bytes(2, "big") + first + b"x" * 994)
            for _ in range(100_000):
                client.sendall(b"\x16\x03\x01" + (1000).to_bytes(2, "big") + b"x" * 1000)
        self.assertEqual(self.account()["result"], "protocol_error")
        self.assertLess(self.account()["bytes_in"], 65536)

    def test_a_client_that_says_no_hello_is_closed(self):
        self.by_name()
        self.assertEqual(self.connect().recv(100), b"")
        self.assertEqual((self.account()["result"], self.account()["phase"]), ("idle", "tls"))

    def test_silence_has_an_end(self):
        self.begin({"timeouts": {"idle": "500ms"}}, [self.server_of(Echo, "one")])
        client = self.connect()
        self.assertEqual(self.hear(client), "one")
        self.assertEqual(client.recv(100), b"")
        self.assertEqual(self.account()["result"], "idle")

    def test_limits_close_without_a_word(self):
        for limits in ({"sessions_per_address": 2}, {"sessions": 2}):
            with self.subTest(limits=limits):
                self.begin({}, [self.server_of(Echo, "one")], limits=limits)
                held = [self.connect(), self.connect()]
                self.assertEqual([self.hear(client) for client in held], ["one", "one"])
                try:
                    self.assertEqual(self.connect().recv(100), b"")
                except ConnectionResetError:
                    pass  # closed as well
                held.pop().close()
                self.postern.wait_for(lambda: self.hear(self.connect()) == "one", "a place")
                self.assertEqual(self.postern.stop(), 0)

    def test_term_lets_sessions_run_until_the_deadline_cuts_them(self):
        self.begin({}, [self.server_of(Echo, "one")], drain={"spread": "0s", "deadline": "2s"})
        running, silent = self.connect(), self.connect()
        self.assertEqual((self.hear(running), self.hear(silent)), ("one", "one"))
        self.postern.signal(signal.SIGTERM)
        self.postern.wait_for(lambda: '"event":"draining"' in self.postern.output(), "the drain")
        running.sendall(b"still here\r\n")
        self.assertEqual(self.hear(running), "still here")
        self.assertEqual(select.select([silent], [], [], 0)[0], [])
        running.sendall(b"quit\r\n")
        self.assertEqual(running.recv(100), b"")
        running.close()
        self.assertEqual(silent.recv(100), b"")
        self.assertEqual(self.postern.process.wait(20), 0)
        self.assertIn('"event":"drain_deadline"', self.postern.output())
        self.assertEqual(sorted(line["result"] for line in self.postern.sessions()), ["client_quit", "shutdown"])

    def test_a_reload_leaves_sessions_where_they_are(self):
        one, two = self.server_of(Echo, "one"), self.server_of(Echo, "two")
        self.begin({}, [one, two])
        held = self.connect()
        self.assertEqual(self.hear(held), "one")
        self.config["routes"]["r"] = [{"backend": "two"}]
        self.postern.write(self.config)
        self.postern.signal(signal.SIGHUP)
        self.postern.wait_for(lambda: self.postern.metric("postern_config_generation") == 2, "the reload")
        held.sendall(b"still here\r\n")
        self.assertEqual(self.hear(held), "still here")
        self.assertEqual(self.hear(self.connect()), "two")

    def test_a_proxys_client_is_handed_on(self):
        self.begin({"accept_proxy_from": ["127.0.0.1/32"]}, [self.server_of(Echo, "one")],
                   one={"client_address": "proxy-v1"})
        client = self.connect()
        client.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\nhello\r\n")
        lines = client.makefile("rb")
        self.assertEqual([lines.readline() for _ in range(3)],
                         [b"one\r\n", b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n", b"hello\r\n"])

    def test_without_the_header_that_is_due_nobody_is_served(self):
        self.begin({"accept_proxy_from": ["127.0.0.1/32"]}, [self.server_of(Echo, "one")])
        client = self.connect()
        client.sendall(b"hello\r\n")
        try:
            self.assertEqual(client.recv(100), b"")
        except ConnectionResetError:
            pass  # with what it has said unread
        self.assertEqual(self.servers[0].connections, 0)

    def test_much_arrives_at_a_slow_reader_and_is_counted(self):
        self.begin({}, [self.server_of(Speaker, "one")])
        client = self.connect()
        # Nothing is read before what the sockets hold is full.
        sent = 'postern_bytes_total{listener="t",side="front",direction="out"}'
        self.postern.wait_for(lambda: self.postern.metric(sent) > 1_000_000, "the first bytes")
        count = 0
        while piece := client.recv(100_000):
            self.assertEqual(piece, b"y" * len(piece))
            count += len(piece)
        self.assertEqual(count, Speaker.SIZE)
        client.close()
        account = self.account()
        self.assertEqual((account["bytes_out"], account["result"]), (Speaker.SIZE, "client_quit"))

    def test_behind_a_proxy_a_name_is_found_too(self):
        servers = [self.server_of(Echo, name, tls=server_tls(self.folder, name)) for name in ("mail", "other")]
        rules = [{"sni": s.name + ".example.com", "client": "192.0.2.0/24", "backend": s.name} for s in servers]
        self.begin({"tls": "passthrough", "accept_proxy_from": ["127.0.0.1/32"]}, servers, rules)
        raw = socket.create_connection(("127.0.0.1", self.postern.ports["t"]), timeout=10)
        self.addCleanup(raw.close)
        raw.sendall(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 993\r\n")
        client = self.tls.wrap_socket(raw, server_hostname="other.example.com")
        self.addCleanup(client.close)
        self.assertEqual(self.converse(client), "other")
        client.close()
        self.assertEqual(self.account()["client"], "192.0.2.7:4711")


if __name__ == "__main__":
    unittest.main(warnings="ignore")
