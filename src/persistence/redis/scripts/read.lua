-- Records of one entity. KEYS: the slot's head. ARGV: entity, after which sequence ('': what comes behind its
-- snapshot, and that), how many at most, how many bytes about. The answer: the snapshot or '', 1 if there is
-- more, and the records.
local head, after, snapshot = KEYS[1], ARGV[2], ''
if after == '' then
  after = redis.call('HGET', head .. ':n', ARGV[1]) or '0'
  if after ~= '0' then snapshot = redis.call('HGET', head .. ':p', ARGV[1]) end
end
local limit = tonumber(ARGV[3])
local seqs = redis.call('ZRANGEBYSCORE', head .. ':e:' .. ARGV[1], '(' .. after, '+inf', 'LIMIT', 0, limit + 1)
local answer, bytes = {snapshot, 0}, 0
for n, seq in ipairs(seqs) do
  if n > limit or bytes > tonumber(ARGV[4]) then
    answer[2] = 1
    break
  end
  local found = redis.call('XRANGE', head .. ':l', seq .. '-0', seq .. '-0')[1]
  if not found then return redis.error_reply('DAMAGED record ' .. seq .. ' is not in the log') end
  bytes = bytes + #found[2][2]
  answer[n + 2] = found[2][2]
end
return answer
