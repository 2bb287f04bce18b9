# lab: real Dovecot and Postfix servers for trying and testing, on loopback, in a folder of their own.
#
#   with Lab() as lab:
#       pair = lab.start_pair("pair1", users={"alice@example.test": "secret"}, domains=["example.test"])
#       ... pair.imap, pair.imaps, pair.pop3, pair.pop3s, pair.smtp, pair.submission, pair.submissions
#
# The programs are those that packaging/deps.sh unpacked into build/servers. No server runs as root:
# started by root they run as `nobody`, else as the caller. Postfix believes that it is root with the
# help of uid_wrapper and nss_wrapper (https://cwrap.org), made for testing servers in this way.
# Everything ends with the lab: at the end of `with`, on SIGINT, SIGTERM and SIGHUP, and on failure.
# SPDX-License-Identifier: Apache-2.0
import atexit
import glob
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import dovecot
import postfix
from waiting import LOOPBACK, LabError, accepts, wait_until  # noqa: F401 (for those who use a lab)

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SERVERS = os.path.join(SOURCE, "build", "servers")
FIRST_OUTGOING_PORT = 32768  # Linux's ip_local_port_range


class Process:
    """A program in a session of its own, so that all of its children can be ended with it."""

    def __init__(self, name, command, env, log, user=None, cwd="/"):
        self.name = name
        self.log = log
        options = {}
        if user is not None:
            options = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[])
        with open(log, "ab") as out:
            self.child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=out, cwd=cwd, start_new_session=True, **options)
        self.pid = self.child.pid

    def is_running(self):
        return self.child.poll() is None

    def signal(self, number):
        if self.is_running():
            self.child.send_signal(number)

    def wait(self, seconds=20):
        return self.child.wait(seconds)

    def stop(self, seconds=5.0):
        """SIGTERM, and SIGKILL to the whole group for what is left."""
        self.signal(signal.SIGTERM)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        self.kill()

    def kill(self):
        """kill -9 to the process and every child that stayed in its session."""
        for pid in session_members(self.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.child.wait()


def session_members(leader):
    """Processes of the session that `leader` opened; children may have their own groups."""
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as stat:
                fields = stat.read().rpartition(b")")[2].split()
        except OSError:
            continue
        if fields[0] != b"Z" and int(fields[3]) == leader:
            members.append(int(entry))
    return members


class Lab:
    def __init__(self, keep=False):
        self.folder = tempfile.mkdtemp(prefix="postern-lab-")
        self.keep = keep
        self.owner = os.getpid()
        self.processes = []
        self.ports = set()
        self.server_user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        self.root = None
        os.chmod(self.folder, 0o755)
        atexit.register(self.close)
        self.old_signals = {}
        for number in (signal.SIGTERM, signal.SIGHUP):
            self.old_signals[number] = signal.signal(number, self._on_signal)
        self.ca = os.path.join(self.folder, "ca.pem")
        self._make_ca()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _on_signal(number, _frame):
        sys.exit(128 + number)  # atexit closes the lab

    def close(self):
        if self.folder is None or os.getpid() != self.owner:
            return
        for process in reversed(self.processes):
            process.signal(signal.SIGTERM)
        for process in reversed(self.processes):
            process.stop(3.0)
        self.processes = []
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = None
        for number, handler in self.old_signals.items():
            signal.signal(number, handler)

    # --- what servers are made of -----------------------------------------------------------------

    def free_port(self):
        """A loopback port that nobody has now, and that this lab gave to nobody else. Never one that the system gives
        to who connects: a server that is stopped for a while must find its own free when it returns."""
        while True:
            port = random.randrange(20000, FIRST_OUTGOING_PORT)
            if port in self.ports:
                continue
            with socket.socket() as probe:
                try:
                    probe.bind((LOOPBACK, port))
                except OSError:
                    continue
            self.ports.add(port)
            return port

    def server_root(self):
        """The unpacked packages, at a place where the user of the servers can reach them."""
        if self.root is None:
            if not os.path.exists(os.path.join(SERVERS, "usr/lib/postfix/sbin/master")):
                raise LabError("no mail servers in build/servers: run packaging/deps.sh --try first")
            self.root = SERVERS
            path = SERVERS
            while path != "/" and self.server_user is not None:
                if not os.stat(path).st_mode & 0o001:  # e.g. below /root
                    self.root = os.path.join(self.folder, "servers")
                    shutil.copytree(SERVERS, self.root, symlinks=True)
                    break
                path = os.path.dirname(path)
            self._build_redirect()
        return self.root

    def _build_redirect(self):
        self.redirect = os.path.join(self.folder, "beside.so")
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "beside.c")
        run(["gcc", "-shared", "-fPIC", "-O1", "-o", self.redirect, source])

    def environment(self, *preloaded):
        """For an unpacked program: where its libraries are, and what is loaded into it first."""
        root = self.server_root()
        folders = [f"{root}/usr/lib/postfix", f"{root}/usr/lib/dovecot", f"{root}/usr/lib/dovecot/modules/old-stats"]
        folders += glob.glob(f"{root}/usr/lib/*-linux-gnu*") + glob.glob(f"{root}/lib/*-linux-gnu*")
        env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LD_LIBRARY_PATH": ":".join(folders), "TZ": "UTC",
               "POSTERN_LAB_ROOT": root}
        if preloaded:
            env["LD_PRELOAD"] = " ".join(preloaded)
        return env

    def wrapper(self, name):
        return glob.glob(f"{self.server_root()}/usr/lib/*/{name}")[0]

    def make_folder(self, *names):
        path = os.path.join(self.folder, *names)
        os.makedirs(path, exist_ok=True)
        self.give(path)
        return path

    def give(self, path):
        """Hands a file or folder of root's to the user of the servers."""
        if self.server_user is not None:
            os.chown(path, self.server_user.pw_uid, self.server_user.pw_gid)

    def write(self, path, text, mode=0o644):
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        self.give(path)
        return path

    def spawn(self, name, command, env, log, as_server=True):
        process = Process(name, command, env, log, self.server_user if as_server else None)
        self.processes.append(process)
        return process

    # --- certificates -----------------------------------------------------------------------------

    def _make_ca(self):
        self.ca_key = os.path.join(self.folder, "ca.key")
        run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", self.ca_key, "-out", self.ca, "-days", "30", "-subj", "/CN=Postern lab CA",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign"])

    def certificate(self, name, also=(LOOPBACK,)):
        """(certificate, key) for a DNS name, signed by the lab's CA, made at the first call."""
        base = os.path.join(self.folder, "tls", name)
        cert, key = base + ".crt", base + ".key"
        if not os.path.exists(cert):
            self.make_folder("tls")
            names = [f"DNS:{name}"] + [("IP:" if n[0].isdigit() else "DNS:") + n for n in also]
            run(["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", key, "-out", base + ".csr", "-subj", f"/CN={name}"])
            with open(base + ".ext", "w", encoding="ascii") as out:
                out.write("subjectAltName=" + ",".join(names) + "\nbasicConstraints=CA:FALSE\n")
            run(["openssl", "x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.ca_key,
                 "-CAcreateserial", "-days", "29", "-out", cert, "-extfile", base + ".ext"])
            for path in (cert, key):
                os.chmod(path, 0o600)
                self.give(path)
        return cert, key

    # --- servers ----------------------------------------------------------------------------------

    def start_dovecot(self, name, users, **options):
        return dovecot.Dovecot(self, name, users, **options)

    def start_postfix(self, name, **options):
        return postfix.Postfix(self, name, **options)

    def start_pair(self, name, users, domains, dovecot_options=None, **postfix_options):
        """A Dovecot and a Postfix that delivers to it; `users` maps full addresses to passwords."""
        return Pair(self, name, users, domains, dovecot_options or {}, postfix_options)


class Pair:
    def __init__(self, lab, name, users, domains, dovecot_options, postfix_options):
        self.name = name
        self.users = users
        self.dovecot = lab.start_dovecot(name, users, **dovecot_options)
        self.postfix = lab.start_postfix(name, domains=domains, users=users, store=self.dovecot,
                                         **postfix_options)
        self.imap, self.imaps = self.dovecot.imap, self.dovecot.imaps
        self.pop3, self.pop3s = self.dovecot.pop3, self.dovecot.pop3s
        self.smtp = self.postfix.smtp
        self.submission, self.submissions = self.postfix.submission, self.postfix.submissions
        self.host = self.dovecot.host
        self.dovecot.wait_ready()
        self.postfix.wait_ready()


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise LabError(f"{command[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
