#!/usr/bin/env python3
# run: what the checks of 1,000 endpoints cost at 5 s intervals, and a scrape with 1,000 backends.
#
# All backends are one small program on 127.60.x.y (of the benchmark of decisions). Of Postern are measured its
# processor time and memory (/proc), and the time and size of /metrics and of /api/v1/backends.
#   run.py [--backends 1000] [--seconds 30]; environment: POSTERN
# SPDX-License-Identifier: Apache-2.0
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
sys.path.insert(0, os.path.join(HERE, "../decisions"))
from run import build_tools  # noqa: E402

ADMIN = "127.60.255.1:2180"


def address(number):
    return f"127.60.{number // 250}.{number % 250 + 1}"


def config(number):
    backends = {f"b{i}": {"host": address(i), "verify": "off", "smtp": {"port": 2025, "tls": "none"}}
                for i in range(number)}
    return {"hostname": "bench.test", "workers": 1,
            "listeners": [{"name": "mx", "protocol": "smtp", "address": "127.60.255.1:2025", "tls": "none",
                           "route": "all"}],
            "backends": backends, "pools": {"farm": {"backends": list(backends)}},
            "routes": {"all": [{"name": "all", "pool": "farm"}]},
            "health": {"interval": "5s", "relay_check": False}, "admin": {"address": ADMIN},
            "log": {"level": "error", "sessions": "off"}}


def get(path):
    began = time.monotonic()
    with urllib.request.urlopen(f"http://{ADMIN}{path}", timeout=10) as answer:
        body = answer.read()
    return body.decode(), (time.monotonic() - began) * 1000


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def checks_done():
    text, _ = get("/metrics")
    lines = re.findall(r'^postern_checks_total\{[^}]*result="(\w+)"[^}]*\} (\d+)', text, re.M)
    return [sum(int(value) for result, value in lines if result == wanted) for wanted in ("ok", "failed")]


def measure(postern, tools, number, seconds):
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        path = os.path.join(folder, "postern.json")
        with open(path, "w") as out:
            json.dump(config(number), out)
        servers = subprocess.Popen([os.path.join(tools, "backends"), "4", "1"] +
                                   [f"b{i}={address(i)}" for i in range(number)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        process = None
        try:
            assert servers.stdout.readline() == b"ready\n", "backends do not start"
            process = subprocess.Popen([postern, "run", "--config", path], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(12)   # first checks, and two rounds more
            assert process.poll() is None, "postern does not run"
            before, cpu, began = checks_done(), cpu_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            took, cpu = time.monotonic() - began, cpu_seconds(process.pid) - cpu
            after = checks_done()
            done = after[0] - before[0]
            print(f"{number} endpoints, checked every 5 s: {done / took:.0f} checks a second ({after[1]} failed), "
                  f"{100 * cpu / took:.1f} % of one core, {1e6 * cpu / max(1, done):.0f} us a check, "
                  f"{memory_mib(process.pid):.0f} MiB resident")
            for path in ("/metrics", "/api/v1/backends"):
                looks = [get(path) for _ in range(11)]
                print(f"  GET {path}: {statistics.median(ms for _, ms in looks):.1f} ms, "
                      f"{len(looks[-1][0]) / 1024:.0f} KiB")
        finally:
            for one in (process, servers):
                if one is not None:
                    one.kill()
                    one.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--backends", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    postern = os.environ.get("POSTERN", os.path.join(ROOT, "build/release/postern"))
    for number in (10, options.backends):
        measure(postern, build_tools(), number, options.seconds)


if __name__ == "__main__":
    main()
