-- Founds the store where there is none. KEYS: what says what it is. ARGV: format, slots.
-- The answer: the format and the slots that it has.
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'format', ARGV[1], 'slots', ARGV[2])
end
return redis.call('HMGET', KEYS[1], 'format', 'slots')
