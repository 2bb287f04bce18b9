# contenders: Postern and HAProxy, each in front of five backends of its own, both told to look once a second.
# SPDX-License-Identifier: Apache-2.0
import json
import os
import subprocess

NUM_BACKENDS = 5
WORKERS, MEAN_MS, SIGMA = 4, 200, 0.5   # of a backend and protocol: 20 sessions a second
SOFT, HARD = 500, 5000                  # of a mail queue; backends.cc has them too
NAMES = ["postern", "leastconn", "roundrobin"]
OMNISCIENT = "omniscient"


def backend_names():
    return [f"b{i + 1}" for i in range(NUM_BACKENDS)]


class Addresses:
    """Every contender and backend has a loopback address of its own, so that ports are the same everywhere."""

    def __init__(self, slot):
        self.slot = slot   # of runs beside each other

    def backend(self, contender, number):
        return f"127.{40 + self.slot}.{1 + (NAMES + [OMNISCIENT]).index(contender)}.{number + 1}"

    def front(self, contender, protocol):
        return f"127.{40 + self.slot}.100.{1 + NAMES.index(contender)}:{2143 if protocol == 'imap' else 2025}"

    def admin(self):
        return f"127.{40 + self.slot}.100.1:2180"


def postern_config(addresses):
    backends = {}
    for number, name in enumerate(backend_names()):
        host = addresses.backend("postern", number)
        backends[name] = {
            "host": host, "verify": "off",
            "smtp": {"port": 2025, "tls": "none"}, "imap": {"port": 2143, "tls": "none"},
            "queue": {"source": "agent", "address": f"{host}:2198", "soft": SOFT, "hard": HARD, "interval": "1s"}}
    return {
        "hostname": "bench.test", "workers": 1,
        "listeners": [
            {"name": "mx", "protocol": "smtp", "address": addresses.front("postern", "smtp"), "tls": "none",
             "route": "all"},
            {"name": "imap", "protocol": "imap", "address": addresses.front("postern", "imap"), "tls": "none",
             "route": "all", "auth_requires_tls": False}],
        "backends": backends,
        "pools": {"farm": {"backends": list(backends), "balance": "least_load", "storage": "shared"}},
        "routes": {"all": [{"name": "all", "pool": "farm"}]},
        "health": {"interval": "1s", "fast_interval": "500ms", "timeout": "5s", "rise": 2, "fall": 3,
                   "slow_start": "5s", "relay_check": False,
                   "login": {"user": "probe@example.test", "password": "secret"}},
        "limits": {"exempt": ["127.0.0.0/8"]},
        "admin": {"address": addresses.admin()},
        "log": {"level": "info", "sessions": "off"}}


def haproxy_config(addresses):
    text = """global
    maxconn 4000
    nbthread 1
defaults
    mode tcp
    retries 3
    option redispatch 1
    option tcp-smart-connect
    timeout connect 3s
    timeout client 1m
    timeout server 1m
    timeout check 5s
"""
    for balance in ("leastconn", "roundrobin"):
        for protocol, port in (("imap", 2143), ("smtp", 2025)):
            text += f"""
listen {balance}-{protocol}
    bind {addresses.front(balance, protocol)}
    balance {balance}
    default-server inter 1s fastinter 500ms downinter 1s fall 3 rise 2 slowstart 5s
    default-server observe layer4 error-limit 3 on-error mark-down on-marked-down shutdown-sessions
"""
            if protocol == "smtp":
                text += "    option smtpchk EHLO bench.test\n"
                text += "    default-server agent-check agent-port 2199 agent-inter 1s\n"
            else:
                text += """    option tcp-check
    tcp-check expect min-recv 0 string *\\ OK
    tcp-check send a\\ LOGIN\\ probe@example.test\\ secret\\r\\n
    tcp-check expect min-recv 0 string a\\ OK
    tcp-check send b\\ LOGOUT\\r\\n
    tcp-check expect string b\\ OK
"""
            for number, name in enumerate(backend_names()):
                text += f"    server {name} {addresses.backend(balance, number)}:{port} check weight 100\n"
    return text


def start(postern, haproxy, addresses, folder):
    """Both processes, by name; their words go to files in the folder."""
    config = os.path.join(folder, "postern.json")
    with open(config, "w") as out:
        json.dump(postern_config(addresses), out, indent=1)
    proxy_config = os.path.join(folder, "haproxy.cfg")
    with open(proxy_config, "w") as out:
        out.write(haproxy_config(addresses))
    commands = {"postern": [postern, "run", "--config", config], "haproxy": [haproxy, "-db", "-f", proxy_config]}
    processes = {}
    for name, command in commands.items():
        with open(os.path.join(folder, name + ".log"), "w") as log:
            processes[name] = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    return processes
