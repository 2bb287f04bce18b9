# A real Postfix whose queues grow, read through its showq (local socket and TCP), through
# prometheus-postfix-exporter, and through packaging/queue-agent (HTTP and agent text).
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import smtplib
import socket
import socketserver
import ssl
import subprocess
import threading
import unittest

import case
from balancer import Balancer
from lab import LOOPBACK, LabError, accepts, wait_until
from waiting import read

AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../packaging/queue-agent")
SHELLS = ("sh", "bash --posix")


class Tarpit:
    """Takes connections and says nothing: mail for it stays in the active queue."""

    def __init__(self):
        self.listener = socket.create_server((LOOPBACK, 0), backlog=100)
        self.port = self.listener.getsockname()[1]

    def close(self):
        self.listener.close()


class Inetd:
    """Runs a command for each connection, with the connection as its standard input and output."""

    def __init__(self, command, env):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                subprocess.run(command, stdin=self.request, stdout=self.request, env=env)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Server((LOOPBACK, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Server:
    """A source that a function plays: it gets each connection, in a thread of its own."""

    def __init__(self, play, context=None):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                try:
                    play(context.wrap_socket(self.request, server_side=True) if context else self.request)
                except OSError:
                    pass  # it has hung up

        class Listener(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self.server = Listener((LOOPBACK, 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def says(text):
    """An HTTP server that gives this answer to whoever has the token, and 401 to others."""
    def play(connection):
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            piece = connection.recv(4096)
            if not piece:
                return
            request += piece
        known = b"\r\nAuthorization: Bearer hush\r\n" in request
        connection.sendall(text if known else b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    return play


def ok(body):
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def endless(connection):
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(b"q_other 1\n" * 10000)


def silent(connection):
    while connection.recv(4096):
        pass


def slow(connection):
    for octet in b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nq 5\n" * 1000:
        connection.sendall(bytes([octet]))
        threading.Event().wait(0.2)


class OwnSources(case.Case):
    """A Postern for sources that the test plays itself; `servers` are closed at its end."""

    def start(self, sources, verify="off"):
        lab = self.world.lab
        admin = f"{LOOPBACK}:{lab.free_port()}"
        backends = {}
        for name, (server, source) in sources.items():
            self.addCleanup(server.close)
            backends[name] = {
                "host": LOOPBACK, "verify": verify.get(name, "off") if isinstance(verify, dict) else verify,
                "smtp": {"port": self.world.pair1.smtp, "tls": "none", "client_address": "none"},
                "queue": {"source": "prometheus", "metric": "q", "headers": {"Authorization": "Bearer hush"},
                          "soft": 1, "hard": 10, "interval": "300ms", "stale_after": "3s", **source}}
            backends[name]["queue"] = {k: v for k, v in backends[name]["queue"].items() if v is not None}
        self.balancer = Balancer(lab, self.world.binary, {
            "hostname": "localhost", "workers": 1,
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:0", "tls": "none",
                           "route": "inbound"}],
            "backends": backends,
            "pools": {"mx": {"backends": sorted(backends), "health": {"relay_check": False}}},
            "routes": {"inbound": [{"name": "ours", "recipient": "*@queue.test", "pool": "mx"},
                                   {"name": "no-relay", "reject": "550 5.7.1 Relaying denied"}]},
            "limits": {"exempt": ["127.0.0.0/8"]},
            "admin": {"address": admin, "socket": os.path.join(lab.make_folder("queue-admin"), f"{admin}.sock")},
        }, self.id().rpartition(".")[2][:30])
        self.balancer.start(admin)
        self.addCleanup(self.balancer.stop)

    def metric(self, name, backend):
        return self.balancer.metric(f"backend_queue_{name}", backend=backend)

    def resident_bytes(self):
        lines = self.balancer.get("/metrics")[1].splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("process_resident_memory_bytes "))

    def log_of(self, backend, event):
        return [row["why"] for row in self.balancer.log_lines(event=event, backend=backend)]


class HttpSourceTest(OwnSources):
    def test_https_with_a_known_ca_and_a_token(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.world.lab.certificate("localhost"))
        known = {"ca": self.world.lab.ca}
        chunked = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                   b"4\r\n{\"a\"\r\n1\r\n:\r\n6\r\n [1,7]\r\n1\r\n}\r\n0\r\n\r\n")
        servers = {name: Server(says(text), tls) for name, text, tls in (
            ("https", ok(b"q 5\n"), context), ("stranger", ok(b"q 5\n"), context), ("json", chunked, context),
            ("redirect", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", None),
            ("no-token", ok(b"q 5\n"), None), ("not-tls", ok(b"q 5\n"), None))}
        url = {name: f"http{'s' if name in ('https', 'stranger', 'json', 'not-tls') else ''}://localhost:{server.port}/m"
               for name, server in servers.items()}
        self.start({
            "https": (servers["https"], {"url": url["https"]}),
            "stranger": (servers["stranger"], {"url": url["stranger"]}),
            "json": (servers["json"], {"source": "http_json", "metric": None, "url": url["json"], "pointer": "/a/1"}),
            "redirect": (servers["redirect"], {"url": url["redirect"]}),
            "no-token": (servers["no-token"], {"url": url["no-token"], "headers": {"Authorization": "Bearer guess"}}),
            "not-tls": (servers["not-tls"], {"url": url["not-tls"]}),
        }, verify={"https": known, "json": known, "stranger": {"ca": self.other_ca()}, "not-tls": known})
        wait_until(lambda: self.metric("depth", "https") == 5 and self.metric("depth", "json") == 7,
                   "readings by https:\n" + self.balancer.log_text()[-3000:], 90)
        for name in ("stranger", "redirect", "no-token", "not-tls"):
            wait_until(lambda: self.log_of(name, "queue_source_failing"), f"{name} to fail", 90)
            self.assertEqual(self.metric("depth", name), 0)
        self.assertIn("certificate", self.log_of("stranger", "queue_source_failing")[0])
        self.assertIn("302", self.log_of("redirect", "queue_source_failing")[0])
        self.assertIn("401", self.log_of("no-token", "queue_source_failing")[0])
        self.assertNotIn("hush", self.balancer.log_text())

    def other_ca(self):
        cert = os.path.join(self.world.lab.make_folder("other-ca"), "ca.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", cert + ".key", "-out", cert, "-days", "30", "-subj", "/CN=Other CA"],
                       check=True, capture_output=True)
        return cert


class HostileSourceTest(OwnSources):
    def test_nobody_is_held_up_and_nothing_is_lost_by_hostile_sources(self):
        plays = {"good": says(ok(b"q 5\n")), "endless": endless, "silent": silent, "slow": slow,
                 "negative": says(ok(b"q -1\n")), "nan": says(ok(b"q NaN\n")), "absurd": says(ok(b"q 1e30\n")),
                 "missing": says(ok(b"p 1\n")), "garbage": lambda connection: connection.sendall(os.urandom(100000))}
        servers = {name: Server(play) for name, play in plays.items()}
        self.start({name: (server, {"url": f"http://{LOOPBACK}:{server.port}/"}) for name, server in servers.items()})
        for name in plays:
            if name != "good":
                wait_until(lambda: self.metric("read_errors_total", name) >= 3, f"errors of {name}", 90)
        wait_until(lambda: self.metric("depth", "good") == 5, "the good source", 90)
        memory = self.resident_bytes()
        stamp = self.metric("read_timestamp_seconds", "good")
        before = self.metric("read_errors_total", "silent")
        wait_until(lambda: self.metric("read_errors_total", "silent") >= before + 2, "more errors", 90)
        # Two reads of the silent one take 4 s; the good one was read all the while.
        self.assertGreater(self.metric("read_timestamp_seconds", "good"), stamp + 2)
        self.assertLess(self.resident_bytes(), memory + (32 << 20))
        for name in plays:
            if name == "good":
                continue
            self.assertEqual(self.metric("depth", name), 0, name)
            self.assertEqual(self.balancer.metric("backend_weight_factor_ratio", backend=name, factor="queue"), 1, name)
            self.assertEqual(len(self.log_of(name, "queue_source_failing")), 1, name)


class AgentWordsTest(OwnSources):
    def test_an_agents_words_act_and_an_operators_word_wins(self):
        line = [b"up ready 50% queue:3\n"]
        agent = {"source": "agent", "metric": None, "headers": None}
        server, other = Server(lambda connection: connection.sendall(line[0])), Server(lambda c: c.sendall(b"up\n"))
        self.start({"mail1": (server, {**agent, "address": f"{LOOPBACK}:{server.port}"}),
                    "mail2": (other, {**agent, "address": f"{LOOPBACK}:{other.port}"})})

        def shows(name, value, **labels):
            wait_until(lambda: self.balancer.metric(name, backend="mail1", **labels) == value,
                       f"{name} {labels} {value}:\n" + self.balancer.log_text()[-2000:], 90)
        shows("backend_queue_depth", 3)
        shows("backend_weight_factor_ratio", 0.5, factor="agent")
        line[0] = b"drain\n"
        shows("backend_admin_state", 1, state="drain")
        line[0] = b"maint\n"
        shows("backend_admin_state", 1, state="maintenance")
        line[0] = b"ready down # disk full\n"
        shows("backend_admin_state", 1, state="ready")
        shows("backend_up", 0)
        rows = json.loads(self.balancer.get("/api/v1/backends")[1])["backends"]
        endpoint = next(row for row in rows if row["name"] == "mail1")["endpoints"][0]
        self.assertEqual(endpoint["state"], "down")
        self.assertIn("disk full", endpoint["reason"])
        line[0] = b"up drain\n"
        shows("backend_up", 1)
        shows("backend_admin_state", 1, state="drain")
        self.operate("resume")
        shows("backend_admin_state", 1, state="ready")
        self.operate("drain")
        line[0] = b"ready queue:4\n"
        shows("backend_queue_depth", 4)
        self.assertEqual(self.balancer.metric("backend_admin_state", backend="mail1", state="drain"), 1)

    def operate(self, verb):
        subprocess.run([self.world.binary, verb, "mail1", "--config", self.balancer.path], check=True,
                       capture_output=True, timeout=30)


class QueueTest(case.Case):
    """One Postfix and one Postern for all tests: each source is a backend of its own."""

    @classmethod
    def setUpClass(cls):
        lab = cls.lab = case.world.lab
        cls.closers = []
        tarpit, refused = Tarpit(), lab.free_port()
        cls.closers.append(tarpit.close)
        cls.showq_port = lab.free_port()
        cls.postfix = lab.start_postfix(
            "queue", domains=["queue.test"],
            transport={"slow.test": f"smtp:[{LOOPBACK}]:{tarpit.port}", "dead.test": f"smtp:[{LOOPBACK}]:{refused}"},
            extra="relay_domains = slow.test, dead.test, hold.test\n"
                  "smtpd_recipient_restrictions = check_recipient_access inline:{hold.test=HOLD}, permit\n"
                  "default_destination_concurrency_limit = 2\n"
                  "minimal_backoff_time = 1000s\nmaximal_backoff_time = 2000s\nqueue_run_delay = 1000s\n",
            services=f"{LOOPBACK}:{cls.showq_port} inet n - n - - showq\n")
        cls.postfix.wait_ready()
        cls.exporter_port = lab.free_port()
        log = os.path.join(cls.postfix.folder, "exporter.log")
        cls.exporter = lab.spawn(
            "postfix exporter",
            [f"{lab.server_root()}/usr/bin/prometheus-postfix-exporter",
             f"--web.listen-address={LOOPBACK}:{cls.exporter_port}", f"--postfix.showq_path={cls.showq()}",
             f"--postfix.logfile_path={lab.write(os.path.join(cls.postfix.folder, 'none.log'), '')}"],
            lab.environment(), log, as_server=False)

        def exports():
            if not cls.exporter.is_running():
                raise LabError("the exporter ended: " + read(log))
            return accepts(cls.exporter_port)
        wait_until(exports, "the exporter")
        agent = ["sh", AGENT, "--server", "postfix", "--spool", f"{cls.postfix.folder}/queue"]
        cls.http, cls.agent = Inetd(agent + ["http"], dict(os.environ)), Inetd(agent + ["agent"], dict(os.environ))
        cls.closers += [cls.http.close, cls.agent.close]
        cls.admin = f"{LOOPBACK}:{lab.free_port()}"
        cls.balancer = Balancer(lab, case.world.binary, cls.config(), "queue-postern")
        cls.balancer.start(cls.admin)

    @classmethod
    def tearDownClass(cls):
        cls.balancer.stop()
        cls.exporter.stop()
        for close in cls.closers:
            close()
        cls.postfix.kill()

    @classmethod
    def showq(cls):
        return f"{cls.postfix.folder}/queue/public/showq"

    @classmethod
    def config(cls):
        exporter = {"source": "prometheus", "url": f"http://{LOOPBACK}:{cls.exporter_port}/metrics",
                    "metric": "postfix_showq_message_size_bytes_count"}
        agent_text = {"source": "prometheus", "url": f"http://localhost:{cls.http.port}/"}
        sources = {
            "showq": {"source": "showq", "address": f"unix:{cls.showq()}"},
            "showq-deferred": {"source": "showq", "address": f"unix:{cls.showq()}", "queues": ["deferred"]},
            "showq-hold": {"source": "showq", "address": f"unix:{cls.showq()}", "queues": ["hold"]},
            "showq-tcp": {"source": "showq", "address": f"{LOOPBACK}:{cls.showq_port}"},
            "exporter": {**exporter, "labels": {"queue": "active"}},
            "exporter-deferred": {**exporter, "labels": {"queue": "deferred"}},
            "exporter-all": exporter,
            "agent-http": {**agent_text, "metric": "mail_queue_depth"},
            "agent-http-hold": {**agent_text, "metric": "mail_queue_messages", "labels": {"queue": "hold"}},
            "agent": {"source": "agent", "address": f"{LOOPBACK}:{cls.agent.port}"},
        }
        backends = {}
        for name, source in sources.items():
            backends[name] = {"host": LOOPBACK, "verify": "off",
                              "smtp": {"port": cls.postfix.smtp, "tls": "none", "client_address": "none"},
                              "queue": {"soft": 5, "hard": 50, "interval": "500ms", "stale_after": "5s", **source}}
        return {
            "hostname": "localhost", "workers": 1,
            "listeners": [{"name": "mx", "protocol": "smtp", "address": f"{LOOPBACK}:0", "tls": "none",
                           "route": "inbound"}],
            "backends": backends,
            "pools": {"mx": {"backends": sorted(backends), "health": {"relay_check": False}}},
            "routes": {"inbound": [{"name": "ours", "recipient": "*@queue.test", "pool": "mx"},
                                   {"name": "no-relay", "reject": "550 5.7.1 Relaying denied"}]},
            "limits": {"exempt": ["127.0.0.0/8"]},
            "admin": {"address": cls.admin},
        }

    # --- small verbs ----------------------------------------------------------------------------

    def send(self, domain, count):
        with smtplib.SMTP(LOOPBACK, self.postfix.smtp, "client.test", timeout=30) as client:
            for number in range(count):
                client.sendmail("a@client.test", [f"u{number}@{domain}"], f"Subject: {number}\r\n\r\nHello.\r\n")

    def depth(self, backend):
        return self.balancer.metric("backend_queue_depth", backend=backend)

    def factor(self, backend):
        return self.balancer.metric("backend_weight_factor_ratio", backend=backend, factor="queue")

    def wait_for(self, **depths):
        def as_wanted():
            return all(self.depth(name.replace("_", "-")) == depth for name, depth in depths.items())
        try:
            wait_until(as_wanted, "the depths", 90)
        except Exception:
            found = {name: self.depth(name.replace("_", "-")) for name in depths}
            self.fail(f"wanted {depths}, found {found}\n" + self.balancer.log_text()[-3000:])

    def shell(self, shell, *arguments, env=None):
        done = subprocess.run([*shell.split(), AGENT, *arguments], capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        return done.returncode, done.stdout

    # --- tests, in the order of their names -----------------------------------------------------

    def test_1_an_empty_queue_is_nought_everywhere(self):
        for name in self.balancer.config["backends"]:
            wait_until(lambda: self.balancer.metric("backend_queue_read_timestamp_seconds", backend=name) > 0,
                       f"a reading of {name}:\n" + self.balancer.log_text()[-2000:], 90)
            self.assertEqual(self.depth(name), 0)

    def test_2_queues_grow_and_every_source_tells_the_same(self):
        self.send("slow.test", 23)
        self.send("dead.test", 7)
        self.send("hold.test", 5)
        self.wait_for(showq=23, showq_deferred=7, showq_hold=5, showq_tcp=23, exporter=23, exporter_deferred=7,
                      exporter_all=35, agent_http=23, agent_http_hold=5, agent=23)
        self.assertEqual(self.postfix.queue_length(), 35)

    def test_3_the_depth_weighs(self):
        # 23 of soft 5 and hard 50, whoever told it; 35 weighs more, 5 nothing.
        for name in ("showq", "showq-tcp", "exporter", "agent-http", "agent"):
            wait_until(lambda: 0.5 < self.factor(name) < 0.75, f"the queue factor of {name}", 90)
        wait_until(lambda: self.factor("exporter-all") < 0.5, "the queue factor of exporter-all", 90)
        self.assertEqual(self.factor("showq-hold"), 1)

    def test_3_the_api_tells_it_with_its_reason(self):
        def told():  # the report may be an interval older than the metrics
            rows = json.loads(self.balancer.get("/api/v1/backends")[1])["backends"]
            row = next(row for row in rows if row["name"] == "showq")
            return row["queue"]["depth"] == 23 and "queue 23 of soft 5" in row["endpoints"][0]["reason"] and row
        queue = wait_until(told, "the API to tell of 23", 30)["queue"]
        self.assertEqual(queue["source"], "showq")
        self.assertLess(queue["age_seconds"], 6)

    def test_4_the_agent_counts_alike_in_every_shell_and_by_postqueue(self):
        spool = ["--server", "postfix", "--spool", f"{self.postfix.folder}/queue"]
        for shell in SHELLS:
            self.assertEqual(self.shell(shell, *spool, "count"), (0, "23\n"), shell)
            self.assertEqual(self.shell(shell, *spool, "--queues", "hold deferred", "agent"), (0, "queue:12\n"))
        # As somebody who may not look into the queue directories: by the list of postqueue.
        env = {**self.postfix.environment(), "PATH": f"{self.lab.server_root()}/usr/sbin:/usr/bin:/bin"}
        folder = self.lab.make_folder("bin")
        stub = os.path.join(folder, "postqueue")
        real = f"{self.lab.server_root()}/usr/sbin/postqueue"
        wrapped = " ".join(f"{key}='{value}'" for key, value in env.items() if key != "PATH")
        self.lab.write(stub, f"#!/bin/sh\nexec env {wrapped} {real} \"$@\"\n", 0o755)
        path = {"PATH": f"{folder}:/usr/bin:/bin"}
        for shell in SHELLS:
            self.assertEqual(self.shell(shell, "--server", "postfix", "--spool", "/nonexistent", "count", env=path),
                             (0, "23\n"), shell)

    def test_5_the_agent_says_nothing_rather_than_something_wrong(self):
        for mode in ("count", "agent", "text"):
            self.assertEqual(self.shell("sh", "--server", "postfix", "--spool", "/nonexistent", mode,
                                        env={"PATH": "/usr/bin:/bin"}), (1, ""))
        self.assertEqual(self.shell("sh", "--queues", "nosuch", "--server", "postfix", "count")[0], 2)
        self.assertEqual(self.shell("sh", "--server", "other", "count")[0], 2)

    def test_6_reading_leaves_postfix_log_clean(self):
        # That two lines of main.cf say the same is the test's own doing.
        noise = [line for line in self.postfix.log_text().splitlines()
                 if "/showq[" in line and "overriding earlier entry" not in line]
        self.assertEqual(noise, [])

    def test_7_a_source_that_dies_is_neutral_once_it_is_stale(self):
        self.exporter.signal(signal.SIGSTOP)
        self.addCleanup(self.exporter.signal, signal.SIGCONT)

        def is_neutral():
            return self.factor("exporter") == 1
        self.assertFalse(is_neutral())
        wait_until(is_neutral, "the stale source to be neutral", 90)
        self.assertGreater(self.balancer.metric("backend_queue_read_errors_total", backend="exporter"), 0)
        self.assertEqual(self.depth("showq"), 23)
        self.exporter.signal(signal.SIGCONT)
        wait_until(lambda: not is_neutral(), "the source to count again", 90)

    def test_8_a_queue_that_is_emptied_is_nought_again(self):
        for postfix_queue in ("active", "deferred", "hold", "incoming"):
            for folder, _, names in os.walk(f"{self.postfix.folder}/queue/{postfix_queue}"):
                for name in names:
                    os.unlink(os.path.join(folder, name))
        self.wait_for(showq=0, showq_deferred=0, showq_hold=0, showq_tcp=0, exporter=0, exporter_all=0,
                      agent_http=0, agent=0)


if __name__ == "__main__":
    unittest.main()
