-- Takes one from a rate (GCRA). KEYS: the theoretical arrival time, µs. ARGV: a mark to echo, interval µs, tolerance µs.
-- Answer: mark, 1 or 0, wait µs. gcra.go has the same steps.
local step, ahead = tonumber(ARGV[2]), tonumber(ARGV[3])
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
if now + ahead - tat < step then
  return {ARGV[1], 0, string.format('%.0f', math.max(1, tat + step - ahead - now))}
end
tat = tat + step
redis.call('SET', KEYS[1], string.format('%.0f', tat), 'PX', string.format('%.0f', math.ceil((tat - now) / 1000) + 1))
return {ARGV[1], 1, '0'}
