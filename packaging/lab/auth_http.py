# auth_http: a server of nginx's mail authentication protocol, in a process of its own.
#
#   auth_http.py PEOPLE.json PORT      writes a line for each question: protocol, user, what it said
# SPDX-License-Identifier: Apache-2.0
import http.server
import json
import os
import sys
import urllib.parse

from waiting import LOOPBACK, LabError, accepts, read, wait_until


class AuthHttp:
    """`people`: address -> (password, {protocol: port of the home on loopback}); `url` is where it is asked."""

    def __init__(self, lab, name, people):
        self.lab, self.name = lab, name
        self.folder = lab.make_folder(f"auth-{name}")
        self.people = lab.write(os.path.join(self.folder, "people.json"), json.dumps(people), 0o600)
        self.port = lab.free_port()
        self.url = f"http://{LOOPBACK}:{self.port}/auth"
        self.log = os.path.join(self.folder, "out.log")
        self.process = None
        self.start()

    def start(self):
        self.process = self.lab.spawn(
            f"auth {self.name}", [sys.executable, os.path.abspath(__file__), self.people, str(self.port)],
            dict(os.environ), self.log, as_server=False)

        def ready():
            if not self.process.is_running():
                raise LabError(f"the authentication server {self.name} ended: {self.log_text()}")
            return accepts(self.port)
        wait_until(ready, f"the authentication server {self.name}")

    def kill(self):
        self.process.kill()

    def log_text(self):
        return read(self.log)


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def make_handler(people):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            protocol, is_login = self.headers["Auth-Protocol"], self.headers["Auth-Method"] != "none"
            if is_login:
                user, word = (urllib.parse.unquote(self.headers[name]) for name in ("Auth-User", "Auth-Pass"))
            else:  # "RCPT TO: <bob@example.com>"
                user, word = self.headers["Auth-SMTP-To"].partition("<")[2].rstrip(">"), None
            known, ports = people.get(user, (None, {}))
            is_good = protocol in ports and (word == known or not is_login)
            print(protocol, user, "OK" if is_good else "no", flush=True)
            self.send_response(200)
            if is_good:
                self.send_header("Auth-Status", "OK")
                self.send_header("Auth-Server", LOOPBACK)
                self.send_header("Auth-Port", str(ports[protocol]))
            else:
                self.send_header("Auth-Status", "Invalid login or password")
            self.end_headers()

        def log_message(self, *_):
            pass

    return Handler


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as text:
        server = Server((LOOPBACK, int(sys.argv[2])), make_handler(json.load(text)))
    server.serve_forever()
