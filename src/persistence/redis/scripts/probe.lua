-- Tries every command that any script here calls, and what is asked beside them, on keys of its own: whether this user may. KEYS: a hash, a text, a
-- list, a set. It leaves nothing behind.
local hash, text, list, set = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
redis.call('UNLINK', hash, text, list, set)
redis.call('HSET', hash, 'a', '1', 'b', '2')
redis.call('HGET', hash, 'a')
redis.call('HMGET', hash, 'a', 'b')
redis.call('HDEL', hash, 'a')
redis.call('HLEN', hash)
redis.call('HGETALL', hash)
redis.call('HVALS', hash)
redis.call('APPEND', text, 'abc')
redis.call('STRLEN', text)
redis.call('GETRANGE', text, 0, 1)
redis.call('RPUSH', list, 'a', 'b')
redis.call('LRANGE', list, 0, 1)
redis.call('LTRIM', list, 1, -1)
redis.call('EXISTS', list)
redis.call('ZADD', set, 0, 'a', 0, 'b')
redis.call('ZRANGEBYLEX', set, '-', '+', 'LIMIT', 0, 1)
redis.call('ZRANGEBYSCORE', set, '-inf', 0, 'LIMIT', 0, 1)
redis.call('ZREM', set, 'a')
redis.call('UNLINK', hash, text, list, set)
return 1
