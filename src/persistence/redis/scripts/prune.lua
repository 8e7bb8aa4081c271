-- Forgets clients' receipts. KEYS: the slot's head. ARGV: below which expiry, how many at most.
local names = redis.call('ZRANGEBYSCORE', KEYS[1] .. ':x', '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, name in ipairs(names) do
  redis.call('HDEL', KEYS[1] .. ':r', name)
  redis.call('ZREM', KEYS[1] .. ':x', name)
end
return #names
