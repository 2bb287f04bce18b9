# directory_case: a Postern of its own for each test, whose users live where a directory says.
# SPDX-License-Identifier: Apache-2.0
import case
from balancer import Balancer
from lab import LOOPBACK, wait_until
from world import ALICE, BOB, WORDS, fresh

NOTHING_REMEMBERED = {"hit": "0ms", "miss": "0ms", "stale": "0ms"}  # a failure is to be seen at once
TABLE = {"pod-1.*": "pair1", "pod-2.*": "pair2"}


def unique(what):
    """A name that no server of the lab has."""
    return fresh(what).replace(" ", "-")


class OwnDirectory(case.Case):
    """The directory `people` has pod-1.example for alice and pod-2.example for bob, by `TABLE` pair1 and pair2."""

    def start_postern(self, people, name, directories=None, routes=None, workers=2):
        lab, base = self.world.lab, self.world.config()
        admin = f"{LOOPBACK}:{lab.free_port()}"
        self.ports = {door: lab.free_port() for door in ("mx", "imaps")}
        self.balancer = Balancer(lab, self.world.binary, {
            **{key: base[key] for key in ("hostname", "tls", "users", "limits", "timeouts", "drain")},
            "workers": workers,
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:{self.ports['mx']}",
                           "tls": "starttls", "route": "inbound"},
                          {"name": "imaps", "protocol": "imap", "address": f"{LOOPBACK}:{self.ports['imaps']}",
                           "tls": "implicit", "route": "users"}],
            "backends": {backend: base["backends"][backend] for backend in ("pair1", "pair2")},
            "directories": {"people": {"table": TABLE, "timeout": "1s", "cache": NOTHING_REMEMBERED, **people},
                            **(directories or {})},
            "routes": routes or {"users": [{"directory": "people"}],
                                 "inbound": [{"recipient": "*@example.test", "directory": "people"},
                                             {"name": "no-relay", "reject": "550 5.7.1 Relaying denied"}]},
            "admin": {"address": admin},
        }, unique(name))
        self.balancer.start(admin)
        self.addCleanup(self.balancer.stop)

    def secret(self, server, word):
        """A file with a password, beside the server's own."""
        return {"file": self.world.lab.write(f"{server.folder}/{unique('secret')}", word + "\n")}

    def rcpt(self, address):
        client = self.world.smtp(port=self.ports["mx"])
        try:
            client.ehlo()
            client.mail("x@elsewhere.test")
            return client.rcpt(address)[0]
        finally:
            client.close()

    def become(self, address, code):
        seen = []
        wait_until(lambda: seen.append(self.rcpt(address)) or seen[-1] == code,
                   f"{code} for {address}:\n" + self.balancer.log_text()[-3000:], 60)

    def login(self, user):
        """What is wrong; empty: nothing."""
        box = self.world.imap(user, port=self.ports["imaps"], login=False)
        try:
            box.login(user, WORDS[user])
        except box.error as refusal:
            return str(refusal)
        finally:
            box.logout()
        return ""

    def logins(self, user):
        """On pair1 and on pair2, up to now."""
        return [pair.dovecot.log_text().count(f"Login: user=<{user}>") for pair in (self.world.pair1, self.world.pair2)]

    def check_homes(self):
        """Both log in, each at home, and both get mail."""
        for user, home in ((ALICE, 0), (BOB, 1)):
            wanted = self.logins(user)
            wanted[home] += 1
            self.assertEqual(self.login(user), "")
            wait_until(lambda: self.logins(user)[home] == wanted[home], f"the login of {user}")
            self.assertEqual(self.logins(user), wanted)
            self.assertEqual(self.rcpt(user), 250)

    def lookups(self, result):
        return self.balancer.metric("directory_lookups_total", directory="people", result=result)

    def decisions(self, rule, pool):
        return self.balancer.metric("route_decisions_total", rule=rule, pool=pool)
