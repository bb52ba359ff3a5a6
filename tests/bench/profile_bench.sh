#!/usr/bin/env bash
# Where a check spends its time: samples of the ingress and of ratelimitd while 64 connections ask for checks on
# the memory store, by process and library, then by function. Without perf (Debian: linux-perf) it says so.
#
#   CORBEL_BIN=build/bin tests/bench/profile_bench.sh [SECONDS]
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} SECONDS_EACH=${1:-5}
if ! command -v perf >/dev/null; then echo "perf is not installed: no profile"; exit 0; fi
source "$(dirname "$0")/daemons.sh"

HTTP=$(port)
processes profile "$HTTP"
prepare profile "http://127.0.0.1:$HTTP" profile.accountd
start wrk.out wrk -t1 -c64 -d"$((SECONDS_EACH + 2))s" -s "$DIR/profile.lua" "http://127.0.0.1:$HTTP/v1/ratelimits/check"
if ! perf record -q -F 997 -o "$DIR/perf.data" -p "${PIDS[1]},${PIDS[2]}" -- sleep "$SECONDS_EACH" >/dev/null 2>&1; then
  echo "perf may not sample here: no profile"
  exit 0
fi

report() { perf report -q -i "$DIR/perf.data" --sort "$1" 2>/dev/null | grep -v '^#' | sed '/^[[:space:]]*$/d' | head -"$2"; }
echo "share, thread, library"
report comm,dso 14
echo "share, thread, function"
report comm,sym 25
