--- Waiting for what other processes do to shared objects: lines of tasks.
---
--- A *line* belongs to one thing of one shared object that can be waited for ("not empty"), and has
--- the tasks of this process that wait for it, in the order they came. Only its head tries: when
--- the process's bell rings, and now and then for itself, as a ring can get lost with the process it
--- was for. A head that has got what it wanted wakes the next, for whom there may be more; when there is
--- no next, the process no longer waits, and says so, lest rings go to it that others need.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local scheduler = require "perigee.scheduler"

local C = abi.C
local pcall, error, tostring, type = pcall, error, tostring, type
local setmetatable, tonumber = setmetatable, tonumber

local waiting = {}

local AGAIN = 0.25        -- seconds after which a head looks for itself; SHM_WAIT_AGAIN of host/shm/wait.h
local AGAIN_SILENT = 0.01 -- the same where no bell rings, as in the main process

local busy = {}     -- lines with tasks, as keys
local watchers = {} -- functions that are called, too, when the bell has rung

-- address → line: two objects of one name share theirs, as they share the process's bell
local lines = setmetatable({}, { __mode = "v" })

---@class perigee.Line
local methods = {}
local line_mt = { __name = "perigee.line", __index = methods }

--- A line for `struct shm_waiters *`, a part of a shared object.
---@param waiters ffi.cdata*
---@return perigee.Line
function waiting.line(waiters)
  local address = tonumber(ffi.cast("uintptr_t", waiters))
  local line = lines[address]
  if not line then
    line = setmetatable({ waiters = ffi.cast("struct shm_waiters *", waiters), first = 1, last = 0 }, line_mt)
    lines[address] = line
  end
  return line
end

--- Raises unless `timeout` is nil or seconds, 0 or more.
---@param timeout any
---@param what string "queue:get"
function waiting.check_timeout(timeout, what)
  if timeout ~= nil and not (type(timeout) == "number" and timeout >= 0) then
    caller.fail("%s: the timeout must be a number of seconds, 0 or more, not %s", what, tostring(timeout))
  end
end

--- Whether tasks of this process wait in it: who comes now must not go past them.
---@return boolean
function methods:busy()
  return self.last >= self.first
end

local function join(self, task)
  self.last = self.last + 1
  self[self.last] = task
  busy[self] = true
end

--- Nobody of this process waits in it any more.
local function become_empty(self)
  self.first, self.last = 1, 0
  busy[self] = nil
  C.shm_waiters_leave(self.waiters)
end

local function wake_head(self)
  local head = self[self.first]
  if head then scheduler.wake(head, true) end
end

--- Takes a task out; whoever is head then looks at once.
local function leave(self, task)
  local was_head = self[self.first] == task
  local to = self.first
  for from = self.first, self.last do
    local other = self[from]
    self[from] = nil
    if other ~= task then
      self[to] = other
      to = to + 1
    end
  end
  self.last = to - 1
  if self.last < self.first then
    become_empty(self)
  elseif was_head then
    wake_head(self)
  end
end

--- The head's usual end, without moving the others.
local function leave_first(self)
  self[self.first] = nil
  self.first = self.first + 1
  if self.last < self.first then
    become_empty(self)
  else
    wake_head(self)
  end
end

local function pause(self, task, deadline)
  local seconds
  if self[self.first] == task then
    seconds = C.shm_bells_listening() == 1 and AGAIN or AGAIN_SILENT
  end
  if deadline then
    local left = (deadline - scheduler.now()) / 1000
    if not seconds or left < seconds then seconds = left > 0 and left or 0 end
  end
  return pcall(scheduler.park_for, seconds)
end

local function wait(self, task, deadline, attempt, ...)
  while true do
    if self[self.first] == task then
      C.shm_waiters_add(self.waiters)
      local a, b, c = attempt(...)
      if a ~= nil then
        leave_first(self)
        return a, b, c
      end
    end
    if deadline and scheduler.now() >= deadline then
      leave(self, task)
      return nil
    end
    local ok, problem = pause(self, task, deadline)
    if not ok then
      leave(self, task)
      error(problem, 0)
    end
  end
end

--- Calls attempt(…) until it returns something: at once if nobody is before us, then whenever the
--- object may have changed. Yields unless the first attempt succeeds or the timeout is 0; raises when
--- the task is cancelled.
---@param timeout number|nil seconds; nil for as long as it takes
---@param attempt fun(...): any, any, any does not yield or raise; its first result is nil for "not yet"
---@return any, any, any # what attempt returned; nil when the time is over
function methods:take(timeout, attempt, ...)
  if self.last < self.first then
    local a, b, c = attempt(...)
    if a ~= nil or timeout == 0 then return a, b, c end
  elseif timeout == 0 then
    return nil
  end
  local task = scheduler.current
  if not task then return scheduler.park() end -- which says what is wrong
  join(self, task)
  return wait(self, task, timeout and scheduler.now() + timeout * 1000, attempt, ...)
end

--- Has fn called whenever the bell has rung. It does not yield or raise.
---@param fn fun()
function waiting.watch(fn)
  watchers[#watchers + 1] = fn
end

--- The bell has rung: every line's head looks. Called from C.
function waiting.changed()
  for i = 1, #watchers do watchers[i]() end
  for line in pairs(busy) do wake_head(line) end
end

return waiting
