# redis: one real Redis server, which keeps what it was told when it is killed.
# SPDX-License-Identifier: Apache-2.0
import os
import subprocess

from waiting import LOOPBACK, LabError, read, wait_until

CONFIG = """
bind 127.0.0.1
port {port}
dir {folder}
save ""
appendonly yes
appendfsync no
repl-diskless-sync-delay 0
{extra}
"""


class Redis:
    """Port `port`. extra: lines for redis.conf; login: (user, password) that `say` uses."""

    def __init__(self, lab, name, extra="", login=None):
        self.lab, self.name, self.login = lab, name, login
        self.folder = lab.make_folder(f"redis-{name}")
        self.port = lab.free_port()
        self.config = lab.write(os.path.join(self.folder, "redis.conf"),
                                CONFIG.format(port=self.port, folder=self.folder, extra=extra))
        self.process = None
        self.start()

    def start(self):
        self.process = self.lab.spawn(
            f"redis {self.name}", [f"{self.lab.server_root()}/usr/bin/redis-server", self.config],
            self.lab.environment(), os.path.join(self.folder, "out.log"))

        def ready():  # it accepts while it still reads its file
            if not self.process.is_running():
                raise LabError(f"Redis {self.name} ended: {self.log_text()}")
            return self._ask("PING")[0] == "PONG"
        wait_until(ready, f"Redis {self.name}")

    def say(self, *commands):
        """One line each; the answers, a line each. LabError for an error."""
        answers = self._ask(*commands)
        if len(answers) < len(commands):
            raise LabError(f"Redis {self.name} says {answers}")
        for answer in answers:
            if answer.split(" ")[0].isupper() and " " in answer:  # "WRONGTYPE Operation against ..."
                raise LabError(f"Redis {self.name} says {answer}")
        return answers

    def _ask(self, *commands):
        command = [f"{self.lab.server_root()}/usr/bin/redis-cli", "-h", LOOPBACK, "-p", str(self.port)]
        environment = self.lab.environment()
        if self.login is not None:
            user, environment["REDISCLI_AUTH"] = self.login
            command += ["--user", user]
        done = subprocess.run(command, input="\n".join(commands) + "\n", env=environment, capture_output=True,
                              text=True)
        return (done.stdout + done.stderr).splitlines() or [""]

    def count_calls(self, command):
        """How often it was told this since it was started."""
        for line in self.say("INFO commandstats"):
            if line.startswith(f"cmdstat_{command}:calls="):
                return int(line.split("=")[1].split(",")[0])
        return 0

    def kill(self):
        self.process.kill()

    def log_text(self):
        return read(os.path.join(self.folder, "out.log"))
