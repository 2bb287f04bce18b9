# Which member of a pool a user is on: by the user's name on every node, or by where the user already is.
# SPDX-License-Identifier: Apache-2.0
import json
import poplib

import case
from balancer import Balancer
from directory_case import unique
from lab import LOOPBACK, wait_until

PEOPLE = [f"user{number:02}@affinity.test" for number in range(1, 25)]
WORDS = {user: f"word of {user}" for user in PEOPLE}


class OwnStores(case.Case):
    """Dovecots over one mail folder, in a pool `store`; `nodes`: Posterns with one configuration but for their ports."""

    num_stores, num_nodes = 2, 1

    def setUp(self):
        lab = self.world.lab
        folder = lab.make_folder(unique("mail"))
        self.stores = [lab.start_dovecot(unique("member"), WORDS, mail_folder=folder) for _ in range(self.num_stores)]
        for store in self.stores:
            self.addCleanup(store.kill)
            store.wait_ready()

    def start(self, **pool):
        self.nodes = [self.start_node(pool) for _ in range(self.num_nodes)]

    def start_node(self, pool):
        lab, base, admin = self.world.lab, self.world.config(), f"{LOOPBACK}:{self.world.lab.free_port()}"
        ports = {"imap": lab.free_port(), "pop3": lab.free_port()}
        backends = {f"store{number}": {"host": LOOPBACK, "verify": base["backends"]["pair1"]["verify"],
                                       "imap": self.world.endpoint(store.imaps, "implicit"),
                                       "pop3": self.world.endpoint(store.pop3s, "implicit")}
                    for number, store in enumerate(self.stores, 1)}
        node = Balancer(lab, self.world.binary, {
            **{key: base[key] for key in ("hostname", "workers", "tls", "limits", "timeouts", "drain")},
            "listeners": [{"name": protocol, "protocol": protocol, "address": f"{LOOPBACK}:{port}", "tls": "implicit",
                           "route": "users"} for protocol, port in ports.items()],
            "backends": backends,
            "pools": {"store": {"backends": list(backends), **pool}},
            "routes": {"users": [{"name": "all", "pool": "store"}]},
            "health": {"interval": "2s", "fast_interval": "500ms"},
            "admin": {"address": admin},
        }, unique("node"))
        node.ports = ports
        node.start(admin)
        self.addCleanup(node.stop)
        return node

    def logins(self, user):
        return [store.log_text().count(f"Login: user=<{user}>") for store in self.stores]

    def open(self, user, node=0, protocol="imap"):
        """(the session, the number of the member that it is on)"""
        before, port = self.logins(user), self.nodes[node].ports[protocol]
        if protocol == "imap":
            box = self.world.imap(port=port, login=False)
            box.login(user, WORDS[user])
        else:
            box = poplib.POP3_SSL("localhost", port, context=self.world.context, timeout=30)
            box.user(user)
            box.pass_(WORDS[user])
        after = wait_until(lambda: sum(self.logins(user)) > sum(before) and self.logins(user), f"a login of {user}")
        added = [now - then for now, then in zip(after, before)]
        self.assertEqual(sum(added), 1)
        return box, added.index(1)

    def visit(self, user, node=0):
        box, member = self.open(user, node)
        box.logout()
        return member

    def map(self, node, people=PEOPLE):
        return {user: self.visit(user, node) for user in people}

    def wait_state(self, member, state):
        """As checks see it, on every node and for both protocols."""
        def is_so(node):
            rows = json.loads(node.get("/api/v1/backends")[1])["backends"]
            return {endpoint["state"] for row in rows if row["name"] == f"store{member + 1}"
                    for endpoint in row["endpoints"]} == {state}
        for node in self.nodes:
            wait_until(lambda: is_so(node), f"member {member} to be {state}:\n" + node.log_text()[-2000:])


class SharedStorageTest(OwnStores):
    num_stores, num_nodes = 3, 2

    def test_a_user_is_on_the_same_member_through_every_node_whoever_comes_and_goes(self):
        self.start(balance="hash", storage="shared")
        homes = self.map(0)
        self.assertEqual(set(homes.values()), {0, 1, 2})
        self.assertEqual(self.map(1), homes)

        gone = homes[PEOPLE[0]]
        moving = [user for user in PEOPLE if homes[user] == gone]
        staying = [user for user in PEOPLE if homes[user] != gone]
        self.stores[gone].kill()
        refuges = self.map(0, moving)  # before a check can have told, some of them
        self.wait_state(gone, "down")
        self.assertNotIn(gone, refuges.values())
        self.assertEqual(self.map(1, moving), refuges)
        self.assertEqual(self.map(0, staying), {user: homes[user] for user in staying})

        boxes = [self.open(user) for user in moving]
        self.stores[gone].start()
        self.wait_state(gone, "up")
        for node in (0, 1):
            self.assertEqual(self.map(node), homes)
        before = [self.logins(user) for user in moving]
        for box, _ in boxes:  # who came in meanwhile stays
            self.assertEqual(box.noop()[0], "OK")
            box.select("INBOX")
            box.logout()
        self.assertEqual([self.logins(user) for user in moving], before)
        self.assertEqual([member for _, member in boxes], [refuges[user] for user in moving])


class ExclusiveStorageTest(OwnStores):
    USER = PEOPLE[0]

    def setUp(self):
        super().setUp()
        self.start(balance="round_robin", storage="exclusive")  # which alone would take turns

    def test_sessions_of_a_user_stay_together_also_after_a_reload(self):
        first, member = self.open(self.USER)
        others = [self.open(self.USER, protocol=protocol) for protocol in ("imap", "pop3", "imap", "pop3")]
        self.assertEqual({each for _, each in others}, {member})

        node, config = self.nodes[0], self.nodes[0].config
        node.set_config({**config, "backends": {name: {**backend, "weight": 50}
                                                for name, backend in config["backends"].items()}})
        self.assertTrue(node.reload(), node.log_text()[-2000:])
        self.assertEqual({self.visit(self.USER) for _ in range(4)}, {member})
        self.assertEqual(first.noop()[0], "OK")

        first.logout()  # one of them is enough
        self.assertEqual({self.visit(self.USER) for _ in range(4)}, {member})
        for box, _ in others:
            box.quit() if isinstance(box, poplib.POP3) else box.logout()
        seen = set()  # and without any, it is anybody's turn again
        wait_until(lambda: seen.add(self.visit(self.USER)) or len(seen) == 2, "the user on both members in turn", 30)

    def test_users_do_not_hold_each_other(self):
        boxes = [self.open(user) for user in PEOPLE]
        self.assertEqual({member for _, member in boxes}, {0, 1})
        again = [self.open(user) for user in PEOPLE]
        self.assertEqual([member for _, member in again], [member for _, member in boxes])
        for box, _ in boxes + again:
            box.logout()

    def test_a_member_that_is_down_holds_nobody_and_gets_nobody_back_who_is_elsewhere(self):
        _, member = self.open(self.USER)
        self.stores[member].kill()
        self.wait_state(member, "down")
        box, refuge = self.open(self.USER)
        self.assertEqual(refuge, 1 - member)
        self.stores[member].start()
        self.wait_state(member, "up")
        self.assertEqual({self.visit(self.USER) for _ in range(4)}, {refuge})
        self.assertEqual(box.noop()[0], "OK")
        box.logout()
