-- Forgets clients' receipts. KEYS: the slot's head. ARGV: the last span of time that has passed, how many at
-- most. The answer: how many names are done with.
local head, limit, done = KEYS[1], tonumber(ARGV[2]), 0
while done < limit do
  local span = redis.call('ZRANGEBYSCORE', head .. ':x', '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
  if not span then break end
  local list, count = head .. ':x:' .. span, math.min(limit - done, 500)
  local names = redis.call('LRANGE', list, 0, count - 1)
  for _, name in ipairs(names) do
    local receipt = redis.call('HGET', head, 'r' .. name)
    -- One that was given again expires later, and another span has its name too.
    if receipt and string.match(receipt, ':(.*)$') == span then redis.call('HDEL', head, 'r' .. name) end
  end
  redis.call('LTRIM', list, count, -1)
  if #names < count or redis.call('EXISTS', list) == 0 then redis.call('ZREM', head .. ':x', span) end
  done = done + #names
end
return done
