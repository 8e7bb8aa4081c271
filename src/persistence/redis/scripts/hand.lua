-- A change of owner. KEYS: the slot's head. ARGV: the epoch that it is at, the new owner, and for a transfer
-- the old one. The answer: 'k', epoch, sequence, time; or 'f', epoch; or 'd', sequence of the head, of the log.
local held = redis.call('HMGET', KEYS[1], 'o', 'e', 's', 't')
local epoch = held[2] or '0'
if epoch ~= ARGV[1] or (ARGV[3] and held[1] ~= ARGV[3]) then return {'f', epoch} end
local seq, new = held[3] or '0', tonumber(epoch)
local last = redis.call('XREVRANGE', KEYS[1] .. ':l', '+', '-', 'COUNT', 1)[1]
local found = '0'
if last then
  found = string.match(last[1], '^%d+')
  -- A record says its epoch itself (8 bytes from the 9th on): a new one is above that, whatever the head says.
  local of_record = 0
  for n = 16, 9, -1 do of_record = of_record * 256 + string.byte(last[2][2], n) end
  new = math.max(new, of_record)
end
if found ~= seq then return {'d', seq, found} end
new = string.format('%.0f', new + 1)
redis.call('HSET', KEYS[1], 'o', ARGV[2], 'e', new)
return {'k', new, seq, held[4] or '0'}
