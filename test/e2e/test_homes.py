# One domain, forty people, two pairs of servers: homes in a map, in two LDAP servers and in two
# authentication servers, asked in turn; a real Postfix sends to all of them, while directories come and go.
# SPDX-License-Identifier: Apache-2.0
import collections
import os
import poplib
import re
from concurrent.futures import ThreadPoolExecutor

import case
from auth_http import AuthHttp
from balancer import Balancer
from directory_case import NOTHING_REMEMBERED
from lab import LOOPBACK, wait_until
from slapd import BASE, BIND_DN, WORD, Slapd
from world import fresh, message

DOMAIN = "homes.test"
PEOPLE = [f"user{number:02}@{DOMAIN}" for number in range(1, 41)]
WORDS = {user: f'pass "{user}\\' for user in PEOPLE}
MAPPED, IN_LDAP, IN_AUTH = PEOPLE[:14], PEOPLE[14:27], PEOPLE[27:]
HOMES = {user: ("east", "west")[number % 2] for number, user in enumerate(PEOPLE)}
DOORS = {"mx": ("smtp", "starttls"), "imaps": ("imap", "implicit"), "pop3s": ("pop3", "implicit")}


class HomesTest(case.Case):
    """One Postern and one set of servers for all of it."""

    @classmethod
    def setUpClass(cls):
        world = case.world
        lab = cls.lab = world.lab
        cls.pairs = {name: lab.start_pair(name, WORDS, [DOMAIN], xclient="127.0.0.0/8") for name in ("east", "west")}
        cls.ldap = [Slapd(lab, f"homes-{n}", [(user, [HOMES[user]]) for user in IN_LDAP]) for n in (1, 2)]
        ports = {name: {"smtp": pair.smtp, "imap": pair.imaps, "pop3": pair.pop3s} for name, pair in cls.pairs.items()}
        cls.auth = [AuthHttp(lab, f"homes-{n}", {user: (WORDS[user], ports[HOMES[user]]) for user in IN_AUTH})
                    for n in (1, 2)]
        cls.ports = {door: lab.free_port() for door in DOORS}
        cls.sender = lab.start_postfix(
            "homes-sender", relayhost=f"[{LOOPBACK}]:{cls.ports['mx']}",
            extra="smtpd_relay_restrictions = permit_mynetworks, reject\nmynetworks = 127.0.0.0/8\n")
        cls.sender.wait_ready()
        cls.start_postern(world, ports)

    @classmethod
    def tearDownClass(cls):
        cls.balancer.stop()
        for server in cls.ldap + cls.auth:
            server.kill()
        for pair in cls.pairs.values():
            pair.postfix.kill()
            pair.dovecot.kill()
        cls.sender.kill()

    @classmethod
    def start_postern(cls, world, ports):
        lab, base, admin = cls.lab, world.config(), f"{LOOPBACK}:{cls.lab.free_port()}"
        folder = lab.make_folder("homes")
        directories = {
            "map": {"type": "file", "path": lab.write(
                os.path.join(folder, "map"), "".join(f"{user} {HOMES[user]}\n" for user in MAPPED))},
            "ldap": {"type": "ldap", "urls": [f"ldap://{LOOPBACK}:{server.ldap}" for server in cls.ldap],
                     "bind_dn": BIND_DN, "bind_password": {"file": lab.write(os.path.join(folder, "word"), WORD + "\n")},
                     "base": BASE, "filter": "(mail=%u)", "attribute": "l", "cache": NOTHING_REMEMBERED},
            "auth": {"type": "auth_http", "urls": [server.url for server in cls.auth]},
        }
        cls.balancer = Balancer(lab, world.binary, {
            **{key: base[key] for key in ("hostname", "workers", "tls", "limits", "timeouts", "drain")},
            "listeners": [{"name": door, "protocol": protocol, "address": f"{LOOPBACK}:{cls.ports[door]}", "tls": tls,
                           "route": "inbound" if protocol == "smtp" else "users"}
                          for door, (protocol, tls) in DOORS.items()],
            "backends": {name: {"host": LOOPBACK, "verify": base["backends"]["pair1"]["verify"],
                                "smtp": world.endpoint(part["smtp"], "starttls", "xclient"),
                                "imap": world.endpoint(part["imap"], "implicit"),
                                "pop3": world.endpoint(part["pop3"], "implicit")} for name, part in ports.items()},
            "directories": directories,
            "routes": {"users": [{"name": name, "directory": name} for name in directories],
                       "inbound": [{"name": name, "recipient": f"*@{DOMAIN}", "directory": name}
                                   for name in directories] +
                                  [{"name": "no-relay", "reject": "550 5.7.1 Relaying denied"}]},
            "admin": {"address": admin},
        }, "postern-homes")
        cls.balancer.start(admin)

    # --- what is done -----------------------------------------------------------------------------

    def imap(self, user):
        """A box that is open; an error of imaplib where the login was refused."""
        box = self.world.imap(port=self.ports["imaps"], login=False)
        box.login(user, WORDS[user])
        return box

    def pop3(self, user):
        box = poplib.POP3_SSL("localhost", self.ports["pop3s"], context=self.world.context, timeout=30)
        box.user(user)
        box.pass_(WORDS[user])
        return box

    def read_by_imap(self, user):
        box = self.imap(user)
        box.select("INBOX", readonly=True)
        found = [row[1] for row in box.fetch("1:*", "(BODY.PEEK[])")[1] if isinstance(row, tuple)]
        box.logout()
        return found

    def read_by_pop3(self, user):
        box = self.pop3(user)
        found = [b"\r\n".join(box.retr(number)[1]) + b"\r\n" for number in range(1, box.stat()[0] + 1)]
        box.quit()
        return found

    def send(self, recipients):
        """One message for all of them, by way of the sending Postfix; its subject."""
        subject = fresh("letter")
        client = self.world.smtp("mx", port=self.sender.smtp)
        client.sendmail("x@elsewhere.test", recipients, message(subject, f"Body of {subject}\r\n.\r\n"))
        client.quit()
        return subject

    def everybody(self, work, meanwhile=lambda: None):
        """`work` of everybody, eight at a time; `meanwhile` when some are done and most are not. Results in order."""
        done = []
        with ThreadPoolExecutor(8) as pool:
            running = [pool.submit(lambda user=user: (work(user), done.append(user))[0]) for user in PEOPLE]
            wait_until(lambda: len(done) >= 8 or all(job.done() for job in running), "some of them")
            meanwhile()
            return [job.result() for job in running]

    def in_mailbox(self, name, user):
        """Subjects in the user's mailbox on that pair, as files."""
        folder = os.path.join(self.pairs[name].dovecot.mail, user)
        found = []
        for part in ("new", "cur"):
            if os.path.isdir(os.path.join(folder, part)):
                for file in os.listdir(os.path.join(folder, part)):
                    with open(os.path.join(folder, part, file), encoding="utf-8") as text:
                        found.append(re.search(r"^Subject: (.*)$", text.read(), re.MULTILINE).group(1))
        return found

    def logins(self, user):
        return [pair.dovecot.log_text().count(f"Login: user=<{user}>") for pair in self.pairs.values()]

    def lookups(self, directory, result):
        return self.balancer.metric("directory_lookups_total", directory=directory, result=result)

    def refusals(self, user):
        """What IMAP, POP3 and SMTP say to the user's login and mail."""
        box = self.world.imap(port=self.ports["imaps"], login=False)
        with self.assertRaises(box.error) as imap:
            box.login(user, WORDS[user])
        box.logout()
        with self.assertRaises(poplib.error_proto) as pop3:
            self.pop3(user)
        return str(imap.exception), str(pop3.exception), self.rcpt(user)

    def rcpt(self, user):
        client = self.world.smtp("mx", port=self.ports["mx"])
        client.ehlo()
        client.mail("x@elsewhere.test")
        code = client.rcpt(user)[0]
        client.quit()
        return code

    # --- what is claimed --------------------------------------------------------------------------

    def test_everybody_gets_all_mail_once_and_at_home_while_directories_come_and_go(self):
        wanted = collections.defaultdict(list)
        failed = {directory: self.lookups(directory, "error") for directory in ("map", "ldap", "auth")}
        bodies = {}

        def send_round():
            for third in range(3):  # everybody gets one of the three, and each goes to both pairs
                recipients = PEOPLE[third::3]
                self.assertEqual({HOMES[user] for user in recipients}, {"east", "west"})
                subject = self.send(recipients)
                for user in recipients:
                    wanted[user].append(subject)

        def stop(which):
            self.ldap[which].kill()
            self.auth[which].kill()
            send_round()

        def start(which):
            self.ldap[which].start()
            self.auth[which].start()

        send_round()
        self.everybody(lambda user: self.imap(user).logout(), lambda: stop(0))
        self.everybody(lambda user: self.pop3(user).quit())
        start(0)
        self.everybody(lambda user: self.pop3(user).quit(), lambda: stop(1))  # now those that were away are asked
        self.everybody(lambda user: self.imap(user).logout())
        start(1)
        wait_until(lambda: self.sender.queue_length() == 0,
                   "the sender's queue to be empty:\n" + self.sender.log_text()[-3000:], 90)
        for user in PEOPLE:
            home, other = ("east", "west") if HOMES[user] == "east" else ("west", "east")
            wait_until(lambda: len(self.in_mailbox(home, user)) >= len(wanted[user]), f"the mail of {user}")
            self.assertEqual(sorted(self.in_mailbox(home, user)), sorted(wanted[user]), user)
            self.assertEqual(self.in_mailbox(other, user), [], user)
        for read in (self.read_by_imap, self.read_by_pop3):
            for user, texts in zip(PEOPLE, self.everybody(read)):
                found = sorted(re.search(rb"\r\nSubject: (.*)\r\n", text).group(1).decode() for text in texts)
                self.assertEqual(found, sorted(wanted[user]), user)
                for text in texts:
                    subject = re.search(rb"\r\nSubject: (.*)\r\n", text).group(1)
                    self.assertTrue(text.endswith(b"\r\n\r\nBody of " + subject + b"\r\n.\r\n"), text)
        for user in PEOPLE:
            self.assertEqual(self.logins(user)[HOMES[user] == "east"], 0, user)
        sent = re.findall(r"to=<(user\d\d@[^>]*)>,.* status=sent", self.sender.log_text())
        self.assertEqual(collections.Counter(sent), {user: len(subjects) for user, subjects in wanted.items()})
        self.assertNotIn("status=bounced", self.sender.log_text())
        self.assertGreater(self.balancer.metric("smtp_recipients_total", listener="mx", result="deferred_other_home"), 0)
        for directory, before in failed.items():
            self.assertEqual(self.lookups(directory, "error"), before, directory)
            self.assertGreater(self.lookups(directory, "hit"), 0, directory)
        for server in self.auth:
            for protocol in ("smtp", "imap", "pop3"):
                self.assertRegex(server.log_text(), f"{protocol} user.* OK", server.name)

    def test_with_its_directory_down_nobody_lands_anywhere_and_who_is_in_another_one_is_served(self):
        by_map, by_ldap, by_auth = MAPPED[0], IN_LDAP[0], IN_AUTH[0]
        before = {user: self.logins(user) for user in PEOPLE}

        def expect(served, waiting):
            for user in waiting:
                imap, pop3, smtp = self.refusals(user)
                self.assertIn("[UNAVAILABLE]", imap)
                self.assertIn("[SYS/TEMP]", pop3)
                self.assertEqual(smtp, 451)
            for user in served:
                self.imap(user).logout()
                self.pop3(user).quit()
                self.assertEqual(self.rcpt(user), 250)
                before[user][HOMES[user] == "west"] += 2

        for server in self.auth:
            server.kill()
        expect((by_map, by_ldap), (by_auth,))
        for server in self.ldap:
            server.kill()
        expect((by_map,), (by_ldap, by_auth))
        for server in self.ldap + self.auth:
            server.start()
        for user in (by_ldap, by_auth):
            wait_until(lambda: self.rcpt(user) == 250, f"mail for {user} to be taken", 60)
        for user, logins in before.items():
            wait_until(lambda: sum(self.logins(user)) >= sum(logins), f"the logins of {user}")
            self.assertEqual(self.logins(user), logins, user)
