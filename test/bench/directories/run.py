#!/usr/bin/env python3
# run: what a directory costs: look-ups of each type, a login with a map of a million users, who moves.
#
# Real slapd, redis-server and Dovecot, and the lab's small authentication server; one Postern with one worker.
# Look-ups are RCPT commands that the next rule refuses, so that no backend is in them; "none" is the same without a
# directory. Processor time is that of all of Postern's threads, and of its LDAP helper (/proc/PID/task/*/schedstat).
#   run.py [--people 20000] [--rows 1000000] [--logins 400]; environment: POSTERN
# Needs packaging/deps.sh --test. A busy machine gives other rates; ratios within one run hold better.
# SPDX-License-Identifier: Apache-2.0
import argparse
import os
import selectors
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
sys.path.insert(0, os.path.join(ROOT, "packaging/lab"))
from auth_http import AuthHttp  # noqa: E402
from balancer import Balancer  # noqa: E402
from lab import LOOPBACK, Lab, session_members  # noqa: E402
from redis import Redis  # noqa: E402
from slapd import BASE, BIND_DN, WORD, Slapd  # noqa: E402

DOMAIN = "bench.test"
PASSWORD = "secret"
TYPES = ("none", "file", "redis", "ldap", "auth_http")
SESSIONS = 16        # that ask at the same time
BATCH = 100          # RCPT commands sent together
SLOW_SHARE = 10      # of the people, this part is asked for at the authentication server: Python, and nothing remembered
ACCOUNTS = 100       # who can log in at the Dovecot
ROUNDS = 8           # of logins, with and without the map in turn


def user(number):
    return f"user{number}@{DOMAIN}"


class Farm:
    def __init__(self, lab, binary, options):
        self.lab = lab
        folder = lab.make_folder("bench")
        self.dovecot = lab.start_dovecot("bench", {user(number): PASSWORD for number in range(ACCOUNTS)})
        self.redis = Redis(lab, "bench")
        self.redis.say(*(f"SET postern:{user(number)} mail1" for number in range(options.people)))
        self.slapd = Slapd(lab, "bench", [(user(number), ["mail1"]) for number in range(options.people)])
        self.auth = AuthHttp(lab, "bench", {user(number): (PASSWORD, {"smtp": self.dovecot.lmtp})
                                            for number in range(options.people)})
        self.map = os.path.join(folder, "map")
        with open(self.map, "w", encoding="ascii") as out:
            out.writelines(f"{user(number)} mail1\n" for number in range(options.rows))
        self.dovecot.wait_ready()
        self.ports = {name: lab.free_port() for name in TYPES + ("imap-none", "imap-file")}
        self.admin = f"{LOOPBACK}:{lab.free_port()}"
        self.postern = Balancer(lab, binary, self.config(folder))
        self.postern.start(self.admin)

    def config(self, folder):
        word = self.lab.write(os.path.join(folder, "word"), WORD + "\n")
        refuse = {"name": "refuse", "reject": "550 5.7.1 No"}
        listeners = [{"name": name, "protocol": "smtp", "address": f"{LOOPBACK}:{self.ports[name]}", "tls": "none",
                      "route": name} for name in TYPES]
        listeners += [{"name": name, "protocol": "imap", "address": f"{LOOPBACK}:{self.ports[name]}", "tls": "none",
                       "auth_requires_tls": False, "route": name} for name in ("imap-none", "imap-file")]
        return {
            "hostname": "bench.test", "workers": 1, "listeners": listeners,
            "backends": {"mail1": {"host": LOOPBACK, "verify": "off",
                                   "smtp": {"port": self.dovecot.lmtp, "tls": "none"},
                                   "imap": {"port": self.dovecot.imap, "tls": "none"}}},
            "directories": {
                "file": {"type": "file", "path": self.map},
                "redis": {"type": "redis", "addresses": f"{LOOPBACK}:{self.redis.port}"},
                "ldap": {"type": "ldap", "urls": f"ldap://{LOOPBACK}:{self.slapd.ldap}", "bind_dn": BIND_DN,
                         "bind_password": {"file": word}, "base": BASE, "filter": "(mail=%u)", "attribute": "l"},
                "auth_http": {"type": "auth_http", "url": self.auth.url}},
            "routes": {"none": [{"name": "others", "recipient": "*@elsewhere.test", "backend": "mail1"}, refuse],
                       "imap-none": [{"name": "all", "backend": "mail1"}], "imap-file": [{"name": "mapped", "directory": "file"}],
                       **{name: [{"name": "ask", "directory": name, "value": "nowhere"}, refuse] for name in TYPES[1:]}},
            "health": {"checks": False}, "limits": {"exempt": ["127.0.0.0/8"], "recipients": 100000},
            "admin": {"address": self.admin}, "log": {"level": "warn", "sessions": "off"}}

    def cpu_seconds(self):
        """Of Postern and its helper up to now."""
        total = 0
        for pid in session_members(self.postern.process.pid):
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
                    total += int(stat.read().split()[0])
        return total / 1e9

    def lookups(self, directory, result):
        return self.postern.metric("directory_lookups_total", directory=directory, result=result)


class Asker:
    """One SMTP session that asks for its users, many RCPT commands at a time."""

    def __init__(self, port, numbers):
        self.left = list(numbers)
        self.sock = socket.create_connection((LOOPBACK, port), 30)
        lines = self.sock.makefile("rb", 0)
        lines.readline()
        self.sock.sendall(b"EHLO bench.test\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        self.sock.sendall(b"MAIL FROM:<>\r\n")
        assert lines.readline().startswith(b"250")

    def send(self):
        batch, self.left = self.left[:BATCH], self.left[BATCH:]
        self.waiting = len(batch)
        self.sock.sendall("".join(f"RCPT TO:<{user(number)}>\r\n" for number in batch).encode())
        return bool(batch)

    def read(self):
        """True when there is nothing more to ask."""
        answer = self.sock.recv(1 << 16)
        assert answer, "the session has ended"
        self.waiting -= answer.count(b"\r\n")
        return self.waiting == 0 and not self.send()


def ask(port, count):
    """Asks for `count` users in all; the seconds that it took."""
    askers = [Asker(port, range(first, count, SESSIONS)) for first in range(SESSIONS)]
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for asker in askers:
            if asker.send():
                selector.register(asker.sock, selectors.EVENT_READ, asker)
        while selector.get_map():
            for key, _ in selector.select():
                if key.data.read():
                    selector.unregister(key.fileobj)
    took = time.monotonic() - began
    for asker in askers:
        asker.sock.close()
    return took


def look_up(farm, people):
    print(f"{'directory':<12}{'memory':<8}{'look-ups':>9}{'a second':>10}{'CPU us each':>13}")
    for name in TYPES:
        count = people // SLOW_SHARE if name == "auth_http" else people
        # Where nothing is remembered one pass says all.
        passes = (("cold", "hit"), ("warm", "cached")) if name in ("redis", "ldap") else (("-", "hit"),)
        for memory, result in passes:
            answered, cpu = farm.lookups(name, result), farm.cpu_seconds()
            took = ask(farm.ports[name], count)
            answered, cpu = farm.lookups(name, result) - answered, farm.cpu_seconds() - cpu
            assert answered == (0 if name == "none" else count), f"{name}: {answered} of {count} answered as {result}"
            print(f"{name:<12}{memory:<8}{count:>9}{count / took:>10.0f}{1e6 * cpu / count:>13.1f}", flush=True)


def log_in(port, number):
    with socket.create_connection((LOOPBACK, port), 30) as sock:
        lines = sock.makefile("rb", 0)
        lines.readline()
        for command in (f"a LOGIN {user(number)} {PASSWORD}", "b LOGOUT"):
            sock.sendall(command.encode() + b"\r\n")
            answer = lines.readline()
            while answer.startswith(b"*"):
                answer = lines.readline()
            assert answer[2:4] == b"OK", answer
        assert not lines.readline()


def log_in_by_turns(farm, logins, rows):
    costs = {"imap-none": [], "imap-file": []}
    share = max(1, logins // ROUNDS)
    for name in costs:  # connections to the checks, pages of the map
        for number in range(ACCOUNTS):
            log_in(farm.ports[name], number)
    for _ in range(ROUNDS):
        for name, found in costs.items():
            cpu = farm.cpu_seconds()
            for number in range(share):
                log_in(farm.ports[name], number % ACCOUNTS)
            found.append(1e6 * (farm.cpu_seconds() - cpu) / share)
    plain, mapped = (statistics.median(found) for found in costs.values())
    print(f"{'a login, in clear':<34}{'CPU us':>9}{'least':>8}{'most':>8}")
    for what, found in zip(("without a directory", f"with a map of {rows:,} rows"), costs.values()):
        print(f"{what:<34}{statistics.median(found):>9.1f}{min(found):>8.1f}{max(found):>8.1f}")
    print(f"{'quotient':<34}{mapped / plain:>9.3f}")


def show_moves():
    for command in (["cmake", "--preset", "sim"], ["cmake", "--build", "--preset", "sim", "--target", "moves_bench"]):
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    print(subprocess.run([os.path.join(ROOT, "build/sim/test/moves_bench")], capture_output=True, text=True,
                         check=True).stdout, end="")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=20000)
    parser.add_argument("--rows", type=int, default=1000000)
    parser.add_argument("--logins", type=int, default=400)
    options = parser.parse_args()
    binary = os.environ.get("POSTERN", os.path.join(ROOT, "build/release/postern"))
    with Lab() as lab:
        farm = Farm(lab, binary, options)
        look_up(farm, options.people)
        print()
        log_in_by_turns(farm, options.logins, options.rows)
    print()
    show_moves()


if __name__ == "__main__":
    main()
