-- Writes a wish. KEYS: the node list, the wishes. ARGV: the wish's field, its row, and the id of the node that must be in
-- the list ('': none). The answer: 1, or 0 if it is not, or has left (the second byte of its row says so). A cordon (a 1 in
-- the second byte of the wish's row) leaves a drain (a 2) as it is.
if ARGV[3] ~= '' then
  local node = redis.call('HGET', KEYS[1], ARGV[3])
  if not node or string.byte(node, 2) == 4 then return 0 end
end
local known = redis.call('HGET', KEYS[2], ARGV[1])
local drains = known and string.byte(known, 2) == 2
if not (drains and string.byte(ARGV[2], 2) == 1) then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
return 1
