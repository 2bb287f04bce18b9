#!/usr/bin/env python3
# run: a benchmark of decisions: where does work go while a backend is slow, dead, full, mute or lying?
#
# Postern, HAProxy (leastconn, roundrobin) and an omniscient dispatcher serve the same arrivals at the same time,
# each with five backends of its own that suffer the same fault. packaging/docs/decisions.md tells the method.
#   run.py [--only a,c] [--rounds 5] [--quick] [--out FOLDER]; environment: POSTERN, HAPROXY
# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contenders  # noqa: E402
import report  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
ALL = contenders.NAMES + [contenders.OMNISCIENT]
HEALTHY, FAULT, AFTER = 10, 15, 10   # seconds
SETTLE = 3                           # check intervals: after these the p99 must be near the healthy one
WORST_LAG_MS = 100                   # a round that was disturbed more than this is run again
MOST_REPEATS = 3
RATE = 0.6 * contenders.NUM_BACKENDS * contenders.WORKERS * 1000 / contenders.MEAN_MS


def slowed(key, factor):
    return lambda act: (lambda seconds: act("b1" if key != "all" else "*", "slow" if key == "all" else key,
                                            factor if 0 <= seconds < FAULT else 1))


def switched(key):
    return lambda act: (lambda seconds: act("b1", key, 1 if 0 <= seconds < FAULT else 0))


def queue(act):
    """Past soft to above hard in two thirds of the fault, empty again when it ends."""
    def step(seconds):
        rise, fall = FAULT * 0.5, FAULT * 0.7
        depth = 0
        if 0 <= seconds < FAULT:
            depth = 5500 * min(1, seconds / rise) if seconds < fall else 5500 * (FAULT - seconds) / (FAULT - fall)
        act("b1", "depth", round(depth))
    return step


def killed(act):
    return lambda seconds: act("b1", "dead", 1 if 0 <= seconds < FAULT else 0)


def flapping(act):
    return lambda seconds: act("b1", "dead", 1 if 0 <= seconds < FAULT and seconds % 3 < 1.5 else 0)


def degrading(act):
    return lambda seconds: act("b1", "slow", round(1.1 ** int(seconds), 3) if 0 <= seconds < FAULT else 1)


SCENARIOS = {
    "a": ("one backend ten times slower", slowed("slow", 10)),
    "b": ("one mail queue past soft to hard, and back", queue),
    "c": ("one backend killed with -9, and back", killed),
    "d": ("one accepts and never greets", switched("mute")),
    "e": ("all slower by 40 %", slowed("all", 1.4)),
    "f": ("one flapping: 1.5 s dead, 1.5 s there", flapping),
    "g": ("one ten times slower in IMAP only", slowed("slow_imap", 10)),
    "h": ("one greets 421 and BYE", switched("refuse")),
    "i": ("one answers logins [UNAVAILABLE]", switched("unavailable")),
    "j": ("one slower by 10 % each second", degrading),
}


class Farm:
    """All backends of one contender: b1 a process of its own, which can be killed."""

    def __init__(self, tools, addresses, contender):
        self.command = [os.path.join(tools, "backends"), str(contenders.WORKERS), str(contenders.MEAN_MS)]
        places = [f"{name}={addresses.backend(contender, number)}"
                  for number, name in enumerate(contenders.backend_names())]
        self.parts = [places[:1], places[1:]]
        self.processes = [self._start(part) for part in self.parts]

    def _start(self, places):
        process = subprocess.Popen(self.command + places, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n", "backends do not start"
        return process

    def act(self, name, key, value):
        if key == "dead":
            if value:
                self.processes[0].kill()
                self.processes[0].wait()
            else:
                self.processes[0] = self._start(self.parts[0])
            return
        for process, places in zip(self.processes, self.parts):
            for place in places:
                if name in ("*", place.split("=")[0]):
                    process.stdin.write(f"{place.split('=')[0]} {key} {value}\n")
            process.stdin.flush()

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()


def weights_of(admin):
    """Weight by backend and protocol, as Postern says."""
    with urllib.request.urlopen(f"http://{admin}/api/v1/backends", timeout=1) as answer:
        backends = json.load(answer)["backends"]
    return {f"{backend['name']}/{end['protocol']}": [end["weight"], end["state"], end["reason"]]
            for backend in backends for end in backend["endpoints"]}


def run_once(scenario, seed, tools, options, slot=0):
    addresses = contenders.Addresses(slot)
    folder = tempfile.mkdtemp(prefix=f"decisions-{scenario}-")
    farms, processes = {}, {}
    try:
        for contender in ALL:
            farms[contender] = Farm(tools, addresses, contender)
        processes = contenders.start(options.postern, options.haproxy, addresses, folder)
        time.sleep(4)   # checks, slow starts
        for name, process in processes.items():
            assert process.poll() is None, f"{name} does not run: " + open(os.path.join(folder, name + ".log")).read()
        targets = [f"{name}={addresses.front(name, 'imap')},{addresses.front(name, 'smtp')}"
                   for name in contenders.NAMES]
        targets.append(contenders.OMNISCIENT + "=@" + ",".join(
            f"{name}={addresses.backend(contenders.OMNISCIENT, number)}"
            for number, name in enumerate(contenders.backend_names())))
        total = HEALTHY + FAULT + AFTER
        clients = subprocess.Popen(
            [os.path.join(tools, "clients"), str(RATE), str(total), str(seed), str(contenders.MEAN_MS),
             str(contenders.SIGMA), str(contenders.WORKERS)] + targets,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert clients.stdout.readline() == "begin\n", "clients do not start"
        began = time.monotonic()
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(clients.stdout), daemon=True)
        reader.start()
        last = {}

        def act(name, key, value):
            if last.get((name, key), 1 if key.startswith("slow") else 0) == value:
                return
            last[name, key] = value

            def tell_clients():
                for who in contenders.backend_names() if name == "*" else [name]:
                    clients.stdin.write(f"{who} {key} {value}\n")
                clients.stdin.flush()
            # The omniscient dispatcher knows of a fault before it comes, and of its end when it has come.
            is_end = value == (1 if key.startswith("slow") else 0)
            if not is_end:
                tell_clients()
            for farm in farms.values():
                farm.act(name, key, value)
            if is_end:
                tell_clients()

        step = SCENARIOS[scenario][1](act)
        weights, next_look = [], 0.0
        while (now := time.monotonic() - began) < total + 1:
            step(now - HEALTHY)
            if now >= next_look:
                weights.append([round(now, 2), weights_of(addresses.admin())])
                next_look += 0.5
            time.sleep(0.05)
        clients.wait()
        reader.join()
        return report.digest(lines, weights, [HEALTHY, FAULT, AFTER], SETTLE), lines
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        for farm in farms.values():
            farm.close()
        if options.keep:
            print("kept:", folder)
        else:
            shutil.rmtree(folder)


def take_precedence():
    """Before other work of the machine, where that is allowed: what is measured takes little."""
    try:
        os.nice(-10)
        with open("/proc/self/autogroup", "w") as group:
            group.write("-20")
    except OSError:
        pass


def build_tools():
    folder = os.path.join(ROOT, "build/bench_tools")
    os.makedirs(folder, exist_ok=True)
    for name in ("backends", "clients"):
        target = os.path.join(folder, name)
        sources = [os.path.join(HERE, name + ".cc"), os.path.join(HERE, "loop.h")]
        if not os.path.exists(target) or max(map(os.path.getmtime, sources)) > os.path.getmtime(target):
            subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-O2", sources[0], "-o", target], check=True)
    return folder


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", type=int, default=1, help="seed of the first round")
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--beside", type=int, default=1, help="scenarios at the same time (three take half a core)")
    parser.add_argument("--out", default=os.path.join(ROOT, "build/decisions"))
    parser.add_argument("--keep", action="store_true", help="configurations and logs")
    parser.add_argument("--draw", metavar="JSON,...",
                        help="no run: table and plot of earlier ones, together")
    options = parser.parse_args()
    options.postern = os.environ.get("POSTERN", os.path.join(ROOT, "build/release/postern"))
    options.haproxy = os.environ.get("HAPROXY", shutil.which("haproxy") or "/usr/sbin/haproxy")
    titles = {key: title for key, (title, _) in SCENARIOS.items()}
    if options.draw:
        rounds = {}
        for path in options.draw.split(","):
            with open(path) as earlier:
                for key, more in json.load(earlier).items():
                    rounds.setdefault(key, []).extend(more)
        return report.finish({key: rounds[key] for key in sorted(rounds)}, titles, options.out)
    tools = build_tools()
    take_precedence()
    jobs = [(scenario, seed) for seed in range(options.first, options.first + (1 if options.quick else options.rounds))
            for scenario in options.only.split(",")]
    rounds, failures, disturbed = {}, [], []

    def work(slot):
        while jobs:
            scenario, seed = jobs.pop(0)
            try:
                result, lines = run_once(scenario, seed, tools, options, slot)
            except Exception as error:   # told below; other runs go on
                failures.append(f"({scenario}) round {seed}: {error!r}")
                continue
            if result["lag_ms"] > WORST_LAG_MS and disturbed.count((scenario, seed)) < MOST_REPEATS:
                disturbed.append((scenario, seed))
                jobs.append((scenario, seed))
                print(f"({scenario}) round {seed}: the machine stood still for {result['lag_ms']} ms: run again",
                      flush=True)
                continue
            rounds.setdefault(scenario, []).append(result)
            os.makedirs(options.out, exist_ok=True)
            with open(os.path.join(options.out, f"sessions-{scenario}-{seed}.txt"), "w") as out:
                out.writelines(lines)
            print(f"({scenario}) round {seed} done, worst lag of the clients' timers {result['lag_ms']} ms", flush=True)

    slots = [threading.Thread(target=work, args=(slot,)) for slot in range(options.beside)]
    for thread in slots:
        thread.start()
    for thread in slots:
        thread.join()
    if rounds:
        report.finish({key: rounds[key] for key in sorted(rounds)}, titles, options.out)
    for failure in failures:
        print("FAILED TO RUN", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
