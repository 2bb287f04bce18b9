# slapd: one real OpenLDAP server, with people in it, in clear, with StartTLS and with TLS.
# SPDX-License-Identifier: Apache-2.0
import os

from waiting import LOOPBACK, LabError, accepts, read, wait_until

CONFIG = """
include {root}/etc/ldap/schema/core.schema
include {root}/etc/ldap/schema/cosine.schema
include {root}/etc/ldap/schema/inetorgperson.schema
modulepath {root}/usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {ca}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{bind_dn}" read by * none
database mdb
directory {folder}/data
maxsize 1073741824
dbnosync
index objectClass,mail eq
suffix "{base}"
"""
BASE = "dc=example,dc=test"
BIND_DN = f"cn=postern,{BASE}"
WORD = "hush-hush"
ROOTS = f"""dn: {BASE}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: {BIND_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: postern
userPassword: {WORD}

"""


class Slapd:
    """Ports `ldap` and `ldaps`. `people`: (address, values of the attribute `l`), an entry each; who binds
    as BIND_DN with WORD may read them, and nobody else. certificate: (certificate, key)."""

    def __init__(self, lab, name, people, certificate=None):
        self.lab, self.name = lab, name
        self.folder = lab.make_folder(f"slapd-{name}")
        lab.make_folder(self.folder, "data")
        self.ldap, self.ldaps = lab.free_port(), lab.free_port()
        cert, key = certificate or lab.certificate("localhost")
        self.config = lab.write(os.path.join(self.folder, "slapd.conf"), CONFIG.format(
            root=lab.server_root(), folder=self.folder, base=BASE, bind_dn=BIND_DN, ca=lab.ca, cert=cert, key=key))
        entries = ROOTS
        for number, (address, values) in enumerate(people):
            entries += (f"dn: uid={number},{BASE}\nobjectClass: inetOrgPerson\nuid: {number}\ncn: x\nsn: x\n"
                        f"mail: {address}\n" + "".join(f"l: {value}\n" for value in values) + "\n")
        ldif = lab.write(os.path.join(self.folder, "people.ldif"), entries)
        self.process = None
        loading = self._spawn("-T", "add", "-f", self.config, "-b", BASE, "-l", ldif)
        if loading.wait(60) != 0:
            raise LabError(f"slapd {name} took no entries: {self.log_text()}")
        self.start()

    def _spawn(self, *arguments):
        return self.lab.spawn(f"slapd {self.name}", [f"{self.lab.server_root()}/usr/sbin/slapd", *arguments],
                              self.lab.environment(), os.path.join(self.folder, "out.log"))

    def start(self):
        host = LOOPBACK
        # "none": why it ends, and no more.
        self.process = self._spawn("-f", self.config, "-h",
                                   f"ldap://{host}:{self.ldap}/ ldaps://{host}:{self.ldaps}/", "-d", "none")

        def ready():
            if not self.process.is_running():
                raise LabError(f"slapd {self.name} ended: {self.log_text()}")
            return accepts(self.ldap) and accepts(self.ldaps)
        wait_until(ready, f"slapd {self.name}")

    def kill(self):
        self.process.kill()

    def log_text(self):
        return read(os.path.join(self.folder, "out.log"))
