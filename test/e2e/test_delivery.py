# Delivery probes through a Postern of their own, into a real Postfix and Dovecot: arrived, put into
# the junk folder, lost, and what a crash leaves behind.
# SPDX-License-Identifier: Apache-2.0
import json
import os

import case
from balancer import Balancer
from lab import LOOPBACK, wait_until

PROBE = "probe@delivery.test"
LOST = "lost@delivery.test"
WORDS = {PROBE: "probe word"}
# What a Sieve script would do is done by the address: mail for probe+junk goes into that folder.
FOLDERS = """
recipient_delimiter = +
lmtp_save_to_detail_mailbox = yes
namespace inbox {
  inbox = yes
  mailbox junk {
    special_use = \\Junk
    auto = subscribe
  }
}
"""


class DeliveryTest(case.Case):
    """One server pair for all; each test runs its own Postern."""

    pair = None

    def setUp(self):
        lab = self.world.lab
        if DeliveryTest.pair is None:
            DeliveryTest.pair = lab.start_pair(
                "delivery", WORDS, ["delivery.test"], dovecot_options={"extra": FOLDERS},
                extra="recipient_delimiter = +\n")
            postfix = self.pair.postfix
            with open(os.path.join(postfix.folder, "mailboxes"), "a", encoding="utf-8") as rows:
                rows.write(f"{LOST} ok\n")
            with open(os.path.join(postfix.folder, "transport"), "w", encoding="utf-8") as rows:
                rows.write(f"{LOST} discard:\n")
            with open(os.path.join(postfix.folder, "main.cf"), "a", encoding="utf-8") as main:
                main.write(f"transport_maps = texthash:{postfix.folder}/transport\n")
            postfix.process.stop()
            postfix.start()
            self.pair.postfix.wait_ready()
            self.pair.dovecot.wait_ready()

    def run_postern(self, name, probe, **listener):
        lab, pair = self.world.lab, self.pair
        mx, admin = lab.free_port(), f"{LOOPBACK}:{lab.free_port()}"
        cert, key = lab.certificate("localhost")
        config = {
            "hostname": "localhost", "workers": 1,
            "tls": {"certificates": [{"cert": cert, "key": key}]},
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:{mx}", "tls": "starttls",
                           "route": "in", **listener}],
            "backends": {"pair": {
                "host": LOOPBACK, "verify": {"name": "localhost", "ca": lab.ca},
                "smtp": {"port": pair.smtp, "tls": "starttls"},
                "imap": {"port": pair.imaps, "tls": "implicit"}}},
            "pools": {"all": {"backends": ["pair"]}},
            "routes": {"in": [{"recipient": "*@delivery.test", "pool": "all"}]},
            "probes": {"round-trip": {
                "interval": "1s", "timeout": "20s", "from": PROBE, "to": PROBE, "send": {"listener": "mx"},
                "find": {"backend": "pair", "user": PROBE, "password": WORDS[PROBE]}, **probe}},
            "admin": {"address": admin}}
        balancer = Balancer(lab, self.world.binary, config, name=f"postern-{name}")
        code, said = balancer.check()
        self.assertEqual(code, 0, said)
        self.assertNotIn("/probes", said)
        balancer.start(admin)
        self.addCleanup(balancer.stop)
        return balancer

    def results(self, balancer, result):
        return balancer.metric("delivery_probes_total", probe="round-trip", result=result)

    def events(self, balancer):
        return json.loads(balancer.get("/api/v1/events")[1])["events"]

    def open_box(self):
        box = self.world.imap(PROBE, port=self.pair.imaps, login=False)
        box.login(PROBE, WORDS[PROBE])
        return box

    def count(self, folder, *criteria):
        box = self.open_box()
        box.select(folder, readonly=True)
        number = len(box.search(None, *(criteria or ("ALL",)))[1][0].split())
        box.logout()
        return number

    def wait_empty(self, *folders):
        wait_until(lambda: not any(self.count(folder) for folder in folders), "empty folders", 30)

    def test_arrives_through_a_listener_and_leaves_nothing(self):
        balancer = self.run_postern("arrives", {})
        wait_until(lambda: self.results(balancer, "ok") >= 2, "two probes\n" + balancer.log_text())
        self.assertEqual(self.results(balancer, "failed"), 0, balancer.log_text())
        for stage in ("submit", "arrive", "cleanup", "roundtrip"):
            self.assertGreaterEqual(
                balancer.metric("delivery_probe_duration_seconds_count", probe="round-trip", stage=stage), 2, stage)
        self.assertEqual(self.events(balancer), [])
        balancer.stop()
        self.wait_empty_but_last()

    def wait_empty_but_last(self):
        # One may be under way when the process ends: the next process deletes it.
        self.assertLessEqual(self.count("INBOX"), 1)
        balancer = self.run_postern("sweeps", {"interval": "1h"})
        wait_until(lambda: self.results(balancer, "ok") == 1, "a probe\n" + balancer.log_text())
        self.wait_empty("INBOX", "junk")

    def test_through_a_listener_that_expects_a_proxy_header(self):
        balancer = self.run_postern("proxied", {}, accept_proxy_from=["127.0.0.0/8"])
        wait_until(lambda: self.results(balancer, "ok") >= 1, "a probe\n" + balancer.log_text())

    def test_straight_to_a_backend(self):
        balancer = self.run_postern("straight", {"send": {"backend": "pair"}})
        wait_until(lambda: self.results(balancer, "ok") >= 1, "a probe\n" + balancer.log_text())

    def test_the_junk_folder_is_a_failure_of_its_own_kind(self):
        balancer = self.run_postern("junk", {"to": PROBE.replace("@", "+junk@")})
        wait_until(lambda: self.results(balancer, "failed") >= 1, "a failure\n" + balancer.log_text())
        event = wait_until(lambda: self.events(balancer), "an event")[0]
        self.assertEqual((event["kind"], event["object"]), ("delivery_probe_junk", "round-trip"))
        self.assertIn("junk", event["text"])
        self.assertEqual(self.results(balancer, "ok"), 0)
        balancer.stop()
        self.wait_empty_but_last()

    def test_accepted_and_lost(self):
        balancer = self.run_postern("lost", {"to": LOST, "timeout": "3s"})
        wait_until(lambda: self.results(balancer, "failed") >= 1, "a failure\n" + balancer.log_text())
        event = wait_until(lambda: self.events(balancer), "an event")[0]
        self.assertEqual(event["kind"], "delivery_probe_failed")
        self.assertIn("lost: accepted by listener mx", event["text"])
        self.assertEqual(self.results(balancer, "ok"), 0)

    def test_what_a_crash_left_is_deleted_and_nothing_else(self):
        box = self.open_box()
        own = f"X-Postern-Probe: localhost/round-trip {'0123456789abcdef' * 2}\r\nSubject: old\r\n\r\nx\r\n"
        other = f"X-Postern-Probe: xlocalhost/round-trip {'0123456789abcdef' * 2}\r\nSubject: keep\r\n\r\nx\r\n"
        plain = "Subject: keep\r\n\r\nX-Postern-Probe: localhost/round-trip\r\n"
        for folder in ("INBOX", "junk"):
            for text in (own, other, plain):
                box.append(folder, None, None, text.encode())
        balancer = self.run_postern("crash", {})
        wait_until(lambda: self.results(balancer, "ok") >= 1, "a probe\n" + balancer.log_text())
        for folder in ("INBOX", "junk"):
            self.assertEqual(self.count(folder, "SUBJECT", "old"), 0)
            self.assertEqual(self.count(folder, "SUBJECT", "keep"), 2)
            box.select(folder)
            box.store("1:*", "+FLAGS", "\\Deleted")
            box.expunge()
        box.logout()
