--- Functions that run beside their caller, in coroutines of their own.
---
---     local a, b = perigee.spawn(fetch, "a"), perigee.spawn(fetch, "b")
---     local ok, text = a:join(2)
local caller = require "perigee.caller"
local latch = require "perigee.latch"
local log = require "perigee.log"
local scheduler = require "perigee.scheduler"
local traceback = require "perigee.traceback"

local task = {}

---@class perigee.SpawnedTask
---@field name string|nil
---@field place string where it was made
local methods = {}
local task_mt = { __name = "perigee.task", __index = methods }

local function pack(...)
  return { n = select("#", ...), ... }
end

--- Keeps how a function ended, and tells who waits for it.
local function finish(self, ok, ...)
  self.ok, self.results = ok, pack(...)
  local awaited = self.done:open()
  local problem = ...
  if ok or awaited or self.joined or scheduler.is_cancelled(traceback.unwrap(problem)) then return end
  log.error("in the task %smade at %s: %s", self.name and "'" .. self.name .. "' " or "", self.place,
    traceback.text(problem))
end

local function run(self, fn, ...)
  finish(self, xpcall(fn, traceback.handler, ...))
end

--- Starts a function as a task: up to its first wait before this returns. Its end: see join.
---@param fn function
---@param fields table|nil for the task: name
---@return perigee.SpawnedTask
function task.start(fn, fields, ...)
  local self = fields or {}
  self.place = self.place or caller.place()
  self.done = latch.new()
  setmetatable(self, task_mt)
  scheduler.spawn(function(...)
    self.task = scheduler.current
    run(self, fn, ...)
  end, ...)
  return self
end

--- Runs `fn(...)` beside the caller, up to its first wait before this returns. An error that nobody
--- joins is logged. The task ends with its worker, and not with the request that made it. Does not
--- yield.
---@param fn fun(...)
---@return perigee.SpawnedTask
function task.spawn(fn, ...)
  caller.check(fn, "function", "perigee.spawn: the function")
  return task.start(fn, nil, ...)
end

--- Waits for the task's end. Yields.
---@param timeout number|nil seconds; nil for as long as it takes
---@return true|nil # then what the function returned
---@return any # or why not: a message
---@return any # with it "timeout", "cancelled" or "error"
function methods:join(timeout)
  if scheduler.current == self.task then caller.fail("task:join: a task cannot wait for itself") end
  self.joined = true
  if not self.done:wait(timeout, "task:join") then
    self.joined = false
    return nil, ("it is not done after %g s"):format(timeout), "timeout"
  end
  if self.ok then return true, unpack(self.results, 1, self.results.n) end
  local raised = traceback.unwrap(self.results[1])
  return nil, traceback.message(raised), scheduler.is_cancelled(raised) and "cancelled" or "error"
end

--- Ends the task: what it waits for, now and later, raises an error. Does not yield.
---@param reason string|nil
function methods:cancel(reason)
  if not self.done.is_open then scheduler.cancel(self.task, reason or "the task was cancelled") end
end

---@return boolean
function methods:is_done()
  return self.done.is_open
end

--- Runs `fn(...)` and gives it a time, after which it is cancelled. Errors of it are raised here.
--- Yields when it does.
---@param seconds number
---@param fn function
---@return any # what it returned; nil when the time was over
---@return any # then "timed out after 2 s"
---@return any # and "timeout"
function task.timeout(seconds, fn, ...)
  caller.check(seconds, "number", "perigee.timeout: the seconds")
  caller.check(fn, "function", "perigee.timeout: the function")
  local inner = task.start(fn, { joined = true }, ...)
  local ok, done = pcall(inner.done.wait, inner.done, seconds, "perigee.timeout")
  if not ok or not done then inner:cancel("perigee.timeout: the time is over") end
  if not ok then error(done, 0) end -- the caller is cancelled itself
  if not done then return nil, ("timed out after %g s"):format(seconds), "timeout" end
  if not inner.ok then error(traceback.unwrap(inner.results[1]), 0) end
  return unpack(inner.results, 1, inner.results.n)
end

return task
