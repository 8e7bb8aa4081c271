-- The record of a receipt. KEYS: the slot's head. ARGV: the receipt's name.
local receipt = redis.call('HGET', KEYS[1], 'r' .. ARGV[1])
if not receipt then return false end
local seq = string.match(receipt, '^%d+')
local found = redis.call('HGET', KEYS[1], 'l' .. seq)
if not found then return redis.error_reply('DAMAGED record l' .. seq .. ' is not there') end
return found
