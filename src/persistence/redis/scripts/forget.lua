-- Forgets a node, and the wishes that name it by its id. KEYS: the node list, the wishes. ARGV: id, its row as it was read.
-- The answer: 1, or 0 if the row is another one, or the only one.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or redis.call('HLEN', KEYS[1]) < 2 then return 0 end
redis.call('HDEL', KEYS[1], ARGV[1])
local wishes = redis.call('HGETALL', KEYS[2])
for n = 1, #wishes, 2 do
  -- A wish: format, what is wanted (3: a pin, which names no id), slot (2), time (8), the node's length (2) and text.
  local row = wishes[n + 1]
  local length = string.byte(row, 13) + 256 * string.byte(row, 14)
  if string.byte(row, 2) ~= 3 and string.sub(row, 15, 14 + length) == ARGV[1] then redis.call('HDEL', KEYS[2], wishes[n]) end
end
return 1
