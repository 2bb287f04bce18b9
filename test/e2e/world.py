# world: the servers, the people and the running Postern that all end-to-end tests share.
#
#   alice lives on pair1 (address handed on by XCLIENT and ID), bob on pair2 (PROXY v2), dave on pair2
#   too (PROXY v1), carol on two Dovecots over one mail folder. One domain; every server knows all of
#   them, so that only Postern's routing keeps them apart.
# SPDX-License-Identifier: Apache-2.0
import imaplib
import os
import poplib
import smtplib
import ssl
import sys
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/lab"))

from balancer import Balancer  # noqa: E402
from lab import LOOPBACK, Lab, wait_until  # noqa: E402

DOMAIN = "example.test"
WORDS = {f"{name}@{DOMAIN}": f'pass "{name}\\' for name in ("alice", "bob", "carol", "dave")}
ALICE, BOB, CAROL, DAVE = WORDS
CLIENT = "127.0.0.9"      # tests that look for the client's address connect from here
DOORS = {  # listener -> protocol, TLS mode, port of a server that plays the same part
    "mx": ("smtp", "starttls", "smtp"),
    "submission": ("submission", "starttls", "submission"),
    "submissions": ("submission", "implicit", "submissions"),
    "imap": ("imap", "starttls", "imap"),
    "imaps": ("imap", "implicit", "imaps"),
    "pop3": ("pop3", "starttls", "pop3"),
    "pop3s": ("pop3", "implicit", "pop3s"),
}
EDGE_DOORS = {"mx-edge": ("smtp", "starttls"), "imaps-edge": ("imap", "implicit"), "pop3s-edge": ("pop3", "implicit")}


class World:
    def __init__(self, binary):
        self.binary = binary
        self.lab = Lab()
        lab = self.lab
        trusted = dict(trusted_networks="127.0.0.0/8")
        self.pair1 = lab.start_pair("pair1", WORDS, [DOMAIN], xclient="127.0.0.0/8", dovecot_options=trusted)
        self.pair2 = lab.start_pair("pair2", WORDS, [DOMAIN])
        self.store1 = lab.start_dovecot("store1", WORDS)
        self.store2 = lab.start_dovecot("store2", WORDS, mail_folder=self.store1.mail)
        self.store1.wait_ready()
        self.store2.wait_ready()
        self.context = ssl.create_default_context(cafile=lab.ca)
        self.balancer = None
        if binary is None:  # straight to pair1
            self.doors = {name: getattr(self.pair1, part) for name, (_, _, part) in DOORS.items()}
        else:
            self.doors = {name: lab.free_port() for name in list(DOORS) + list(EDGE_DOORS)}
            self.admin = f"{LOOPBACK}:{lab.free_port()}"
            self.balancer = Balancer(lab, binary, self.config())
            self.balancer.start(self.admin)

    def close(self):
        self.lab.close()

    def endpoint(self, port, tls, address="none"):
        return {"port": port, "tls": tls, "client_address": address}

    def config(self):
        verify = {"name": "localhost", "ca": self.lab.ca}
        p1, p2 = self.pair1, self.pair2
        certs = [self.lab.certificate(name) for name in ("localhost", "other.test")]
        backends = {
            "pair1": {"smtp": self.endpoint(p1.smtp, "starttls", "xclient"),
                      "submission": self.endpoint(p1.submission, "starttls", "xclient"),
                      "imap": self.endpoint(p1.imaps, "implicit", "imap-id"),
                      "pop3": self.endpoint(p1.pop3s, "implicit", "xclient")},
            "pair2": {"smtp": self.endpoint(p2.postfix.smtp_proxied, "starttls", "proxy-v2"),
                      "submission": self.endpoint(p2.postfix.submission_proxied, "starttls", "proxy-v2"),
                      "imap": self.endpoint(p2.dovecot.imaps_proxied, "implicit", "proxy-v2"),
                      "pop3": self.endpoint(p2.dovecot.pop3s_proxied, "implicit", "proxy-v2")},
            "pair2v1": {"smtp": self.endpoint(p2.postfix.smtp_proxied, "starttls", "proxy-v1"),
                        "submission": self.endpoint(p2.postfix.submission_proxied, "starttls", "proxy-v1"),
                        "imap": self.endpoint(p2.dovecot.imaps_proxied, "implicit", "proxy-v1"),
                        "pop3": self.endpoint(p2.dovecot.pop3s_proxied, "implicit", "proxy-v1")},
            "store1": {"imap": self.endpoint(self.store1.imap, "starttls"),
                       "pop3": self.endpoint(self.store1.pop3, "starttls")},
            "store2": {"imap": self.endpoint(self.store2.imap, "starttls"),
                       "pop3": self.endpoint(self.store2.pop3, "starttls")},
        }
        for backend in backends.values():
            backend.update(host=LOOPBACK, verify=verify)
        listeners = []
        for name, (protocol, tls, *_) in {**DOORS, **EDGE_DOORS}.items():
            door = {"name": name, "protocol": protocol, "address": f"{LOOPBACK}:{self.doors[name]}", "tls": tls,
                    "route": "inbound" if protocol == "smtp" else "users"}
            if name in EDGE_DOORS:
                door["accept_proxy_from"] = ["127.0.0.0/8"]
            listeners.append(door)
        homes = [(ALICE, "backend", "pair1"), (BOB, "backend", "pair2"), (DAVE, "backend", "pair2v1")]
        users = [{"name": who.split("@")[0], "user": who, kind: home} for who, kind, home in homes]
        users.append({"name": "carol", "user": CAROL, "pool": "store"})
        inbound = [{"name": who.split("@")[0], "recipient": who, kind: home} for who, kind, home in homes]
        inbound.append({"name": "no-relay", "reject": "550 5.7.1 Relaying denied"})
        return {
            "hostname": "localhost", "workers": 2,
            "tls": {"certificates": [{"cert": cert, "key": key} for cert, key in certs]},
            "listeners": listeners, "backends": backends,
            "pools": {"store": {"backends": ["store1", "store2"], "balance": "round_robin", "storage": "shared"}},
            "routes": {"users": users, "inbound": inbound},
            "users": {"default_domain": DOMAIN},
            "limits": {"exempt": ["127.0.0.0/8"]},
            "timeouts": {"auth_failure_delay": "100ms"},
            "drain": {"spread": "1s", "deadline": "5s"},
            "admin": {"address": self.admin},
        }

    # --- clients ----------------------------------------------------------------------------------

    def imap(self, user=ALICE, door="imaps", source=None, login=True, port=None):
        box = Imap(self, port or self.doors[door], door, source)
        if login:
            box.login(user, WORDS[user])
        return box

    def pop3(self, user=ALICE, door="pop3s", source=None):
        box = Pop3(self, self.doors[door], door, source)
        box.user(user)
        box.pass_(WORDS[user])
        return box

    def smtp(self, door="mx", user=None, source=None, port=None):
        port = port or self.doors[door]
        address = (source, 0) if source else None
        if door == "submissions":
            client = smtplib.SMTP_SSL("localhost", port, "client.test", timeout=30, context=self.context,
                                      source_address=address)
        else:
            client = smtplib.SMTP("localhost", port, "client.test", timeout=30, source_address=address)
            client.starttls(context=self.context)
        if user:
            client.login(user, WORDS[user])
        return client

    def wait_for(self, subject, user=ALICE, server=None):
        """Waits until a message is in a mailbox, asked on its server itself; gives its number of copies."""
        server = server or {BOB: self.pair2, DAVE: self.pair2, CAROL: self.store1}.get(user, self.pair1)

        def count():
            box = self.imap(user, port=server.imaps)
            box.select("INBOX", readonly=True)
            number = len(box.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
            box.logout()
            return number
        return wait_until(count, f"{subject} at {user}"), count


class Imap(imaplib.IMAP4):
    """imaplib over either TLS mode, from a chosen address."""

    def __init__(self, world, port, door, source):
        self.world, self.door, self.source = world, door, source
        super().__init__("localhost", port, timeout=30)
        if door == "imap":
            self.starttls(world.context)

    def _create_socket(self, timeout):
        import socket
        sock = socket.create_connection((LOOPBACK, self.port), timeout,
                                        source_address=(self.source, 0) if self.source else None)
        if self.door == "imap":
            return sock
        return self.world.context.wrap_socket(sock, server_hostname="localhost")

    def idle_start(self):
        tag = self._new_tag().decode()
        self.send(f"{tag} IDLE\r\n".encode())
        assert self.readline().startswith(b"+"), "no continuation for IDLE"
        return tag

    def idle_done(self, tag):
        """Lines up to the tagged answer."""
        self.send(b"DONE\r\n")
        lines = [self.readline()]
        while lines[-1] and not lines[-1].startswith(tag.encode()):
            lines.append(self.readline())
        return lines


class Pop3(poplib.POP3):
    def __init__(self, world, port, door, source):
        self.world, self.door, self.source = world, door, source
        super().__init__("localhost", port, timeout=30)
        if door == "pop3":
            self.stls(world.context)

    def _create_socket(self, timeout):
        import socket
        sock = socket.create_connection((LOOPBACK, self.port), timeout,
                                        source_address=(self.source, 0) if self.source else None)
        if self.door == "pop3":
            return sock
        return self.world.context.wrap_socket(sock, server_hostname="localhost")


def fresh(what):
    """A subject that nobody used before."""
    return f"{what} {uuid.uuid4().hex[:12]}"


def message(subject, body="Hello.\r\n", to=ALICE):
    return f"From: <x@elsewhere.test>\r\nTo: <{to}>\r\nSubject: {subject}\r\n\r\n{body}"
