-- One model's breaker, in one step, judged by Redis' clock. Twin: MemoryBreaker in limits/breaker.py.
-- KEYS: state (hash), answered (zset: call by time), failed (zset: call by time)
-- ARGV: verb, then ok and trial as 0 or 1. The constants in capitals stand above this text (limits/shared.py).
local state_key, answered_key, failed_key = unpack(KEYS)
local verb = ARGV[1]
local FORGET_S = 3600 -- nobody has called the model for so long: it starts closed again

local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local stored = redis.call('HMGET', state_key, 'open_until', 'open_s', 'trial_until')
local open_until, open_s, trial_until = tonumber(stored[1]), tonumber(stored[2]), tonumber(stored[3])

local function state()
  if not open_until then return 'closed' end
  return now < open_until and 'open' or 'half_open'
end

local function save(field, value)
  redis.call('HSET', state_key, field, value)
  redis.call('EXPIRE', state_key, math.ceil(FORGET_S + OPEN_MAX_S))
end

local function say(wait_s)
  return string.format('%s %.6f', state(), wait_s)
end

local function allow()
  if not open_until then return say(0) end
  if now < open_until then return say(math.max(1e-6, open_until - now)) end
  if trial_until and now < trial_until then return say(math.max(1e-6, math.min(TRIAL_POLL_S, trial_until - now))) end
  save('trial_until', string.format('%.6f', now + TRIAL_S))
  return say(0)
end

local function open(seconds)
  redis.call('DEL', state_key, answered_key, failed_key)
  save('open_until', string.format('%.6f', now + seconds))
  save('open_s', seconds)
  return 'open'
end

local function count(ok)
  local number = redis.call('HINCRBY', state_key, 'number', 1)
  save('streak', ok and 0 or (tonumber(redis.call('HGET', state_key, 'streak')) or 0) + 1)
  redis.call('ZADD', ok and answered_key or failed_key, now, number)
  for _, key in ipairs({answered_key, failed_key}) do
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now - WINDOW_S)
    redis.call('EXPIRE', key, math.ceil(WINDOW_S) + 1)
  end
end

local function is_failing()
  local failed = redis.call('ZCARD', failed_key)
  local calls = failed + redis.call('ZCARD', answered_key)
  if calls >= CALLS and failed >= FAILURE_RATE * calls then return true end
  return tonumber(redis.call('HGET', state_key, 'streak')) >= FAILURES
end

local function record(ok, trial)
  if not open_until then
    count(ok)
    return not ok and is_failing() and open(OPEN_S) or ''
  end
  if not trial then return '' end
  if not ok then return open(math.min(OPEN_MAX_S, 2 * open_s)) end
  redis.call('DEL', state_key)
  return 'closed'
end

if verb == 'allow' then return allow() end
if verb == 'record' then return record(ARGV[2] == '1', ARGV[3] == '1') end
if verb == 'give_back' then redis.call('HDEL', state_key, 'trial_until') end
return state()
