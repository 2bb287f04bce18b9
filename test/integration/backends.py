"""Small IMAP, POP3 and SMTP servers for tests: polite by default, and able to fail on demand.

Each server is a thread with one thread a connection, on a free port of 127.0.0.1. What it took in stands in `seen`.
"""
# SPDX-License-Identifier: Apache-2.0
import base64
import re
import socket
import threading


class Server:
    """`fault`: None, 'hang', 'close', 'reset', 'garbage', 'busy', 'tempfail', applied from the greeting on."""

    def __init__(self, conversation, name, passwords=None, tls=None, starttls=False, fault=None):
        self.conversation = conversation
        self.name, self.passwords, self.tls, self.starttls, self.fault = name, passwords or {}, tls, starttls, fault
        self.seen, self.messages, self.connections = [], [], 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.listener.close()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        self.open.add(connection)
        try:
            if self.tls and not self.starttls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            self.conversation(self, connection).run()
        except (OSError, ValueError, AttributeError, IndexError):  # the peer is gone, or speaks nonsense
            pass
        finally:
            connection.close()


class Conversation:
    def __init__(self, server, connection):
        self.server, self.connection, self.buffer, self.in_tls = server, connection, b"", False

    def run(self):
        fault = self.server.fault
        if fault == "hang":
            self.connection.recv(1)
            return
        if fault == "close":
            return
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        if fault == "garbage":
            self.say("\x01\x02 nothing of mail")
            return
        if fault == "busy":
            self.say(self.busy)
            return
        self.dialogue()

    def line(self):
        while b"\r\n" not in self.buffer:
            more = self.connection.recv(65536)
            if not more:
                raise ValueError("closed")
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        text = line.decode("utf-8", "replace")
        with self.server.lock:
            self.server.seen.append(text)
        return text

    def read(self, count):
        while len(self.buffer) < count:
            more = self.connection.recv(65536)
            if not more:
                raise ValueError("closed")
            self.buffer += more
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def say(self, text):
        self.connection.sendall(text.encode() + b"\r\n")

    def start_tls(self):
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.in_tls = True

    def is_good(self, user, password):
        return self.server.passwords.get(user) == password

    @staticmethod
    def plain(text):
        _, user, password = base64.b64decode(text).decode().split("\0")
        return user, password


class ImapConversation(Conversation):
    busy = "* BYE too busy"

    def dialogue(self):
        self.say("* OK ready")
        while True:
            line = self.line()
            while (match := re.search(r"\{(\d+)(\+?)\}$", line)):
                if not match.group(2):
                    self.say("+ go")
                line = line[:match.start()] + '"' + self.read(int(match.group(1))).decode() + '"' + self.line()
            words = [w[1:-1].replace('\\"', '"').replace("\\\\", "\\") if w.startswith('"') else w
                     for w in re.findall(r'"(?:[^"\\]|\\.)*"|[^ ]+', line)]
            tag, verb = words[0], words[1].upper()
            if verb == "CAPABILITY":
                starttls = " STARTTLS" if self.server.starttls and not self.in_tls else ""
                self.say("* CAPABILITY IMAP4rev1 SASL-IR IDLE ID LITERAL+ AUTH=PLAIN" + starttls)
                self.say(tag + " OK done")
            elif verb == "STARTTLS":
                self.say(tag + " OK begin")
                self.start_tls()
            elif verb in ("LOGIN", "AUTHENTICATE"):
                if verb == "LOGIN":
                    user, password = words[2], words[3]
                else:
                    if len(words) < 4:
                        self.say("+ ")
                        words.append(self.line())
                    user, password = self.plain(words[3])
                if self.server.fault == "tempfail":
                    self.say(tag + " NO [UNAVAILABLE] later")
                elif self.is_good(user, password):
                    self.say(tag + " OK [CAPABILITY IMAP4rev1 IDLE MOVE] in as " + self.server.name)
                else:
                    self.say(tag + " NO [AUTHENTICATIONFAILED] no")
            elif verb == "SELECT":
                self.say("* 1 EXISTS")
                self.say(tag + " OK [READ-WRITE] selected")
            elif verb == "FETCH":
                body = (self.server.name.encode() + b"\r\n") * 100000
                self.connection.sendall(b"* 1 FETCH (BODY[] {%d}\r\n" % len(body) + body + b")\r\n")
                self.say(tag + " OK fetched")
            elif verb == "APPEND":
                self.server.messages.append(words[-1])
                self.say(tag + " OK appended")
            elif verb == "IDLE":
                self.say("+ idling")
                self.line()
                self.say(tag + " OK idle over")
            elif verb == "LOGOUT":
                self.say("* BYE bye")
                self.say(tag + " OK done")
                return
            else:
                self.say(tag + " OK " + verb)


class Pop3Conversation(Conversation):
    busy = "-ERR [SYS/TEMP] too busy"

    def dialogue(self):
        self.say("+OK ready")
        user = ""
        while True:
            line = self.line()
            verb = line.split(" ")[0].upper()
            if verb == "CAPA":
                self.say("+OK\r\nUSER\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nSASL PLAIN"
                         + ("\r\nSTLS" if self.server.starttls and not self.in_tls else "") + "\r\n.")
            elif verb == "STLS":
                self.say("+OK begin")
                self.start_tls()
            elif verb == "USER":
                user = line[5:]
                self.say("+OK")
            elif verb in ("PASS", "AUTH"):
                password = line[5:]
                if verb == "AUTH":
                    words = line.split(" ")
                    if len(words) < 3:
                        self.say("+ ")
                        words.append(self.line())
                    user, password = self.plain(words[2])
                if self.server.fault == "tempfail":
                    self.say("-ERR [SYS/TEMP] later")
                elif self.is_good(user, password):
                    self.say("+OK in as " + self.server.name)
                else:
                    self.say("-ERR [AUTH] no")
            elif verb == "STAT":
                self.say("+OK 1 10")
            elif verb == "RETR":
                self.say("+OK\r\n" + self.server.name + "\r\n.")
            elif verb == "QUIT":
                self.say("+OK bye")
                return
            else:
                self.say("+OK")


class SmtpConversation(Conversation):
    busy = "421 4.3.2 too busy"
    auth = False

    def dialogue(self):
        self.say("220 " + self.server.name + " ESMTP")
        sender, recipients = "", []
        while True:
            line = self.line()
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                more = "250-STARTTLS\r\n" if self.server.starttls and not self.in_tls else ""
                more += "250-AUTH PLAIN\r\n" if self.server.passwords else ""
                self.say("250-" + self.server.name + "\r\n250-PIPELINING\r\n250-SIZE 10000000\r\n" + more
                         + "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES")
            elif verb == "STARTTLS":
                self.say("220 2.0.0 begin")
                self.start_tls()
            elif verb == "AUTH":
                words = line.split(" ")
                if len(words) < 3:
                    self.say("334 ")
                    words.append(self.line())
                if self.server.fault == "tempfail":
                    self.say("454 4.7.0 later")
                else:
                    self.say("235 2.7.0 in" if self.is_good(*self.plain(words[2])) else "535 5.7.8 no")
            elif verb == "MAIL":
                sender, recipients = line, []
                self.say("451 4.3.0 later" if self.server.fault == "tempfail" else "250 2.1.0 ok")
            elif verb == "RCPT":
                if "nobody" in line:
                    self.say("550 5.1.1 no such user")
                else:
                    recipients.append(re.search("<(.*?)>", line).group(1))
                    self.say("250 2.1.5 ok")
            elif verb == "DATA":
                if not recipients:
                    self.say("554 5.5.1 no recipients")
                    continue
                if self.server.fault == "die_late_in_data":
                    # What the sender has written and nobody has read shall be less than a long message.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                self.say("354 go")
                while b"\r\n.\r\n" not in b"\r\n" + self.buffer:
                    if self.server.fault == "die_in_data" and self.buffer:
                        return
                    if self.server.fault == "die_late_in_data" and len(self.buffer) > 1000000:
                        return
                    more = self.connection.recv(65536)
                    if not more:
                        raise ValueError("closed")
                    self.buffer += more
                end = (b"\r\n" + self.buffer).index(b"\r\n.\r\n")
                body, self.buffer = self.buffer[:end], self.buffer[end + 3:]
                if self.server.fault == "die_at_dot":
                    return
                self.server.messages.append((sender, recipients, body))
                self.say("250 2.0.0 Ok: queued as Q%d" % len(self.server.messages))
            elif verb == "QUIT":
                self.say("221 2.0.0 bye")
                return
            elif verb == "XCLIENT":
                self.say("550 5.5.1 no")
            else:
                self.say("250 2.0.0 ok")


def imap(name, **options):
    return Server(ImapConversation, name, **options)


def pop3(name, **options):
    return Server(Pop3Conversation, name, **options)


def smtp(name, **options):
    return Server(SmtpConversation, name, **options)
