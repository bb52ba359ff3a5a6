-- One change of a namespace: the entry, the end of its lease, the next number, and the log, all or nothing.
--
-- KEYS: head, log, names, meta, globs, entry, lease, scratch. ARGV: kind, namespace, mark of this change,
-- name (key, tag's or prefix's hash, pattern), name for the log; then by kind:
--   S  oldest version that counts, pattern that was judged by, number of prefixes (0 without a token and
--      if_version), a hash for each, token, if_version, ttl_ms, grace_ms, error_grace_ms, the rest of the entry
--   I  the same up to the hashes, by, initial, ttl_ms, grace_ms, error_grace_ms
--   T  ttl_ms      R  token
-- Answers: what became of it, its number, and more by kind: delta_ms or version (S), value (I). JUDGE: there
-- is an entry of that version that is older than the latest pattern, which only the caller can compare; it
-- comes again with what it found.
--
-- An entry: version:8 stored:8 fresh:8 grace:4 error_grace:4 delta:4 flags:1 tags:1 type:1 layout:1, all
-- numbers big-endian and times in ms, then 8 bytes for each tag, the type, the value. One of another layout, which
-- another release wrote, is as good as none.
local DONE, LOST, DIFFERS, ABSENT, NO_NUMBER, OVERFLOW, JUDGE = 0, 1, 2, 3, 4, 5, 6
local LAYOUT = 1
local NUMBER_TYPE = 'application/json' -- of a number that I makes
local LOG_MAX, NAMES_MAX, NAMES_LEFT, GLOBS_MAX = '16384', 65536, 61440, 1024
local kind, name = ARGV[1], ARGV[4]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local head = redis.call('HGET', KEYS[1], 'seq')
if not head then return {} end
local seq, number = tonumber(head), head -- the same as text

local function text(n) return string.format('%.0f', n) end

local function append()
  seq = seq + 1
  number = text(seq)
  redis.call('HSET', KEYS[1], 'seq', number)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', LOG_MAX, number .. '-0',
             'k', kind, 's', ARGV[2], 'n', ARGV[5], 'm', ARGV[3])
end

local function write(stored, ttl, grace, error_grace, delta, rest)
  local longest = math.max(grace, error_grace)
  local entry = struct.pack('>I8I8I8I4I4I4', seq, stored, stored + ttl, grace, error_grace, delta) .. rest
  redis.call('SET', KEYS[6], entry, 'PX', text(math.max(ttl + longest, 1)))
end

-- Most changes are writes of their own right. They need nothing of what follows, so that is not read, and not
-- made, for them.
if kind == 'S' then
  local at = 9 + tonumber(ARGV[8])
  if ARGV[at] == '' and ARGV[at + 1] == '' then
    redis.call('DEL', KEYS[7])
    append()
    write(now, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), 0, ARGV[at + 5])
    return {DONE, number, '0'}
  end
end

local meta = redis.call('HMGET', KEYS[4], 'floor', 'tags', 'prefixes', 'globs')
local floor, tags, prefixes, globs =
  tonumber(meta[1] or 0), tonumber(meta[2] or 0), tonumber(meta[3] or 0), tonumber(meta[4] or 0)

local function names_cover(letter, version, hash)
  local at = redis.call('ZSCORE', KEYS[3], letter .. hash)
  return at and tonumber(at) > version
end

local function tag_covers(version, count, bytes, first)
  if version >= tags then return false end
  for i = 1, count do
    if names_cover('t', version, string.sub(bytes, first + 8 * (i - 1), first + 8 * i - 1)) then return true end
  end
  return false
end

local function prefix_covers(version, first, count)
  if version >= prefixes then return false end
  for i = first, first + count - 1 do
    if names_cover('p', version, ARGV[i]) then return true end
  end
  return false
end

-- Its header and version, when there is one that could still be given.
local function living(oldest)
  local header = redis.call('GETRANGE', KEYS[6], 0, 167)
  if #header < 40 or string.byte(header, 40) ~= LAYOUT then return nil, 0 end
  local version = struct.unpack('>I8', header)
  if version < floor or version < oldest or tag_covers(version, string.byte(header, 38), header, 41) then
    return nil, 0
  end
  return header, version
end

-- The same where it decides what is written.
local function judged()
  local header, version = living(tonumber(ARGV[6]))
  if header and prefix_covers(version, 9, tonumber(ARGV[8])) then return nil, 0 end
  return header, version, header and version < globs and tonumber(ARGV[7]) < globs
end

-- A fill is refused when its token is not the key's any more, or when something since it was handed out
-- covers the key or a tag of the new entry.
local function may_fill(token, rest)
  local held = redis.call('GET', KEYS[7])
  if not held then return nil end
  local whose, since, granted = string.match(held, '^(%x+) %S+ (%d+) (%d+)')
  if whose ~= token then return nil end
  redis.call('DEL', KEYS[7])
  since = tonumber(since)
  if since < floor or since < globs or prefix_covers(since, 9, tonumber(ARGV[8])) or
     tag_covers(since, string.byte(rest, 2), rest, 5) then
    return nil
  end
  return math.max(now - tonumber(granted), 0) -- the clock may have gone back
end

local function set()
  local at = 9 + tonumber(ARGV[8])
  local token, if_version, rest, delta = ARGV[at], ARGV[at + 1], ARGV[at + 5], 0
  if if_version ~= '' then
    local _, version, is_open = judged()
    if is_open then return {JUDGE, number, text(version)} end
    if version ~= tonumber(if_version) then return {DIFFERS, number, text(version)} end
  end
  if token ~= '' then
    delta = may_fill(token, rest)
    if not delta then return {LOST, number, '0'} end
  else
    redis.call('DEL', KEYS[7])
  end
  append()
  write(now, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), delta, rest)
  return {DONE, number, text(delta)}
end

local function add(value, by)
  redis.call('SET', KEYS[8], value, 'PX', 1000)
  local sum = redis.pcall('INCRBY', KEYS[8], by)
  local result = type(sum) ~= 'table' and redis.call('GET', KEYS[8]) or nil
  local is_overflow = not result and string.find(sum.err, 'overflow') ~= nil
  redis.call('DEL', KEYS[8])
  return result, is_overflow and OVERFLOW or NO_NUMBER
end

local function incr()
  local at = 9 + tonumber(ARGV[8])
  local header, version, is_open = judged()
  if is_open then return {JUDGE, number, text(version)} end
  local is_there = header and now < struct.unpack('>I8', header, 17) and string.byte(header, 37) % 2 == 0
  local value, entry, behind = ARGV[at + 1]
  if is_there then
    entry = redis.call('GET', KEYS[6])
    behind = 41 + 8 * string.byte(entry, 38) + string.byte(entry, 39)
    value = string.sub(entry, behind)
  end
  local sum, failure = add(value, ARGV[at])
  if not sum then return {failure, number, '0'} end
  redis.call('DEL', KEYS[7])
  append()
  if is_there then
    redis.call('SET', KEYS[6], struct.pack('>I8I8', seq, now) .. string.sub(entry, 17, behind - 1) .. sum,
               'KEEPTTL')
  else
    write(now, tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), 0,
          string.char(0, 0, #NUMBER_TYPE, LAYOUT) .. NUMBER_TYPE .. sum)
  end
  return {DONE, number, sum}
end

local function longest_grace(header)
  return math.max(struct.unpack('>I4', header, 25), struct.unpack('>I4', header, 29))
end

local function expire()
  local header = living(0)
  redis.call('DEL', KEYS[7])
  append()
  if not header then return {ABSENT, number} end
  if now < struct.unpack('>I8', header, 17) then
    redis.call('SETRANGE', KEYS[6], 16, struct.pack('>I8', now))
    redis.call('PEXPIRE', KEYS[6], math.max(longest_grace(header), 1))
  end
  return {DONE, number}
end

-- What is past its grace is not made fresh again: an error grace is for when nothing newer can be had.
local function touch()
  local header, ttl = living(0), tonumber(ARGV[6])
  if not header or now >= struct.unpack('>I8', header, 17) + struct.unpack('>I4', header, 25) then
    return {ABSENT, number}
  end
  redis.call('SETRANGE', KEYS[6], 16, struct.pack('>I8', now + ttl))
  redis.call('PEXPIRE', KEYS[6], text(ttl + longest_grace(header)))
  return {DONE, number}
end

local function delete()
  local header = living(0)
  redis.call('DEL', KEYS[6], KEYS[7])
  append()
  return {header and DONE or ABSENT, number}
end

local function release()
  local held = redis.call('GET', KEYS[7])
  if not held or string.match(held, '^%x+') ~= ARGV[6] then return {ABSENT, number} end
  redis.call('DEL', KEYS[7])
  append()
  return {DONE, number}
end

-- Beyond the bound the oldest are forgotten, and the floor rises to the last of them.
local function forget_oldest(key, left)
  local last = redis.call('ZRANGE', key, -left - 1, -left - 1, 'WITHSCORES')[2]
  redis.call('ZREMRANGEBYRANK', key, 0, -left - 1)
  redis.call('HSET', KEYS[4], 'floor', text(math.max(floor, tonumber(last))))
end

local function name_all(field, letter)
  append()
  redis.call('ZADD', KEYS[3], number, letter .. name)
  redis.call('HSET', KEYS[4], field, number)
  if redis.call('ZCARD', KEYS[3]) > NAMES_MAX then forget_oldest(KEYS[3], NAMES_LEFT) end
  return {DONE, number}
end

local function glob()
  append()
  redis.call('ZADD', KEYS[5], number, name)
  redis.call('HSET', KEYS[4], 'globs', number)
  if redis.call('ZCARD', KEYS[5]) > GLOBS_MAX then forget_oldest(KEYS[5], GLOBS_MAX) end
  return {DONE, number}
end

local function all()
  append()
  redis.call('HSET', KEYS[4], 'floor', number)
  redis.call('UNLINK', KEYS[3], KEYS[5])
  return {DONE, number}
end

if kind == 'S' then return set() end
if kind == 'D' then return delete() end
if kind == 'E' then return expire() end
if kind == 'T' then return touch() end
if kind == 'I' then return incr() end
if kind == 'R' then return release() end
if kind == 't' then return name_all('tags', 't') end
if kind == 'p' then return name_all('prefixes', 'p') end
if kind == 'g' then return glob() end
return all()
