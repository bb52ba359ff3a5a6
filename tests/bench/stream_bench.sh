#!/usr/bin/env bash
# Open streams of one ingress: what each takes of its memory, and how soon an event is on all of them.
#
#   CORBEL_BIN=build/bin tests/bench/stream_bench.sh [STREAMS] [ROUNDS]
#
# Daemons are processes of their own on SQLite, so the ingress's memory is its own. "bare" is a loop that sends the
# same bytes to as many plain connections and has the same reader, in turns with the ingress. The time of a broadcast
# begins with the call that publishes and ends when the last stream has its event.
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} STREAMS=${1:-5000} ROUNDS=${2:-10}
source "$(dirname "$0")/daemons.sh"

ulimit -n "$(ulimit -Hn)"
export CORBEL_INGRESS_STREAMS=$STREAMS CORBEL_INGRESS_STREAMS_PER_TENANT=$STREAMS
for kind in sse websocket; do
  HTTP=$(port)
  event_processes "$kind" "$HTTP" "$(port)"
  KEY=$(sed -n 's/^first admin key: //p' "$DIR/$kind.accountd")
  python3 "$(dirname "$0")/stream_load.py" "$kind" "$HTTP" "$KEY" "${PID_OF[$kind.ingress]}" "$STREAMS" "$ROUNDS"
done
