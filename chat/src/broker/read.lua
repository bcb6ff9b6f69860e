-- The events of a room behind one that the caller has.
-- KEYS: head, log.  ARGV: epoch, after, count.
-- Answers with the last seq of the room, the last that is recorded, then seq and payload of each event; nil where the
-- log is not the one that the caller knows.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'seq', 'recorded')
if head[1] ~= ARGV[1] or tonumber(head[2]) < tonumber(ARGV[2]) then
  return nil
end
local answer = { tonumber(head[2]), tonumber(head[3]) }
local entries = redis.call('XRANGE', KEYS[2], (tonumber(ARGV[2]) + 1) .. '-0', '+', 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
  answer[#answer + 1] = tonumber(string.match(entry[1], '^%d+'))
  answer[#answer + 1] = entry[2][2]
end
return answer
