# contenders: who stands between sender and servers, each set up for this work as its own documentation advises.
# SPDX-License-Identifier: Apache-2.0
import http.server
import json
import os
import threading

from lab import LabError, accepts, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(HERE, "../../.."))
NAMES = ["postern", "haproxy", "nginx"]
DEFAULTS = {"postern": os.path.join(ROOT, "build/release/postern"), "haproxy": "/usr/sbin/haproxy",
            "nginx": "/usr/sbin/nginx"}
HAPROXY = """
global
  maxconn 8000
  nbthread 1
defaults
  mode tcp
  timeout connect 3s
  timeout client 5m
  timeout server 5m
  retries 3
  option redispatch 1
listen mx
  bind 127.0.0.1:{port}
  balance leastconn
  option smtpchk EHLO haproxy.test
  default-server check inter 1s fall 1 rise 1 on-marked-down shutdown-sessions
{servers}
"""
NGINX = """
{module}
worker_processes 1;
daemon off;
error_log {folder}/error.log;
pid {folder}/nginx.pid;
events {{ worker_connections 8000; }}
mail {{
  auth_http 127.0.0.1:{auth}/;
  proxy_smtp_auth off;
  xclient off;
  server {{ listen 127.0.0.1:{port}; protocol smtp; smtp_auth none; server_name nginx.test; timeout 5m; }}
}}
"""


def program(name):
    return os.environ.get(name.upper(), DEFAULTS[name])


def start(name, lab, servers):
    """The port on which it takes mail for the servers' ports."""
    port = lab.free_port()
    folder = lab.make_folder(name)
    command = {"postern": postern, "haproxy": haproxy, "nginx": nginx}[name](lab, folder, port, servers)
    log = os.path.join(folder, "out.log")
    process = lab.spawn(name, command, dict(os.environ), log, as_server=False)

    def listens():
        if not process.is_running():
            with open(log, encoding="utf-8") as text:
                raise LabError(f"{name} ended: {text.read()}")
        return accepts(port)
    wait_until(listens, f"{name} to listen")
    return port


def postern(lab, folder, port, servers):
    config = {
        "hostname": "postern.test", "workers": 1,
        "listeners": [{"name": "mx", "protocol": "smtp", "address": f"127.0.0.1:{port}", "tls": "none", "route": "in"}],
        "backends": {f"mx{n + 1}": {"host": "127.0.0.1", "smtp": {"port": server, "tls": "none"}}
                     for n, server in enumerate(servers)},
        "pools": {"mx": {"backends": [f"mx{n + 1}" for n in range(len(servers))], "balance": "least_load"}},
        "routes": {"in": [{"recipient": "*@example.test", "pool": "mx"}, {"reject": "550 5.7.1 Relaying denied"}]},
        "health": {"interval": "1s", "rise": 1, "fall": 1, "relay_check": False},
        "limits": {"sessions_per_address": 20000},
        "admin": {"address": f"127.0.0.1:{lab.free_port()}"}, "log": {"sessions": os.path.join(folder, "sessions.log")}}
    path = lab.write(os.path.join(folder, "postern.json"), json.dumps(config, indent=2))
    return [program("postern"), "run", "--config", path]


def haproxy(lab, folder, port, servers):
    path = lab.write(os.path.join(folder, "haproxy.cfg"), HAPROXY.format(
        port=port, servers="\n".join(f"  server mx{n + 1} 127.0.0.1:{server}" for n, server in enumerate(servers))))
    return [program("haproxy"), "-db", "-f", path]


def nginx(lab, folder, port, servers):
    auth = start_auth_server(servers)
    module = "/usr/lib/nginx/modules/ngx_mail_module.so"
    path = lab.write(os.path.join(folder, "nginx.conf"), NGINX.format(
        port=port, auth=auth, folder=folder, module=f"load_module {module};" if os.path.exists(module) else ""))
    return [program("nginx"), "-c", path, "-p", folder]


def start_auth_server(servers):
    """nginx asks this one where to go: to each server in turn, past one that does not accept."""
    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        turn = 0

        def do_GET(self):
            for _ in servers:
                Answer.turn += 1
                server = servers[Answer.turn % len(servers)]
                if accepts(server):
                    break
            self.send_response(200)
            for key, value in (("Auth-Status", "OK"), ("Auth-Server", "127.0.0.1"), ("Auth-Port", str(server)),
                               ("Content-Length", "0")):
                self.send_header(key, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    return service.server_address[1]
