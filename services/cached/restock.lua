-- Entries that a replica holds and Redis has not, put in where nothing fresh is.
--
-- KEYS: head, log, then the entries. ARGV: number of the latest change that the caller has followed, the log's
-- name, namespace, mark of this change; then for each entry: age, fresh (left), grace, error_grace, delta, the
-- rest of it as in change.lua; times in ms.
-- Answers how many were put in. -1: something was changed that the caller does not know of, which may have ended
-- what it holds.
--
-- They take one number together, with a line in the log that ends no entry: nobody's copy is worse for it.
local LAYOUT = 1 -- as in change.lua
local LOG_MAX = 16384
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local head = redis.call('HMGET', KEYS[1], 'seq', 'name')
if head[1] ~= ARGV[1] or head[2] ~= ARGV[2] then return -1 end
local seq = tonumber(head[1]) + 1

local function text(n) return string.format('%.0f', n) end

local function is_fresh(key)
  local header = redis.call('GETRANGE', key, 0, 39)
  return #header == 40 and string.byte(header, 40) == LAYOUT and now < struct.unpack('>I8', header, 17)
end

local count = 0
for i = 3, #KEYS do
  local at = 5 + 6 * (i - 3)
  local left, grace, error_grace = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if not is_fresh(KEYS[i]) then
    local entry = struct.pack('>I8I8I8I4I4I4', seq, now - tonumber(ARGV[at]), now + left, grace, error_grace,
                              tonumber(ARGV[at + 4])) .. ARGV[at + 5]
    redis.call('SET', KEYS[i], entry, 'PX', text(left + math.max(grace, error_grace)))
    count = count + 1
  end
end
if count > 0 then
  redis.call('HSET', KEYS[1], 'seq', text(seq))
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', LOG_MAX, text(seq) .. '-0', 'k', 'R', 's', ARGV[3], 'n', '', 'm', ARGV[4])
end
return count
