# What users type and what it becomes: extensions, rewritten names, whole domains in a map; logins and deliveries.
# SPDX-License-Identifier: Apache-2.0
import os
import poplib

import case
from balancer import Balancer
from directory_case import unique
from lab import LOOPBACK, wait_until
from world import fresh, message

ALICE, BOB = "alice@names.test", "bob@names.test"
SELLER, CHIEF = "anna@sales.names.test", "chief@sales.names.test"
PHONE, OLD_BOB = "bob+phone@names.test", "bob@old.test"  # names that the servers know as they are
WORDS = {user: f"word of {user}" for user in (ALICE, BOB, SELLER, CHIEF, PHONE, OLD_BOB)}
MAP = f"{ALICE} east\n{BOB} west\n@sales.names.test west\n{CHIEF} east\n"
DOORS = {"mx": ("smtp", "starttls"), "submissions": ("submission", "implicit"), "imap": ("imap", "implicit"),
         "pop3": ("pop3", "implicit")}
REWRITE = [{"match": r"(?i)^NAMES\\(.+)$", "to": r"\1@names.test"},
           {"match": r"(?i)@old\.test$", "to": "@names.test"}]
PLAIN_NAME = {"match": r"\+[^@]*@", "to": "@"}
# alice's old address is the affair of the server that she lives on, as in life.
POSTFIX = ("recipient_delimiter = +\nvirtual_alias_domains = old.test\n"
           "virtual_alias_maps = inline:{alice@old.test=alice@names.test}\n")


class NamesTest(case.Case):
    @classmethod
    def setUpClass(cls):
        cls.pairs = {name: case.world.lab.start_pair(f"names-{name}", WORDS, ["names.test", "sales.names.test"],
                                                     dovecot_options={"extra": "auth_username_chars =\n"},
                                                     extra=POSTFIX) for name in ("east", "west")}

    @classmethod
    def tearDownClass(cls):
        for pair in cls.pairs.values():
            pair.postfix.kill()
            pair.dovecot.kill()

    def start(self, **users):
        lab, base, admin = self.world.lab, self.world.config(), f"{LOOPBACK}:{self.world.lab.free_port()}"
        self.ports = {door: lab.free_port() for door in DOORS}
        self.balancer = Balancer(lab, self.world.binary, {
            **{key: base[key] for key in ("hostname", "workers", "tls", "limits", "timeouts", "drain")},
            "listeners": [{"name": door, "protocol": protocol, "address": f"{LOOPBACK}:{self.ports[door]}", "tls": tls,
                           "route": "inbound" if protocol == "smtp" else "users"}
                          for door, (protocol, tls) in DOORS.items()],
            "backends": {name: {"host": LOOPBACK, "verify": base["backends"]["pair1"]["verify"],
                                "smtp": self.world.endpoint(pair.smtp, "starttls"),
                                "submission": self.world.endpoint(pair.submissions, "implicit"),
                                "imap": self.world.endpoint(pair.imaps, "implicit"),
                                "pop3": self.world.endpoint(pair.pop3s, "implicit")}
                         for name, pair in self.pairs.items()},
            "directories": {"map": {"type": "file", "path": lab.write(
                os.path.join(lab.make_folder(unique("map")), "map"), MAP)}},
            "routes": {"users": [{"directory": "map"}], "inbound": [{"directory": "map"}]},
            "users": users, "admin": {"address": admin},
        }, unique("postern-names"))
        self.balancer.start(admin)
        self.addCleanup(self.balancer.stop)

    def logins(self, user):
        return {name: pair.dovecot.log_text().count(f"Login: user=<{user}>") for name, pair in self.pairs.items()}

    def check_login(self, typed, told, home):
        """By IMAP and POP3; `told`: who the backend says logged in."""
        before, word = self.logins(told), WORDS[told]
        box = self.world.imap(port=self.ports["imap"], login=False)
        self.assertEqual(box.authenticate("PLAIN", lambda _: f"\0{typed}\0{word}".encode())[0], "OK")
        box.logout()
        box = poplib.POP3_SSL("localhost", self.ports["pop3"], context=self.world.context, timeout=30)
        box.user(typed)
        box.pass_(word)
        box.quit()
        wanted = {**before, home: before[home] + 2}
        wait_until(lambda: sum(self.logins(told).values()) >= sum(wanted.values()), f"the logins of {told}")
        self.assertEqual(self.logins(told), wanted)

    def check_refused(self, typed, word):
        box = self.world.imap(port=self.ports["imap"], login=False)
        with self.assertRaises(box.error) as refusal:
            box.authenticate("PLAIN", lambda _: f"\0{typed}\0{word}".encode())
        self.assertIn("AUTHENTICATIONFAILED", str(refusal.exception))
        box.shutdown()

    def check_delivery(self, typed, user, home):
        """Mail for what is typed lies in the user's mailbox at home, and nowhere else."""
        subject = fresh("name")
        client = self.world.smtp("mx", port=self.ports["mx"])
        client.sendmail("x@elsewhere.test", [typed], message(subject, to=typed))
        client.quit()
        for name in sorted(self.pairs, key=lambda name: name != home):
            box = self.world.imap(port=self.pairs[name].imaps, login=False)
            box.login(user, WORDS[user])

            def count():
                box.select("INBOX", readonly=True)
                return len(box.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
            if name == home:
                wait_until(count, f"mail for {typed}")
            self.assertEqual(count(), 1 if name == home else 0, name)
            box.logout()

    # --- what is claimed --------------------------------------------------------------------------

    def test_extensions_and_letters_do_not_move_anybody(self):
        self.start()
        self.check_login("Alice@Names.TEST", ALICE, "east")
        self.check_login(PHONE, PHONE, "west")  # at bob's home, with the name as it was typed
        self.check_refused("alice+x@names.test", WORDS[ALICE])  # which this server does not know so
        self.check_delivery("alice+lists.postfix@names.test", ALICE, "east")
        self.check_delivery("ALICE+Lists@Names.Test", ALICE, "east")
        self.check_delivery("bob+a+b@names.test", BOB, "west")

    def test_a_whole_domain_has_a_row_and_one_of_it_another(self):
        self.start(default_domain="sales.names.test")
        for typed in (SELLER, "ANNA@Sales.Names.Test"):
            self.check_login(typed, SELLER, "west")
        self.check_delivery("anna+fairs@sales.names.test", SELLER, "west")
        self.check_login(CHIEF, CHIEF, "east")
        self.check_delivery(CHIEF, CHIEF, "east")
        self.check_refused("nobody@else.names.test", "x")
        # The domain that is added finds the home; the backend is told what was typed, and knows no such name.
        self.check_refused("anna", WORDS[SELLER])

    def test_a_rewritten_name_finds_the_home_and_the_backend_is_told_what_was_typed(self):
        self.start(rewrite=REWRITE)
        self.check_login(OLD_BOB, OLD_BOB, "west")
        self.check_refused("alice@old.test", WORDS[ALICE])
        self.check_delivery("alice@old.test", ALICE, "east")
        self.check_delivery("Alice+x@OLD.test", ALICE, "east")

    def test_with_send_rewritten_the_backend_is_told_the_rewritten_name(self):
        self.start(rewrite=REWRITE + [PLAIN_NAME], send_rewritten=True)
        for typed in ("alice@old.test", "NAMES\\alice", "names\\alice", "alice+x@names.test", "alice+x@OLD.test", ALICE):
            self.check_login(typed, ALICE, "east")
        self.check_login(OLD_BOB, BOB, "west")
        self.check_refused("NAMES\\nobody", "x")
        self.check_delivery("alice@old.test", ALICE, "east")

    def test_with_send_rewritten_a_submission_is_the_rewritten_users(self):
        self.start(rewrite=REWRITE, send_rewritten=True)
        postfix, subject = self.pairs["east"].postfix, fresh("submitted")
        client = self.world.smtp("submissions", port=self.ports["submissions"])
        client.login("alice@old.test", WORDS[ALICE])
        client.sendmail(ALICE, [ALICE], message(subject))
        client.quit()
        wait_until(lambda: f"sasl_username={ALICE}" in postfix.log_text(), "the submission")
        self.assertNotIn("sasl_username", self.pairs["west"].postfix.log_text())
