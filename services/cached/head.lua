-- Where a shard's log stands, and this holder's sign of life.
--
-- KEYS: head, log, sign of life. ARGV: a name for a log that begins, the last number that the caller has
-- followed, the mark of that change (empty: not known), how long the sign lasts (ms).
-- Answers: sequence, the log's name, 1 when the caller's last change is in it, and the number that the log
-- began after, 0 when it did not begin under that name.
--
-- Numbers never go back for anybody: a log that begins anew, because Redis lost it, begins beyond what the
-- caller has seen and beyond what 1024 changes a second would have come to; one that lost its end goes on
-- beyond it under a new name. So does one that has another change in the place of the caller's last: what
-- that change wrote would be taken for what the other one did.
local head = redis.call('HMGET', KEYS[1], 'seq', 'name', 'begin')
local seq, name, followed, begin = tonumber(head[1] or 0), head[2], tonumber(ARGV[2]), head[3]
local is_same, is_other = 1, false
if ARGV[3] ~= '' and followed > 0 then
  local id = string.format('%.0f-0', followed)
  local found = redis.call('XRANGE', KEYS[2], id, id)[1]
  is_same = found and found[2][8] == ARGV[3] and 1 or 0
  is_other = found and is_same == 0
end
if not name or seq < followed or is_other then
  local start = tonumber(redis.call('TIME')[1]) * 1024
  seq = math.max(seq, followed + 1, start)
  begin, name = name and '0' or string.format('%.0f', seq), ARGV[1]
  redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'name', name, 'begin', begin)
end
redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
return {string.format('%.0f', seq), name, is_same, begin}
