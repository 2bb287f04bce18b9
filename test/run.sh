#!/usr/bin/env bash
# run.sh: installs what is missing, builds, runs every test, and says how many passed.
#
#   test/run.sh [--quick] [--only STAGE[,STAGE...]]
#
#   asan  unit, dialogue, matrix and integration tests, a short simulation, fuzz corpora, lint: with ASan and UBSan
#   e2e   packaging/try.sh, then real servers and real clients around the sanitized binary
#   sim   1,000,000 SMTP transactions and 50,000 IMAP and POP3 sessions with faults by seed, optimised
#   tsan  the parts with threads under TSan
#   fuzz  each fuzz target for some seconds
#   dev   what asan runs, without sanitizers: the quickest to build (--quick: this alone)
#
# asan and fuzz are built by clang, in half of GCC's time for asan; the others by GCC.
#
# Without options: all but dev. The last line is "N passed, N failed"; the exit code is 0 only if nothing
# failed and something passed.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

stages="asan,e2e,sim,tsan,fuzz"
while [ $# -gt 0 ]; do
  case $1 in
    --quick) stages="dev" ;;
    --only) stages=${2:?--only needs a stage}; shift ;;
    -h | --help) sed -n '2,16s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'run.sh: unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
  esac
  shift
done
kFuzzSeconds=6
kSimSeeds=25000            # of each of IMAP and POP3
kSimTransactions=500000    # of each of SMTP and submission
kJobs=$(nproc)
kTsanTargets=(net_test metrics_test daemon_test tls_test postern)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0

wants() { [[ ",$stages," == *",$1,"* ]]; }
fail() { printf 'FAILED: %s\n' "$*"; failed=$((failed + 1)); }
stage() { printf '\n== %s\n' "$*"; SECONDS=0; }
over() { printf '== %s: %s s\n' "$1" "$SECONDS"; }
sum() { awk '{ s += $1 } END { print s + 0 }'; }

# Fresh: of a folder that was configured for another compiler CMake would forget the preset.
configure() { cmake --fresh --preset "$1"; }

build() {  # preset, targets...
  local preset=$1; shift
  configure "$preset" >"$logs/cmake" 2>&1 || { cat "$logs/cmake"; fail "configure $preset"; return 1; }
  cmake --build --preset "$preset" --parallel "$kJobs" ${1:+--target "$@"} >"$logs/build" 2>&1 ||
    { tail -60 "$logs/build"; fail "build $preset"; return 1; }
  printf 'built in %s s\n' "$SECONDS"
}

# While real servers are waited for, a core has time for what the later stages need; they say what fails.
build_ahead() {
  if wants sim; then configure sim && cmake --build --preset sim --parallel 1 --target sim_test; fi
  if wants tsan; then configure tsan && cmake --build --preset tsan --parallel 1 --target "${kTsanTargets[@]}"; fi
  if wants fuzz; then configure fuzz && cmake --build --preset fuzz --parallel 1 --target fuzz_targets; fi
}

# Runs ctest and adds up the GoogleTest cases inside; a program without cases counts as one.
run_ctest() {  # preset, ctest options...
  local preset=$1; shift
  local status cases lost plain
  ctest --preset "$preset" --verbose --parallel "$kJobs" "$@" >"$logs/ctest" 2>&1
  status=$?
  read -r cases lost plain < <(awk '
    match($0, /^[0-9]+: \[  (PASSED|FAILED)  \] [0-9]+ tests?[.,]/) {
      split($0, part, /[: ]+/); has_cases[part[1]] = 1
      if (part[3] == "PASSED") cases += part[5]; else lost += part[5]
    }
    /Test +#[0-9]+: .* Passed/ { match($0, /#[0-9]+/); programs[substr($0, RSTART + 1, RLENGTH - 1)] = 1 }
    END { for (p in programs) if (!(p in has_cases)) plain++; print cases + 0, lost + 0, plain + 0 }' "$logs/ctest")
  passed=$((passed + cases + plain)) failed=$((failed + lost))
  if [ $status -ne 0 ]; then
    grep -E '\[  FAILED|: Failure$|error:|ERROR: |WARNING: ThreadSanitizer|^[0-9]+: FAIL|tests failed|\*\*\*' -A6 "$logs/ctest" | head -80
    [ "$lost" -gt 0 ] || fail "ctest $preset $*"
  fi
  grep -hoE '^[0-9]+: [0-9]+ (cells|(sessions|transactions) by seed).*' "$logs/ctest" | sed 's/^[0-9]*: //'
  printf '%s cases and %s other programs passed\n' "$cases" "$plain"
}

run_e2e() {  # binary
  local status counts
  # What was freed and is kept aside by ASan counts as memory where a test looks at Postern's.
  ASAN_OPTIONS=quarantine_size_mb=8 test/e2e/run.sh "$1" >"$logs/e2e" 2>&1
  status=$?
  counts=$(sed -nE 's/^([0-9]+) passed, ([0-9]+) failed$/\1 \2/p' "$logs/e2e" | tail -1)
  if [ -z "$counts" ]; then
    tail -60 "$logs/e2e"
    fail "e2e with $1 did not come to its end"
    return
  fi
  passed=$((passed + ${counts% *})) failed=$((failed + ${counts#* }))
  if [ $status -ne 0 ]; then grep -vE '^ok ' "$logs/e2e" | head -200; else sed -n '/^client  /,$p' "$logs/e2e"; fi
}

# Each process has its share of the seeds.
run_sim() {
  local begun=$EPOCHREALTIME pids=() i
  for ((i = 0; i < kJobs; i++)); do
    POSTERN_SIM_SEEDS=$kSimSeeds POSTERN_SIM_TRANSACTIONS=$kSimTransactions POSTERN_SIM_SHARD=$i/$kJobs \
      build/sim/test/sim_test >"$logs/sim-$i" 2>&1 &
    pids+=($!)
  done
  for ((i = 0; i < kJobs; i++)); do
    if wait "${pids[$i]}"; then
      passed=$((passed + $(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?\.$/\1/p' "$logs/sim-$i")))
    else
      grep -E 'Failure|POSTERN_SIM_SEED|check failed|FAILED' -A6 "$logs/sim-$i" | head -60
      fail "simulation, share $i of $kJobs"
    fi
  done
  printf '%s transactions and %s sessions by seed in %s s on %s cores\n' \
    "$(sed -nE 's/^([0-9]+) transactions by seed$/\1/p' "$logs"/sim-* | sum)" \
    "$(sed -nE 's/^([0-9]+) sessions by seed$/\1/p' "$logs"/sim-* | sum)" \
    "$(awk -v a="$begun" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.0f", b - a }')" "$kJobs"
}

fuzz_one() {  # target
  local name
  name=$(basename "$1" _fuzz)
  mkdir -p "$logs/corpus-$name"
  "$1" -max_total_time=$kFuzzSeconds -timeout=10 -rss_limit_mb=2048 "$logs/corpus-$name" \
    "test/fuzz/corpus/$name" >"$logs/fuzz-$name" 2>&1
  echo $? >"$logs/status-$name"
}
run_fuzz() {
  local target name
  for target in build/fuzz/test/fuzz/*_fuzz; do
    while [ "$(jobs -rp | wc -l)" -ge "$kJobs" ]; do wait -n; done
    fuzz_one "$target" &
  done
  wait
  for target in build/fuzz/test/fuzz/*_fuzz; do
    name=$(basename "$target" _fuzz)
    if [ "$(cat "$logs/status-$name" 2>/dev/null)" = 0 ]; then
      passed=$((passed + 1))
      printf '%-20s %s\n' "$name" "$(grep -oE 'Done [0-9]+ runs.*' "$logs/fuzz-$name")"
    else
      tail -30 "$logs/fuzz-$name"
      fail "fuzz $name"
    fi
  done
}

packaging/deps.sh --build --test >"$logs/deps" 2>&1 || { cat "$logs/deps"; fail "packaging/deps.sh"; }

if wants dev; then
  stage "dev: unit, dialogue, matrix and integration tests, a short simulation, fuzz corpora, lint"
  build dev && run_ctest dev
  over dev
fi
if wants asan; then
  stage "asan: the same, with ASan and UBSan"
  build asan && run_ctest asan
  over asan
fi
if wants e2e; then
  stage "e2e: the newcomer's command, then real servers and clients"
  if packaging/try.sh --once >"$logs/try" 2>&1; then
    passed=$((passed + 1))
    build/release/postern version
  else
    tail -60 "$logs/try"
    fail "packaging/try.sh --once"
  fi
  if build asan postern; then
    build_ahead >"$logs/ahead" 2>&1 &
    run_e2e build/asan/postern
    wait
  fi
  over e2e
fi
if wants sim; then
  stage "sim: a million SMTP transactions, and IMAP and POP3 sessions, with faults by seed, optimised"
  if build sim sim_test; then run_sim; fi
  over sim
fi
if wants tsan; then
  stage "tsan: the parts with threads"
  build tsan "${kTsanTargets[@]}" &&
    run_ctest tsan -R '^(net|metrics|daemon|tls|proxy|commands)$'
  over tsan
fi
if wants fuzz; then
  stage "fuzz: $kFuzzSeconds s each target"
  if build fuzz fuzz_targets; then run_fuzz; fi
  over fuzz
fi

[ $((passed + failed)) -gt 0 ] || fail "nothing was run"
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
