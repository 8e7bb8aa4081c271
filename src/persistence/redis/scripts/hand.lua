-- A change of owner. KEYS: the slot's head. ARGV: the epoch that it is at, the new owner, and for a transfer
-- the old one. The answer: 'k', epoch, sequence, what the last commit said; or 'f', epoch; or 'd', sequence of
-- the head, and of the record that is missing there or too many.
local held = redis.call('HMGET', KEYS[1], 'h', 'c')
local epoch, seq, owner = '0', '0', false
if held[1] then epoch, seq, owner = string.match(held[1], '^(%d+):(%d+):(.*)$') end
if epoch ~= ARGV[1] or (ARGV[3] and owner ~= ARGV[3]) then return {'f', epoch} end
local new, next = tonumber(epoch), string.format('%.0f', tonumber(seq) + 1)
local ends = redis.call('HMGET', KEYS[1], 'l' .. seq, 'l' .. next)
if ends[2] then return {'d', seq, next} end
if seq ~= '0' then
  if not ends[1] then return {'d', seq, seq} end
  -- A record says its epoch itself (8 bytes from the 9th on): a new one is above that, whatever the head says.
  local of_record = 0
  for n = 16, 9, -1 do of_record = of_record * 256 + string.byte(ends[1], n) end
  new = math.max(new, of_record)
end
new = string.format('%.0f', new + 1)
redis.call('HSET', KEYS[1], 'h', new .. ':' .. seq .. ':' .. ARGV[2])
return {'k', new, seq, held[2] or ''}
