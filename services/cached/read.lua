-- Entries of a namespace, and leases for what is not there: one call for many keys. For what fleet_look.c leaves open.
--
-- KEYS: head, names, meta; then for each key its entry and its lease. ARGV: what the names of holders'
-- signs of life begin with, the holder's own name, how long such a sign lasts (ms), how many bytes of values
-- are returned at most, 1 when a single one may be longer; then for each key: mode, version that is known, version that is the oldest wanted,
-- token, lease_ms, number of prefixes, a hash for each.
-- Modes: 0 looks; 1 claims a lease when there is nothing fresh; 2 also when what is known is fresh.
-- Answers: sequence, now (ms), number of the latest pattern; then for each key 0 nothing more, 1 the lease is
-- granted, 2 another has it, 3 left out, and the entry or an empty string.
local LAYOUT = 1 -- as in change.lua
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local head = redis.call('HGET', KEYS[1], 'seq')
if not head then return {} end
local seq = tonumber(head)
local meta = redis.call('HMGET', KEYS[3], 'floor', 'tags', 'prefixes', 'globs')
local floor, tags, prefixes, globs =
  tonumber(meta[1] or 0), tonumber(meta[2] or 0), tonumber(meta[3] or 0), tonumber(meta[4] or 0)
local life, holder, life_ms, budget, has_one = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'

local function prefix_covers(version, first, count)
  if version >= prefixes then return false end
  for i = first, first + count - 1 do
    local at = redis.call('ZSCORE', KEYS[2], 'p' .. ARGV[i])
    if at and tonumber(at) > version then return true end
  end
  return false
end

local function tag_covers(version, header)
  if version >= tags then return false end
  for i = 1, string.byte(header, 38) do
    local at = redis.call('ZSCORE', KEYS[2], 't' .. string.sub(header, 33 + 8 * i, 40 + 8 * i))
    if at and tonumber(at) > version then return true end
  end
  return false
end

local function claim(key, token, lease_ms, first, count)
  local held = redis.call('GET', key)
  if held then
    local who, since = string.match(held, '^%x+ (%S+) (%d+)')
    since = tonumber(since)
    if since >= floor and since >= globs and not prefix_covers(since, first, count) and
       redis.call('EXISTS', life .. who) == 1 then
      return 2
    end
  end
  redis.call('SET', life .. holder, '1', 'PX', life_ms)
  redis.call('SET', key, string.format('%s %s %.0f %.0f', token, holder, seq, now), 'PX', lease_ms)
  return 1
end

local out = {head, string.format('%.0f', now), string.format('%.0f', globs)}
local arg, sent = 6, 0
for i = 4, #KEYS, 2 do
  local mode, known, oldest = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local token, lease_ms, count = ARGV[arg + 3], ARGV[arg + 4], tonumber(ARGV[arg + 5])
  local first = arg + 6
  arg = first + count
  local header = redis.call('GETRANGE', KEYS[i], 0, 167)
  local is_there, is_wanted, value, code =
    #header >= 40 and string.byte(header, 40) == LAYOUT, mode ~= '0', '', 0
  if is_there then
    local version, fresh = struct.unpack('>I8', header), struct.unpack('>I8', header, 17)
    is_there = version >= floor and version >= oldest and not tag_covers(version, header) and
      not prefix_covers(version, first, count)
    if is_there and now < fresh and not (mode == '2' and version == known) then is_wanted = false end
  end
  if is_there then
    local size = redis.call('STRLEN', KEYS[i])
    if sent + size > budget and not (has_one and sent == 0) then
      code, is_wanted = 3, false
    else
      sent = sent + size
      value = redis.call('GET', KEYS[i])
    end
  end
  if is_wanted then code = claim(KEYS[i + 1], token, lease_ms, first, count) end
  out[#out + 1] = code
  out[#out + 1] = value
end
return out
