#!/usr/bin/env bash
# run.sh: end-to-end tests: real clients, through Postern, to real Postfix and Dovecot.
#
#   test/e2e/run.sh [POSTERN] [PATTERN...]     e.g. test/e2e/run.sh build/asan/postern imap
#   test/e2e/run.sh --direct [PATTERN...]      the clients straight to the servers: tries the tests themselves
#
# Needs packaging/deps.sh --test. Ends with "N passed, N failed".
# SPDX-License-Identifier: Apache-2.0
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
binary=${1:-../../build/release/postern}
[ $# -gt 0 ] && shift
[ "$binary" = --direct ] || [[ $binary = /* ]] || [ -x "$binary" ] || binary=../../$binary
exec python3 main.py "$binary" "$@"
