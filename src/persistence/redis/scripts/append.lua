-- One group commit: for each slot, everything is compared, and then everything is written. Redis does not
-- roll a script back, so nothing behind the comparisons may fail. (What the server refuses for a reason of
-- its own, such as memory, it refuses at a script's first write.)
--
-- KEYS: the slots' heads. ARGV: owner, number of this call, then for each slot
--   how many arguments this slot has, this one included; epoch ('': snapshots only); sequence before the
--   first record ('': compare none), of the last, time of the last; '' or what is wrong further on;
--   how many entities; of each: key, version before, version after; then what to write (a letter and its
--   arguments each).
-- The answer, for each slot: 'ok', 'fEPOCH' (fenced), 'sSEQ' (that is the last sequence), 'vN:VERSION'
-- (entity N has that version), 'w' (what is wrong further on).

local owner, call = ARGV[1], ARGV[2]
local at = 3
local answers = {}

local function write(head, stop)
  local log, index = head .. ':l', head .. ':e:'
  local function forget(owed, low, high)
    local members = redis.call('ZRANGEBYLEX', owed, low, high, 'LIMIT', 0, 100)
    for _, member in ipairs(members) do
      -- entity, zero, slot (2), number (8), request (16): its receipt is entity, zero, request
      redis.call('HDEL', head .. ':r', string.sub(member, 1, -27) .. string.sub(member, -16))
      redis.call('ZREM', owed, member)
    end
  end
  while at < stop do
    local what = ARGV[at]
    if what == 'r' then -- a record: entity, sequence, bytes
      redis.call('XADD', log, ARGV[at + 2] .. '-0', 'r', ARGV[at + 3])
      redis.call('ZADD', index .. ARGV[at + 1], ARGV[at + 2], ARGV[at + 2])
      at = at + 4
    elseif what == 'c' then -- a client's receipt: name, sequence, expiry
      redis.call('HSET', head .. ':r', ARGV[at + 1], ARGV[at + 2])
      redis.call('ZADD', head .. ':x', ARGV[at + 3], ARGV[at + 1])
      at = at + 4
    elseif what == 'o' then -- an owed request's: name, sequence, member; from and below which to forget
      redis.call('HSET', head .. ':r', ARGV[at + 1], ARGV[at + 2])
      redis.call('ZADD', head .. ':q', 0, ARGV[at + 3])
      forget(head .. ':q', ARGV[at + 4], ARGV[at + 5])
      at = at + 6
    elseif what == '-' then -- a row of an index goes: index, member
      redis.call('ZREM', head .. ARGV[at + 1], ARGV[at + 2])
      at = at + 3
    elseif what == '+' then -- and one comes
      redis.call('ZADD', head .. ARGV[at + 1], 0, ARGV[at + 2])
      at = at + 3
    elseif what == 'D' then -- what an entity owes: nothing
      redis.call('HDEL', head .. ':d', ARGV[at + 1])
      at = at + 2
    elseif what == 'd' then
      redis.call('HSET', head .. ':d', ARGV[at + 1], ARGV[at + 2])
      at = at + 3
    elseif what == 'p' then -- a snapshot: entity, sequence, bytes
      local seq = tonumber(ARGV[at + 2])
      local written = tonumber(redis.call('HGET', head, 's') or '0')
      local kept = tonumber(redis.call('HGET', head .. ':n', ARGV[at + 1]) or '0')
      if kept <= seq and seq <= written and redis.call('HEXISTS', head .. ':v', ARGV[at + 1]) == 1 then
        redis.call('HSET', head .. ':p', ARGV[at + 1], ARGV[at + 3])
        redis.call('HSET', head .. ':n', ARGV[at + 1], ARGV[at + 2])
      end
      at = at + 4
    else
      at = stop
    end
  end
end

local function slot(head, stop)
  local epoch, before, last, time, wrong = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  local entities = tonumber(ARGV[at + 6])
  at = at + 7
  local held = redis.call('HMGET', head, 'o', 'e', 's', 'c')
  if epoch == '' then
    at = at + entities * 3
    if held[1] == owner then write(head, stop) end
    return 'ok'
  end
  if held[4] == call then return 'ok' end -- it has come before, and its answer was lost
  if held[1] ~= owner or held[2] ~= epoch then return 'f' .. (held[2] or '0') end
  local seq = held[3] or '0'
  if before ~= '' and before ~= seq then return 's' .. seq end
  local versions = head .. ':v'
  local new = {}
  for n = 0, entities - 1 do
    local version = redis.call('HGET', versions, ARGV[at + n * 3])
    new[n] = not version
    if (version or '0') ~= ARGV[at + n * 3 + 1] then return 'v' .. n .. ':' .. (version or '0') end
  end
  if wrong == 'f' then return 'f' .. held[2] end
  if wrong ~= '' then return 'w' end
  redis.call('HSET', head, 's', last, 't', time, 'c', call)
  for n = 0, entities - 1 do
    redis.call('HSET', versions, ARGV[at], ARGV[at + 2])
    if new[n] then redis.call('ZADD', head .. ':i', 0, ARGV[at]) end
    at = at + 3
  end
  write(head, stop)
  return 'ok'
end

for n, head in ipairs(KEYS) do
  local stop = at + tonumber(ARGV[at])
  answers[n] = slot(head, stop)
  at = stop
end
return answers
