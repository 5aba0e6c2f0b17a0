--- A flag that tasks of all processes wait for.
local abi = require "perigee.abi"
local object = require "perigee.shared.object"
local sync = require "perigee.shared.sync"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, setmetatable = tonumber, setmetatable

---@class perigee.SharedEvent
---@field name string
local methods = {}
local event_mt = object.metatable("event", methods)

--- Sets it: all who wait go on, also when it is cleared at once. Does not yield.
function methods:set()
  C.shm_event_set(self.event)
end

--- Who comes from now on waits. Does not yield.
function methods:clear()
  C.shm_event_clear(self.event)
end

---@return boolean
function methods:is_set()
  return tonumber(C.shm_event_state(self.event)) % 2 == 1
end

local function attempt(pointer, before)
  local state = tonumber(C.shm_event_state(pointer))
  if state % 2 == 1 or state > before then return true end
  return nil
end

--- Waits until it is set. Yields unless it is.
---@param timeout number|nil seconds; nil for as long as it takes, 0 to look only
---@return true|nil
---@return string|nil message
---@return string|nil code "TIMEOUT"
function methods:wait(timeout)
  waiting.check_timeout(timeout, "event:wait")
  local before = tonumber(C.shm_event_state(self.event))
  if before % 2 == 1 then return true end
  if self.line:take(timeout, attempt, self.event, before) then return true end
  return nil, ("timeout: the event '%s' was not set in %g s"):format(self.name, timeout), "TIMEOUT"
end

---@return { set: number, times: number, waiters: number } # set: 1 while it is
function methods:stat()
  local state = tonumber(C.shm_event_state(self.event))
  return { set = state % 2, times = (state - state % 2) / 2,
    waiters = C.shm_waiters_count(C.shm_event_waiters(self.event)) }
end

local event = {}

--- Makes one, or finds the one there is: see perigee.shared.event.
function event.new(name, options)
  object.check_name("event", name)
  object.check_options("event", name, options, {})
  local pointer = object.open("event", name, function(create) return C.shm_event_open(name, create) end)
  return setmetatable({ name = name, event = pointer,
    line = sync.line("event", name, C.shm_event_waiters(pointer)) }, event_mt)
end

--- The figures of the one of that name, which exists.
---@param name string
---@return table<string, number>
function event.stat(name)
  local pointer = object.any("event", name, "struct shm_event *")
  return methods.stat { event = pointer }
end

return event
