-- Compare-and-set of a row of the node list. KEYS: the list. ARGV: id, the row as it was read ('': none), as
-- it is to be.
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
