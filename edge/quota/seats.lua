-- Gives seats of one scope to one edge. KEYS: the scope's hash, edge → "count:expiry ms".
-- ARGV: edge, have, more, limit, life ms. Answer: edge, given.
local edge, have, more, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
local all, taken = redis.call('HGETALL', KEYS[1]), 0
for i = 1, #all, 2 do
  local count, expiry = string.match(all[i + 1], '^(%d+):(%d+)$')
  if not count or tonumber(expiry) <= now then
    redis.call('HDEL', KEYS[1], all[i])
  elseif all[i] ~= edge then
    taken = taken + tonumber(count)
  end
end
local give = math.max(0, math.min(more, limit - taken - have))
if have + give > 0 then
  redis.call('HSET', KEYS[1], edge, string.format('%.0f:%.0f', have + give, now + tonumber(ARGV[5])))
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
else
  redis.call('HDEL', KEYS[1], edge)
end
return {edge, give}
