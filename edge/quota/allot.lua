-- Gives events of one window to one edge. KEYS: the window's hash.
-- ARGV: edge, call, limit, want, mine, back, spent, start ms, end ms, edges, keep ms, life. Answer: call, code, given, free, held, left ms, now µs,
-- edges; code 0 done, -1 late, -2 outside. source_memory.go has the same steps.
local edge, call = ARGV[1], tonumber(ARGV[2])
local limit, want, mine = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local back, spent = tonumber(ARGV[6]), tonumber(ARGV[7])
local from, to = tonumber(ARGV[8]), tonumber(ARGV[9])
local t = redis.call('TIME')
local us = tonumber(t[1]) * 1000000 + tonumber(t[2])
local now = math.floor(us / 1000)
local function text(n) return string.format('%.0f', n) end
local h = redis.call('HMGET', KEYS[1], 'g', 's', 'c', 'e:' .. edge, 'n:' .. edge, 'r:' .. edge, 's:' .. edge, 'l:' .. edge)
local g, s, c = tonumber(h[1] or 0), tonumber(h[2] or 0), tonumber(h[3] or 0)
local e, n, se = tonumber(h[4] or 0), tonumber(h[5] or 0), tonumber(h[7] or 0)
if call > n and (h[8] or '0') ~= ARGV[12] then e, se = 0, 0 end -- it has forgotten what it had
if now < from or now >= to then
  if h[5] and call > n and spent ~= se then
    redis.call('HSET', KEYS[1], 's', text(s + spent - se), 's:' .. edge, text(spent), 'l:' .. edge, ARGV[12])
  end
  return {ARGV[2], -2, 0, 0, 0, 0, text(us), 0}
end
if call < n then return {ARGV[2], -1, 0, 0, 0, 0, text(us), 0} end
if h[6] and call == n then
  local r = cjson.decode(h[6])
  return {ARGV[2], 0, r[1], r[2], r[3], r[4], text(us), r[5]}
end
if not h[5] then c = c + 1 end
local lost = math.max(0, e - mine)
if e < mine then
  g = g + mine - e
  e = mine
end
g, e = g - back, e - back
local free = limit - g
local edges = math.max(1, tonumber(ARGV[10]), c)
local give = math.max(0, math.min(want - lost, free, math.max(1, math.floor(free / (2 * edges)))))
g, e, s = g + give, e + give, s + spent - se
local left = to - now
local r = {text(lost + give), text(math.max(0, limit - g)), text(g - s), text(left), text(c)}
redis.call('HSET', KEYS[1], 'g', text(g), 's', text(s), 'c', text(c), 'e:' .. edge, text(e), 'n:' .. edge, text(call),
  'r:' .. edge, cjson.encode(r), 's:' .. edge, text(spent), 'l:' .. edge, ARGV[12])
redis.call('PEXPIRE', KEYS[1], text(left + tonumber(ARGV[11])))
return {ARGV[2], 0, r[1], r[2], r[3], r[4], text(us), r[5]}
