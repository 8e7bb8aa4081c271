-- Forgets clients' receipts. KEYS: the slot's group. ARGV: slot, the last span of time that has passed, how many at
-- most. The answer: how many names are done with.
local group, limit, done = KEYS[1], tonumber(ARGV[3]), 0
local spans, receipts = group .. ':' .. ARGV[1] .. ':x', 'r' .. ARGV[1] .. ':'
while done < limit do
  local span = redis.call('ZRANGEBYSCORE', spans, '-inf', ARGV[2], 'LIMIT', 0, 1)[1]
  if not span then break end
  local list, count = spans .. ':' .. span, math.min(limit - done, 500)
  local names = redis.call('LRANGE', list, 0, count - 1)
  for _, name in ipairs(names) do
    local receipt = redis.call('HGET', group, receipts .. name)
    -- One that was given again expires later, and another span has its name too.
    if receipt and string.match(receipt, ':(.*)$') == span then redis.call('HDEL', group, receipts .. name) end
  end
  redis.call('LTRIM', list, count, -1)
  if #names < count or redis.call('EXISTS', list) == 0 then redis.call('ZREM', spans, span) end
  done = done + #names
end
return done
