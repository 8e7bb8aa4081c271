-- A change of owner. KEYS: the slot's group. ARGV: slot, the epoch that it is at, the new owner, and for a transfer
-- the old one. The answer: 'k', epoch, sequence, time of the last record as it is stored; or 'f', epoch; or 'd',
-- sequence of the head, and of the record that is missing there or too many.
local group, slot = KEYS[1], ARGV[1]
local head = redis.call('HGET', group, 'h' .. slot)
local epoch, seq, owner = '0', '0', false
if head then epoch, seq, owner = string.match(head, '^(%d+):(%d+):(.*)$') end
if epoch ~= ARGV[2] or (ARGV[4] and owner ~= ARGV[4]) then return {'f', epoch} end
local new, next = tonumber(epoch), string.format('%.0f', tonumber(seq) + 1)
local ends = redis.call('HMGET', group, 'l' .. slot .. ':' .. seq, 'l' .. slot .. ':' .. next)
if ends[2] then return {'d', seq, next} end
if seq ~= '0' then
  if not ends[1] then return {'d', seq, seq} end
  -- A record says its epoch itself (8 bytes from the 9th on): a new one is above that, whatever the head says.
  local of_record = 0
  for n = 16, 9, -1 do of_record = of_record * 256 + string.byte(ends[1], n) end
  new = math.max(new, of_record)
end
new = string.format('%.0f', new + 1)
redis.call('HSET', group, 'h' .. slot, new .. ':' .. seq .. ':' .. ARGV[3])
return {'k', new, seq, string.sub(ends[1] or '', 17, 24)}
