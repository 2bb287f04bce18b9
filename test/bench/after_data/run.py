#!/usr/bin/env python3
# run: a benchmark of smtp.commit: how long does a message hold a connection to its mail server, when its client is slow?
#
# Clients send 200 KiB each over five seconds, to a Postern that streams and to one that chooses the server behind the
# text (after_data), at the same time; each has a real Postfix of its own, which keeps what it gets. Every 10 ms the
# connections that each Postfix has are counted, and at the end its queue is read.
#   run.py [--rate 4] [--seconds 20] [--size 204800] [--pace 5]; environment: POSTERN
# SPDX-License-Identifier: Apache-2.0
import argparse
import asyncio
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
sys.path[:0] = [os.path.join(HERE, "../failover"), os.path.join(ROOT, "packaging/lab")]
from balancer import Balancer  # noqa: E402
from lab import LOOPBACK, Lab, LabError  # noqa: E402
from sender import Sender  # noqa: E402

MODES = ("streaming", "after_data")
USER = "user@example.test"
SAMPLE_EVERY = 0.01
LAST_WORDS = 120.0  # for messages that are under way at the end
ESTABLISHED = "01"


class Side:
    """One Postern with one Postfix."""

    def __init__(self, lab, binary, mode):
        self.mode = mode
        self.server = lab.start_postfix(f"mx-{mode}".replace("_", "-"), domains=["example.test"], users=[USER],
                                        extra="smtpd_client_restrictions = check_client_access static:HOLD\n"
                                              "smtpd_forbid_bare_newline = no\ndefault_process_limit = 400")
        self.server.wait_ready()
        self.port = lab.free_port()
        admin = f"{LOOPBACK}:{lab.free_port()}"
        Balancer(lab, binary, {
            "hostname": "postern.test", "workers": 1,
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:{self.port}", "tls": "none",
                           "route": "in"}],
            "backends": {"mx": {"host": LOOPBACK, "smtp": {"port": self.server.smtp, "tls": "none"}}},
            "routes": {"in": [{"recipient": "*@example.test", "backend": "mx"}]},
            "health": {"interval": "1h", "relay_check": False},
            "limits": {"sessions_per_address": 20000},
            "smtp": {"commit": mode, "spool_dir": lab.make_folder(f"spool-{mode}")}, "admin": {"address": admin},
        }, mode.replace("_", "-")).start(admin)
        self.held_seconds = 0.0
        self.most_held = 0

    def count(self, connections, seconds):
        held = connections.count(self.server.smtp)
        self.held_seconds += held * seconds
        self.most_held = max(self.most_held, held)

    def queued(self):
        folders = [os.path.join(self.server.folder, "queue", queue) for queue in ("hold", "incoming", "active")]
        return sum(len(names) for folder in folders for _, _, names in os.walk(folder))


def served_ports():
    """The local port of each established connection."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return [int(row[1].partition(":")[2], 16) for row in rows if row[3] == ESTABLISHED]


async def watch(sides):
    last = time.monotonic()
    while True:
        await asyncio.sleep(SAMPLE_EVERY)
        connections, now = served_ports(), time.monotonic()
        for side in sides:
            side.count(connections, now - last)
        last = now


async def send_all(sides, options):
    """Arrivals at random times, the same for both."""
    order = random.Random(options.seed)
    watcher = asyncio.create_task(watch(sides))
    under_way = {side.mode: [] for side in sides}
    began = due = time.monotonic()
    while due - began < options.seconds:
        due += order.expovariate(options.rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        for side in sides:
            sender = Sender(side.port, len(under_way[side.mode]), options.size, USER, options.pace)
            under_way[side.mode].append(asyncio.create_task(sender.run()))
    results = {mode: await asyncio.wait_for(asyncio.gather(*tasks), LAST_WORDS) for mode, tasks in under_way.items()}
    await asyncio.sleep(0.5)  # the last connections close
    watcher.cancel()
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", type=int, default=200 * 1024)
    parser.add_argument("--pace", type=float, default=5.0, help="seconds that a client takes for its text")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    binary = os.environ.get("POSTERN", os.path.join(ROOT, "build/release/postern"))
    with Lab() as lab:
        sides = [Side(lab, binary, mode) for mode in MODES]
        results = asyncio.run(send_all(sides, options))
        print(f"{'':12}{'messages':>10}{'accepted':>10}{'queued':>8}{'connection s':>14}{'a message':>11}{'at once':>9}"
              f"{'p50 s':>8}{'p99 s':>8}")
        each = {}
        for side in sides:
            all_of = results[side.mode]
            took = sorted(result.seconds for result in all_of if result.is_accepted)
            each[side.mode] = side.held_seconds / max(1, len(took))
            print(f"{side.mode:12}{len(all_of):10}{len(took):10}{side.queued():8}{side.held_seconds:14.2f}"
                  f"{each[side.mode]:11.3f}{side.most_held:9}{took[len(took) // 2]:8.2f}{took[len(took) * 99 // 100]:8.2f}")
    print(f"\nbackend connection seconds per message: {each['streaming']:.3f} streaming, {each['after_data']:.3f} after_data: "
          f"{each['streaming'] / max(each['after_data'], 1e-9):.1f} times less")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"run.py: {error}", file=sys.stderr)
        sys.exit(1)
