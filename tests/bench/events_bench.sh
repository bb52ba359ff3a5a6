#!/usr/bin/env bash
# Events: how fast they are recorded and delivered, on SQLite and on PostgreSQL, beside the bare means in the
# same run, in turns: medians of rounds.
#
#   CORBEL_BIN=build/bin tests/bench/events_bench.sh [ROUNDS] [SECONDS] [STORES] [WHAT]
#
# publish: durable events through HTTP, JSON, key, bus and a webhookd of its own, one or a hundred a request,
#          beside bare INSERTs of the same rows in commits of the same size (insert_load).
# latency: an event is published every 20 ms; from then to its first attempt.
# deliver: the backlog of a sink that stood still, beside libcurl's multi interface alone sending requests of the same
#          size.
# queue:   a backlog fetched from a queue, leased and acknowledged, one message or a hundred at a time, beside
#          publishing the same events.
# hang:    a hundred endpoints, 200 events a second; the others' latency while one of them does not answer.
set -euo pipefail

BIN=${CORBEL_BIN:-build/bin} ROUNDS=${1:-3} SECONDS_EACH=${2:-2} STORES=${3:-sqlite postgres} WHAT=${4:-latency publish deliver queue hang}
source "$(dirname "$0")/daemons.sh"

SINK=$(port)
start sink.out "$BIN/bench/hook_load" sink "$SINK"
stats() { curl -s "http://127.0.0.1:$SINK/stats"; } # count, rate, p50, p99; begins anew
ratio() { awk "BEGIN { print $2 ? $1 / $2 : 0 }"; }

# A request to the API under test; prints the answer.
api() {
  local verb=$1 path=$2; shift 2
  curl -sf -X "$verb" "http://127.0.0.1:$HTTP$path" -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' "$@"
}
id_of() { sed -E 's/.*"id":"(ep_[0-9a-f]+)".*/\1/'; }

# ---- publish

# File, events a request: a script for wrk.
publish_script() {
  cat >"$1" <<LUA
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer $KEY"
wrk.headers["Content-Type"] = "application/json"
local event = '{"type":"bench.published","subject":"order_81","data":{"order":{"id":"order_81","customer":"cus_4412",' ..
  '"items":[{"sku":"A-17","count":2,"price":1999},{"sku":"B-03","count":1,"price":450}],"total":4448},"note":"as agreed"}}'
local events = {}
for i = 1, $2 do events[i] = event end
wrk.body = '{"events":[' .. table.concat(events, ",") .. ']}'
LUA
}

commits() {
  curl -sf "http://127.0.0.1:$ADMIN/metrics" | awk '/statement_seconds_count.*"log_lock"/ { print $NF }'
}
database_pids() { if [ "$STORE" = postgres ]; then echo "${PID_OF[postgres.out]}"; pgrep -P "${PID_OF[postgres.out]}"; fi; }
# The servers' pids; those of a database, too.
servers() { echo "${PID_OF[$STORE.ingress]}" "${PID_OF[$STORE.webhookd]}"; database_pids; }

# Events a request: appends "ours bare ratio cpu_ours cpu_bare group".
publish_round() {
  lend_priority $(database_pids)
  local each=$1 before_cpu after_cpu before_commits group events ours bare cpu_ours cpu_bare rest
  before_cpu=$(cpu_us $(servers)) before_commits=$(commits)
  wrk -t1 -c64 -d"${SECONDS_EACH}s" -s "$DIR/publish-$each.lua" "http://127.0.0.1:$HTTP/v1/events" >"$DIR/wrk.out"
  after_cpu=$(cpu_us $(servers))
  if grep -q Non-2xx "$DIR/wrk.out"; then grep Non-2xx "$DIR/wrk.out" >&2; fi
  events=$(awk -v each="$each" '/requests in/ { print $1 * each }' "$DIR/wrk.out")
  ours=$(awk -v each="$each" '/Requests\/sec/ { print $2 * each }' "$DIR/wrk.out")
  group=$((events / ($(commits) - before_commits)))
  rest=$(cpu_us $(database_pids))
  read -r bare cpu_bare < <("$BIN/bench/insert_load" "$DATABASE" "$group" "$ROWS")
  sleep 0.3 # until the server has seen its child end
  cpu_bare=$(awk "BEGIN { print $cpu_bare + ($(cpu_us $(database_pids)) - $rest) / $ROWS }")
  cpu_ours=$(awk "BEGIN { print ($after_cpu - $before_cpu) / $events }")
  echo "$ours $bare $(ratio "$ours" "$bare") $cpu_ours $cpu_bare $group" >>"$DIR/$STORE-publish-$each"
}

column() { awk -v c="$2" '{ print $c }' "$1" | median; }

measure_publish() {
  local each
  for each in 1 100; do publish_script "$DIR/publish-$each.lua" "$each"; done
  for _ in $(seq "$ROUNDS"); do for each in 1 100; do publish_round "$each"; done; done
  for each in 1 100; do
    local file=$DIR/$STORE-publish-$each
    printf '%-9s publish, %3d a request  %7.0f/s  %4.2f of bare INSERT (%.0f/s)  %4.0f a commit  CPU %5.1f us an event, bare %5.1f us\n' \
      "$STORE" "$each" "$(column "$file" 1)" "$(column "$file" 3)" "$(column "$file" 2)" "$(column "$file" 6)" \
      "$(column "$file" 4)" "$(column "$file" 5)"
  done
}

# ---- latency

measure_latency() {
  local endpoint count rate p50 p99
  endpoint=$(api POST /v1/webhooks -d '{"url":"http://127.0.0.1:'"$SINK"'/fast","filter":{"types":["load.*"]}}' | id_of)
  stats >/dev/null
  "$BIN/bench/hook_load" publish "$HTTP" "$KEY" 300 20000 1
  sleep 0.3
  read -r count rate p50 p99 < <(stats)
  printf '%-9s publish to first attempt, idle: p50 %.1f ms, p99 %.1f ms (%s events)\n' "$STORE" \
    "$(ratio "$p50" 1000)" "$(ratio "$p99" 1000)" "$count"
  api DELETE "/v1/webhooks/$endpoint" >/dev/null
}

# ---- deliver

deliver_round() {
  local endpoint=$1 count ours rest bare cpu_bare before after
  lend_priority $(database_pids)
  kill -STOP "${PID_OF[sink.out]}"
  wrk -t1 -c32 -d"${SECONDS_EACH}s" -s "$DIR/publish-100.lua" "http://127.0.0.1:$HTTP/v1/events" >/dev/null
  kill -CONT "${PID_OF[sink.out]}"
  sleep 0.5
  stats >/dev/null
  before=$(cpu_us $(servers))
  sleep 1.5
  after=$(cpu_us $(servers))
  read -r count ours rest < <(stats)
  api POST "/v1/webhooks/$endpoint/disable" -d '{}' >/dev/null
  api POST "/v1/webhooks/$endpoint/enable" -d '{}' >/dev/null
  read -r bare cpu_bare < <("$BIN/bench/outbound_bench" "http://127.0.0.1:$SINK/fast" 64 400)
  echo "$ours $bare $(ratio "$ours" "$bare") $(awk "BEGIN { print ($after - $before) / ($count + 1) }") $cpu_bare" >>"$DIR/$STORE-deliver"
}

measure_deliver() {
  publish_script "$DIR/publish-100.lua" 100
  local endpoint file=$DIR/$STORE-deliver
  endpoint=$(api POST /v1/webhooks -d '{"url":"http://127.0.0.1:'"$SINK"'/fast","concurrency":64,"filter":{"types":["bench.*"]}}' | id_of)
  for _ in $(seq "$ROUNDS"); do deliver_round "$endpoint"; done
  api DELETE "/v1/webhooks/$endpoint" >/dev/null
  printf '%-9s deliver  %7.0f/s  %4.2f of curl alone (%.0f/s)  CPU %5.1f us a webhook, curl alone %5.1f us\n' "$STORE" \
    "$(column "$file" 1)" "$(column "$file" 3)" "$(column "$file" 2)" "$(column "$file" 4)" "$(column "$file" 5)"
}

# ---- a queue

# File, queue, messages at a time: consumers for wrk, which acknowledge what they have leased before they lease more.
queue_script() {
  cat >"$1" <<LUA
local headers = {["Authorization"] = "Bearer $KEY", ["Content-Type"] = "application/json"}
local receive
local acks, first, last = {}, 1, 0
init = function() receive = wrk.format("GET", "/v1/queues/$2/messages?lease_ms=600000&max=$3", headers) end
request = function()
  if first > last then return receive end
  local body = acks[first]
  acks[first], first = nil, first + 1
  return wrk.format("POST", "/v1/queues/$2/ack", headers, body)
end
response = function(status, _, body)
  if status ~= 200 or body:find('"outcome"', 1, true) then return end
  local receipts = {}
  for receipt in body:gmatch('"receipt":"([^"]+)"') do receipts[#receipts + 1] = '"' .. receipt .. '"' end
  if #receipts == 0 then return end
  last = last + 1
  acks[last] = '{"receipts":[' .. table.concat(receipts, ",") .. ']}'
end
LUA
}

acknowledged() {
  curl -sf "http://127.0.0.1:$ADMIN/metrics" | awk '/^corbel_queue_receipts_total.*"ack"/ { print $NF }'
}

# Messages at a time: appends "consumed published ratio cpu". The backlog has more than can be consumed.
queue_round() {
  local each=$1 endpoint before after acked published consumed
  endpoint=$(api POST /v1/webhooks -d '{"sink":"QUEUE","filter":{"types":["bench.*"]}}' | id_of)
  wrk -t1 -c32 -d"${SECONDS_EACH}s" -s "$DIR/publish-100.lua" "http://127.0.0.1:$HTTP/v1/events" >"$DIR/wrk.out"
  published=$(awk '/Requests\/sec/ { print $2 * 100 }' "$DIR/wrk.out")
  queue_script "$DIR/queue.lua" "$endpoint" "$each"
  acked=$(acknowledged) before=$(cpu_us $(servers))
  wrk -t1 -c8 -d"${SECONDS_EACH}s" -s "$DIR/queue.lua" "http://127.0.0.1:$HTTP" >/dev/null
  after=$(cpu_us $(servers)) acked=$(($(acknowledged) - acked))
  consumed=$(ratio "$acked" "$SECONDS_EACH")
  echo "$consumed $published $(ratio "$consumed" "$published") $(ratio $((after - before)) "$acked")" >>"$DIR/$STORE-queue-$each"
  api DELETE "/v1/webhooks/$endpoint" >/dev/null
}

measure_queue() {
  local each
  publish_script "$DIR/publish-100.lua" 100
  for _ in $(seq "$ROUNDS"); do for each in 1 100; do queue_round "$each"; done; done
  for each in 1 100; do
    local file=$DIR/$STORE-queue-$each
    printf '%-9s queue, %3d messages at a time  %7.0f/s  %4.2f of publishing them (%.0f/s)  CPU %5.1f us a message\n' "$STORE" \
      "$each" "$(column "$file" 1)" "$(column "$file" 3)" "$(column "$file" 2)" "$(column "$file" 4)"
  done
}

# ---- one that hangs

hang_round() {
  local endpoint=$1 path=$2 count rate p50 p99
  lend_priority $(database_pids)
  api PATCH "/v1/webhooks/$endpoint" -d '{"url":"http://127.0.0.1:'"$SINK/$path"'"}' >/dev/null
  "$BIN/bench/hook_load" publish "$HTTP" "$KEY" 200 5000 100 # until it is as it will be
  stats >/dev/null
  "$BIN/bench/hook_load" publish "$HTTP" "$KEY" $((SECONDS_EACH * 200)) 5000 100
  sleep 0.3
  read -r count rate p50 p99 < <(stats)
  echo "$p99 $p50 $count" >>"$DIR/$STORE-$path"
}

measure_hang() {
  local first i
  first=$(api POST /v1/webhooks -d '{"url":"http://127.0.0.1:'"$SINK"'/quiet","timeout_ms":30000,"filter":{"types":["load.t0"]}}' | id_of)
  for i in $(seq 99); do
    api POST /v1/webhooks -d '{"url":"http://127.0.0.1:'"$SINK"'/fast","filter":{"types":["load.t'"$i"'"]}}' >/dev/null
  done
  for _ in $(seq $((ROUNDS * 2 - 1))); do hang_round "$first" quiet; hang_round "$first" hang; done
  printf '%-9s 100 endpoints, one hangs: p99 of the others %.1f ms, %.1f ms without: %.2f times\n' "$STORE" \
    "$(ratio "$(column "$DIR/$STORE-hang" 1)" 1000)" "$(ratio "$(column "$DIR/$STORE-quiet" 1)" 1000)" \
    "$(ratio "$(column "$DIR/$STORE-hang" 1)" "$(column "$DIR/$STORE-quiet" 1)")"
}

for STORE in $STORES; do
  HTTP=$(port) ADMIN=$(port) DATABASE=$DIR/$STORE/w/webhookd.db ROWS=40000
  if [ "$STORE" = postgres ]; then
    start_postgres
    DATABASE=$POSTGRES
    event_processes "$STORE" "$HTTP" "$ADMIN" --store.url="$POSTGRES"
  else
    event_processes "$STORE" "$HTTP" "$ADMIN"
  fi
  KEY=$(sed -n 's/^first admin key: //p' "$DIR/$STORE.accountd")
  for what in $WHAT; do "measure_$what"; done
  for daemon in ingress webhookd ratelimitd accountd; do kill "${PID_OF[$STORE.$daemon]}"; done
done
