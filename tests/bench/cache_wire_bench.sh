#!/usr/bin/env bash
# Gets of 100-byte values from the cache's memory, over the bus and over HTTP, beside memcached, Redis and bentocache
# on the same work, in one run: medians of interleaved rounds.
#
#   CORBEL_BIN=build/bin tests/bench/cache_wire_bench.sh [ROUNDS] [SECONDS]
#
# Over the bus a get is a call of its own, of which 256 are under way and travel together, or 128 keys are asked for
# in each call. memcached and Redis get 128 at once, too, over TCP. HTTP is wrk with 64, 128 and 256 connections, beside
# /healthz with as many. "CPU" is the processor time of the servers for a get (without that of Redis behind them), or of
# node for bentocache; it changes least with what else the machine does.
# bentocache is fetched with npm, and left out where that cannot be.
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} HERE=$(cd "$(dirname "$0")" && pwd) ROUNDS=${1:-3} SECONDS_EACH=${2:-2}
source "$HERE/daemons.sh"

HTTP=$(port) SERVE=$(port) MEMCACHED=$(port) REDIS=$(port)
RUN=$DIR/run && mkdir -p "$RUN"
common=(--admin.listen= --log.level=warn)
for daemon in accountd ratelimitd cached; do
  common+=("--bus.$daemon=ipc://$RUN/$daemon.rep" "--pub.$daemon=ipc://$RUN/$daemon.pub")
done
for daemon in accountd ratelimitd cached; do start $daemon "$BIN/$daemon" --data="$RUN/$daemon" "${common[@]}"; done
start ingress "$BIN/ingress" --data="$RUN/ingress" "${common[@]}" --ingress.listen="127.0.0.1:$HTTP" --ingress.connections_per_address=0
start serve "$BIN/corbel" serve --data="$DIR/serve-data" --ingress.listen="127.0.0.1:$SERVE" --ingress.connections_per_address=0 \
  --admin.listen= --log.level=warn
as_user nobody TERM
start memcached "${AS[@]}" memcached -l 127.0.0.1 -p "$MEMCACHED" -t 2 -m 64
# Another cached, with Redis behind, that is asked for what it does not keep in memory.
shared=("${common[@]/%cached.rep/shared.rep}") && shared=("${shared[@]/%cached.pub/shared.pub}")
start redis redis-server --port "$REDIS" --save "" --appendonly no --dir "$DIR"
start shared "$BIN/cached" --data="$RUN/shared" "${shared[@]}" --redis.url="redis://127.0.0.1:$REDIS/0" --cached.redis_patience=1s
await "http://127.0.0.1:$HTTP/readyz"
await "http://127.0.0.1:$SERVE/readyz"

# Writes the keys over HTTP and the script that asks for them: its file, the address, the file with the admin's key.
fill() {
  local key
  key=$(sed -n 's/^first admin key: //p' "$DIR/$3")
  await "$2/v1/cache-statistics" -H "Authorization: Bearer $key" # until cached is dialled
  for i in $(seq 100); do
    printf 'url = "%s/v1/cache/pages/user/%s/views?ttl_ms=86400000"\nrequest = PUT\ndata = "%s"\noutput = /dev/null\n' "$2" "$i" \
      "$(printf 'x%.0s' {1..100})"
    printf 'header = "Authorization: Bearer %s"\nheader = "Content-Type: text/plain"\n' "$key"
    [ "$i" = 100 ] || echo next
  done >"$DIR/puts"
  curl -sf -K "$DIR/puts"
  cat >"$1" <<LUA
wrk.headers["Authorization"] = "Bearer $key"
local requests, n = {}, 0
init = function()
  for i = 1, 100 do requests[i] = wrk.format("GET", "/v1/cache/pages/user/" .. i .. "/views") end
end
request = function()
  n = n % 100 + 1
  return requests[n]
end
LUA
}
fill "$DIR/processes.lua" "http://127.0.0.1:$HTTP" accountd
fill "$DIR/serve.lua" "http://127.0.0.1:$SERVE" serve

BENTO=$DIR/bento
has_bento() {
  command -v npm >/dev/null && command -v node >/dev/null || return 1
  mkdir -p "$BENTO" && cp "$HERE/bentocache_load.mjs" "$BENTO/"
  (cd "$BENTO" && npm install --silent --no-audit --no-fund bentocache@1.6.1 ioredis@5 >"$DIR/npm.out" 2>&1)
}
LOADS=(bus-single bus-many bus-alone bus-shared bus-tagged memcached redis)
if has_bento; then LOADS+=(bento-memory bento-redis); else echo "bentocache left out: npm or its registry is not there"; fi

servers_of() {
  case $1 in
  bus-shared | bus-tagged) echo "${PID_OF[shared]}" ;;
  bus*) echo "${PID_OF[cached]}" ;;
  memcached | redis) echo "${PID_OF[$1]}" ;;
  http-healthz*) echo "${PID_OF[ingress]}" ;;
  http-get*) echo "${PID_OF[ingress]} ${PID_OF[cached]}" ;;
  serve-*) echo "${PID_OF[serve]}" ;;
  bento*) echo $$ ;; # the times of ended children count with the shell's
  esac
}

load() {
  case $1 in
  bus-shared | bus-tagged) "$BIN/bench/cache_load" bus "ipc://$RUN/shared.rep" "$SECONDS_EACH" "${1#bus-}" ;;
  bus-*) "$BIN/bench/cache_load" bus "ipc://$RUN/cached.rep" "$SECONDS_EACH" "${1#bus-}" ;;
  memcached) "$BIN/bench/cache_load" memcached "$MEMCACHED" "$SECONDS_EACH" ;;
  redis) "$BIN/bench/cache_load" redis "$REDIS" "$SECONDS_EACH" ;;
  bento-*) (cd "$BENTO" && node bentocache_load.mjs "${1#bento-}" "$REDIS" "$SECONDS_EACH") ;;
  esac >"$DIR/load.out"
}

web() { # name, which ends in the number of connections, URL, wrk options
  wrk -t1 -c"${1##*-}" -d"${SECONDS_EACH}s" "${@:3}" "$2" | awk '/Requests\/sec/ { r = $2 } /Non-2xx/ { e = $NF } END { print r, e + 0 }' >"$DIR/load.out"
}

# Appends "rate missed cpu_us" to the name's file.
measure() {
  local before after rate missed
  before=$(cpu_us $(servers_of "$1"))
  if [ $# -gt 1 ]; then web "$@"; else load "$1"; fi
  after=$(cpu_us $(servers_of "$1"))
  read -r rate missed <"$DIR/load.out"
  awk -v r="$rate" -v m="$missed" -v s="$SECONDS_EACH" -v c=$((after - before)) 'BEGIN { print r, m, c / (r * s) }' >>"$DIR/$1.result"
}

for _ in $(seq "$ROUNDS"); do
  for name in "${LOADS[@]}"; do measure "$name"; done
  for connections in 64 128 256; do
    measure http-healthz-$connections "http://127.0.0.1:$HTTP/healthz"
    measure http-get-$connections "http://127.0.0.1:$HTTP" -s "$DIR/processes.lua"
    measure serve-healthz-$connections "http://127.0.0.1:$SERVE/healthz"
    measure serve-get-$connections "http://127.0.0.1:$SERVE" -s "$DIR/serve.lua"
  done
done

column() { awk "{ print \$$2 }" "$DIR/$1.result" | median; }
line() { # what, its result, what it is compared with
  [ -f "$DIR/$2.result" ] || return 0
  awk -v what="$1" -v r="$(column "$2" 1)" -v c="$(column "$2" 3)" -v other="$3" -v o="$(column "$3" 1)" -v oc="$(column "$3" 3)" \
    -v m="$(awk '{ m += $2 } END { print m }' "$DIR/$2.result")" \
    'BEGIN { printf "%-34s %9.0f/s  %6.2f of %-17s CPU %6.2f us (%.2f times)  not found %d\n", what, r, r / o, other, c, c / oc, m }'
}
echo "medians of $ROUNDS rounds of $SECONDS_EACH s"
line "memcached, 128 at once" memcached memcached
line "Redis, 128 at once" redis memcached
line "bus, one key a call" bus-single memcached
line "bus, one key a call, each alone" bus-alone memcached
line "bus, 128 keys a call" bus-many memcached
line "bentocache, from memory" bento-memory bus-single
line "bus, one key a call, from Redis" bus-shared bus-single
line "the same, a tag ended since" bus-tagged bus-single
line "bentocache, from Redis" bento-redis bus-shared
for connections in 64 128 256; do
  line "HTTP get, processes, $connections" http-get-$connections http-healthz-$connections
  line "HTTP get, one process, $connections" serve-get-$connections serve-healthz-$connections
done
