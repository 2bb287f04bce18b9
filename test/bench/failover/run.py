#!/usr/bin/env python3
# run: a benchmark of fail-over: what does a sender see while its mail servers are killed one after the other?
#
# 200 messages a second of 1 KiB to 1 MiB go to three real Postfix servers for a minute; every five seconds one of
# them is killed with -9 and started again. Postern, HAProxy and nginx mail stand in front, one after the other, each
# with servers of its own. A sender tries each message once and never repeats it, so that what is missing or doubled
# is the balancer's doing. The servers hold what they accept; at the end their queues are read.
#   run.py [--only postern,haproxy,nginx] [--rate 200] [--seconds 60] [--seed 1]; environment: POSTERN, HAPROXY, NGINX
# SPDX-License-Identifier: Apache-2.0
import argparse
import asyncio
import collections
import os
import random
import shutil
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
sys.path[:0] = [HERE, os.path.join(ROOT, "packaging/lab")]
import contenders  # noqa: E402
from lab import Lab, LabError, wait_until  # noqa: E402
from sender import Sender  # noqa: E402

NUM_SERVERS = 3
USER = "user@example.test"
KILL_EVERY, DOWN_FOR = 5.0, 1.0  # seconds
LAST_WORDS = 120.0               # for messages that are under way at the end


def start_servers(lab):
    """Postfix servers that keep all they accept in their hold queue."""
    servers = [lab.start_postfix(f"mx{n + 1}", domains=["example.test"], users=[USER],
                                 extra="smtpd_client_restrictions = check_client_access static:HOLD\n"
                                       "smtpd_forbid_bare_newline = no\ndefault_process_limit = 400")
               for n in range(NUM_SERVERS)]
    for server in servers:
        server.wait_ready()
    return servers


async def kill_in_turn(servers, seconds, order):
    kills = 0
    began = time.monotonic()
    while time.monotonic() - began + KILL_EVERY < seconds:
        await asyncio.sleep(KILL_EVERY - (DOWN_FOR if kills else 0))
        victim = order.choice(servers)
        await asyncio.to_thread(victim.kill)
        kills += 1
        await asyncio.sleep(DOWN_FOR)
        victim.start()
    return kills


async def send_all(port, servers, options):
    """Arrivals at random times, whether or not earlier messages are done: an open loop."""
    order = random.Random(options.seed)
    killer = asyncio.create_task(kill_in_turn(servers, options.seconds, random.Random(options.seed + 1)))
    under_way = []
    began = due = time.monotonic()
    lag = 0.0
    while due - began < options.seconds:
        due += order.expovariate(options.rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        lag = max(lag, time.monotonic() - due)
        size = round(1024 * 1024 ** order.random())
        under_way.append(asyncio.create_task(Sender(port, len(under_way), size, USER).run()))
    kills = await killer
    return await asyncio.wait_for(asyncio.gather(*under_way), LAST_WORDS), kills, lag


def copies(servers):
    """Message number -> how many servers' queues have it. Only files that Postfix has finished count."""
    found = collections.Counter()
    for server in servers:
        for queue in ("hold", "incoming", "active", "deferred"):
            for folder, _, names in os.walk(os.path.join(server.folder, "queue", queue)):
                for name in names:
                    path = os.path.join(folder, name)
                    if not os.stat(path).st_mode & 0o100:
                        continue
                    with open(path, "rb") as file:
                        head = file.read(16384)
                    number = head.partition(b"X-Number: ")[2][:12]
                    found[int(number)] += 1
    return found


def measure(name, options):
    with Lab() as lab:
        servers = start_servers(lab)
        port = contenders.start(name, lab, [server.smtp for server in servers])
        results, kills, lag = asyncio.run(send_all(port, servers, options))
        for server in servers:
            wait_until(server.process.is_running, f"{server.name} to be back")
        found = copies(servers)
    took = sorted(result.seconds for result in results if result.is_accepted)
    failed = [result for result in results if not result.is_accepted]
    accepted = {result.number for result in results if result.is_accepted}
    return {
        "name": name, "messages": len(results), "kills": kills, "lag": lag,
        "early": sum(not result.is_text_sent for result in failed),
        "late": sum(result.is_text_sent for result in failed),
        "why": collections.Counter(f"{result.phase}: {result.reply}" for result in failed),
        "lost": sum(number not in found for number in accepted),
        "twice": sum(number > 1 for number in found.values()),
        "not_said": sum(number not in accepted for number in found),
        "p50": took[len(took) // 2] * 1000 if took else 0,
        "p99": took[len(took) * 99 // 100] * 1000 if took else 0,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(contenders.NAMES))
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = options.only.split(",")
    for name in names:
        if shutil.which(contenders.program(name)) is None:
            print(f"run.py: there is no {contenders.program(name)}", file=sys.stderr)
            return 2
    rows = []
    for name in names:
        rows.append(measure(name, options))
        print(f"{name}: {rows[-1]['messages']} messages, {rows[-1]['kills']} servers killed, "
              f"arrivals late by {rows[-1]['lag'] * 1000:.0f} ms at most", flush=True)
        for why, count in rows[-1]["why"].most_common(6):
            print(f"    {count:5} x {why}")
    print(f"\n{'':9}{'failed before':>14}{'failed after':>14}{'lost':>7}{'twice':>7}{'arrived, but':>14}{'p50':>8}{'p99':>9}")
    print(f"{'':9}{'the last dot':>14}{'the last dot':>14}{'':>14}{'told failed':>14}{'ms':>8}{'ms':>9}")
    for row in rows:
        print(f"{row['name']:9}{row['early']:14}{row['late']:14}{row['lost']:7}{row['twice']:7}{row['not_said']:14}"
              f"{row['p50']:8.0f}{row['p99']:9.0f}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except LabError as error:
        print(f"run.py: {error}", file=sys.stderr)
        sys.exit(1)
