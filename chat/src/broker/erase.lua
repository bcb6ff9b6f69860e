-- Takes events out of a room's log. Whoever reads it finds a hole there, and asks the record.
-- KEYS: head, log.  ARGV: epoch, seqs.
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then
  for i = 2, #ARGV do
    redis.call('XDEL', KEYS[2], ARGV[i] .. '-0')
  end
end
return redis.status_reply('OK')
