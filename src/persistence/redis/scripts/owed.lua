-- Rows of the owed index. KEYS: the slot's head. ARGV: after which member, how many at most.
-- The answer: member, row, member, row...
local answer = {}
for _, member in ipairs(redis.call('ZRANGEBYLEX', KEYS[1] .. ':o', ARGV[1], '+', 'LIMIT', 0, ARGV[2])) do
  local row = redis.call('HGET', KEYS[1], 'd' .. string.sub(member, 9))
  if not row then return redis.error_reply('DAMAGED the owed index has a row that nobody owes') end
  answer[#answer + 1] = member
  answer[#answer + 1] = row
end
return answer
