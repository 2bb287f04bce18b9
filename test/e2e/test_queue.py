# A real Postfix whose queues grow, read through its showq (local socket and TCP), through
# prometheus-postfix-exporter, and through packaging/queue-agent (HTTP and agent text).
# SPDX-License-Identifier: Apache-2.0
import os
import signal
import smtplib
import socket
import socketserver
import subprocess
import threading
import unittest

import case
from balancer import Balancer
from dovecot import read
from lab import LOOPBACK, LabError, accepts, wait_until

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
            wait_until(as_wanted, "the depths", 30)
        except Exception:
            found = {name: self.depth(name.replace("_", "-")) for name in depths}
            self.fail(f"wanted {depths}, found {found}\n" + self.balancer.log_text()[-3000:])

    def shell(self, shell, *arguments, env=None):
        done = subprocess.run([*shell.split(), AGENT, *arguments], capture_output=True, text=True, timeout=30,
                              stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
        return done.returncode, done.stdout

    # --- tests, in the order of their names -----------------------------------------------------

    def test_1_an_empty_queue_is_nought_everywhere(self):
        for name in self.balancer.config["backends"]:
            wait_until(lambda: self.balancer.metric("backend_queue_read_timestamp_seconds", backend=name) > 0,
                       f"a reading of {name}:\n" + self.balancer.log_text()[-2000:], 30)
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
            wait_until(lambda: 0.5 < self.factor(name) < 0.75, f"the queue factor of {name}", 30)
        wait_until(lambda: self.factor("exporter-all") < 0.5, "the queue factor of exporter-all", 30)
        self.assertEqual(self.factor("showq-hold"), 1)

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
        wait_until(is_neutral, "the stale source to be neutral", 30)
        self.assertGreater(self.balancer.metric("backend_queue_read_errors_total", backend="exporter"), 0)
        self.assertEqual(self.depth("showq"), 23)
        self.exporter.signal(signal.SIGCONT)
        wait_until(lambda: not is_neutral(), "the source to count again", 30)

    def test_8_a_queue_that_is_emptied_is_nought_again(self):
        for postfix_queue in ("active", "deferred", "hold", "incoming"):
            for folder, _, names in os.walk(f"{self.postfix.folder}/queue/{postfix_queue}"):
                for name in names:
                    os.unlink(os.path.join(folder, name))
        self.wait_for(showq=0, showq_deferred=0, showq_hold=0, showq_tcp=0, exporter=0, exporter_all=0,
                      agent_http=0, agent=0)


if __name__ == "__main__":
    unittest.main()
