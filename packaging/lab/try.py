# try: the show of packaging/try.sh: two pairs of mail servers, one domain, Postern before them.
# SPDX-License-Identifier: Apache-2.0
import argparse
import imaplib
import poplib
import signal
import ssl
import subprocess
import sys
import time

from balancer import Balancer
from lab import LOOPBACK, Lab, LabError, wait_until

DOMAIN = "example.test"
PEOPLE = [("alice", "wonderland"), ("bob", "builder")]

CONFIG = """// One domain, two mail servers: alice lives on pair1, bob on pair2.
{{
  "hostname": "localhost",
  "tls": {{ "certificates": [ {{ "cert": "{cert}", "key": "{key}" }} ] }},
  "listeners": [
    {{ "name": "mx",          "protocol": "smtp",       "address": "127.0.0.1:{mx}", "tls": "starttls", "route": "inbound" }},
    {{ "name": "submissions", "protocol": "submission", "address": "127.0.0.1:{submissions}", "tls": "implicit", "route": "users" }},
    {{ "name": "imap",        "protocol": "imap",       "address": "127.0.0.1:{imap}", "tls": "starttls", "route": "users" }},
    {{ "name": "imaps",       "protocol": "imap",       "address": "127.0.0.1:{imaps}", "tls": "implicit", "route": "users" }},
    {{ "name": "pop3s",       "protocol": "pop3",       "address": "127.0.0.1:{pop3s}", "tls": "implicit", "route": "users" }}
  ],
  "backends": {{
{backends}
  }},
  "routes": {{
    "users": [
      {{ "name": "alice", "user": "alice@{domain}", "backend": "pair1" }},
      {{ "name": "bob",   "user": "bob@{domain}",   "backend": "pair2" }}
    ],
    "inbound": [
      {{ "name": "alice",    "recipient": "alice@{domain}", "backend": "pair1" }},
      {{ "name": "bob",      "recipient": "bob@{domain}",   "backend": "pair2" }},
      {{ "name": "no-relay", "reject": "550 5.7.1 Relaying denied" }}
    ]
  }},
  "users": {{ "default_domain": "{domain}" }},
  "admin": {{ "address": "127.0.0.1:{admin}", "socket": "{socket}" }}
}}
"""
BACKEND = """    "{name}": {{
      "host": "127.0.0.1",
      "smtp":       {{ "port": {smtp}, "tls": "starttls", "client_address": "xclient" }},
      "submission": {{ "port": {submissions}, "tls": "implicit", "client_address": "xclient" }},
      "imap":       {{ "port": {imaps}, "tls": "implicit", "client_address": "imap-id" }},
      "pop3":       {{ "port": {pop3s}, "tls": "implicit" }},
      "verify": {{ "name": "localhost", "ca": "{ca}" }}
    }}"""
LISTENERS = ("mx", "submissions", "imap", "imaps", "pop3s")


def say(text=""):
    print(text, flush=True)


def start(lab, binary):
    pairs = []
    for number, person in enumerate(PEOPLE, 1):
        # Both accept the whole domain, so that nothing but Postern's routing keeps the mail apart.
        users = {f"{name}@{DOMAIN}": word for name, word in PEOPLE}
        pairs.append(lab.start_pair(f"pair{number}", users, [DOMAIN], xclient="127.0.0.0/8",
                                    dovecot_options={"trusted_networks": "127.0.0.0/8"}))
        say(f"   pair{number}: home of {person[0]:<6} Dovecot  imap {pairs[-1].imap}, imaps {pairs[-1].imaps}, "
            f"pop3 {pairs[-1].pop3}, pop3s {pairs[-1].pop3s}")
        say(f"{'':26} Postfix  smtp {pairs[-1].smtp}, submissions {pairs[-1].submissions}")
    cert, key = lab.certificate("localhost")
    ports = {name: lab.free_port() for name in LISTENERS}
    admin = f"{LOOPBACK}:{lab.free_port()}"
    balancer = Balancer(lab, binary, CONFIG.format(
        cert=cert, key=key, domain=DOMAIN, admin=admin.split(":")[1], socket=f"{lab.folder}/postern.sock", **ports,
        backends=",\n".join(BACKEND.format(name=p.name, smtp=p.smtp, submissions=p.submissions, imaps=p.imaps,
                                           pop3s=p.pop3s, ca=lab.ca) for p in pairs)))
    code, text = balancer.check()
    if code != 0:
        raise LabError("postern check refused the configuration:\n" + text)
    balancer.start(admin)
    return pairs, ports, balancer


def send(lab, port, to, subject):
    done = subprocess.run(
        ["swaks", "--server", LOOPBACK, "--port", str(port), "--tls", "--tls-verify", "--tls-ca-path", lab.ca, "--from",
         "carol@elsewhere.test", "--to", to, "--header", f"Subject: {subject}", "--body",
         f"Hello {to.split('@', 1)[0]}, this came through Postern.", "--helo", "client.elsewhere.test",
         "--timeout", "20"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise LabError("swaks failed:\n" + done.stdout + done.stderr)
    accepted = [line for line in done.stdout.splitlines() if "queued as" in line]
    return accepted[-1].split("250", 1)[1].strip() if accepted else "accepted"


def imap_subjects(port, context, user, word):
    box = imaplib.IMAP4_SSL("localhost", port, ssl_context=context, timeout=20)
    box.login(user, word)
    box.select("INBOX", readonly=True)
    subjects = []
    for number in box.search(None, "ALL")[1][0].split():
        subjects.append(box.fetch(number, "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1].decode().strip())
    box.logout()
    return [s.removeprefix("Subject: ") for s in subjects]


def pop3_subjects(port, context, user, word):
    box = poplib.POP3_SSL("localhost", port, context=context, timeout=20)
    box.user(user)
    box.pass_(word)
    subjects = []
    for number in range(1, box.stat()[0] + 1):
        head = box.top(number, 0)[1]
        subjects += [line.decode()[9:] for line in head if line.lower().startswith(b"subject: ")]
    box.quit()
    return subjects


def round_trip(lab, pairs, ports, balancer):
    context = ssl.create_default_context(cafile=lab.ca)
    good = True

    def expect(is_right, text):
        nonlocal good
        good = good and is_right
        say(f"   {'ok  ' if is_right else 'BAD '} {text}")

    subjects = {}
    for name, _ in PEOPLE:
        user = f"{name}@{DOMAIN}"
        subjects[name] = f"a letter for {name}"
        answer = send(lab, ports["mx"], user, subjects[name])
        expect(True, f"swaks -> Postern mx:{ports['mx']} (STARTTLS), to {user}: {answer}")
    for pair, (name, word) in zip(pairs, PEOPLE):
        user, subject = f"{name}@{DOMAIN}", subjects[name]
        other = pairs[1] if pair is pairs[0] else pairs[0]
        wait_until(lambda: subject in imap_subjects(pair.imaps, context, user, word),
                   f"the letter for {name} to be delivered on {pair.name}")
        expect(imap_subjects(ports["imaps"], context, user, word) == [subject],
               f"{name} reads it over IMAPS through Postern ({ports['imaps']})")
        expect(pop3_subjects(ports["pop3s"], context, user, word) == [subject],
               f"{name} reads it over POP3S through Postern ({ports['pop3s']})")
        expect(imap_subjects(pair.imaps, context, user, word) == [subject],
               f"asked directly, {pair.name} has it: {name}'s home")
        expect(imap_subjects(other.imaps, context, user, word) == [],
               f"asked directly, {other.name} does not have it")
    sessions = balancer.metric("sessions_total")
    expect(sessions >= 6, f"Postern counted {sessions:.0f} sessions on its metrics page")
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--once", action="store_true")
    args = parser.parse_args()
    started = time.monotonic()
    with Lab() as lab:
        say("\n3. Two pairs of real mail servers, and Postern before them")
        pairs, ports, balancer = start(lab, args.binary)
        say(f"   postern: {', '.join(f'{name} {port}' for name, port in ports.items())}")
        say("\n4. A letter for alice, a letter for bob: same domain, same door, two homes")
        good = round_trip(lab, pairs, ports, balancer)
        say(f"\n   {'Everything went where it should' if good else 'Something went wrong'} "
            f"({time.monotonic() - started:.1f} s).")
        if not good:
            say(balancer.log_text())
            return 1
        if args.once:
            return 0
        say("\n5. Your turn (everything ends with Ctrl-C)")
        say(f"   users          {', '.join(f'{name}@{DOMAIN} / {word}' for name, word in PEOPLE)}")
        say(f"   IMAP, STARTTLS localhost:{ports['imap']}    IMAPS localhost:{ports['imaps']}    "
            f"POP3S localhost:{ports['pop3s']}")
        say(f"   MX, STARTTLS   localhost:{ports['mx']}    submission, TLS localhost:{ports['submissions']}")
        say(f"   trust this CA  {lab.ca}")
        say(f"   for example    curl --cacert {lab.ca} -u alice@{DOMAIN}:{PEOPLE[0][1]} "
            f"'imaps://localhost:{ports['imaps']}/INBOX;MAILINDEX=1'")
        say(f"   metrics        http://{balancer.admin}/metrics")
        say(f"   configuration  {balancer.path}   (edit it, then `reload`)")
        say(f"   commands       {balancer.binary} status|reload|drain pair1|resume pair1 --config {balancer.path}")
        say(f"   session log    {balancer.log}")
        try:
            while balancer.process.is_running():
                signal.sigtimedwait([signal.SIGCHLD], 1.0)
        except KeyboardInterrupt:
            say("\n   Good-bye.")
            return 0
        say("   postern ended by itself:\n" + balancer.log_text()[-2000:])
        return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except LabError as error:
        print(f"try.sh: {error}", file=sys.stderr)
        sys.exit(1)
