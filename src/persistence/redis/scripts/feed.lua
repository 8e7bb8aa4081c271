-- Records of a slot. KEYS: its group. ARGV: slot, after which sequence, how many at most, how many bytes about.
-- The answer: 1 if there is more, and the records.
local held = redis.call('HGET', KEYS[1], 'h' .. ARGV[1])
local seq, last = tonumber(ARGV[2]), held and tonumber(string.match(held, '^%d+:(%d+):')) or 0
local stop = math.min(seq + tonumber(ARGV[3]), last)
local answer, bytes = {stop < last and 1 or 0}, 0
while seq < stop do
  local names, page = {}, math.min(stop - seq, 32)
  for n = 1, page do names[n] = string.format('l%s:%.0f', ARGV[1], seq + n) end
  local found = redis.call('HMGET', KEYS[1], unpack(names))
  for n = 1, page do
    if bytes > tonumber(ARGV[4]) then
      answer[1] = 1
      return answer
    end
    if not found[n] then return redis.error_reply('DAMAGED record ' .. names[n] .. ' is not there') end
    bytes = bytes + #found[n]
    answer[#answer + 1] = found[n]
  end
  seq = seq + page
end
return answer
