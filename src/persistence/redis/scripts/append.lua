-- One group commit: everything is compared, and then everything is written, or nothing is. Redis does not roll a
-- script back, so nothing behind the comparisons may fail. (What the server refuses for a reason of its own,
-- such as memory, it refuses at a script's first write.)
--
-- What is read and written comes as ranges of arguments that are passed on as they are: what a script does itself
-- costs more than what Redis does. The ranges are short enough for Lua's stack.
--
-- KEYS: the groups; then, in a Redis Cluster, whatever else is read or written. (While keys move between its machines
-- the server looks whether all of these are there, and only these; it refuses the call before it begins.)
-- ARGV: owner; how many groups; then for each group
--   how many arguments it has, this one included; how many fields must hold; their names; their values ('': it
--   is not there); then what to write: a letter, how many arguments it has, and those.
-- The answer: 1, or 0 if something is otherwise and nothing was written.

local owner = ARGV[1]
local redis_call = redis.call
local page = 1000 -- fields that are read at once

local write = {
  -- fields, and their values
  h = function(group, from, to) redis_call('HSET', group, unpack(ARGV, from, to)) end,
  -- fields that go
  d = function(group, from, to) redis_call('HDEL', group, unpack(ARGV, from, to)) end,
  -- lists of sequences, by the end of their names, and what is added to them
  e = function(group, from, to)
    for n = from, to, 2 do redis_call('APPEND', group .. ARGV[n], ARGV[n + 1]) end
  end,
  -- the end of an index's name, and rows that go
  ['-'] = function(group, from, to) redis_call('ZREM', group .. ARGV[from], unpack(ARGV, from + 1, to)) end,
  -- the same, and scores and rows that come
  ['+'] = function(group, from, to) redis_call('ZADD', group .. ARGV[from], unpack(ARGV, from + 1, to)) end,
  -- a slot, a span of time, and the names of clients' receipts that expire in it
  x = function(group, from, to)
    local spans, span = group .. ':' .. ARGV[from] .. ':x', ARGV[from + 1]
    local names = redis_call('RPUSH', spans .. ':' .. span, unpack(ARGV, from + 2, to))
    if names == to - from - 1 then redis_call('ZADD', spans, span, span) end
  end,
  -- a slot, and from and below which to forget an entity's receipts of a sender
  q = function(group, from)
    local receipts = group .. ':' .. ARGV[from] .. ':q'
    local members = redis_call('ZRANGEBYLEX', receipts, ARGV[from + 1], ARGV[from + 2], 'LIMIT', 0, 100)
    if #members == 0 then return end
    local fields = {}
    for n, member in ipairs(members) do
      -- entity, zero, slot (2), number (8), request (16): its receipt is entity, zero, request
      fields[n] = 'r' .. ARGV[from] .. ':' .. string.sub(member, 1, -27) .. string.sub(member, -16)
    end
    redis_call('HDEL', group, unpack(fields))
    redis_call('ZREM', receipts, unpack(members))
  end,
  -- a snapshot: slot, entity, sequence, bytes. Only the owner's, never ahead of the records, never older.
  p = function(group, from)
    local slot, entity, seq = ARGV[from], ARGV[from + 1], tonumber(ARGV[from + 2])
    local head = redis_call('HGET', group, 'h' .. slot)
    local written, holder = string.match(head or '', '^%d+:(%d+):(.*)$')
    if holder ~= owner or seq > tonumber(written) then return end
    local of = group .. ':' .. slot
    if tonumber(redis_call('HGET', of .. ':n', entity) or '0') > seq then return end
    redis_call('HSET', of .. ':p', entity, ARGV[from + 3])
    redis_call('HSET', of .. ':n', entity, ARGV[from + 2])
  end,
}

local groups, starts, at = tonumber(ARGV[2]), {}, 3
for n = 1, groups do
  local group = KEYS[n]
  local count, fields = tonumber(ARGV[at + 1]), at + 2
  for from = 0, count - 1, page do
    local size = math.min(count - from, page)
    local held = redis_call('HMGET', group, unpack(ARGV, fields + from, fields + from + size - 1))
    local expected = fields + count + from - 1
    for i = 1, size do
      if (held[i] or '') ~= ARGV[expected + i] then return 0 end
    end
  end
  starts[n] = fields + 2 * count
  at = at + tonumber(ARGV[at])
  starts[-n] = at
end
for n = 1, groups do
  local group = KEYS[n]
  at = starts[n]
  while at < starts[-n] do
    local from = at + 2
    at = from + tonumber(ARGV[at + 1])
    write[ARGV[from - 2]](group, from, at - 1)
  end
end
return 1
