-- The record has the events of a room up to here: every node may acknowledge them.
-- KEYS: head.  ARGV: epoch, seq, channel.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'recorded')
if head[1] == ARGV[1] and tonumber(head[2]) < tonumber(ARGV[2]) then
  redis.call('HSET', KEYS[1], 'recorded', ARGV[2])
  redis.call('SPUBLISH', ARGV[3], ARGV[1] .. ' recorded ' .. ARGV[2])
end
return redis.status_reply('OK')
