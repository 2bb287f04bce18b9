#!/usr/bin/env bash
# deps.sh: brings what building, trying and testing Postern needs to a Debian machine.
#
#   packaging/deps.sh [--build] [--try] [--test] [--print]      (none of the first three: all of them)
#
#   --build   compiler and libraries
#   --try     what packaging/try.sh needs besides: clients, and Postfix and Dovecot
#   --test    what test/run.sh needs besides: more clients, sanitizer and fuzzer runtimes
#   --print   only list what would be done
#
# Programs and libraries are installed by apt, and only those that are missing. Servers of mail and
# directories (and fetchmail, which has a service too) are never installed: their packages are
# unpacked into build/servers and run from there, so that a server of this machine is neither
# replaced nor restarted, and none is left behind. Root is used for apt alone.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kBuild="g++ cmake ninja-build ccache pkg-config libevent-dev android-libboringssl-dev
  nlohmann-json3-dev prometheus-cpp-dev libcurl4-openssl-dev zlib1g-dev libre2-dev libc-ares-dev
  libhiredis-dev libldap-dev libcli11-dev libgtest-dev libgmock-dev"
kTry="python3 openssl curl swaks libnet-ssleay-perl"
kTest="isync msmtp clang-14 libclang-rt-14-dev clang-format-14"
kServers="postfix dovecot-core dovecot-imapd dovecot-pop3d dovecot-lmtpd
  libuid-wrapper libnss-wrapper fetchmail prometheus-postfix-exporter slapd redis-server
  redis-tools"
kServerFolder=build/servers
# One program of each unpacked package, and those whose libraries must all be found.
kServerPrograms="usr/lib/postfix/sbin/master usr/lib/postfix/sbin/smtpd usr/lib/postfix/sbin/tlsmgr
  usr/sbin/dovecot usr/lib/dovecot/auth usr/lib/dovecot/imap-login usr/lib/dovecot/imap
  usr/lib/dovecot/pop3 usr/lib/dovecot/lmtp usr/lib/dovecot/modules/libssl_iostream_openssl.so
  usr/bin/fetchmail usr/bin/prometheus-postfix-exporter usr/sbin/slapd
  usr/bin/redis-server usr/bin/redis-cli"

say() { printf '%s\n' "$*"; }
die() { printf 'deps.sh: %s\n' "$*" >&2; exit 1; }

want_build=no want_try=no want_test=no print_only=no
for argument in "$@"; do
  case $argument in
    --build) want_build=yes ;;
    --try) want_try=yes ;;
    --test) want_test=yes ;;
    --print) print_only=yes ;;
    -h | --help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'deps.sh: unknown option %s (see --help)\n' "$argument" >&2; exit 2 ;;
  esac
done
if [ "$want_build$want_try$want_test" = nonono ]; then want_build=yes want_try=yes want_test=yes; fi
[ "$want_test" = yes ] && want_try=yes

wanted=""
[ "$want_build" = yes ] && wanted="$wanted $kBuild"
[ "$want_try" = yes ] && wanted="$wanted $kTry"
[ "$want_test" = yes ] && wanted="$wanted $kTest"

for tool in apt-get dpkg-query dpkg-deb; do
  command -v "$tool" >/dev/null || die "this needs Debian's $tool; elsewhere install the equivalents of:$wanted"
done

# --- what is missing ---------------------------------------------------------------------------

missing_packages() {  # of the names given
  local installed
  # shellcheck disable=SC2086
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $* 2>/dev/null |
    sed -n 's/^[ih]i *//p' || true)
  local name
  for name in $*; do
    grep -qxF "$name" <<<"$installed" || printf '%s ' "$name"
  done
}

libraries_lacking() {  # by the programs that were unpacked
  local program root=$PWD/$kServerFolder libraries
  libraries=$(printf '%s:' "$root"/usr/lib/postfix "$root"/usr/lib/dovecot "$root"/usr/lib/dovecot/modules/old-stats \
    "$root"/usr/lib/*-linux-gnu* "$root"/lib/*-linux-gnu*)
  for program in $kServerPrograms; do
    if [ -e "$root/$program" ]; then
      LD_LIBRARY_PATH=$libraries ldd "$root/$program" 2>/dev/null | sed -n "s|^\\s*\\(.*\\) => not found|$program: \\1|p"
    fi
  done
}
servers_are_there() {
  local program root=$kServerFolder
  for program in $kServerPrograms; do [ -e "$root/$program" ] || return 1; done
  [ -z "$(libraries_lacking)" ] &&
    compgen -G "$root/usr/lib/*/libuid_wrapper.so" >/dev/null &&
    compgen -G "$root/usr/lib/*/libnss_wrapper.so" >/dev/null
}

missing=$(missing_packages $wanted)
need_servers=no
if [ "$want_try" = yes ] && ! servers_are_there; then need_servers=yes; fi

if [ -z "$missing" ] && [ "$need_servers" = no ]; then
  say "Everything needed is there already; nothing to install."
  exit 0
fi
if [ -n "$missing" ]; then
  say "To be installed by apt (as root, without recommended packages):"
  # shellcheck disable=SC2086
  printf '%s ' $missing | fold -s -w 90 | sed 's/^/  /'; say
fi
if [ "$need_servers" = yes ]; then
  say "To be unpacked into $kServerFolder (not installed; no service, no user, no configuration):"
  # shellcheck disable=SC2086
  printf '%s ' $kServers | fold -s -w 90 | sed 's/^/  /'; say
fi
[ "$print_only" = yes ] && exit 0

# --- root, for apt alone -----------------------------------------------------------------------

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; return; fi
  command -v sudo >/dev/null || die "apt needs root and there is no sudo; as root run: $0 --build --try --test"
  sudo env "DEBIAN_FRONTEND=noninteractive" "$@"
}
export DEBIAN_FRONTEND=noninteractive
sandbox=()
[ "$(id -u)" = 0 ] && sandbox=(-o APT::Sandbox::User=root)

lists_are_there() {  # does apt know where each package comes from?
  local name
  for name in $*; do
    [[ $(LC_ALL=C apt-cache policy "$name" 2>/dev/null) =~ Candidate:\ [^\(] ]] || return 1
  done
}
update_lists() {
  say "Reading the package lists (apt-get update) ..."
  as_root apt-get update -qq || say "  some lists could not be read; going on with the others"
}
refreshed=no
# shellcheck disable=SC2086
if ! lists_are_there $missing $([ "$need_servers" = yes ] && echo $kServers); then
  update_lists
  refreshed=yes
fi

# --- no service starts, none stays enabled -----------------------------------------------------

policy=/usr/sbin/policy-rc.d
made_policy=no
finish() {
  if [ "$made_policy" = yes ]; then as_root rm -f "$policy"; made_policy=no; fi
  rm -rf "$kServerFolder.new"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

enabled_units() {
  find /etc/systemd/system -type l -path '*.wants/*' 2>/dev/null | sort || true
}
forbid_services() {
  if [ ! -e "$policy" ]; then
    made_policy=yes
    printf '#!/bin/sh\n# Put here while packaging/deps.sh runs.\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
}
disable_new_units() {  # the links that were not there before
  local link
  comm -13 <(printf '%s\n' "$1") <(enabled_units) | while read -r link; do
    [ -n "$link" ] || continue
    say "  leaving $(basename "$link") disabled"
    as_root rm -f "$link"
  done
}

if [ -n "$missing" ]; then
  units=$(enabled_units)
  forbid_services
  say "Installing ..."
  install() {
    # shellcheck disable=SC2086
    as_root apt-get install -y -qq --no-install-recommends -o Dpkg::Use-Pty=0 $missing >"$1" 2>&1
  }
  log=$(mktemp)
  if ! install "$log"; then
    if [ "$refreshed" = no ]; then update_lists; fi
    install "$log" || { tail -n 25 "$log" >&2; rm -f "$log"; disable_new_units "$units"; die "apt-get could not install them"; }
  fi
  rm -f "$log"
  disable_new_units "$units"
fi

# --- mail servers beside the system ------------------------------------------------------------

unpack_servers() {
  local root=$PWD/$kServerFolder.new debs libraries
  rm -rf "$root"
  mkdir -p "$root/debs"
  # Libraries that the servers need and the machine lacks come along. Nothing is installed: -s.
  # shellcheck disable=SC2086
  libraries=$(LC_ALL=C apt-get install -s -qq --no-install-recommends $kServers 2>/dev/null |
    awk '$1 == "Inst" && $2 ~ /^lib/ {print $2}' || true)
  # shellcheck disable=SC2086
  debs=$(printf '%s\n' $kServers $libraries | sort -u)
  # shellcheck disable=SC2086
  (cd "$root/debs" && apt-get download -qq "${sandbox[@]}" $debs) >"$root/log" 2>&1 || {
    cat "$root/log" >&2
    return 1
  }
  local deb
  for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
  (cd "$root/debs" && ls) >"$root/packages.txt"
  rm -rf "$root/debs" "$root/log" "$root/usr/share/doc" "$root/usr/share/man"
  rm -rf "$kServerFolder"
  mv "$root" "$kServerFolder"
}
if [ "$need_servers" = yes ]; then
  say "Unpacking the mail servers ..."
  mkdir -p build
  if ! unpack_servers; then
    [ "$refreshed" = yes ] && die "the mail servers could not be fetched"
    update_lists
    unpack_servers || die "the mail servers could not be fetched"
  fi
  if ! servers_are_there; then
    libraries_lacking >&2
    die "the unpacked mail servers lack something (above)"
  fi
fi
say "Done."
