-- Puts drafts into the order of a room, keeps them for those who come back, and sends them to every node.
-- KEYS: head, log, refs.  ARGV: epoch, seen, ttl ms, events kept, refs kept, channel, then key and payload of each draft.
-- Answers with the seq of each draft, old or new; nil where the log is not the one that the caller knows.
local epoch = ARGV[1]
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if head[1] ~= epoch or tonumber(head[2]) < tonumber(ARGV[2]) then
  return nil
end
local seqs = {}
for i = 7, #ARGV, 2 do
  local known = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if known then
    seqs[#seqs + 1] = tonumber(known)
  else
    -- The number first: were the rest refused, there would be a hole, which heals, and not one number for two events.
    local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], seq .. '-0', 'p', ARGV[i + 1])
    redis.call('ZADD', KEYS[3], seq, ARGV[i])
    redis.call('SPUBLISH', ARGV[6], epoch .. ' ' .. seq .. ' ' .. ARGV[i + 1])
    seqs[#seqs + 1] = seq
  end
end
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -1 - ARGV[5])
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[3])
end
return seqs
