--- A number of permits that all processes share. A permit belongs to the process that acquired it, and
--- comes back when that dies.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local object = require "perigee.shared.object"
local sync = require "perigee.shared.sync"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, setmetatable = tonumber, setmetatable
local BUSY, NOT_OWN = sync.BUSY, sync.NOT_OWN

local PERMITS_LIMIT = 2 ^ 31

---@class perigee.SharedSemaphore
---@field name string
local methods = {}
local semaphore_mt = object.metatable("semaphore", methods)

local function attempt(pointer)
  local result = C.shm_semaphore_take(pointer)
  if result ~= BUSY then return result end
  return nil
end

--- Acquires one permit. Tasks of one process get theirs in the order they came; among processes the ones
--- that wait are woken by turns. Yields when it has to wait.
---@param timeout number|nil seconds; nil for as long as it takes, 0 to try only
---@return true|nil
---@return string|nil message
---@return string|nil code "TIMEOUT"
function methods:acquire(timeout)
  waiting.check_timeout(timeout, "semaphore:acquire")
  local result = self.line:take(timeout, attempt, self.semaphore)
  if result == nil then return sync.late(("semaphore '%s'"):format(self.name), timeout) end
  if result < 0 then sync.fail("semaphore:acquire") end
  return true
end

--- Gives one permit back. Does not yield; raises at the caller's place when this process has none.
function methods:release()
  if C.shm_semaphore_give(self.semaphore) == NOT_OWN then
    caller.fail("semaphore:release: this process has no permit of the semaphore '%s'", self.name)
  end
end

--- Calls fn while it has a permit, which is released whether fn returns, raises or is cancelled. Yields.
---@param fn fun()
---@param timeout number|nil as of acquire
---@return any # what fn returned; or nil, a message and "TIMEOUT"
function methods:with(fn, timeout)
  caller.check(fn, "function", "semaphore:with: the function")
  local ok, message, code = self:acquire(timeout)
  if not ok then return nil, message, code end
  return sync.within(methods.release, self, fn)
end

local figures = ffi.new "struct shm_semaphore_stat"

--- Permits nobody has now; those of dead processes are among them once somebody has looked.
---@return number
function methods:available()
  C.shm_semaphore_read(self.semaphore, figures)
  return tonumber(figures.available)
end

---@return { permits: number, available: number, revived: number, waiters: number } # revived: permits that
---   came back from dead processes
function methods:stat()
  C.shm_semaphore_read(self.semaphore, figures)
  return { permits = tonumber(figures.permits), available = tonumber(figures.available),
    revived = tonumber(figures.revived),
    waiters = C.shm_waiters_count(C.shm_semaphore_waiters(self.semaphore)) }
end

local semaphore = {}

--- Makes one, or finds the one there is: see perigee.shared.semaphore.
function semaphore.new(name, permits, options)
  object.check_name("semaphore", name)
  object.check_options("semaphore", name, options, {})
  if permits ~= nil then
    object.whole_option("semaphore", name, { permits = permits }, "permits", 1, PERMITS_LIMIT)
  end
  local pointer = object.open("semaphore", name, function(create)
    return C.shm_semaphore_open(name, permits or 0, permits and create or 0)
  end)
  return setmetatable({ name = name, semaphore = pointer,
    line = sync.line("semaphore", name, C.shm_semaphore_waiters(pointer)) }, semaphore_mt)
end

--- The figures of the one of that name, which exists.
---@param name string
---@return table<string, number>
function semaphore.stat(name)
  local pointer = object.any("semaphore", name, "struct shm_semaphore *")
  return methods.stat { semaphore = pointer }
end

return semaphore
