-- The record of a receipt. KEYS: the slot's head. ARGV: the receipt's name.
local seq = redis.call('HGET', KEYS[1] .. ':r', ARGV[1])
if not seq then return false end
local found = redis.call('XRANGE', KEYS[1] .. ':l', seq .. '-0', seq .. '-0')[1]
if not found then return redis.error_reply('DAMAGED record ' .. seq .. ' is not in the log') end
return found[2][2]
