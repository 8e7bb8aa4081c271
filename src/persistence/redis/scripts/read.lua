-- Records of one entity. KEYS: the slot's group, the slot's snapshots and their sequences, the entity's sequences. ARGV: slot, entity, after which sequence ('': what comes behind its
-- snapshot, and that), how many at most, how many bytes about. The answer: the snapshot or '', 1 if there is
-- more, and the records.
local group, snapshots, snapshot_seqs, index, entity, after = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[2], ARGV[3]
local snapshot = ''
if after == '' then
  after = redis.call('HGET', snapshot_seqs, entity) or '0'
  if after ~= '0' then snapshot = redis.call('HGET', snapshots, entity) end
end
after = tonumber(after)
-- The entity's sequences, ascending, in 8 bytes each.
local count = redis.call('STRLEN', index) / 8
local first, behind = 0, after == 0 and 0 or count
while first < behind do
  local middle = math.floor((first + behind) / 2)
  local seq = struct.unpack('>I8', redis.call('GETRANGE', index, middle * 8, middle * 8 + 7))
  if seq <= after then first = middle + 1 else behind = middle end
end
local limit, bytes_max, bytes = tonumber(ARGV[4]), tonumber(ARGV[5]), 0
local last = math.min(first + limit, count)
local answer = {snapshot, last < count and 1 or 0}
while first < last do
  local names, page = {}, math.min(last - first, 32)
  local seqs = redis.call('GETRANGE', index, first * 8, (first + page) * 8 - 1)
  for n = 1, page do names[n] = string.format('l%s:%.0f', ARGV[1], (struct.unpack('>I8', seqs, n * 8 - 7))) end
  local found = redis.call('HMGET', group, unpack(names))
  for n = 1, page do
    if bytes > bytes_max then
      answer[2] = 1
      return answer
    end
    if not found[n] then return redis.error_reply('DAMAGED record ' .. names[n] .. ' is not there') end
    bytes = bytes + #found[n]
    answer[#answer + 1] = found[n]
  end
  first = first + page
end
return answer
