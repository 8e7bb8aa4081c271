-- The record of a receipt. KEYS: the slot's group. ARGV: slot, the receipt's name.
local receipt = redis.call('HGET', KEYS[1], 'r' .. ARGV[1] .. ':' .. ARGV[2])
if not receipt then return false end
local record = 'l' .. ARGV[1] .. ':' .. string.match(receipt, '^%d+')
local found = redis.call('HGET', KEYS[1], record)
if not found then return redis.error_reply('DAMAGED record ' .. record .. ' is not there') end
return found
