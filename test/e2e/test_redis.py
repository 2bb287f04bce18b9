# Homes in real Redis servers: keys, fields and accounts; replicas that stop and return, and all of them gone.
# SPDX-License-Identifier: Apache-2.0
from directory_case import OwnDirectory, unique
from lab import LOOPBACK, wait_until
from redis import Redis
from world import ALICE, BOB

WORD = "hush-hush"
HOMES = ((ALICE, "pod-1.example"), (BOB, "pod-2.example"))


class OwnRedis(OwnDirectory):
    def redis(self, *commands, **options):
        server = Redis(self.world.lab, unique("redis"), **options)
        self.addCleanup(server.kill)
        if commands:
            server.say(*commands)
        return server

    def filled(self, **options):
        return self.redis(*(f"SET postern:{user} {home}" for user, home in HOMES), **options)

    def start(self, *servers, more=None, **directory):
        people = {"type": "redis", "addresses": [f"{LOOPBACK}:{server.port}" for server in servers], **directory}
        self.start_postern(people, "with-redis", **(more or {}))


class RedisTest(OwnRedis):
    def test_a_key_names_the_home_by_way_of_the_table(self):
        self.start(self.filled())
        self.check_homes()
        self.assertEqual(self.lookups("hit"), 4)

    def test_a_field_of_a_key_of_ones_own_making_names_the_home(self):
        self.start(self.redis(*(f"HSET homes/{user.split('@')[1]}/{user.split('@')[0]} quota 1G home {home}"
                                for user, home in HOMES)), key="homes/%d/%n", field="home")
        self.check_homes()

    def test_without_a_table_the_value_is_the_name_itself(self):
        self.start(self.redis(f"SET postern:{ALICE} pair1", f"SET postern:{BOB} pair2"), table={})
        self.check_homes()

    def test_who_has_no_value_is_unknown_and_what_is_no_home_waits(self):
        server = self.filled()
        server.say('SET postern:lines@example.test "pod-1.example\\npod-2.example"',
                   "RPUSH postern:list@example.test pod-1.example", "SET postern:stranger@example.test elsewhere",
                   'SET postern:empty@example.test ""')
        self.start(server)
        for name in ("nobody", '"* pod-1"'):
            self.assertEqual(self.rcpt(f"{name}@example.test"), 550, name)
        self.assertEqual(self.lookups("miss"), 2)
        for name in ("lines", "list", "stranger", "empty"):
            self.assertEqual(self.rcpt(f"{name}@example.test"), 451, name)
        self.check_homes()

    def test_a_changed_value_acts_when_its_time_is_over(self):
        server = self.filled()
        self.start(server, cache={"hit": "300ms", "miss": "0ms", "stale": "0ms"})
        self.check_homes()
        server.say(f"SET postern:{ALICE} pod-2.example")

        def is_at_pair2():
            before = self.logins(ALICE)
            self.assertEqual(self.login(ALICE), "")
            wait_until(lambda: self.logins(ALICE) != before, "the login")
            return self.logins(ALICE)[1] > before[1]
        wait_until(is_at_pair2, "alice to move", 20)


class RedisAccountTest(OwnRedis):
    def test_a_password(self):
        server = self.filled(extra=f"requirepass {WORD}", login=("default", WORD))
        self.start(server, password=self.secret(server, WORD))
        self.check_homes()
        self.assertNotIn(WORD, self.balancer.log_text())

    def test_a_user_who_may_read_homes_and_nothing_else(self):
        server = self.filled(extra=f"user default off\nuser lab on >{WORD}-2 ~* &* +@all\n"
                                   f"user postern on >{WORD} ~postern:* -@all +get\n", login=("lab", f"{WORD}-2"))
        self.start(server, username="postern", password=self.secret(server, WORD))
        self.check_homes()
        self.balancer.stop()
        # What it may not read is a failure: it says nothing of the user.
        self.start(server, username="postern", password=self.secret(server, WORD), key="homes:%u")
        self.assertEqual(self.rcpt(ALICE), 451)

    def test_a_wrong_password_or_none_is_a_temporary_failure(self):
        server = self.filled(extra=f"requirepass {WORD}", login=("default", WORD))
        self.start(server, password=self.secret(server, "guess"))
        self.assertEqual(self.rcpt(ALICE), 451)
        self.balancer.stop()
        self.start(server)
        self.assertEqual(self.rcpt(ALICE), 451)
        self.assertIn("UNAVAILABLE", self.login(ALICE))


class RedisReplicasTest(OwnRedis):
    def setUp(self):
        self.first = self.filled()
        self.second = self.redis(extra=f"replicaof {LOOPBACK} {self.first.port}")
        wait_until(lambda: self.first.say("WAIT 1 100") == ["1"], "the replica")

    def test_the_other_replica_is_asked_while_one_is_away(self):
        self.start(self.first, self.second)
        self.check_homes()
        self.assertEqual((self.first.count_calls("get"), self.second.count_calls("get")), (4, 0))
        self.first.kill()
        self.check_homes()
        self.assertEqual(self.second.count_calls("get"), 4)
        self.first.start()
        self.second.kill()
        self.check_homes()
        self.assertEqual(self.first.count_calls("get"), 4)
        self.second.start()
        self.check_homes()
        self.assertEqual((self.lookups("hit"), self.lookups("error")), (16, 0))

    def test_a_replica_that_has_lost_its_primary_and_says_so_is_left_for_the_next(self):
        last = self.redis(f"SET postern:{ALICE} pod-1.example", f"SET postern:{BOB} pod-2.example")
        self.second.say("CONFIG SET replica-serve-stale-data no")
        self.first.kill()
        wait_until(lambda: "master_link_status:down" in self.second.say("INFO replication"), "the loss to be known")
        self.start(self.second, last)
        self.check_homes()
        self.assertEqual(last.count_calls("get"), 4)

    def test_with_all_of_them_gone_everybody_waits(self):
        self.start(self.first, self.second)
        self.check_homes()
        before = self.logins(ALICE)
        self.first.kill()
        self.second.kill()
        self.assertEqual(self.rcpt(ALICE), 451)
        self.assertIn("UNAVAILABLE", self.login(ALICE))
        self.assertEqual(self.logins(ALICE), before)
        self.assertEqual(self.lookups("error"), 2)
        self.second.start()
        self.become(ALICE, 250)
        wait_until(lambda: self.login(ALICE) == "", "alice's login", 60)

    def test_with_all_of_them_gone_a_rule_may_leave_it_to_the_next(self):
        homes = self.world.lab.write(f"{self.first.folder}/homes", f"{ALICE} pair1\n")
        routes = {
            "users": [{"name": "redis", "directory": "people", "on_error": "next"},
                      {"name": "map", "directory": "map"}],
            "inbound": [{"name": "redis", "recipient": "*@example.test", "directory": "people", "on_error": "next"},
                        {"name": "rest", "recipient": "*@example.test", "backend": "pair2"}]}
        self.start(self.first, self.second,
                   more={"routes": routes, "directories": {"map": {"type": "file", "path": homes}}})
        self.check_homes()
        self.first.kill()
        self.second.kill()
        self.assertEqual(self.login(ALICE), "")
        self.assertIn("AUTHENTICATIONFAILED", self.login(BOB))  # whom the map does not know
        self.assertEqual((self.decisions("redis", "pair1"), self.decisions("map", "pair1")), (2, 1))
        self.assertEqual(self.rcpt(ALICE), 250)
        self.assertEqual(self.decisions("rest", "pair2"), 1)

    def test_with_all_of_them_gone_a_remembered_home_serves_and_nobody_else(self):
        # Each worker remembers what it was asked itself.
        self.start(self.first, self.second, cache={"hit": "1ms", "miss": "0ms", "stale": "1h"}, more={"workers": 1})
        self.assertEqual(self.rcpt("nobody@example.test"), 550)
        self.check_homes()
        self.first.kill()
        self.second.kill()
        self.assertEqual(self.rcpt("nobody@example.test"), 451)
        self.assertEqual(self.rcpt(ALICE), 250)
        self.assertEqual(self.login(ALICE), "")
        self.assertEqual(self.lookups("stale"), 2)
