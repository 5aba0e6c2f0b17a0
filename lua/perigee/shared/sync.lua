--- What locks, semaphores, events, barriers and perigee.shared.once have in common.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local scheduler = require "perigee.scheduler"
local waiting = require "perigee.waiting"

local C = abi.C

local sync = {}

--- enum shm_sync
sync.OK, sync.ABANDONED, sync.BUSY, sync.DONE, sync.OWN, sync.NOT_OWN, sync.FAILED = 0, 1, 2, 3, -1, -2, -3

local NO_TASK = 1 -- code that runs in no task, as a libuv callback does
local next_number = NO_TASK

--- A number for the task that runs, which no other task of this process has: odd, or twice the serial of
--- the request it serves, as the tasks of requests are used again.
---@return number
function sync.task()
  local task = scheduler.current
  if not task then return NO_TASK end
  if task.serial ~= 0 then return task.serial * 2 end
  if not task.number then
    next_number = next_number + 2
    task.number = next_number
  end
  return task.number
end

--- Whether the task that had a number is over.
---@param task perigee.Task|nil nil: none, which never is
---@param number number
---@return boolean
function sync.is_over(task, number)
  if not task then return false end
  if coroutine.status(task.coroutine) == "dead" then return true end
  return number % 2 == 0 and task.serial * 2 ~= number
end

local lines = {} -- kind and name → line: one in each process, whoever opened the object

--- The line of those who wait for an object.
---@param kind string
---@param name string
---@param waiters ffi.cdata*
---@return perigee.Line
function sync.line(kind, name, waiters)
  local key = kind .. "\0" .. name
  if not lines[key] then lines[key] = waiting.line(waiters) end
  return lines[key]
end

--- What a call returns when its time is over.
---@param what string "lock 'orders'"
---@param timeout number
---@return nil
---@return string
---@return string
function sync.late(what, timeout)
  return nil, ("timeout: the %s could not be had in %g s"):format(what, timeout), "TIMEOUT"
end

--- Raises at the caller's place with the engine's reason.
function sync.fail(what)
  caller.fail("%s: %s", what, ffi.string(C.shm_last_error()))
end

local function finish(release, self, ok, ...)
  release(self)
  if not ok then error((...), 0) end
  return ...
end

--- Calls fn(...), then release(self), also when that raised or was cancelled.
---@return any # what fn returned
function sync.within(release, self, fn, ...)
  return finish(release, self, pcall(fn, ...))
end

return sync
