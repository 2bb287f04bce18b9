#!/usr/bin/env python3
"""Homes by directory: a map that changes under a running postern, and an authentication server."""
# SPDX-License-Identifier: Apache-2.0
import http.server
import imaplib
import json
import os
import socketserver
import threading
import unittest

import backends
from proxy_case import ProxyCase


class AuthServer:
    """Answers as nginx's mail authentication servers do; `answer` makes the headers, or the HTTP status."""

    def __init__(self, answer):
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(dict(self.headers))
                made = answer(self.headers)
                self.send_response(made if isinstance(made, int) else 200)
                for name, value in (made if isinstance(made, dict) else {}).items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = "http://127.0.0.1:%d/auth" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class SlowRedis:
    """Takes questions at once, and gives its one answer to all of them when it is told to."""

    def __init__(self, answer):
        self.asked, self.may_answer = [], threading.Event()
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                while line := self.rfile.readline():
                    words = []
                    for _ in range(int(line[1:])):
                        size = int(self.rfile.readline()[1:])
                        words.append(self.rfile.read(size + 2)[:-2].decode())
                    outer.asked.append(words)
                    outer.may_answer.wait(20)
                    self.wfile.write(b"$%d\r\n%s\r\n" % (len(answer), answer))

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = "127.0.0.1:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def stop(self):
        self.may_answer.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class DirectoryTest(ProxyCase):
    def begin(self, directory, **more):
        self.first, self.second = self.server(backends.imap, "mail1"), self.server(backends.imap, "mail2")
        return self.start("imap", [self.first, self.second], directories={"people": directory},
                          routes={"r": [{"name": "mapped", "directory": "people"}]}, **more)

    def write_map(self, text):
        path = os.path.join(self.folder, "people.map")
        with open(path + ".new", "w") as file:
            file.write(text)
        os.rename(path + ".new", path)

    def login(self, user="alice", password="secret"):
        client = self.imap()
        try:
            client.login(user, password)
            return "ok"
        except imaplib.IMAP4.error as error:
            return str(error)
        finally:
            client.logout()

    def logins(self, server):
        return sum("LOGIN" in line or "AUTHENTICATE" in line for line in server.seen)

    def events(self, kind):
        return [each for each in json.loads(self.postern.get("/api/v1/events")[1])["events"] if each["kind"] == kind]

    def lookups(self, result):
        return self.postern.metric('postern_directory_lookups_total{directory="people",result="%s"}' % result)

    def test_a_map_names_each_users_home_and_nobody_elses(self):
        self.write_map("# who lives where\nAlice mail1\nbob mail2\n")
        self.begin({"type": "file", "path": "people.map"})
        self.assertEqual(self.login("alice"), "ok")
        self.assertEqual(self.login("bob", 'pa"ss\\w rd'), "ok")
        self.assertEqual((self.logins(self.first), self.logins(self.second)), (1, 1))
        self.assertIn("AUTHENTICATIONFAILED", self.login("carol"))
        self.assertEqual((self.lookups("hit"), self.lookups("miss")), (2, 1))
        self.assertEqual(self.postern.metric(
            'postern_route_decisions_total{route="r",rule="mapped",pool="mail2"}'), 1)

    def test_a_changed_map_acts_without_a_word_and_a_broken_one_does_not(self):
        self.write_map("alice mail1\n")
        self.begin({"type": "file", "path": "people.map"})
        self.assertEqual(self.login(), "ok")
        self.write_map("alice mail2\n")
        self.postern.wait_for(lambda: self.events("map_loaded"), "the new map")
        self.assertEqual(self.login(), "ok")
        self.assertEqual((self.logins(self.first), self.logins(self.second)), (1, 1))
        self.write_map("alice\n")
        self.postern.wait_for(lambda: self.events("map_rejected"), "a word on the broken map")
        self.assertIn("people.map:1:", self.events("map_rejected")[0]["text"])
        self.assertEqual(self.login(), "ok")
        self.assertEqual(self.logins(self.second), 2)
        status, text = self.postern.get("/readyz")
        self.assertEqual(status, 200, text)

    def test_an_authentication_server_finds_the_home(self):
        def answer(headers):
            if headers["Auth-User"] != "alice" or headers["Auth-Pass"] != "secret":
                return {"Auth-Status": "Invalid login or password", "Auth-Wait": "1"}
            return {"Auth-Status": "OK", "Auth-Server": "127.0.0.1", "Auth-Port": str(self.second.port)}
        server = AuthServer(answer)
        self.servers.append(server)
        self.begin({"type": "auth_http", "url": server.url})
        self.assertEqual(self.login(), "ok")
        self.assertEqual((self.logins(self.first), self.logins(self.second)), (0, 1))
        asked = server.asked[0]
        self.assertEqual((asked["Auth-Method"], asked["Auth-Protocol"], asked["Client-IP"], asked["Auth-Login-Attempt"]),
                         ("plain", "imap", "127.0.0.1", "1"))
        self.assertIn("AUTHENTICATIONFAILED", self.login(password="wrong"))
        self.assertEqual(self.logins(self.second), 1)

    def test_a_directory_that_fails_is_a_temporary_failure(self):
        server = AuthServer(lambda headers: 500)
        self.servers.append(server)
        self.begin({"type": "auth_http", "url": server.url})
        self.assertIn("UNAVAILABLE", self.login())
        self.assertEqual((self.logins(self.first), self.logins(self.second)), (0, 0))
        self.assertGreater(self.lookups("error"), 0)
        self.postern.wait_for(self.postern.sessions, "the session's line")
        self.assertIn("500", self.postern.sessions()[0]["why"])


    def explain(self, user="alice"):
        status, text = self.postern.get("/api/v1/route?listener=imap-implicit&user=" + user)
        self.assertEqual(status, 200, text)
        return json.loads(text)

    def test_explanations_say_where_sessions_go(self):
        self.write_map("alice mail1\nbob mail2\n")
        self.begin({"type": "file", "path": "people.map"})
        for user, server in (("alice", self.first), ("bob", self.second)):
            self.assertEqual(self.explain(user)["choice"], server.name)
        self.write_map("alice mail2\n")
        self.postern.wait_for(lambda: self.events("map_loaded"), "the new map")
        self.assertEqual(self.explain()["choice"], "mail2")
        answer = self.explain("bob")
        self.assertEqual((answer["choice"], answer["rules"][0]["matched"]), (None, False))

    def test_an_explanation_waits_for_a_slow_directory_and_nobody_for_it(self):
        redis = SlowRedis(b"mail2")
        self.servers.append(redis)
        self.begin({"type": "redis", "addresses": [redis.address], "timeout": "20s"})
        answers = []
        asker = threading.Thread(target=lambda: answers.append(self.explain()))
        asker.start()
        self.postern.wait_for(lambda: redis.asked, "the question")
        self.assertEqual(self.postern.get("/livez")[0], 200)
        self.assertEqual((redis.asked, answers), ([["GET", "postern:alice"]], []))
        redis.may_answer.set()
        asker.join()
        self.assertEqual(answers[0]["choice"], "mail2")
        self.assertEqual(answers[0]["directory"]["answer"], "mail2")

    def test_an_explanation_is_no_login_at_an_authentication_server(self):
        server = AuthServer(lambda headers: {"Auth-Status": "Invalid login or password"})
        self.servers.append(server)
        self.begin({"type": "auth_http", "url": server.url})
        answer = self.explain()
        self.assertEqual(server.asked, [])
        self.assertEqual((answer["choice"], answer["rules"][0]["matched"], answer["rules"][0]["why"]),
                         (None, False, "asked at the login only"))


class RecipientsTest(ProxyCase):
    """One message for two recipients who live apart."""

    def deliver(self, mixed):
        self.servers = []
        homes = [self.server(backends.smtp, name, passwords={}) for name in ("mx1", "mx2", "mx3")]
        rules = [{"name": "away", "recipient": "*@away.example", "pool": "away"},
                 {"name": "home", "recipient": "*@home.example", "pool": "home", **mixed}]
        self.start("smtp", homes, routes={"r": rules}, pools={
            "home": {"backends": ["mx1"]}, "away": {"backends": ["mx2"]}, "relay": {"backends": ["mx3"]}})
        client = self.smtp()
        refused = client.sendmail("a@client.example", ["b@home.example", "c@away.example", "d@nowhere.example"], "hello")
        client.quit()
        return refused, [[message[1] for message in server.messages] for server in homes]

    def test_who_lives_elsewhere_is_deferred(self):
        refused, messages = self.deliver({})
        self.assertEqual({name: reply[0] for name, reply in refused.items()},
                         {"c@away.example": 452, "d@nowhere.example": 550})
        self.assertEqual(messages, [[["b@home.example"]], [], []])

    def test_a_relay_takes_all(self):
        refused, messages = self.deliver({"mixed": {"relay": "relay"}})
        self.assertEqual({name: reply[0] for name, reply in refused.items()}, {"d@nowhere.example": 550})
        self.assertEqual(messages, [[], [], [["b@home.example", "c@away.example"]]])
        self.assertEqual(self.postern.metric('postern_smtp_recipients_total{listener="smtp-implicit",result="accepted"}'),
                         2)
        answer = json.loads(self.postern.get("/api/v1/route?listener=smtp-implicit&recipient=b@home.example")[1])
        self.assertEqual(answer["mixed"], {"relay": "relay"})


if __name__ == "__main__":
    unittest.main(warnings="ignore")
