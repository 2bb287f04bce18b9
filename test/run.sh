#!/usr/bin/env bash
# run.sh: installs what is missing, builds, runs every test, and says how many passed.
#
#   test/run.sh [--quick] [--only STAGE[,STAGE...]]
#
#   stages: dev (unit, dialogue, a short sim, matrix, integration, fuzz corpora, lint), sim (100,000 sessions),
#           release, e2e, asan, tsan, fuzz
#   --quick: dev and release alone
#
# The last line is "N passed, N failed"; the exit code is 0 only if nothing failed and something passed.
# SPDX-License-Identifier: Apache-2.0
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

stages="dev,sim,release,e2e,asan,tsan,fuzz"
while [ $# -gt 0 ]; do
  case $1 in
    --quick) stages="dev,release" ;;
    --only) stages=${2:?--only needs a stage}; shift ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) printf 'run.sh: unknown option %s (see --help)\n' "$1" >&2; exit 2 ;;
  esac
  shift
done
kFuzzSeconds=15
kSimSeeds=25000  # of each of the four properties
kJobs=$(nproc)
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
passed=0 failed=0

wants() { [[ ",$stages," == *",$1,"* ]]; }
fail() { printf 'FAILED: %s\n' "$*"; failed=$((failed + 1)); }
stage() { printf '\n== %s\n' "$*"; SECONDS=0; }
over() { printf '== %s: %s s\n' "$1" "$SECONDS"; }

build() {  # preset, targets...
  local preset=$1; shift
  cmake --preset "$preset" >"$logs/cmake" 2>&1 || { cat "$logs/cmake"; fail "configure $preset"; return 1; }
  cmake --build --preset "$preset" --parallel "$kJobs" ${1:+--target "$@"} >"$logs/build" 2>&1 ||
    { tail -60 "$logs/build"; fail "build $preset"; return 1; }
}

# Runs ctest and adds up the GoogleTest cases inside; a program without cases counts as one.
run_ctest() {  # preset, ctest options...
  local preset=$1; shift
  ctest --preset "$preset" --verbose "$@" >"$logs/ctest" 2>&1
  local status=$?
  local cases ran lost
  cases=$(sed -nE 's/^[0-9]+: \[  PASSED  \] ([0-9]+) tests?\.$/\1/p' "$logs/ctest" | paste -sd+ | bc)
  lost=$(sed -nE 's/^[0-9]+: \[  FAILED  \] ([0-9]+) tests?, listed below:$/\1/p' "$logs/ctest" | paste -sd+ | bc)
  ran=$(grep -cE '^ *[0-9]+/[0-9]+ Test .*Passed' "$logs/ctest")
  passed=$((passed + ${cases:-0})) failed=$((failed + ${lost:-0}))
  if [ "${cases:-0}" = 0 ]; then passed=$((passed + ran)); fi
  if [ $status -ne 0 ]; then
    grep -E '\[  FAILED|Failure|error:|ERROR: |WARNING: ThreadSanitizer|tests failed|\*\*\*' "$logs/ctest" | head -60
    [ "${lost:-0}" = 0 ] && fail "ctest $preset $*"
  fi
  printf '%s test programs, %s cases\n' "$ran" "${cases:-0}"
}

packaging/deps.sh --build --test >"$logs/deps" 2>&1 || { cat "$logs/deps"; fail "packaging/deps.sh"; }
command -v bc >/dev/null || bc() { python3 -c 'import sys; print(eval(sys.stdin.read() or "0"))'; }

if wants dev; then
  stage "dev: build, unit, dialogue, simulation, integration, fuzz corpora, lint"
  build dev && run_ctest dev
  over dev
fi
# Each process has its share of the seeds.
run_sim() {
  local begun=$EPOCHREALTIME pids=() i sum=0
  for ((i = 0; i < kJobs; i++)); do
    POSTERN_SIM_SEEDS=$kSimSeeds POSTERN_SIM_SHARD=$i/$kJobs build/sim/test/sim_test >"$logs/sim-$i" 2>&1 &
    pids+=($!)
  done
  for ((i = 0; i < kJobs; i++)); do
    if wait "${pids[$i]}"; then
      passed=$((passed + $(sed -nE 's/^\[  PASSED  \] ([0-9]+) tests?\.$/\1/p' "$logs/sim-$i")))
    else
      grep -E 'Failure|POSTERN_SIM_SEED|check failed|FAILED' -A4 "$logs/sim-$i" | head -60
      fail "simulation, share $i of $kJobs"
    fi
  done
  sum=$(sed -nE 's/^([0-9]+) sessions by seed$/\1/p' "$logs"/sim-* | paste -sd+ | bc)
  printf '%s sessions by seed in %.1f s on %s cores\n' "${sum:-0}" \
    "$(echo "$EPOCHREALTIME - $begun" | bc)" "$kJobs"
}
if wants sim; then
  stage "sim: 100,000 whole sessions with faults by seed, optimised, with every check"
  if build sim sim_test; then run_sim; fi
  over sim
fi
if wants release; then
  stage "release: build"
  build release && { passed=$((passed + 1)); build/release/postern version; }
  over release
fi
run_e2e() {  # binary
  local status counts
  test/e2e/run.sh "$1" >"$logs/e2e" 2>&1
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
if wants e2e; then
  stage "e2e: real servers and clients"
  if build release; then run_e2e build/release/postern; fi
  over e2e
fi
if wants asan; then
  stage "asan: everything again with ASan and UBSan"
  build asan && run_ctest asan --label-exclude lint && run_e2e build/asan/postern
  over asan
fi
if wants tsan; then
  stage "tsan: the parts with threads"
  build tsan net_test metrics_test daemon_test tls_test && run_ctest tsan -R '^(net|metrics|daemon|tls)$'
  over tsan
fi
if wants fuzz; then
  stage "fuzz: $kFuzzSeconds s each target"
  if build fuzz; then
    targets=$(cd build/fuzz/test/fuzz && ls ./*_fuzz)
    [ -n "$targets" ] || fail "there is no fuzz target"
    for target in $targets; do
      name=$(basename "$target" _fuzz)
      mkdir -p "$logs/corpus-$name"
      if "build/fuzz/test/fuzz/$target" -max_total_time=$kFuzzSeconds -timeout=10 -rss_limit_mb=2048 \
        "$logs/corpus-$name" "test/fuzz/corpus/$name" >"$logs/fuzz-$name" 2>&1; then
        passed=$((passed + 1))
        printf '%-20s %s\n' "$name" "$(grep -oE 'Done [0-9]+ runs.*' "$logs/fuzz-$name")"
      else
        tail -30 "$logs/fuzz-$name"
        fail "fuzz $name"
      fi
    done
  fi
  over fuzz
fi

[ "$passed" -gt 0 ] || fail "nothing was run"
printf '\n%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
