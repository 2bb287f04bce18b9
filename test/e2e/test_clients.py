# Real clients x protocol x TLS mode: each sends or fetches a message. One generated test per row.
# SPDX-License-Identifier: Apache-2.0
import os
import shlex
import subprocess
import tempfile

import case
from world import ALICE, DOORS, LOOPBACK, WORDS, fresh, message

WORD = WORDS[ALICE]


def run(command, world, stdin="", env=None, beside=False):
    """Runs a client in a home of its own; an AssertionError with its words if it fails."""
    environment = dict(world.lab.environment() if beside else os.environ)
    environment.update(env or {})
    done = subprocess.run(command, input=stdin.encode(), capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n" + \
        done.stdout.decode(errors="replace")[-3000:] + done.stderr.decode(errors="replace")[-3000:]
    return done.stdout.decode(errors="replace")


def put(world, subject):
    """A message for alice, straight into her mailbox."""
    box = world.imap(port=world.pair1.imaps)
    box.append("INBOX", None, None, message(subject).encode())
    box.logout()


def send_python(world, door):
    subject = fresh(door)
    client = world.smtp(door, ALICE if door != "mx" else None)
    client.sendmail("x@elsewhere.test", [ALICE], message(subject))
    client.quit()
    world.wait_for(subject)


def fetch_imaplib(world, door):
    subject = fresh(door)
    put(world, subject)
    box = world.imap(door=door)
    box.select("INBOX")
    number = box.search(None, "SUBJECT", f'"{subject}"')[1][0]
    data = box.fetch(number, "(BODY[])")[1][0][1]
    assert subject.encode() in data and data.endswith(b"Hello.\r\n"), data
    box.logout()


def fetch_poplib(world, door):
    subject = fresh(door)
    put(world, subject)
    box = world.pop3(door=door)
    found = [n for n in range(1, box.stat()[0] + 1) if subject.encode() in b"\n".join(box.retr(n)[1])]
    assert found, "not there"
    box.dele(found[0])
    box.quit()
    box = world.pop3(door=door)
    left = [n for n in range(1, box.stat()[0] + 1) if subject.encode() in b"\n".join(box.retr(n)[1])]
    box.quit()
    assert not left, "deleted, yet still there"


def curl_fetch(world, door):
    subject = fresh(door)
    put(world, subject)
    protocol, tls, _ = DOORS[door]
    url = f"{protocol}{'s' if tls == 'implicit' else ''}://localhost:{world.doors[door]}/"
    common = ["curl", "-sS", "--cacert", world.lab.ca, "--ssl-reqd", "--user", f"{ALICE}:{WORD}", "--max-time", "30"]
    if protocol == "imap":
        found = run(common + [url + "INBOX?SUBJECT%20" + subject.replace(" ", "%20").join(["%22", "%22"])], world)
        number = found.split()[-1]
        assert subject in run(common + [url + f"INBOX;MAILINDEX={number}"], world)
    else:
        number = run(common + [url], world).split()[-2]
        assert subject in run(common + [url + number], world)


def curl_send(world, door):
    subject = fresh(door)
    scheme = "smtps" if DOORS[door][1] == "implicit" else "smtp"
    command = ["curl", "-sS", "--cacert", world.lab.ca, "--ssl-reqd", "--mail-from", "x@elsewhere.test",
               "--mail-rcpt", ALICE, "--upload-file", "-", "--max-time", "30",
               f"{scheme}://localhost:{world.doors[door]}/client.test"]
    if door != "mx":
        command += ["--user", f"{ALICE}:{WORD}"]
    run(command, world, message(subject))
    world.wait_for(subject)


def swaks_send(world, door):
    subject = fresh(door)
    command = ["swaks", "--server", LOOPBACK, "--port", str(world.doors[door]), "--tls-verify", "--tls-ca-path",
               world.lab.ca, "--from", "x@elsewhere.test", "--to", ALICE, "--header", f"Subject: {subject}",
               "--timeout", "20", "--tls-on-connect" if DOORS[door][1] == "implicit" else "--tls"]
    if door != "mx":
        command += ["--auth", "PLAIN", "--auth-user", ALICE, "--auth-password", WORD]
    run(command, world)
    world.wait_for(subject)


def msmtp_send(world, door):
    subject = fresh(door)
    command = ["msmtp", "--file=/dev/null", "--host=localhost", f"--port={world.doors[door]}", "--tls=on",
               f"--tls-trust-file={world.lab.ca}", "--from=x@elsewhere.test", "--domain=client.test",
               f"--tls-starttls={'off' if DOORS[door][1] == 'implicit' else 'on'}"]
    if door != "mx":
        command += ["--auth=plain", f"--user={ALICE}", f"--passwordeval=printf %s {shlex.quote(WORD)}"]
    run(command + [ALICE], world, message(subject))
    world.wait_for(subject)


def mbsync_fetch(world, door):
    subject = fresh(door)
    put(world, subject)
    with tempfile.TemporaryDirectory() as home:
        os.mkdir(f"{home}/mail")
        quoted = WORD.replace("\\", "\\\\").replace('"', '\\"')
        with open(f"{home}/rc", "w", encoding="ascii") as rc:
            rc.write(f'IMAPStore far\nHost localhost\nPort {world.doors[door]}\nUser {ALICE}\nPass "{quoted}"\n'
                     f"SSLType {'IMAPS' if DOORS[door][1] == 'implicit' else 'STARTTLS'}\n"
                     f"SystemCertificates no\nCertificateFile {world.lab.ca}\n\n"
                     f"MaildirStore near\nPath {home}/mail/\nInbox {home}/mail/INBOX\n\n"
                     "Channel c\nFar :far:INBOX\nNear :near:INBOX\nCreate Near\nSync All\nSyncState *\n")
        run(["mbsync", "-c", f"{home}/rc", "c"], world, env={"HOME": home})
        texts = []
        for sub in ("new", "cur"):
            for name in os.listdir(f"{home}/mail/INBOX/{sub}"):
                with open(f"{home}/mail/INBOX/{sub}/{name}", encoding="utf-8", errors="replace") as mail:
                    texts.append(mail.read())
        assert any(subject in text for text in texts), f"{len(texts)} messages, not this one"


def fetchmail_fetch(world, door):
    subject = fresh(door)
    put(world, subject)
    protocol, tls, _ = DOORS[door]
    with tempfile.TemporaryDirectory() as home:
        quoted = WORD.replace("\\", "\\92").replace('"', "\\042")
        with open(f"{home}/rc", "w", encoding="ascii") as rc:
            mode = "ssl" if tls == "implicit" else 'sslproto "auto"'
            rc.write(f'poll localhost service {world.doors[door]} protocol {protocol} '
                     f'user "{ALICE}" password "{quoted}" {mode} sslcertck sslcertfile "{world.lab.ca}" '
                     f'fetchall keep mda "cat >> {home}/box"\n')
        os.chmod(f"{home}/rc", 0o600)
        run([f"{world.lab.server_root()}/usr/bin/fetchmail", "-f", f"{home}/rc", "--nodetach", "--pidfile",
             f"{home}/pid", "-v"], world, env={"HOME": home, "FETCHMAILHOME": home, "USER": "root"}, beside=True)
        with open(f"{home}/box", encoding="utf-8", errors="replace") as box:
            assert subject in box.read(), "not this one"


SENDING, MAILBOX = ("mx", "submission", "submissions"), ("imap", "imaps", "pop3", "pop3s")
MATRIX = [
    ("Python smtplib", send_python, SENDING), ("curl", curl_send, SENDING), ("swaks", swaks_send, SENDING),
    ("msmtp", msmtp_send, SENDING), ("Python imaplib", fetch_imaplib, ("imap", "imaps")),
    ("Python poplib", fetch_poplib, ("pop3", "pop3s")), ("curl", curl_fetch, MAILBOX),
    ("mbsync", mbsync_fetch, ("imap", "imaps")), ("fetchmail", fetchmail_fetch, MAILBOX),
]


class ClientTest(case.Case):
    needs_postern = False


def add(client, step, door):
    def test(self):
        step(self.world, door)
    test.row = (client, DOORS[door][0], "implicit" if DOORS[door][1] == "implicit" else "STARTTLS")
    setattr(ClientTest, f"test_{client.split()[-1]}_{door}", test)


for client_name, client_step, client_doors in MATRIX:
    for client_door in client_doors:
        add(client_name, client_step, client_door)
