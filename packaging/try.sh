#!/usr/bin/env bash
# try.sh: Postern in front of two real mail servers, on this machine, in one command.
#
#   packaging/try.sh [--once] [--binary POSTERN]
#
# Installs what is missing (it says what first), builds, starts two Dovecot and two Postfix servers on
# loopback ports and Postern before them, sends alice and bob a message each through Postern, reads both
# back, and stays until Ctrl-C, so that you can connect with a mail client of your own. With --once it
# ends after that round trip: exit code 0 if everything went where it should.
#
# Everything runs as an ordinary user in a temporary folder and is gone afterwards. Root is used for
# apt alone.
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

binary="" once=""
while [ $# -gt 0 ]; do
  case $1 in
    --once) once=--once ;;
    --binary) binary=${2:?--binary needs a path}; shift ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'try.sh: unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
  esac
  shift
done

printf '1. What this needs\n'
packaging/deps.sh --build --try | sed 's/^/   /'

printf '\n2. Building Postern\n'
if [ -z "$binary" ]; then
  binary=build/release/postern
  mkdir -p build
  if ! { cmake --preset release && cmake --build --preset release --target postern; } >build/try-build.log 2>&1; then
    tail -n 40 build/try-build.log >&2
    printf 'try.sh: the build failed; the whole log is build/try-build.log\n' >&2
    exit 1
  fi
fi
"$binary" version | sed 's/^/   /'

exec python3 packaging/lab/try.py --binary "$binary" $once
