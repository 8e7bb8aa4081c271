-- Who has slots, and how far they are. KEYS: a group. ARGV: slots. The answer: of each its head or '', and the time
-- of its last record as it is stored.
local answer = {}
for n, slot in ipairs(ARGV) do
  local head = redis.call('HGET', KEYS[1], 'h' .. slot) or ''
  local seq = string.match(head, '^%d+:(%d+):')
  local record = seq and redis.call('HGET', KEYS[1], 'l' .. slot .. ':' .. seq) or ''
  answer[2 * n - 1] = head
  answer[2 * n] = string.sub(record, 17, 24)
end
return answer
