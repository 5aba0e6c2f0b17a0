--- Something that happens once, and the tasks that wait for it.
local caller = require "perigee.caller"
local scheduler = require "perigee.scheduler"

local latch = {}

---@class perigee.Latch
---@field is_open boolean
local methods = {}
local latch_mt = { __name = "perigee.latch", __index = methods }

---@return perigee.Latch
function latch.new()
  return setmetatable({ is_open = false, waiters = {} }, latch_mt)
end

--- It has happened: wakes who waits. Does not yield.
---@return boolean # whether anybody did
function methods:open()
  local waiters = self.waiters
  self.is_open, self.waiters = true, {}
  for task in pairs(waiters) do scheduler.wake(task, true) end
  return next(waiters) ~= nil
end

--- Waits for it. Yields; raises when the task is cancelled.
---@param timeout number|nil seconds; nil for as long as it takes
---@param what string for messages: "task:join"
---@return boolean # false when the time is over first
function methods:wait(timeout, what)
  if self.is_open then return true end
  if timeout ~= nil and not (type(timeout) == "number" and timeout >= 0) then
    caller.fail("%s: the time must be a number of seconds, 0 or more, not %s", what, tostring(timeout))
  end
  local task = scheduler.current
  if task then self.waiters[task] = true end
  -- a cancelled task stays in the list, which is harmless: it never parks again
  if not scheduler.park_for(timeout) then self.waiters[task] = nil end
  return self.is_open
end

return latch
