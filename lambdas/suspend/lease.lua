-- Compare-and-set of one lease on decision_seq: no other client sees a moment between the parts.
-- KEYS[1]  the entry
-- ARGV     message, action_id, decision_seq, issued_at_ms, lease_ms, not_after_ms
-- Gives back the outcome, the time here (ms), and the time at which the lease of this action ends (ms).
local message, action_id, decision_seq = ARGV[1], ARGV[2], tonumber(ARGV[3])
local issued_at_ms, lease_ms, not_after_ms = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

-- One clock for all actuators, and the one that ends the entry.
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- The lease runs from the decision, so an action that was long on its way suspends nobody for longer. The last
-- bound is for an action from the future: that too ends within its lease.
local ends_at_ms = math.min(issued_at_ms + lease_ms, not_after_ms, now_ms + lease_ms)
if ends_at_ms <= now_ms then
  return {'expired', now_ms, ends_at_ms}
end

local value = redis.call('GET', KEYS[1])
if value then
  local readable, held = pcall(cjson.decode, value)
  -- What is no action cannot be compared with. It is replaced, so that it ends.
  if readable and type(held) == 'table' and type(held.decision_seq) == 'number' then
    if held.action_id == action_id then
      return {'repeated', now_ms, ends_at_ms}
    end
    if held.decision_seq >= decision_seq then
      return {'overtaken', now_ms, ends_at_ms}
    end
  end
end

redis.call('SET', KEYS[1], message, 'PXAT', ends_at_ms)
return {'applied', now_ms, ends_at_ms}
