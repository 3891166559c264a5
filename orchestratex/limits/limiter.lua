-- The schedule of limits/base.py for one model, in one step, judged by Redis' clock. Twin: limits/memory.py.
-- KEYS: lane (hash), slots (zset: call by slot), booked (hash: call to "tokens called"),
--       log (zset: grant by time), charged (hash: grant to "tokens paced", paced -1 once corrected),
--       line (zset: call by ticket), expected (zset: call by when others may pass it), seated (zset: call by its end)
-- ARGV: verb, call, then its numbers. The constants in capitals stand above this text (limits/shared.py).
local lane_key, slots_key, booked_key, log_key, charged_key, line_key, expected_key, seated_key = unpack(KEYS)
local verb, call = ARGV[1], ARGV[2]
local EPSILON_S, TICK_S = 1e-5, 0.001
local WINDOW_S, RECOVERY_PER_S = MINUTE_S * (1 + MARGIN), RECOVERY / MINUTE_S

local time = redis.call('TIME')
local real_now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local NAMES = {'now', 'clock', 'speed', 'pause_until', 'slowed_until', 'hold_until', 'requests_at', 'tokens_at',
               'gate_at', 'granted', 'ratio', 'debt_s', 'rpm', 'tpm', 'charged', 'number',
               'seats', 'seat_s', 'taken_s', 'ticket'}
local lane = {}
local stored = redis.call('HMGET', lane_key, 'holder', unpack(NAMES))
for i, name in ipairs(NAMES) do lane[name] = tonumber(stored[i + 1]) end
local holder = stored[1] or ''
if not lane.now then -- nothing is known: one call may go, and there is no credit of tokens
  lane = {now = real_now, clock = real_now, speed = 1, pause_until = 0, slowed_until = 0, hold_until = 0,
          requests_at = real_now, tokens_at = real_now + CREDIT * MINUTE_S, gate_at = real_now, granted = 0,
          ratio = PRIOR, debt_s = CREDIT * MINUTE_S, rpm = 1, tpm = 1, charged = 0, number = 0}
end
lane.seats, lane.seat_s, lane.ticket = lane.seats or 0, lane.seat_s or 0, lane.ticket or 0
lane.taken_s = lane.taken_s or TAKEN * MINUTE_S
if verb == 'book' then
  lane.rpm, lane.tpm = tonumber(ARGV[3]), tonumber(ARGV[4])
  lane.seats, lane.seat_s = tonumber(ARGV[6]), tonumber(ARGV[7])
end
local request_s, token_s = MINUTE_S / (PACE * lane.rpm), MINUTE_S / (PACE * lane.tpm)

local function numbers(text)
  local found = {}
  for part in string.gmatch(text, '%S+') do found[#found + 1] = tonumber(part) end
  return unpack(found)
end

local function reach(seconds)
  local slow_s = math.min(seconds, (1 - lane.speed) / RECOVERY_PER_S)
  return slow_s * (lane.speed + RECOVERY_PER_S * slow_s / 2) + (seconds - slow_s)
end

local function wait_for(slot)
  local way = math.max(0, slot - lane.clock)
  local slow_s = (1 - lane.speed) / RECOVERY_PER_S
  local slow_way = slow_s * (1 + lane.speed) / 2
  local running_s
  if way > slow_way then
    running_s = slow_s + way - slow_way
  else
    running_s = (math.sqrt(lane.speed ^ 2 + 2 * RECOVERY_PER_S * way) - lane.speed) / RECOVERY_PER_S
  end
  return math.max(TICK_S, math.max(0, math.max(lane.hold_until, lane.pause_until) - lane.now) + running_s)
end

local function drop(id)
  local text = redis.call('HGET', booked_key, id)
  if not text then return end
  redis.call('HDEL', booked_key, id)
  redis.call('ZREM', slots_key, id)
  if holder == id then holder, lane.hold_until = '', 0 end
  local last = redis.call('ZREVRANGE', slots_key, 0, 0, 'WITHSCORES')
  local latest = math.max(tonumber(last[2] or 0), lane.granted)
  lane.requests_at = math.min(lane.requests_at, math.max(lane.clock, latest + request_s))
  local paid_at = lane.tokens_at - (numbers(text)) * lane.ratio * token_s
  lane.tokens_at = math.max(lane.clock, math.min(paid_at, latest + CREDIT * MINUTE_S))
end

local function leave_line(id)
  redis.call('ZREM', line_key, id)
  redis.call('ZREM', expected_key, id)
end

local function advance()
  local now = math.max(real_now, lane.now)
  lane.debt_s = math.max(0, lane.debt_s - lane.speed * math.max(0, now - math.max(lane.now, lane.pause_until)))
  local run = now - math.max(lane.now, lane.hold_until, lane.pause_until)
  lane.now = now
  if run > 0 then
    lane.clock = lane.clock + reach(run)
    lane.speed = math.min(1, lane.speed + RECOVERY_PER_S * run)
  end
  for _, grant in ipairs(redis.call('ZRANGEBYSCORE', log_key, '-inf', now - WINDOW_S)) do
    local tokens = numbers(redis.call('HGET', charged_key, grant) or '0 0')
    lane.charged = lane.charged - tokens
    redis.call('ZREM', log_key, grant)
    redis.call('HDEL', charged_key, grant)
  end
  local lost = lane.clock - GRACE * MINUTE_S
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', slots_key, '-inf', lost)) do drop(id) end
  if lane.seats > 0 then
    redis.call('ZREMRANGEBYSCORE', seated_key, '-inf', now) -- their callers are dead
    local missing = now - GRACE * MINUTE_S
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', expected_key, '-inf', missing)) do leave_line(id) end
  end
end

-- those whose turn it is: as many as seats are free, and who is late before them
local function next_in_line()
  local found, on_time, start = {}, 0, 0
  local free = lane.seats - redis.call('ZCARD', seated_key)
  while on_time < free do
    local ids = redis.call('ZRANGE', line_key, start, start + 31)
    if #ids == 0 then break end
    for _, id in ipairs(ids) do
      if on_time >= free then break end
      found[#found + 1] = id
      if tonumber(redis.call('ZSCORE', expected_key, id) or 0) >= lane.now then on_time = on_time + 1 end
    end
    start = start + 32
  end
  return found
end

local function expect(seconds)
  redis.call('ZADD', expected_key, lane.now + seconds + PATIENCE * MINUTE_S, call)
end

local function stand_in_line()
  if redis.call('ZSCORE', seated_key, call) then return 0 end -- its own seat, of an attempt that died
  if not redis.call('ZSCORE', line_key, call) then
    lane.ticket = lane.ticket + 1
    redis.call('ZADD', line_key, lane.ticket, call)
  end
  expect(0)
  for _, id in ipairs(next_in_line()) do if id == call then return 0 end end
  local turns = math.floor(redis.call('ZRANK', line_key, call) / lane.seats)
  local wait_s = lane.taken_s * (turns + EARLY)
  wait_s = math.max(SEAT_LEAST * MINUTE_S, math.min(SEAT_MOST * MINUTE_S, wait_s))
  expect(wait_s)
  return wait_s
end

local function sit_down()
  leave_line(call)
  redis.call('ZADD', seated_key, lane.now + lane.seat_s, call)
end

-- frees the seat of the call; `is_done` when how long it took says something about the model
local function stand_up(is_done)
  local until_at = redis.call('ZSCORE', seated_key, call)
  if not until_at then return end
  redis.call('ZREM', seated_key, call)
  if is_done then
    local taken_s = math.max(0, lane.now - (tonumber(until_at) - lane.seat_s))
    lane.taken_s = lane.taken_s + LEARNING * (taken_s - lane.taken_s)
  end
end

local function save_booking(booking)
  redis.call('ZADD', slots_key, booking.slot, call)
  redis.call('HSET', booked_key, call, string.format('%d %d', booking.tokens, booking.called))
end

local function append(tokens)
  if redis.call('ZCARD', slots_key) == 0 then -- nothing is guessed: what was granted is known better
    lane.tokens_at = math.min(lane.tokens_at, lane.clock + lane.debt_s)
  end
  local slot = math.max(lane.clock, lane.requests_at, lane.tokens_at - CREDIT * MINUTE_S)
  local booking = {slot = slot, tokens = tokens, called = 0}
  lane.requests_at = slot + request_s
  lane.tokens_at = math.max(lane.tokens_at, slot) + tokens * lane.ratio * token_s
  save_booking(booking)
  return booking
end

local function find_booking()
  local text = redis.call('HGET', booked_key, call)
  if not text then return nil end
  local tokens, called = numbers(text)
  return {slot = tonumber(redis.call('ZSCORE', slots_key, call)), tokens = tokens, called = called}
end

local function fits_at(tokens)
  local count, charged, at = redis.call('ZCARD', log_key), lane.charged, lane.now
  local start = 0
  while count >= lane.rpm or charged + tokens > lane.tpm do
    local grants = redis.call('ZRANGE', log_key, start, start + 31, 'WITHSCORES')
    if #grants == 0 then break end
    for i = 1, #grants, 2 do
      if count < lane.rpm and charged + tokens <= lane.tpm then break end
      count = count - 1
      charged = charged - (numbers(redis.call('HGET', charged_key, grants[i]) or '0 0'))
      at = tonumber(grants[i + 1]) + WINDOW_S + TICK_S
    end
    start = start + 32
  end
  return at
end

local function grant(booking)
  local paced = booking.tokens * lane.ratio
  redis.call('ZREM', slots_key, call)
  redis.call('HDEL', booked_key, call)
  local earlier = redis.call('HGET', charged_key, call)
  if earlier then -- the same call was granted before: that grant keeps its charge under another name
    lane.number = lane.number + 1
    local name = string.format('%s#%d', call, lane.number)
    redis.call('ZADD', log_key, redis.call('ZSCORE', log_key, call), name)
    redis.call('HSET', charged_key, name, earlier)
  end
  redis.call('ZADD', log_key, lane.now, call)
  redis.call('HSET', charged_key, call, string.format('%d %.3f', booking.tokens, paced))
  lane.charged = lane.charged + booking.tokens
  lane.debt_s = lane.debt_s + paced * token_s
  lane.granted = math.max(lane.granted, booking.slot)
end

local function pace(tokens)
  local booking = find_booking() or append(tokens)
  if booking.slot > lane.clock + EPSILON_S then return wait_for(booking.slot) end
  if lane.now < lane.pause_until then return math.max(TICK_S, lane.pause_until - lane.now) end
  local step_s = GATE * request_s
  if holder ~= '' and holder ~= call and lane.now < lane.hold_until + PATIENCE * MINUTE_S then
    return math.max(0, lane.hold_until - lane.now) + math.max(TICK_S, step_s)
  end
  if booking.called == 0 then
    local passes_at = lane.gate_at - math.max(0, BURST * MINUTE_S - step_s)
    lane.gate_at = math.max(lane.gate_at, lane.clock) + step_s
    booking.called = 1
    if lane.clock + EPSILON_S < passes_at then
      booking.slot = passes_at
      save_booking(booking)
      return wait_for(passes_at)
    end
  end
  local owed_s = (lane.debt_s - CREDIT * MINUTE_S) / lane.speed
  local short_s = math.max(owed_s, fits_at(math.min(booking.tokens, lane.tpm)) - lane.now)
  if short_s > EPSILON_S then
    local wait_s = math.min(short_s, math.max(RECHECK * MINUTE_S, short_s / 2))
    holder, lane.hold_until = call, lane.now + wait_s
    save_booking(booking)
    return math.max(TICK_S, wait_s)
  end
  if holder == call or lane.now >= lane.hold_until then holder, lane.hold_until = '', 0 end
  grant(booking)
  return 0
end

local function book(tokens)
  if lane.seats == 0 then return pace(tokens), 0 end
  local wait_s = stand_in_line()
  if wait_s > 0 then return wait_s, 1 end
  wait_s = pace(tokens)
  if wait_s == 0 then sit_down() elseif redis.call('ZSCORE', line_key, call) then expect(wait_s) end
  return wait_s, 0
end

local function correct(estimated, actual)
  local text = redis.call('HGET', charged_key, call)
  local tokens, paced
  if text then tokens, paced = numbers(text) end
  if paced == -1 then return 0 end
  if estimated > 0 and actual > 0 then
    lane.ratio = lane.ratio + LEARNING * (math.min(2, actual / estimated) - lane.ratio)
  end
  if not text then return 0 end -- it counts no longer, or Redis was emptied
  lane.charged = lane.charged + actual - tokens
  lane.debt_s = math.max(0, lane.debt_s + (actual - paced) * token_s)
  redis.call('HSET', charged_key, call, string.format('%d -1', actual))
  return 0
end

local function pause(seconds)
  lane.pause_until = math.max(lane.pause_until, lane.now + seconds)
  if lane.now >= lane.slowed_until then
    lane.speed = math.max(SLOWEST, lane.speed * SLOWER)
    lane.slowed_until = lane.now + math.max(seconds, INCIDENT * MINUTE_S)
  end
  return 0
end

local function save()
  local fields = {'holder', holder}
  for _, name in ipairs(NAMES) do
    fields[#fields + 1] = name
    fields[#fields + 1] = string.format('%.6f', lane[name])
  end
  redis.call('HSET', lane_key, unpack(fields))
  local latest = math.max(lane.requests_at, lane.tokens_at, lane.gate_at, lane.clock + lane.debt_s)
  local ttl_s = wait_for(latest) + GRACE * MINUTE_S + WINDOW_S + (1 - lane.speed) / RECOVERY_PER_S + 1
  if lane.seats > 0 then ttl_s = math.max(ttl_s, lane.seat_s + 1) end
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, math.ceil(ttl_s * 1000)) end
end

advance()
local answer, is_for_seat, woken = 0, 0, {}
if verb == 'book' then answer, is_for_seat = book(math.max(0, tonumber(ARGV[5])))
elseif verb == 'pause' then pause(tonumber(ARGV[3]))
elseif verb == 'correct' then
  correct(tonumber(ARGV[3]), tonumber(ARGV[4]))
  stand_up(tonumber(ARGV[4]) > 0)
elseif verb == 'release' then stand_up(true)
elseif verb == 'forget' then
  drop(call)
  leave_line(call)
  stand_up(false)
end
if verb ~= 'book' and verb ~= 'pause' and lane.seats > 0 then woken = next_in_line() end
save()
return string.format('%.6f %d %s', answer, is_for_seat, table.concat(woken, ' '))
