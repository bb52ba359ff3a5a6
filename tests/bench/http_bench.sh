#!/usr/bin/env bash
# HTTP end to end beside nginx, in one run: medians of interleaved rounds, as ratios.
#
#   CORBEL_BIN=build/bin tests/bench/http_bench.sh [ROUNDS] [SECONDS]
#
# nginx answers "return 200" with one worker. "check" is POST /v1/ratelimits/check through HTTP, JSON, key
# verification and the bus to a ratelimitd of its own, on its memory store or on Redis; "serve" is the same
# in one process. wrk uses one thread; everything shares the machine's cores. The processor time that the
# servers take for a request does not change with what else the machine does.
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} ROUNDS=${1:-3} SECONDS_EACH=${2:-2}
source "$(dirname "$0")/daemons.sh"

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

# The processes that answer a measurement.
servers_of() {
  case $1 in
  nginx*) pgrep -P "${PID_OF[nginx.out]}" ;;
  healthz*) echo "${PID_OF[memory.ingress]}" ;;
  check-memory*) echo "${PID_OF[memory.ingress]} ${PID_OF[memory.ratelimitd]}" ;;
  check-redis*) echo "${PID_OF[redis.ingress]} ${PID_OF[redis.ratelimitd]} ${PID_OF[redis.out]}" ;;
  check-serve*) echo "${PID_OF[serve.out]}" ;;
  esac
}

# One measurement: name, connections, URL, wrk options. Appends "rate p99us errors cpu_us" to the name's file.
measure() {
  local name=$1 connections=$2 url=$3 before after; shift 3
  before=$(cpu_us $(servers_of "$name"))
  wrk -t1 -c"$connections" -d"${SECONDS_EACH}s" --latency "$@" "$url" >"$DIR/wrk.out"
  after=$(cpu_us $(servers_of "$name"))
  awk -v cpu=$((after - before)) '/requests in/ { n = $1 } /99%/ { p = $2 } /Requests\/sec/ { r = $2 } /Non-2xx/ { e = $NF }
       END { u = p ~ /us$/ ? 1 : p ~ /ms$/ ? 1000 : 1000000; sub(/[a-z]+$/, "", p); print r, p * u, e + 0, n ? cpu / n : 0 }' \
    "$DIR/wrk.out" >>"$DIR/$name.result"
}

for _ in $(seq "$ROUNDS"); do
  for connections in 64 256 512; do
    measure "nginx-$connections" "$connections" "http://127.0.0.1:$NGINX/"
    measure "healthz-$connections" "$connections" "http://127.0.0.1:$HTTP/healthz"
  done
  measure check-memory 64 "http://127.0.0.1:$HTTP/v1/ratelimits/check" -s "$DIR/memory.lua"
  measure check-redis 64 "http://127.0.0.1:$REDIS_HTTP/v1/ratelimits/check" -s "$DIR/redis.lua"
  measure check-memory-window 64 "http://127.0.0.1:$HTTP/v1/ratelimits/check" -s "$DIR/memory-window.lua"
  for kind in hot spent; do
    measure "check-memory-$kind" 64 "http://127.0.0.1:$HTTP/v1/ratelimits/check" -s "$DIR/memory-$kind.lua"
    measure "check-redis-$kind" 64 "http://127.0.0.1:$REDIS_HTTP/v1/ratelimits/check" -s "$DIR/redis-$kind.lua"
  done
  measure check-serve 64 "http://127.0.0.1:$SERVE/v1/ratelimits/check" -s "$DIR/serve.lua"
done

rate() { awk '{ print $1 }' "$DIR/$1.result" | median; }
p99() { awk '{ print $2 }' "$DIR/$1.result" | median; }
cost() { awk '{ print $4 }' "$DIR/$1.result" | median; }
errors() { awk '{ e += $3 } END { print e }' "$DIR/$1.result"; }
ratio() { awk "BEGIN { print $2 ? $1 / $2 : 0 }"; }
line() { # what, its result, what it is compared with
  printf '%-36s %7.0f/s  %5.2f of %-18s p99 %6.0f us (%.1f times)  CPU %5.1f us (%.1f times)  errors %s\n' "$1" \
    "$(rate "$2")" "$(ratio "$(rate "$2")" "$(rate "$3")")" "$3" "$(p99 "$2")" "$(ratio "$(p99 "$2")" "$(p99 "$3")")" \
    "$(cost "$2")" "$(ratio "$(cost "$2")" "$(cost "$3")")" "$(errors "$2")"
}
echo "medians of $ROUNDS rounds of $SECONDS_EACH s; nginx at 64 connections: $(rate nginx-64)/s, p99 $(p99 nginx-64) us"
for connections in 64 256 512; do line "GET /healthz, $connections connections" "healthz-$connections" "nginx-$connections"; done
line "check, processes, memory" check-memory nginx-64
line "check, processes, Redis" check-redis nginx-64
line "check, one process, memory" check-serve nginx-64
line "check, one hot fixed window" check-memory-window nginx-64
line "check, one hot token bucket" check-memory-hot nginx-64
line "check, one refused key" check-memory-spent nginx-64
line "check: Redis beside memory" check-redis check-memory
line "one hot key: Redis beside memory" check-redis-hot check-memory-hot
line "a refused key: Redis beside memory" check-redis-spent check-memory-spent
line "check: one process beside several" check-serve check-memory
