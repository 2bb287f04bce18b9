# postfix: one real Postfix: an MX port, a port that wants a PROXY header, submission both ways.
# SPDX-License-Identifier: Apache-2.0
import os
import pwd
import subprocess

from waiting import LabError, greets, read, wait_until

MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {folder}
mail_owner = postfix
setgid_group = postdrop
default_privs = nobody
maillog_file = {log}
maillog_file_prefixes = {folder}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH LD_PRELOAD
  UID_WRAPPER UID_WRAPPER_ROOT NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = {name}.mx.test
mydestination =
local_transport = error:no local mail here
alias_maps =
alias_database =
mynetworks =
mynetworks_style = host
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
smtputf8_enable = yes
virtual_mailbox_domains = {domains}
virtual_mailbox_maps = texthash:{folder}/mailboxes
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
lmtp_host_lookup = native
smtp_host_lookup = native
relayhost = {relayhost}
transport_maps = {transport}
smtp_tls_security_level = may
smtp_tls_CAfile = {ca}
smtpd_tls_security_level = may
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_loglevel = 1
smtpd_sasl_type = dovecot
smtpd_sasl_path = inet:127.0.0.1:{auth}
message_size_limit = 52428800
# One second, counted in whole ones, may be over at once; a message that its agent has not let go of
# yet is then put aside for a minute ("skipped, still being delivered").
minimal_backoff_time = 2s
maximal_backoff_time = 3s
queue_run_delay = 1s
smtpd_authorized_xclient_hosts = {xclient}
{extra}
"""
MASTER = """
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{smtp_proxied} inet n - n - - smtpd
  -o smtpd_upstream_proxy_protocol=haproxy
127.0.0.1:{submission} inet n - n - - smtpd
  -o syslog_name=postfix/submission -o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=yes
  -o smtpd_tls_security_level=encrypt -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{submissions} inet n - n - - smtpd
  -o syslog_name=postfix/submissions -o smtpd_sasl_auth_enable=yes -o smtpd_tls_wrappermode=yes
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{submission_proxied} inet n - n - - smtpd
  -o syslog_name=postfix/submission -o smtpd_sasl_auth_enable=yes -o smtpd_tls_auth_only=yes
  -o smtpd_tls_security_level=encrypt -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
  -o smtpd_upstream_proxy_protocol=haproxy
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
PORTS = ("smtp", "smtp_proxied", "submission", "submissions", "submission_proxied")
QUEUES = "active bounce corrupt defer deferred flush hold incoming private public maildrop pid saved trace"


class Postfix:
    """Ports by name (see PORTS). xclient: networks whose XCLIENT it believes.

    store: the Dovecot that gets the mail and checks passwords. relayhost or transport (domain ->
    next hop) make it a sender. extra: lines for main.cf; services: for master.cf.
    """

    def __init__(self, lab, name, domains=(), users=(), store=None, xclient="", relayhost="", transport=None,
                 certificate="localhost", extra="", services=""):
        self.lab, self.name = lab, name
        self.folder = lab.make_folder(f"postfix-{name}")
        for sub in ["data", "queue"] + [f"queue/{queue}" for queue in QUEUES.split()]:
            lab.make_folder(self.folder, sub)
        for port in PORTS:
            setattr(self, port, lab.free_port())
        self.log = os.path.join(self.folder, "mail.log")
        cert, key = lab.certificate(certificate)
        lab.write(os.path.join(self.folder, "mailboxes"), "".join(f"{user} ok\n" for user in users))
        lab.write(os.path.join(self.folder, "transport"),
                  "".join(f"{domain} {hop}\n" for domain, hop in (transport or {}).items()))
        lab.write(os.path.join(self.folder, "main.cf"), MAIN.format(
            folder=self.folder, root=lab.server_root(), log=self.log, name=name, domains=", ".join(domains),
            lmtp=store.lmtp if store else 1, auth=store.auth if store else 1, relayhost=relayhost,
            transport=f"texthash:{self.folder}/transport" if transport else "", ca=lab.ca, cert=cert,
            key=key, xclient=xclient, extra=extra))
        lab.write(os.path.join(self.folder, "master.cf"),
                  MASTER.format(**{port: getattr(self, port) for port in PORTS}) + services)
        self._make_accounts()
        self.process = None
        self.start()

    def _make_accounts(self):
        # Names for this Postfix alone: `postfix` is the user that all of it really runs as.
        user = self.lab.server_user or pwd.getpwuid(os.geteuid())
        uid, gid = user.pw_uid, user.pw_gid
        self.passwd = self.lab.write(os.path.join(self.folder, "accounts"),
                                     "root:x:0:0::/:/bin/sh\n"
                                     f"postfix:x:{uid}:{gid}::/:/bin/false\n"
                                     "nobody:x:64998:64998::/:/bin/false\n")
        self.group = self.lab.write(os.path.join(self.folder, "groups"),
                                    f"root:x:0:\npostfix:x:{gid}:\npostdrop:x:64997:\nnogroup:x:64998:\n")

    def environment(self):
        env = self.lab.environment(self.lab.wrapper("libuid_wrapper.so"), self.lab.wrapper("libnss_wrapper.so"))
        env.update(UID_WRAPPER="1", UID_WRAPPER_ROOT="1", NSS_WRAPPER_PASSWD=self.passwd,
                   NSS_WRAPPER_GROUP=self.group, MAIL_CONFIG=self.folder)
        return env

    def start(self):
        self.process = self.lab.spawn(
            f"postfix {self.name}",
            [f"{self.lab.server_root()}/usr/lib/postfix/sbin/master", "-c", self.folder, "-d"],
            self.environment(), os.path.join(self.folder, "out.log"))

    def wait_ready(self):
        def ready():
            if not self.process.is_running():
                raise LabError(f"Postfix {self.name} ended: {self.log_text()}"
                                          + read(os.path.join(self.folder, "out.log")))
            # Its first process may be long in coming though the port is open: who is connected then waits for it.
            return greets(self.smtp, b"220")
        wait_until(ready, f"Postfix {self.name}")

    def kill(self):
        self.process.kill()

    def log_text(self):
        return read(self.log) + read(os.path.join(self.folder, "out.log"))

    def queue_length(self):
        """Messages that wait in this server's queue."""
        out = subprocess.run([f"{self.lab.server_root()}/usr/sbin/postqueue", "-c", self.folder, "-j"],
                             env=self.environment(), capture_output=True, text=True, check=True,
                             **({"user": self.lab.server_user.pw_uid} if self.lab.server_user else {}))
        return len(out.stdout.splitlines())
