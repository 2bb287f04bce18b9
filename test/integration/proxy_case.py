"""A postern between small servers and the standard library's clients: what tests of it share."""
# SPDX-License-Identifier: Apache-2.0
import imaplib
import poplib
import smtplib
import unittest

from postern import Postern, client_tls, make_certificates, temporary_folder

USERS = {"alice": "secret", "bob": 'pa"ss\\w rd'}


class ProxyCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.holder = temporary_folder()
        cls.folder = cls.holder.name
        make_certificates(cls.folder)
        cls.tls = client_tls(cls.folder)

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def setUp(self):
        self.servers = []
        self.postern = None

    def tearDown(self):
        if self.postern is not None:
            code = self.postern.stop()
            output = self.postern.output()
            self.assertNotIn("ERROR: AddressSanitizer", output)
            self.assertNotIn("runtime error", output)
            self.assertEqual(code, 0, output[-3000:])
        for server in self.servers:
            server.stop()

    def server(self, kind, name, **options):
        server = kind(name, **{"passwords": USERS, **options})
        self.servers.append(server)
        return server

    def start(self, protocol, servers, tls="none", backend_tls="none", storage="shared", **more):
        listeners = [{"name": protocol + "-" + mode, "protocol": protocol, "address": "127.0.0.1:0", "tls": mode,
                      "route": "r"} for mode in ("implicit", "starttls")]
        config = {
            "listeners": listeners,
            "backends": {s.name: {"host": "127.0.0.1", protocol: {"port": s.port, "tls": backend_tls},
                                  "verify": {"ca": "ca.pem", "name": "backend.example.com"}} for s in servers},
            "pools": {"p": {"backends": [s.name for s in servers], "storage": storage, "balance": "round_robin"}},
            "routes": {"r": [{"pool": "p"}]},
            "timeouts": {"auth_failure_delay": "100ms", "connect": "1s", "greeting": "1s", "auth": "2s"},
        }
        config.update(more)
        self.postern = Postern(self.folder, config)
        return self.postern

    def imap(self, mode="implicit"):
        port = self.postern.ports["imap-" + mode]
        if mode == "implicit":
            return imaplib.IMAP4_SSL("127.0.0.1", port, ssl_context=self.tls)
        client = imaplib.IMAP4("127.0.0.1", port)
        client.starttls(self.tls)
        return client

    def pop3(self, mode="implicit"):
        port = self.postern.ports["pop3-" + mode]
        if mode == "implicit":
            return poplib.POP3_SSL("127.0.0.1", port, context=self.tls)
        client = poplib.POP3("127.0.0.1", port)
        client.stls(self.tls)
        return client

    def smtp(self, protocol="smtp", mode="implicit"):
        port = self.postern.ports[protocol + "-" + mode]
        if mode == "implicit":
            client = smtplib.SMTP_SSL("127.0.0.1", port, context=self.tls, local_hostname="client.example")
        else:
            client = smtplib.SMTP("127.0.0.1", port, local_hostname="client.example")
            client.starttls(context=self.tls)
        return client
