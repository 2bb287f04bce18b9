# balancer: one running `postern`, with a configuration that Python holds as a dictionary.
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

from waiting import LabError, wait_until


class Balancer:
    """`config` is the configuration as a dictionary, or its text; `certificates` go to `tls`."""

    def __init__(self, lab, binary, config, name="postern"):
        self.lab, self.binary, self.name = lab, os.path.abspath(binary), name
        self.folder = lab.make_folder(name)
        self.path = os.path.join(self.folder, "postern.json")
        self.log = os.path.join(self.folder, "postern.log")
        self.set_config(config)
        self.admin = None
        self.process = None

    def set_config(self, config):
        text = config if isinstance(config, str) else json.dumps(config, indent=2) + "\n"
        with open(self.path, "w", encoding="utf-8") as out:
            out.write(text)
        if not isinstance(config, str):
            self.config = config

    def check(self):
        """(exit code, everything that `postern check` says)."""
        done = subprocess.run([self.binary, "check", "--config", self.path], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def start(self, admin):
        self.admin = admin
        self.process = self.lab.spawn(self.name, [self.binary, "run", "--config", self.path],
                                      dict(os.environ), self.log, as_server=False)

        def ready():
            if not self.process.is_running():
                raise LabError("postern ended:\n" + self.log_text())
            return self.get("/readyz")[0] == 200
        wait_until(ready, "postern to be ready:\n" + self.log_text())
        return self

    def get(self, path):
        """(status, body) of the admin address; status 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.admin}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name, **labels):
        """Sum of the samples of `name` (without the prefix) that have these labels."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(("postern_" + name + "{", "postern_" + name + " ")):
                if all(f'{key}="{value}"' in line for key, value in labels.items()):
                    total += float(line.rsplit(" ", 1)[1])
        return total

    def reload(self):
        """SIGHUP, and waits until the reload is counted; True if it was accepted."""
        def counts():
            return (self.metric("config_reloads_total", result="accepted"),
                    self.metric("config_reloads_total", result="rejected"))
        before = counts()
        self.process.signal(signal.SIGHUP)
        after = wait_until(lambda: counts() != before and counts(), "the reload to be counted")
        return after[0] > before[0]

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as text:
                return text.read()
        except OSError:
            return ""

    def log_lines(self, **keys):
        """Lines of the session log that have these keys and values."""
        found = []
        for line in self.log_text().splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict) and all(row.get(key) == value for key, value in keys.items()):
                found.append(row)
        return found

    def stop(self):
        self.process.stop(5.0)
