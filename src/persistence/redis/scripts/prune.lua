-- Forgets clients' receipts of a span of time that has passed. KEYS: the slot's group, its spans, the names of this one.
-- ARGV: slot, the span, how many at most. The answer: how many names are done with; fewer: it was the last of them.
local group, spans, list, span = KEYS[1], KEYS[2], KEYS[3], ARGV[2]
local receipts, count = 'r' .. ARGV[1] .. ':', tonumber(ARGV[3])
local names = redis.call('LRANGE', list, 0, count - 1)
for _, name in ipairs(names) do
  local receipt = redis.call('HGET', group, receipts .. name)
  -- One that was given again expires later, and another span has its name too.
  if receipt and string.match(receipt, ':(.*)$') == span then redis.call('HDEL', group, receipts .. name) end
end
redis.call('LTRIM', list, count, -1)
if redis.call('EXISTS', list) == 0 then redis.call('ZREM', spans, span) end
return #names
