-- A node says that it serves a room and to how many people.
-- KEYS: head, log, refs, present, lease.  ARGV: node, its people (-1: it serves the room no more), ms for which this
-- holds, ttl ms, 1 where it takes the lease from whoever has it.
-- Answers with the people at all nodes, and 1 where this node has the lease of the room.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, people, span = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local holder = redis.call('GET', KEYS[5])
if people < 0 then
  redis.call('HDEL', KEYS[4], node)
  if holder == node then
    redis.call('DEL', KEYS[5])
  end
  return { 0, 0 }
end
redis.call('HSET', KEYS[4], node, people .. ' ' .. string.format('%.0f', now + span))
redis.call('PEXPIRE', KEYS[4], span)
local present = 0
local rows = redis.call('HGETALL', KEYS[4])
for i = 1, #rows, 2 do
  local count, till = string.match(rows[i + 1], '^(%d+) (%d+)$')
  if tonumber(till) < now then
    redis.call('HDEL', KEYS[4], rows[i])
  else
    present = present + tonumber(count)
  end
end
local leads = 0
if not holder or holder == node or ARGV[5] == '1' then
  redis.call('SET', KEYS[5], node, 'PX', span)
  leads = 1
end
-- The log of a room that somebody serves does not expire, however quiet it is.
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], ARGV[4])
end
return { present, leads }
