# Daemons and loads that the HTTP benchmarks share; to be sourced. Needs BIN.

DIR=$(mktemp -d) PIDS=()
trap 'for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null || true; kill -CONT "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$DIR"' EXIT

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
# Processor time that processes and their ended children have had, in microseconds (proc(5): fields 14 to 17 of stat,
# here after the name).
cpu_us() {
  local pid
  for pid in "$@"; do cat "/proc/$pid/stat" 2>/dev/null || true; done |
    awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); t += $12 + $13 + $14 + $15 } END { printf "%.0f", t * 1000000 / hz }'
}
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
declare -A PID_OF # by the name of its log
# What is started ends with this shell, also when it is killed.
start() { local log=$1; shift; setpriv --pdeathsig TERM "$@" >"$DIR/$log" 2>&1 & PIDS+=($!); PID_OF[$log]=$!; }
await() { for _ in $(seq 200); do curl -sf "$@" >/dev/null && return; sleep 0.05; done; echo "$1 does not answer" >&2; exit 1; }

# Puts into AS what runs a program as the user $1 where we are root. Whoever changes its user loses the signal of its
# parent's death, so it gets $2 anew.
as_user() {
  AS=()
  [ "$(id -u)" != 0 ] || AS=(setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups --pdeathsig "$2")
}

# A PostgreSQL of our own, durable as it comes; sets POSTGRES to its address. It refuses to run as root.
start_postgres() {
  local bin at
  bin=$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1) at=$(port)
  mkdir "$DIR/postgres"
  if [ "$(id -u)" = 0 ]; then
    chmod 755 "$DIR"
    chown postgres "$DIR/postgres"
  fi
  as_user postgres INT # a fast shutdown
  "${AS[@]}" "$bin/initdb" -D "$DIR/postgres" -U corbel -A trust -E UTF8 --locale=C >/dev/null
  start postgres.out "${AS[@]}" "$bin/postgres" -D "$DIR/postgres" -p "$at" -h 127.0.0.1 -k ""
  for _ in $(seq 200); do "$bin/pg_isready" -q -h 127.0.0.1 -p "$at" && break; sleep 0.05; done
  "$bin/createdb" -h 127.0.0.1 -p "$at" -U corbel corbel
  POSTGRES="postgresql://corbel@127.0.0.1:$at/corbel"
}

# Gives processes the priority that this session has, if it has one (docs/performance.md): PostgreSQL's have sessions of
# their own.
lend_priority() {
  local nice pid
  nice=$(awk '{ print $NF }' /proc/self/autogroup 2>/dev/null || true)
  if [ "${nice:-0}" = 0 ]; then return; fi
  for pid in "$@"; do echo "$nice" 2>/dev/null >"/proc/$pid/autogroup" || true; done
}

# webhookd and what it needs, over ipc, with the admin port of webhookd at $3; $1 names them, the rest are options
# of all of them.
event_processes() {
  local name=$1 http=$2 admin=$3 run=$DIR/$1 daemon; shift 3
  mkdir -p "$run"
  local common=(--admin.listen= --log.level=warn "$@")
  for daemon in accountd ratelimitd webhookd; do
    common+=(--bus.$daemon="ipc://$run/$daemon.rep" --pub.$daemon="ipc://$run/$daemon.pub")
  done
  start "$name.accountd" "$BIN/accountd" --data="$run/a" "${common[@]}" --accountd.peppers=k1:$(printf '7%.0s' {1..64})
  start "$name.ratelimitd" "$BIN/ratelimitd" --data="$run/r" "${common[@]}"
  start "$name.webhookd" "$BIN/webhookd" --data="$run/w" "${common[@]}" --admin.listen="127.0.0.1:$admin" \
    --webhookd.allow=127.0.0.0/8 --webhookd.secrets=k1:$(printf '7%.0s' {1..64})
  start "$name.ingress" "$BIN/ingress" --data="$run/i" "${common[@]}" --ingress.listen="127.0.0.1:$http" --ingress.connections_per_address=0
  await "http://127.0.0.1:$http/readyz"
  local key
  key=$(sed -n 's/^first admin key: //p' "$DIR/$name.accountd")
  await "http://127.0.0.1:$http/v1/events?page_size=1" -H "Authorization: Bearer $key" # until webhookd is dialled, too
}

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
# The scripts check a thousand keys, one hot key of a token bucket and of a fixed window, and one key whose limit is
# used up.
prepare() {
  local key
  key=$(sed -n 's/^first admin key: //p' "$DIR/$3")
  define() {
    curl -sf "$2/v1/limits" -H "Authorization: Bearer $key" -H 'Content-Type: application/json' -d "$1" >/dev/null
  }
  define '{"name":"plenty","strategy":"TOKEN_BUCKET","limit":1000000000,"window_ms":1000}' "$2"
  define '{"name":"window","strategy":"FIXED_WINDOW","limit":1000000000,"window_ms":60000}' "$2"
  define '{"name":"spent","strategy":"TOKEN_BUCKET","limit":1,"window_ms":86400000}' "$2"
  load_script "$DIR/$1.lua" "$key" plenty 1000
  load_script "$DIR/$1-hot.lua" "$key" plenty 1
  load_script "$DIR/$1-window.lua" "$key" window 1
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
