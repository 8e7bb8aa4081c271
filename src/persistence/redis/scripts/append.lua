-- One group commit: for each slot, everything is compared, and then everything is written. Redis does not
-- roll a script back, so nothing behind the comparisons may fail. (What the server refuses for a reason of
-- its own, such as memory, it refuses at a script's first write.)
--
-- What is written comes as ranges of arguments that are passed on as they are: what a script does itself
-- costs more than what Redis does. The ranges are short enough for Lua's stack.
--
-- KEYS: the slots' heads. ARGV: owner, number of this call, then for each slot
--   how many arguments this slot has, this one included; what the head must say ('': snapshots only; its
--   sequence may be '-': compare none, or '!': none is right); '' or what is wrong further on;
--   how many entities; their fields; the version that each must have; then what to write: a letter, how
--   many arguments it has, and those.
-- The answer: of each slot that is refused its place and why: 'fEPOCH' (fenced), 'sSEQ' (that is the last
-- sequence), 'vN:VERSION' (entity N has that version), 'w' (what is wrong further on).

local owner, call = ARGV[1], ARGV[2]
local redis_call = redis.call
local page = 1000 -- fields that are read at once
local at = 3

-- Epoch, sequence, owner.
local function parts(head)
  if not head then return '0', '0', false end
  return string.match(head, '^(%d+):([%d!-]+):(.*)$')
end

-- Why a head that is not as expected is not, if it is not.
local function difference(head, held, expected)
  local epoch, seq, holder = parts(held)
  local of_epoch, of_seq = parts(expected)
  local last = redis_call('HGET', head, 'c')
  if last and string.sub(last, 1, 16) == call then return 'ok' end -- it has come before, and its answer was lost
  if holder ~= owner or epoch ~= of_epoch then return 'f' .. epoch end
  if of_seq ~= '-' and of_seq ~= seq then return 's' .. seq end
end

local write = {
  -- fields of the head, and their values
  h = function(head, from, to) redis_call('HSET', head, unpack(ARGV, from, to)) end,
  -- fields that go
  d = function(head, from, to) redis_call('HDEL', head, unpack(ARGV, from, to)) end,
  -- entities, and the sequences of their new records
  e = function(head, from, to)
    for n = from, to, 2 do redis_call('APPEND', head .. ':e:' .. ARGV[n], ARGV[n + 1]) end
  end,
  -- an index, and rows that go
  ['-'] = function(head, from, to) redis_call('ZREM', head .. ARGV[from], unpack(ARGV, from + 1, to)) end,
  -- an index, and scores and rows that come
  ['+'] = function(head, from, to) redis_call('ZADD', head .. ARGV[from], unpack(ARGV, from + 1, to)) end,
  -- a span of time, and the names of clients' receipts that expire in it
  x = function(head, from, to)
    local names = redis_call('RPUSH', head .. ':x:' .. ARGV[from], unpack(ARGV, from + 1, to))
    if names == to - from then redis_call('ZADD', head .. ':x', ARGV[from], ARGV[from]) end
  end,
  -- from and below which to forget an entity's receipts of a sender
  q = function(head, from)
    local members = redis_call('ZRANGEBYLEX', head .. ':q', ARGV[from], ARGV[from + 1], 'LIMIT', 0, 100)
    if #members == 0 then return end
    local names = {}
    for n, member in ipairs(members) do
      -- entity, zero, slot (2), number (8), request (16): its receipt is entity, zero, request
      names[n] = 'r' .. string.sub(member, 1, -27) .. string.sub(member, -16)
    end
    redis_call('HDEL', head, unpack(names))
    redis_call('ZREM', head .. ':q', unpack(members))
  end,
  -- a snapshot: entity, sequence, bytes
  p = function(head, from)
    local entity, seq = ARGV[from], tonumber(ARGV[from + 1])
    local _, written = parts(redis_call('HGET', head, 'h'))
    local kept = tonumber(redis_call('HGET', head .. ':n', entity) or '0')
    if kept <= seq and seq <= tonumber(written) and redis_call('HEXISTS', head, 'v' .. entity) == 1 then
      redis_call('HSET', head .. ':p', entity, ARGV[from + 2])
      redis_call('HSET', head .. ':n', entity, ARGV[from + 1])
    end
  end,
}

local function slot(head, stop)
  local expected, wrong, entities = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
  local fields = at + 4
  local held = redis_call('HMGET', head, 'h', unpack(ARGV, fields, fields + math.min(entities, page) - 1))
  if expected == '' then
    local _, _, holder = parts(held[1])
    if holder ~= owner then return end
  else
    if held[1] ~= expected then
      local why = difference(head, held[1], expected)
      if why then return why end
    end
    for from = page, entities - 1, page do
      local more = redis_call('HMGET', head, unpack(ARGV, fields + from, fields + math.min(entities, from + page) - 1))
      for n = 1, #more do held[1 + from + n] = more[n] end
    end
    local versions, new = fields + entities - 1, {}
    for n = 1, entities do
      local version = held[n + 1]
      if (version or '0') ~= ARGV[versions + n] then return 'v' .. (n - 1) .. ':' .. (version or '0') end
      if not version then new[#new + 1] = string.sub(ARGV[fields + n - 1], 2) end
    end
    if wrong == 'f' then return 'f' .. parts(held[1]) end
    if wrong ~= '' then return 'w' end
    for n = 1, #new do redis_call('ZADD', head .. ':i', 0, new[n]) end
  end
  at = fields + entities * 2
  while at < stop do
    local after = at + 2 + tonumber(ARGV[at + 1])
    write[ARGV[at]](head, at + 2, after - 1)
    at = after
  end
end

local refused = {}
for n, head in ipairs(KEYS) do
  local stop = at + tonumber(ARGV[at])
  local why = slot(head, stop)
  if why and why ~= 'ok' then
    refused[#refused + 1] = n - 1
    refused[#refused + 1] = why
  end
  at = stop
end
return refused
