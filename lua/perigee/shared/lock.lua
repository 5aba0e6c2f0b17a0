--- A lock that one task of all processes has at a time, across its waits.
---
--- What a process held when it died is had by the next one, which is told. A task that ends, or whose
--- request does, without giving its lock back has made a mistake: the lock is taken from it once
--- somebody waits for it, the log says so, and the next one is told too.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local log = require "perigee.log"
local object = require "perigee.shared.object"
local scheduler = require "perigee.scheduler"
local sync = require "perigee.shared.sync"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, setmetatable = tonumber, setmetatable
local BUSY, OWN, FAILED, ABANDONED, NOT_OWN = sync.BUSY, sync.OWN, sync.FAILED, sync.ABANDONED, sync.NOT_OWN

local NUDGE_PERIOD = 250 -- ms between two requests to the holder's process to look after it

---@class perigee.SharedLock
---@field name string
local methods = {}
local lock_mt = object.metatable("lock", methods)

local held = {} -- name → the object whose holder_task and holder_number have it in this process
local watched = false

--- Gives back what a task that is over has.
local function drop_if_over(name)
  local holder = held[name]
  if not holder or not sync.is_over(holder.holder_task, holder.holder_number) then return end
  held[name] = nil
  if C.shm_lock_drop(holder.lock, holder.holder_number) == NOT_OWN then return end
  log.error("the lock '%s' was not released before the task that had acquired it ended; use lock:with", name)
end

local function look()
  for name in pairs(held) do drop_if_over(name) end
end

--- One try: nil for "not yet".
local function attempt(self, number)
  local result = C.shm_lock_take(self.lock, number)
  if result ~= BUSY then return result end
  drop_if_over(self.name)
  result = C.shm_lock_take(self.lock, number)
  if result ~= BUSY then return result end
  local now = scheduler.now()
  if now >= self.nudge then
    self.nudge = now + NUDGE_PERIOD
    C.shm_lock_nudge(self.lock)
  end
  return nil
end

local function hold(self, number)
  if not watched then
    watched = true
    waiting.watch(look)
  end
  self.holder_task, self.holder_number = scheduler.current, number
  held[self.name] = self
end

local function refuse(self, result)
  if result == FAILED then sync.fail("lock:acquire") end
  if result == OWN then
    caller.fail("lock:acquire: this task has the lock '%s' already", self.name)
  end
end

--- Acquires it. Tasks of one process get it in the order they came; among processes the one that waits is
--- woken, but one that comes at the right moment may be first. Yields when it has to wait; raises at the
--- caller's place when this task has it already.
---@param timeout number|nil seconds; nil for as long as it takes, 0 to try only
---@return true|nil
---@return string|nil # "abandoned" when the last holder ended without releasing it: what it guards may be
---   half done; or why not
---@return string|nil # "TIMEOUT"
function methods:acquire(timeout)
  waiting.check_timeout(timeout, "lock:acquire")
  local number = sync.task()
  local result = self.line:take(timeout, attempt, self, number)
  if result == nil then return sync.late(("lock '%s'"):format(self.name), timeout) end
  if result < 0 then refuse(self, result) end
  hold(self, number)
  if result == ABANDONED then return true, "abandoned" end
  return true
end

--- Gives it back. Does not yield; raises at the caller's place when this task does not have it.
function methods:release()
  if C.shm_lock_give(self.lock, sync.task()) == NOT_OWN then
    caller.fail("lock:release: this task does not have the lock '%s'", self.name)
  end
  held[self.name] = nil
end

--- Calls fn while it has the lock, which is released whether fn returns, raises or is cancelled. Yields.
---@param fn fun(abandoned: "abandoned"|nil)
---@param timeout number|nil as of acquire
---@return any # what fn returned; or nil, a message and "TIMEOUT"
function methods:with(fn, timeout)
  caller.check(fn, "function", "lock:with: the function")
  local ok, note, code = self:acquire(timeout)
  if not ok then return nil, note, code end
  return sync.within(methods.release, self, fn, note)
end

local figures = ffi.new "struct shm_lock_stat"

--- Who has it: nil when nobody does.
---@return { pid: number, task: number, mine: boolean }|nil # mine: a task of this process
function methods:owner()
  C.shm_lock_read(self.lock, figures)
  if figures.pid == 0 then return nil end
  return { pid = tonumber(figures.pid), task = tonumber(figures.task), mine = figures.mine == 1 }
end

--- waiters, here and elsewhere: processes, about, that wait.
---@return { held: number, taken: number, abandoned: number, waiters: number }
function methods:stat()
  C.shm_lock_read(self.lock, figures)
  return { held = figures.pid ~= 0 and 1 or 0, taken = tonumber(figures.taken),
    abandoned = tonumber(figures.abandoned), waiters = C.shm_waiters_count(C.shm_lock_waiters(self.lock)) }
end

local lock = {}

--- Makes one, or finds the one there is: see perigee.shared.lock.
function lock.new(name, options)
  object.check_name("lock", name)
  object.check_options("lock", name, options, {})
  local pointer = object.open("lock", name, function(create) return C.shm_lock_open(name, create) end)
  return setmetatable({ name = name, lock = pointer, nudge = 0,
    line = sync.line("lock", name, C.shm_lock_waiters(pointer)) }, lock_mt)
end

--- The figures of the one of that name, which exists.
---@param name string
---@return table<string, number>
function lock.stat(name)
  local pointer = object.any("lock", name, "struct shm_lock *")
  return methods.stat { lock = pointer }
end

return lock
