#!/usr/bin/env python3
"""tcp listeners of a running postern: plain relay, TLS that ends there, TLS passed on by name."""
# SPDX-License-Identifier: Apache-2.0
import os
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
        config.update(more)
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
