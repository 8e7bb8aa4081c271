-- Rows of the owed index. KEYS: the slot's group, its index. ARGV: slot, after which member, how many at most.
-- The answer: member, row, member, row...
local group, slot, answer = KEYS[1], ARGV[1], {}
for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[2], ARGV[2], '+', 'LIMIT', 0, ARGV[3])) do
  local row = redis.call('HGET', group, 'd' .. slot .. ':' .. string.sub(member, 9))
  if not row then return redis.error_reply('DAMAGED the owed index has a row that nobody owes') end
  answer[#answer + 1] = member
  answer[#answer + 1] = row
end
return answer
