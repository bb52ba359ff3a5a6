-- Decisions on counters that replicas share: one call decides many groups, each all or nothing.
--
-- KEYS: a counter each. ARGV[1]: number of groups; for each group the number of its items; for each item
-- op strategy limit window burst cost times floor ceiling backoff recover.
-- Answers: now, then for each item: how many times its cost was admitted, and four numbers of its counter
-- (strategy.h). Both are one string of integers of 8 bytes, the lowest first: as words of the protocol they took
-- longer to read and to write than to decide about. A group of one item takes its cost up to `times` times: checks of one key that wait for the
-- same answer are one item, and each time is decided as if it had come alone. In larger groups `times` is 1.
--
-- Numbers are doubles, exact to 2^53. Where a product may exceed that, muldiv() computes in digits of 7
-- bits, so that nothing is ever rounded. Times are microseconds of this server's clock.
local TAKE, LOOK, GIVE, RESET, REPORT = 0, 1, 2, 3, 4
local FIXED, LOG, SLIDING, ADAPTIVE = 1, 2, 3, 8
local floor, min, max = math.floor, math.min, math.max
local pack, unpack = struct.pack, struct.unpack

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function text(n) return string.format('%.0f', n) end

-- floor(a * b / d) and the remainder, exactly, for a < 2^42, b < 2^45, d < 2^45.
local function muldiv(a, b, d)
  if a * b < 9007199254740992 then
    local q = floor(a * b / d)
    local r = a * b - q * d
    if r < 0 then q, r = q - 1, r + d elseif r >= d then q, r = q + 1, r - d end
    return q, r
  end
  local digits = {}
  while a > 0 do
    digits[#digits + 1] = a % 128
    a = floor(a / 128)
  end
  local q, r = 0, 0
  for i = #digits, 1, -1 do
    local n = r * 128 + digits[i] * b
    local step = floor(n / d)
    r = n - step * d
    if r < 0 then step, r = step - 1, r + d elseif r >= d then step, r = step + 1, r - d end
    q = q * 128 + step
  end
  return q, r
end

local function read(key)
  local raw = redis.call('GET', key)
  if not raw then return {0, 0, 0, 0} end
  local a, b, c, d = string.match(raw, '^(%d+) (%d+) (%d+) (%d+)$')
  return {tonumber(a), tonumber(b), tonumber(c), tonumber(d)}
end

-- The limit in force of an adaptive counter in a window.
local function in_force(it, s, window)
  if it.strategy ~= ADAPTIVE then return it.limit end
  if s[3] == 0 then return min(max(it.limit, it.floor), it.ceiling) end
  local q, r = muldiv(it.ceiling, it.recover, 1000)
  local step = r > 0 and q + 1 or q
  local limit = s[3] - 1 + step * max(0, window - s[4])
  return min(max(limit, it.floor), it.ceiling)
end

local function fixed_now(it, s)
  local window = floor(now / it.window)
  if s[1] > window + 1 then s[1] = window end
  if window > s[1] then s[1], s[2] = window, 0 end
end

local function sliding_now(it, s)
  local window = floor(now / it.window)
  if s[1] > window + 1 then s[1] = window end
  if window == s[1] + 1 then s[3] = s[2] elseif window > s[1] then s[3] = 0 end
  if window > s[1] then s[1], s[2] = window, 0 end
end

-- Bucket: s[1] whole units owed, s[2] the rest of one in parts of the window, s[3] the time of both.
local function bucket_now(it, s)
  if s[3] > now + it.window then s[3] = now end
  if now <= s[3] then return end
  local passed = now - s[3]
  s[3] = now
  local windows = floor(passed / it.window)
  if windows * it.limit > s[1] then s[1], s[2] = 0, 0 return end
  s[1] = s[1] - windows * it.limit
  local q, r = muldiv(it.limit, passed - windows * it.window, it.window)
  s[1], s[2] = s[1] - q, s[2] - r
  if s[2] < 0 then s[1], s[2] = s[1] - 1, s[2] + it.window end
  if s[1] < 0 then s[1], s[2] = 0, 0 end
end

-- Log: s[1] units in the window, s[2] the last time; the entries are in a list beside it.
local function log_now(it, s)
  if s[2] > now + it.window then
    redis.call('DEL', it.key .. ':log')
    s[1] = 0
  end
  s[2] = max(s[2], now)
  if s[2] > now and s[1] == 0 then s[2] = now end
  while true do
    local head = redis.call('LINDEX', it.key .. ':log', 0)
    if not head then break end
    local at, cost = string.match(head, '(%d+) (%d+)')
    if tonumber(at) + it.window > s[2] then break end
    redis.call('LPOP', it.key .. ':log')
    s[1] = s[1] - tonumber(cost)
  end
end

local function bring_up(it, s)
  if it.strategy == FIXED or it.strategy == ADAPTIVE then fixed_now(it, s)
  elseif it.strategy == SLIDING then sliding_now(it, s)
  elseif it.strategy == LOG then log_now(it, s)
  else bucket_now(it, s) end
end

-- How often the cost is admitted now, at most `times`.
local function fits(it, s)
  if it.cost == 0 then return it.times end
  local room
  if it.strategy == FIXED or it.strategy == ADAPTIVE then
    room = in_force(it, s, s[1]) - s[2]
  elseif it.strategy == LOG then
    room = it.limit - s[1]
  elseif it.strategy == SLIDING then
    local q, r = muldiv(s[3], it.window - max(0, now - s[1] * it.window), it.window)
    room = it.limit - s[2] - (r > 0 and q + 1 or q)
  elseif it.limit == 0 then
    return 0
  else
    room = it.burst - (s[2] > 0 and s[1] + 1 or s[1])
  end
  return max(0, min(it.times, floor(room / it.cost)))
end

local function put(it, s, times)
  local cost = it.cost * times
  if it.strategy == LOG or it.strategy > SLIDING and it.strategy ~= ADAPTIVE then
    s[1] = s[1] + cost
    if s[1] < 0 then s[1], s[2] = 0, it.strategy == LOG and s[2] or 0 end
  else
    s[2] = max(0, s[2] + cost)
  end
end

local function forget_newest(it, s)
  local left = it.cost
  while left > 0 do
    local tail = redis.call('RPOP', it.key .. ':log')
    if not tail then break end
    local at, cost = string.match(tail, '(%d+) (%d+)')
    cost = tonumber(cost)
    local part = min(left, cost)
    left, s[1] = left - part, s[1] - part
    if cost > part then redis.call('RPUSH', it.key .. ':log', at .. ' ' .. text(cost - part)) end
  end
end

local function report(it, s)
  if it.strategy ~= ADAPTIVE or (s[3] ~= 0 and s[4] > s[1]) then return end
  local limit = muldiv(in_force(it, s, s[1]), it.backoff, 1000)
  s[3] = min(max(limit, it.floor), it.ceiling) + 1
  s[4] = s[1] + 1
end

local function keep_ms(it, s)
  local us = it.window
  if it.strategy == SLIDING then us = 2 * it.window
  elseif it.strategy == ADAPTIVE and s[3] ~= 0 then us = it.window * (3 + floor(1000 / max(1, it.recover)))
  elseif it.strategy > SLIDING and it.strategy ~= ADAPTIVE and it.limit > 0 then
    us = min((s[1] + 1) / it.limit * it.window + 1000, 9e15)
  end
  return floor(us / 1000) + 1000
end

local function write(it, s)
  redis.call('SET', it.key, string.format('%.0f %.0f %.0f %.0f', s[1], s[2], s[3], s[4]), 'PX', keep_ms(it, s))
  if it.strategy == LOG then redis.call('PEXPIRE', it.key .. ':log', keep_ms(it, s)) end
end

-- What a refused cost waits for: the time of the entry with which the oldest reach `excess` units.
local function log_time_of(it, excess)
  local sum, at = 0, 0
  for _, entry in ipairs(redis.call('LRANGE', it.key .. ':log', 0, -1)) do
    local t, cost = string.match(entry, '(%d+) (%d+)')
    at, sum = tonumber(t), sum + tonumber(cost)
    if sum >= excess then break end
  end
  return at
end

local function answer(out, it, s)
  local a, b, c, d = s[1], s[2], s[3], s[4]
  if it.strategy == LOG then
    local tail = redis.call('LINDEX', it.key .. ':log', -1)
    b = tail and tonumber(string.match(tail, '(%d+)')) or 0
    c = it.granted == it.times and 0 or log_time_of(it, s[1] + it.cost - it.limit)
    d = 0
  end
  out[#out + 1] = pack('<I8I8I8I8I8', it.granted, a, b, c, d)
end

local function change(it, s)
  if it.op == RESET then
    redis.call('DEL', it.key, it.key .. ':log')
    for i = 1, 4 do s[i] = 0 end
    bring_up(it, s)
    return
  end
  bring_up(it, s)
  if it.op == GIVE then
    if it.strategy == LOG then forget_newest(it, s) else put(it, s, -1) end
  elseif it.op == REPORT then
    report(it, s)
  end
  write(it, s)
end

-- A group of one: what the general case comes to.
local function decide_one(it, out)
  local s = read(it.key)
  it.granted = it.times
  if it.op == GIVE or it.op == RESET or it.op == REPORT then
    change(it, s)
  else
    bring_up(it, s)
    if it.op == LOOK then it.cost = 0 end
    it.granted = fits(it, s)
    local is_counted = it.granted > 0 and it.cost > 0
    if is_counted then
      put(it, s, it.granted)
      if it.strategy == LOG then
        redis.call('RPUSH', it.key .. ':log', text(s[2]) .. ' ' .. text(it.cost * it.granted))
      end
    end
    if is_counted or it.strategy == LOG then write(it, s) end -- what has left the list must leave the sum
  end
  answer(out, it, s)
end

local function decide(group, out)
  local cache, allowed = {}, true
  local before = {}
  for i, it in ipairs(group) do
    local s = cache[it.key] or read(it.key)
    cache[it.key] = s
    it.granted = it.times
    if it.op == GIVE or it.op == RESET or it.op == REPORT then
      change(it, s)
    else
      bring_up(it, s)
      if it.op == LOOK then it.cost = 0 end
      it.granted = fits(it, s)
      allowed = allowed and it.granted > 0
      before[i] = {s[1], s[2], s[3], s[4]}
      put(it, s, it.granted)
    end
  end
  if not allowed then
    for i = #group, 1, -1 do
      local s = cache[group[i].key]
      if before[i] then for j = 1, 4 do s[j] = before[i][j] end end
    end
  end
  for _, it in ipairs(group) do
    local s = cache[it.key]
    if allowed and it.cost > 0 and it.op == TAKE then
      if it.strategy == LOG then
        redis.call('RPUSH', it.key .. ':log', text(s[2]) .. ' ' .. text(it.cost * it.granted))
      end
      write(it, s)
    elseif it.strategy == LOG and (it.op == TAKE or it.op == LOOK) then
      write(it, s) -- what has left the list must leave the sum
    end
  end
  for _, it in ipairs(group) do answer(out, it, cache[it.key]) end
end

local words, at, key = ARGV[1], 1, 0
local function word()
  local n
  n, at = unpack('<I8', words, at)
  return n
end
local function item()
  local it = {}
  key = key + 1
  it.key = KEYS[key]
  it.op, it.strategy, it.limit, it.window, it.burst, it.cost, it.times, it.floor, it.ceiling, it.backoff, it.recover, at =
    unpack('<I8I8I8I8I8I8I8I8I8I8I8', words, at)
  return it
end
local out = {pack('<I8', now)}
for _ = 1, word() do
  local size = word()
  if size == 1 then
    decide_one(item(), out)
  else
    local group = {}
    for i = 1, size do group[i] = item() end
    decide(group, out)
  end
end
return table.concat(out)
