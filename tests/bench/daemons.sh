# Daemons and loads that the HTTP benchmarks share; to be sourced. Needs BIN.

DIR=$(mktemp -d) PIDS=()
trap 'for p in "${PIDS[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$DIR"' EXIT

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
declare -A PID_OF # by the name of its log
start() { local log=$1; shift; "$@" >"$DIR/$log" 2>&1 & PIDS+=($!); PID_OF[$log]=$!; }
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
