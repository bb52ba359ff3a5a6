#!/usr/bin/env bash
# What honest runs of one tenant take while a hundred endless ones of another wait and run, beside what they take when
# it is quiet: in turns, so that both see the same machine.
#
#   CORBEL_BIN=build/bin tests/bench/neighbours_bench.sh [ROUNDS] [RUNS]
#
# Times are those of calls over HTTP of a plugin that adds two numbers. The last line fails when the median of the
# rounds' ratios of p99 is above 2.
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} ROUNDS=${1:-5} RUNS=${2:-200}
source "$(dirname "$0")/daemons.sh"

HTTP=$(port)
start serve "$BIN/corbel" serve --data="$DIR/data" --ingress.listen="127.0.0.1:$HTTP" --admin.listen=127.0.0.1:0
await "http://127.0.0.1:$HTTP/readyz"
KEY=$(sed -n 's/^first admin key: //p' "$DIR/serve")
python3 "$(dirname "$0")/neighbours_load.py" "$HTTP" "$KEY" "$ROUNDS" "$RUNS"
