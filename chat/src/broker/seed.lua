-- Begins a room's log where the record ends. Of several who do so at once the one with the newest epoch wins.
-- KEYS: head, log, refs.  ARGV: epoch, last seq, ttl ms.
-- Answers with the epoch that holds.
local function generation(epoch)
  return tonumber(string.match(epoch, '^(%d+)%-')) or 0
end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if epoch and generation(epoch) >= generation(ARGV[1]) then
  return epoch
end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'seq', ARGV[2], 'recorded', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ARGV[1]
