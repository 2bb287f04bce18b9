# Homes in a real OpenLDAP server, asked by way of postern-ldap; what happens when either dies or hangs.
# SPDX-License-Identifier: Apache-2.0
import os
import signal

from directory_case import OwnDirectory, unique
from lab import LOOPBACK, session_members, wait_until
from slapd import BASE, BIND_DN, WORD, Slapd
from world import ALICE, BOB

PEOPLE = [(ALICE, ["pod-1.example"]), (BOB, ["pod-2.example"]), ("homeless@example.test", []),
          ("two@example.test", ["pod-1.example", "pod-2.example"]), ("twin@example.test", ["pod-1.example"]),
          ("twin@example.test", ["pod-1.example"]), ("stranger@example.test", ["elsewhere"])]


class OwnLdap(OwnDirectory):
    def setUp(self):
        self.slapd = self.start_slapd()

    def start_slapd(self, **options):
        server = Slapd(self.world.lab, unique("slapd"), PEOPLE, **options)
        self.addCleanup(server.kill)
        return server

    def start(self, **directory):
        self.start_postern({
            "type": "ldap", "urls": f"ldap://{LOOPBACK}:{self.slapd.ldap}", "bind_dn": BIND_DN,
            "bind_password": self.secret(self.slapd, WORD), "base": BASE, "filter": "(mail=%u)", "attribute": "l",
            **directory}, "with-ldap")

    def helper(self):
        """The pid of postern-ldap; None: it does not run."""
        for pid in session_members(self.balancer.process.pid):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    if comm.read().strip() == "postern-ldap":
                        return pid
            except OSError:
                pass
        return None


class LdapTest(OwnLdap):
    def test_homes_are_found_by_an_attribute_and_the_table(self):
        self.start()
        self.check_homes()

    def test_who_has_no_home_is_unknown_and_who_has_two_waits(self):
        self.start()
        for address in ("nobody@example.test", "homeless@example.test", "*@example.test",
                        '"*)(l=*"@example.test'):
            self.assertEqual(self.rcpt(address), 550, address)
        for address in ("two@example.test", "twin@example.test"):
            self.assertEqual(self.rcpt(address), 451, address)
        self.assertEqual(self.rcpt(ALICE), 250)

    def test_a_wrong_password_is_a_temporary_failure(self):
        self.start(bind_password=self.secret(self.slapd, "guess"))
        self.assertEqual(self.rcpt(ALICE), 451)

    def test_a_server_that_is_killed_is_a_temporary_failure_until_it_is_back(self):
        self.start()
        self.assertEqual(self.rcpt(ALICE), 250)
        self.slapd.kill()
        self.assertEqual(self.rcpt(ALICE), 451)
        self.assertIn("UNAVAILABLE", self.login(BOB))
        self.slapd.start()
        self.become(ALICE, 250)
        self.assertEqual(self.login(BOB), "")

    def test_a_server_that_hangs_is_a_temporary_failure(self):
        self.start()
        self.assertEqual(self.rcpt(ALICE), 250)
        self.slapd.process.signal(signal.SIGSTOP)
        try:
            self.assertEqual(self.rcpt(ALICE), 451)
        finally:
            self.slapd.process.signal(signal.SIGCONT)
        self.become(ALICE, 250)

    def test_another_server_is_asked_when_the_first_hangs_or_is_gone(self):
        other = self.start_slapd()
        self.start(urls=[f"ldap://{LOOPBACK}:{self.slapd.ldap}", f"ldap://{LOOPBACK}:{other.ldap}"])
        self.assertEqual(self.rcpt(ALICE), 250)
        self.slapd.process.signal(signal.SIGSTOP)
        try:
            self.assertEqual(self.rcpt(ALICE), 250)
        finally:
            self.slapd.process.signal(signal.SIGCONT)
        self.slapd.kill()
        self.assertEqual(self.rcpt(BOB), 250)


class LdapTlsTest(OwnLdap):
    # By address: libldap compares the name of the machine where a URL says "localhost".
    def ldaps(self, server=None):
        return f"ldaps://{LOOPBACK}:{(server or self.slapd).ldaps}"

    def refused(self, word):
        self.assertEqual(self.rcpt(ALICE), 451)
        why = self.balancer.log_lines(event="directory_failed", directory="people")[0]["why"]
        self.assertIn(word, why)

    def test_ldaps_with_a_known_ca(self):
        self.start(urls=self.ldaps(), ca=self.world.lab.ca)
        self.assertEqual(self.rcpt(ALICE), 250)

    def test_starttls_with_a_known_ca(self):
        self.start(starttls=True, ca=self.world.lab.ca)
        self.assertEqual(self.rcpt(ALICE), 250)

    def test_a_certificate_of_another_ca_is_refused(self):
        self.start(urls=self.ldaps())  # the system's CAs
        self.refused("connect")
        self.balancer.stop()
        self.start(starttls=True)
        self.refused("StartTLS")

    def test_a_certificate_of_another_name_is_refused(self):
        stranger = self.start_slapd(certificate=self.world.lab.certificate("ldap.test", also=()))
        self.start(urls=self.ldaps(stranger), ca=self.world.lab.ca)
        self.refused("connect")


class LdapHelperTest(OwnLdap):
    def test_a_killed_helper_is_replaced(self):
        self.start()
        self.assertEqual(self.rcpt(ALICE), 250)
        first = self.helper()
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: self.helper() not in (None, first), "another helper")
        self.become(ALICE, 250)
        second = self.helper()
        os.kill(second, signal.SIGSTOP)
        self.assertEqual(self.rcpt(ALICE), 451)
        os.kill(second, signal.SIGCONT)
        self.become(ALICE, 250)

    def test_it_tells_nothing_and_inherits_nothing(self):
        self.start()
        self.assertEqual(self.rcpt(ALICE), 250)
        pid = self.helper()
        for file in ("cmdline", "environ"):
            with open(f"/proc/{pid}/{file}", "rb") as shown:
                self.assertNotIn(WORD.encode(), shown.read())
        self.assertNotIn(WORD, self.balancer.log_text())
        links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        self.assertEqual(links[0], "/dev/null")
        self.assertEqual({link.split(":")[0] for fd, link in links.items() if fd >= 3}, {"socket"})

    def test_it_comes_and_goes_with_the_configuration(self):
        self.start()
        self.assertEqual(self.rcpt(ALICE), 250)
        config = dict(self.balancer.config)
        without = {**config, "directories": {}, "routes": {
            "users": [{"backend": "pair1"}], "inbound": [{"recipient": "*@example.test", "backend": "pair1"}]}}
        self.balancer.set_config(without)
        self.assertTrue(self.balancer.reload(), self.balancer.log_text()[-2000:])
        wait_until(lambda: self.helper() is None, "the end of the helper")
        self.balancer.set_config(config)
        self.assertTrue(self.balancer.reload(), self.balancer.log_text()[-2000:])
        self.assertEqual(self.rcpt(BOB), 250)
        self.balancer.process.signal(signal.SIGTERM)
        self.assertEqual(self.balancer.process.wait(20), 0)
        self.assertIsNone(self.helper())

    def test_it_ends_when_postern_is_killed(self):
        self.start()
        self.assertEqual(self.rcpt(ALICE), 250)
        self.assertIsNotNone(self.helper())
        os.kill(self.balancer.process.pid, signal.SIGKILL)
        wait_until(lambda: self.helper() is None, "the end of the helper")
