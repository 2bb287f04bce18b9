"""Runs a postern for tests: writes its configuration, starts it, finds its ports, asks its admin address, stops it."""
# SPDX-License-Identifier: Apache-2.0
import json
import os
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request

BINARY = os.environ.get("POSTERN", "build/dev/postern")


def make_certificates(folder):
    """A CA, and certificates for mail.example.com and other.example.com, by openssl."""
    def run(*words):
        subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True)
    run("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test CA")
    for name in ("mail", "other", "backend"):
        host = name + ".example.com"
        run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key",
            "-out", name + ".csr", "-subj", "/CN=" + host)
        with open(os.path.join(folder, name + ".ext"), "w") as ext:
            ext.write("subjectAltName=DNS:%s,IP:127.0.0.1\n" % host)
        run("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", name + ".ext", "-out", name + ".crt")


class Postern:
    """`config` is the configuration as a dict; hostname, tls, admin, timeouts and log are filled in if missing."""

    def __init__(self, folder, config):
        self.folder, self.path = folder, os.path.join(folder, "postern.json")
        self.write(config)
        sessions = os.path.join(folder, "sessions.log")
        if os.path.exists(sessions):
            os.remove(sessions)
        self.log = open(os.path.join(folder, "postern.log"), "wb")
        self.process = subprocess.Popen([BINARY, "run", "--config", self.path], stdout=self.log, stderr=self.log)
        self.admin = None
        deadline = time.monotonic() + 20
        while self.admin is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("postern did not start:\n" + self.output())
            for line in self.output().splitlines():
                if '"event":"admin_listening"' in line:
                    self.admin = json.loads(line)["address"]
            if self.admin is None:
                time.sleep(0.02)  # waits for the line; there is nothing to select on
        while self.get("/readyz")[0] != 200:
            time.sleep(0.02)
        self.ports = {entry["name"]: int(entry["addresses"][0].rsplit(":", 1)[1])
                      for entry in self.status()["listeners"] if entry["addresses"]}

    def write(self, config):
        config.setdefault("hostname", "mail.example.com")
        config.setdefault("workers", 1)
        config.setdefault("tls", {"certificates": [{"cert": "mail.crt", "key": "mail.key"},
                                                   {"cert": "other.crt", "key": "other.key"}]})
        config.setdefault("admin", {"address": "127.0.0.1:0", "socket": os.path.join(self.folder, "admin.sock")})
        config.setdefault("log", {"level": "info", "sessions": os.path.join(self.folder, "sessions.log")})
        with open(self.path, "w") as file:
            json.dump(config, file, indent=1)

    def output(self):
        with open(os.path.join(self.folder, "postern.log"), errors="replace") as file:
            return file.read()

    def sessions(self):
        with open(os.path.join(self.folder, "sessions.log")) as file:
            return [json.loads(line) for line in file]

    def get(self, path):
        try:
            with urllib.request.urlopen("http://%s%s" % (self.admin, path), timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def status(self):
        return json.loads(self.get("/api/v1/status")[1])

    def metric(self, series):
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(series + " "):
                return float(line.split(" ")[-1])
        return 0.0

    def wait_for(self, condition, what, seconds=15):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("waited in vain for " + what + "\n" + self.output()[-3000:])
            time.sleep(0.02)

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        code = self.process.wait(20)
        self.log.close()
        return code


def client_tls(folder, name=None):
    context = ssl.create_default_context(cafile=os.path.join(folder, "ca.pem"))
    context.check_hostname = name is not None
    return context


def server_tls(folder, name="backend"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, name + ".crt"), os.path.join(folder, name + ".key"))
    return context


def temporary_folder():
    return tempfile.TemporaryDirectory(prefix="postern-test-")
