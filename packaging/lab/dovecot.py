# dovecot: one real Dovecot: IMAP, POP3, LMTP and the authentication that Postfix uses.
# SPDX-License-Identifier: Apache-2.0
import os
import pwd

from waiting import LabError, accepts, read, wait_until

CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
libexec_dir = {root}/usr/lib/dovecot
mail_plugin_dir = {root}/usr/lib/dovecot/modules
log_path = {log}
import_environment = TZ LD_LIBRARY_PATH LD_PRELOAD POSTERN_LAB_ROOT
instance_name = {name}
login_greeting = {name} ready.
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
default_process_limit = 200
listen = 127.0.0.1
protocols = imap pop3 lmtp
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = yes
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
auth_username_format = %Lu
mail_location = maildir:{mail}/%u
mail_plugins = zlib
mail_max_userip_connections = 1000
login_log_format_elements = user=<%u> method=%m rip=%r lip=%l %c session=<%{{session}}>
{trusted}
protocol imap {{
  mail_plugins = zlib imap_zlib
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {passwd}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%u
}}
# All clients have one address here, so nobody is made to wait for the failures of others.
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
service auth {{
  inet_listener {{
    address = 127.0.0.1
    port = {auth}
  }}
}}
service imap-login {{
  chroot =
  process_min_avail = 1
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
  inet_listener imaps-proxied {{
    port = {imaps_proxied}
    ssl = yes
    haproxy = yes
  }}
}}
service pop3-login {{
  chroot =
  process_min_avail = 1
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = {pop3s}
    ssl = yes
  }}
  inet_listener pop3s-proxied {{
    port = {pop3s_proxied}
    ssl = yes
    haproxy = yes
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
haproxy_trusted_networks = 127.0.0.0/8
{extra}
"""
PORTS = ("imap", "imaps", "imaps_proxied", "pop3", "pop3s", "pop3s_proxied", "lmtp", "auth")


class Dovecot:
    """Ports by name (see PORTS); `log_text()` is what it wrote so far.

    mail_folder: two servers over the same folder are a shared store. trusted_networks: whose word
    on the client's address (IMAP ID, POP3 XCLIENT) it believes.
    """

    def __init__(self, lab, name, users, mail_folder=None, trusted_networks="", mechanisms="plain login",
                 certificate="localhost", extra=""):
        self.lab, self.name, self.host = lab, name, certificate
        self.folder = lab.make_folder(f"dovecot-{name}")
        for sub in ("run", "state"):
            lab.make_folder(self.folder, sub)
        self.mail = mail_folder or lab.make_folder(self.folder, "mail")
        self.log = lab.write(os.path.join(self.folder, "dovecot.log"), "")
        passwd = lab.write(os.path.join(self.folder, "passwd"),
                           "".join(f"{user}:{{PLAIN}}{word}\n" for user, word in users.items()), 0o600)
        for port in PORTS:
            setattr(self, port, lab.free_port())
        user = lab.server_user or pwd.getpwuid(os.geteuid())
        cert, key = lab.certificate(certificate)
        self.config = lab.write(os.path.join(self.folder, "dovecot.conf"), CONFIG.format(
            folder=self.folder, root=lab.server_root(), log=self.log, name=name, user=user.pw_name,
            group=group_name(user.pw_gid), uid=user.pw_uid, gid=user.pw_gid, cert=cert, key=key,
            mechanisms=mechanisms, mail=self.mail, passwd=passwd, extra=extra,
            trusted=f"login_trusted_networks = {trusted_networks}" if trusted_networks else "",
            **{port: getattr(self, port) for port in PORTS}))
        self.process = None
        self.start()

    def start(self):
        self.process = self.lab.spawn(
            f"dovecot {self.name}", [f"{self.lab.server_root()}/usr/sbin/dovecot", "-F", "-c", self.config],
            self.lab.environment(self.lab.redirect), os.path.join(self.folder, "out.log"))

    def wait_ready(self):
        def ready():
            if not self.process.is_running():
                raise LabError(f"Dovecot {self.name} ended: {self.log_text()}"
                                          + read(os.path.join(self.folder, "out.log")))
            return accepts(self.lmtp) and accepts(self.imaps)
        wait_until(ready, f"Dovecot {self.name}")

    def kill(self):
        self.process.kill()

    def log_text(self):
        return read(self.log)


def group_name(gid):
    import grp
    return grp.getgrgid(gid).gr_name
