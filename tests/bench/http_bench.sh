#!/usr/bin/env bash
# HTTP end to end beside nginx, in one run: medians of interleaved rounds, as ratios.
#
#   CORBEL_BIN=build/bin tests/bench/http_bench.sh [ROUNDS] [SECONDS]
#
# nginx answers "return 200" with one worker. "check" is POST /v1/ratelimits/check through HTTP, JSON, key
# verification and the bus to a ratelimitd of its own, on its memory store or on Redis; "serve" is the same
# in one process. wrk uses one thread; everything shares the machine's cores.
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} ROUNDS=${1:-3} SECONDS_EACH=${2:-2}
DIR=$(mktemp -d) PIDS=()
trap 'for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$DIR"' EXIT

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() { local log=$1; shift; "$@" >"$DIR/$log" 2>&1 & PIDS+=($!); }
await() { for _ in $(seq 200); do curl -sf "$1" >/dev/null && return; sleep 0.05; done; echo "$1 does not answer" >&2; exit 1; }

# Three daemons over ipc; $1 names them, the rest are options of ratelimitd.
processes() {
  local name=$1 http=$2 run=$DIR/$1; shift 2
  mkdir -p "$run"
  local bus=(--bus.accountd="ipc://$run/a.rep" --pub.accountd="ipc://$run/a.pub"
             --bus.ratelimitd="ipc://$run/r.rep" --pub.ratelimitd="ipc://$run/r.pub" --admin.listen= --log.level=warn)
  start "$name.accountd" "$BIN/accountd" --data="$run/a" "${bus[@]}"
  start "$name.ratelimitd" "$BIN/ratelimitd" --data="$run/r" "${bus[@]}" "$@"
  start "$name.ingress" "$BIN/ingress" --data="$run/i" "${bus[@]}" --ingress.listen="127.0.0.1:$http" --ingress.connections_per_address=0
  await "http://127.0.0.1:$http/readyz"
}

# Defines the limits and writes the load scripts: $1 names them, $2 is the address, $3 the file with the key.
# The scripts check a thousand keys, one hot key, and one key whose limit is used up.
prepare() {
  local key
  key=$(sed -n 's/^first admin key: //p' "$DIR/$3")
  define() {
    curl -sf "$2/v1/limits" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$1" >/dev/null
  }
  define '{"name":"plenty","strategy":"TOKEN_BUCKET","limit":1000000000,"window_ms":1000}' "$2"
  define '{"name":"spent","strategy":"TOKEN_BUCKET","limit":1,"window_ms":86400000}' "$2"
  load_script "$DIR/$1.lua" "$key" plenty 1000
  load_script "$DIR/$1-hot.lua" "$key" plenty 1
  load_script "$DIR/$1-spent.lua" "$key" spent 1
}

# File, API key, limit, number of keys.
load_script() {
  cat >"$1" <<LUA
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer $2"
wrk.headers["Content-Type"] = "application/json"
-- Formatted once: what the load costs is the server's, not the script's.
local requests, n = {}, 0
init = function()
  for i = 1, $4 do
    requests[i] = wrk.format(nil, nil, nil, '{"checks":[{"limit":"$3","key":"user-' .. i .. '"}]}')
  end
end
request = function()
  n = n % $4 + 1
  return requests[n]
end
LUA
}

NGINX=$(port) HTTP=$(port) REDIS_HTTP=$(port) SERVE=$(port)
mkdir -p "$DIR/nginx"
cat >"$DIR/nginx/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $DIR/nginx/pid; error_log $DIR/nginx/error;
events { worker_connections 4096; }
http { access_log off; server { listen 127.0.0.1:$NGINX; keepalive_requests 100000000; location / { return 200 "ok"; } } }
CONF
start nginx.out nginx -p "$DIR/nginx" -c "$DIR/nginx/nginx.conf"
start redis.out redis-server --port 0 --unixsocket "$DIR/redis.sock" --save "" --appendonly no --dir "$DIR"
await "http://127.0.0.1:$NGINX/"
processes memory "$HTTP"
processes redis "$REDIS_HTTP" --redis.url="unix://$DIR/redis.sock"
start serve.out "$BIN/corbel" serve --data="$DIR/serve" --ingress.listen="127.0.0.1:$SERVE" --ingress.connections_per_address=0 --admin.listen= --log.level=warn
await "http://127.0.0.1:$SERVE/readyz"
prepare memory "http://127.0.0.1:$HTTP" memory.accountd
prepare redis "http://127.0.0.1:$REDIS_HTTP" redis.accountd
prepare serve "http://127.0.0.1:$SERVE" serve.out

# One measurement: name, connections, URL, wrk options. Appends "rate p99us errors" to the name's file.
measure() {
  local name=$1 connections=$2 url=$3; shift 3
  wrk -t1 -c"$connections" -d"${SECONDS_EACH}s" --latency "$@" "$url" >"$DIR/wrk.out"
  awk '/99%/ { p = $2 } /Requests\/sec/ { r = $2 } /Non-2xx/ { e = $NF }
       END { u = p ~ /us$/ ? 1 : p ~ /ms$/ ? 1000 : 1000000; sub(/[a-z]+$/, "", p); print r, p * u, e + 0 }' \
    "$DIR/wrk.out" >>"$DIR/$name.result"
}

for _ in $(seq "$ROUNDS"); do
  for connections in 64 256 512; do
    measure "nginx-$connections" "$connections" "http://127.0.0.1:$NGINX/"
    measure "healthz-$connections" "$connections" "http://127.0.0.1:$HTTP/healthz"
  done
  measure check-memory 64 "http://127.0.0.1:$HTTP/v1/ratelimits/check" -s "$DIR/memory.lua"
  measure check-redis 64 "http://127.0.0.1:$REDIS_HTTP/v1/ratelimits/check" -s "$DIR/redis.lua"
  for kind in hot spent; do
    measure "check-memory-$kind" 64 "http://127.0.0.1:$HTTP/v1/ratelimits/check" -s "$DIR/memory-$kind.lua"
    measure "check-redis-$kind" 64 "http://127.0.0.1:$REDIS_HTTP/v1/ratelimits/check" -s "$DIR/redis-$kind.lua"
  done
  measure check-serve 64 "http://127.0.0.1:$SERVE/v1/ratelimits/check" -s "$DIR/serve.lua"
done

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
rate() { awk '{ print $1 }' "$DIR/$1.result" | median; }
p99() { awk '{ print $2 }' "$DIR/$1.result" | median; }
errors() { awk '{ e += $3 } END { print e }' "$DIR/$1.result"; }
line() { # what, its result, what it is compared with
  printf '%-34s %9.0f/s  %5.2f of %s  p99 %6.0f us (%.1f times)  errors %s\n' "$1" "$(rate "$2")" \
    "$(echo "$(rate "$2") $(rate "$3")" | awk '{ print $1 / $2 }')" "$3" "$(p99 "$2")" \
    "$(echo "$(p99 "$2") $(p99 "$3")" | awk '{ print $1 / $2 }')" "$(errors "$2")"
}
echo "medians of $ROUNDS rounds of $SECONDS_EACH s; nginx at 64 connections: $(rate nginx-64)/s, p99 $(p99 nginx-64) us"
for connections in 64 256 512; do line "GET /healthz, $connections connections" "healthz-$connections" "nginx-$connections"; done
line "check, processes, memory" check-memory nginx-64
line "check, processes, Redis" check-redis nginx-64
line "check, one process, memory" check-serve nginx-64
line "check: Redis beside memory" check-redis check-memory
line "one hot key: Redis beside memory" check-redis-hot check-memory-hot
line "a refused key: Redis beside memory" check-redis-spent check-memory-spent
line "check: one process beside several" check-serve check-memory
