--- What an app runs beside its requests: tasks, and functions that are called again and again.
---
--- Declared while the app is loaded, they start in each worker once it accepts; when the worker
--- stops they are cancelled after its before_server_stop listeners. What is to run once per app has
--- an owner: the worker that holds its lease, a lock that the kernel takes from a dead process.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local log = require "perigee.log"
local nearest = require "perigee.nearest"
local phase = require "perigee.phase"
local scheduler = require "perigee.scheduler"
local task_module = require "perigee.task"
local traceback = require "perigee.traceback"

local background = {}

local LEASE_PERIOD = 1   -- seconds between two looks whether the owner of a job is gone
local END_TIMEOUT = 1    -- seconds a cancelled task has to end when the worker stops
local NAME_LIMIT = 48    -- bytes; with CELL_PREFIX it is the name of a shared object
local CELL_PREFIX = "perigee.every"
local SHORTEST = 0.001   -- seconds between two ticks

---@class perigee.Background
---@field declared table[] what each worker is to start
---@field running table[] what this worker has started and is not done, oldest first
local methods = {}
local background_mt = { __name = "perigee.background", __index = methods }

---@class perigee.Background.Task
---@field name string
---@field kind "task"|"every"
---@field place string where it was made

---@return perigee.Background
function background.new()
  return setmetatable({ declared = {}, running = {}, count = 0 }, background_mt)
end

-- ── Declaring ────────────────────────────────────────────────────────────────────────────────

local function check_options(what, options, allowed)
  if options == nil then return {} end
  caller.check(options, "table", what .. ": the options")
  local names = {}
  for name in pairs(allowed) do names[#names + 1] = name end
  table.sort(names)
  for key, value in pairs(options) do
    if not allowed[key] then
      caller.fail("%s: unknown option '%s'%s", what, tostring(key), nearest.hint(tostring(key), names))
    end
    caller.check(value, allowed[key], ("%s: the option '%s'"):format(what, key))
  end
  return options
end

local function check_name(self, what, name)
  self.count = self.count + 1
  if name == nil then return "task " .. self.count end
  if name == "" or #name > NAME_LIMIT or name:find("%c") then
    caller.fail("%s: a name has 1 to %d bytes and no control characters: %q", what, NAME_LIMIT, name)
  end
  for _, list in ipairs { self.declared, self.running } do
    for _, other in ipairs(list) do
      if other.name == name then
        caller.fail("%s: there is a task called '%s' already, made at %s", what, name, other.place)
      end
    end
  end
  return name
end

--- Starts an entry in a worker, or keeps it for the workers.
local function declare(self, app, what, entry)
  if phase.is_forked() then return self:start_entry(app, entry) end
  if app.frozen then caller.fail("%s: too late in the main process; the workers have been told", what) end
  self.declared[#self.declared + 1] = entry
  return nil
end

--- See app:add_task.
function methods:add_task(app, fn, options)
  options = check_options("app:add_task", options, { name = "string" })
  if type(fn) ~= "function" and type(fn) ~= "thread" then
    caller.fail("app:add_task: the task must be a function or a coroutine, not a %s", type(fn))
  end
  local entry = { kind = "task", place = caller.place(), fn = fn,
    name = check_name(self, "app:add_task", options.name) }
  return declare(self, app, "app:add_task", entry)
end

--- See app:every.
function methods:every(app, seconds, fn, options)
  options = check_options("app:every", options, { name = "string", once = "string", immediately = "boolean" })
  if type(seconds) ~= "number" or not (seconds >= SHORTEST and seconds < math.huge) then
    caller.fail("app:every: seconds must be a number from %g up, not %s", SHORTEST, tostring(seconds))
  end
  caller.check(fn, "function", "app:every: the function")
  local once = options.once or "worker"
  if once ~= "worker" and once ~= "app" then
    caller.fail("app:every: once must be \"worker\" or \"app\", not %q", once)
  end
  if once == "app" and not options.name then
    caller.fail("app:every: what runs once per app needs a name, by which the workers know it")
  end
  if once == "app" and phase.is_forked() then
    caller.fail("app:every: once = \"app\" cannot be said in a worker; do it while the file is loaded")
  end
  local entry = { kind = "every", place = caller.place(), fn = fn, period = seconds * 1000, once = once,
    name = check_name(self, "app:every", options.name), immediately = options.immediately or false }
  return declare(self, app, "app:every", entry)
end

--- Makes what the jobs of the whole app share. Called in the main process, before the first fork.
---@param app number|nil of several apps, from 0, each of which has names of its own
function methods:prepare(app)
  app = app or 0
  local mark = app == 0 and "." or ("%x"):format(app) -- one byte: there are at most 16
  for _, entry in ipairs(self.declared) do
    if entry.once == "app" then
      entry.lease = app == 0 and entry.name or string.char(app) .. entry.name
      entry.cell = abi.C.shm_value_open(CELL_PREFIX .. mark .. entry.name, "int64", 0, 1)
      if entry.cell == nil then
        error(("%s: app:every '%s': %s"):format(entry.place, entry.name,
          ffi.string(abi.C.shm_last_error())), 0)
      end
    end
  end
end

-- ── Ticks ────────────────────────────────────────────────────────────────────────────────────

local function sleep_until(time)
  scheduler.sleep(math.max(0, time - scheduler.now()) / 1000)
end

local function call_tick(entry, app)
  local ok, fault = xpcall(entry.fn, traceback.handler, app)
  if ok then return end
  if scheduler.is_cancelled(traceback.unwrap(fault)) then error(fault, 0) end
  log.error("in app:every '%s' (%s): %s", entry.name, entry.place, traceback.text(fault))
end

--- The last tick of a period that is not in the future; `tick` itself when it is.
local function latest(tick, period)
  return tick + math.max(0, math.floor((scheduler.now() - tick) / period)) * period
end

--- Calls the function at every tick for ever. Ticks are counted from the first one, so they do not
--- drift; those that pass while the function runs are skipped.
local function tick_in_worker(entry, app)
  local tick = scheduler.now() + (entry.immediately and 0 or entry.period)
  while true do
    sleep_until(tick)
    call_tick(entry, app)
    tick = latest(tick, entry.period) + entry.period
  end
end

--- The same as the owner. When the last tick was is in shared memory and noted before the function
--- is called, so that the next owner goes on where this one died, and calls it twice for none.
local function tick_as_owner(entry, app)
  local C = abi.C
  local last = tonumber(C.shm_value_get_int64(entry.cell))
  if last == 0 and not entry.immediately then
    last = math.floor(scheduler.now())
    C.shm_value_set_int64(entry.cell, last)
  end
  local tick = last == 0 and scheduler.now() or last + entry.period
  while true do
    sleep_until(tick)
    tick = latest(tick, entry.period)
    C.shm_value_set_int64(entry.cell, math.floor(tick))
    call_tick(entry, app)
    tick = tick + entry.period
  end
end

--- Waits to be the owner, then ticks.
local function tick_in_app(entry, app)
  local C = abi.C
  while true do
    local taken = C.shm_lease_take(entry.lease)
    if taken < 0 then error("cannot take its lease: " .. ffi.string(C.shm_last_error()), 0) end
    if taken == 1 then break end
    scheduler.sleep(LEASE_PERIOD)
  end
  local _, fault = pcall(tick_as_owner, entry, app)
  C.shm_lease_release(entry.lease)
  error(fault, 0)
end

-- ── Running ──────────────────────────────────────────────────────────────────────────────────

--- Runs a user's coroutine to its end; its waits are ours.
local function run_thread(co, app)
  local ok, problem = coroutine.resume(co, app)
  if not ok then error(problem, 0) end
  if coroutine.status(co) ~= "dead" then
    error("the coroutine given to app:add_task yielded; it may wait, but nobody takes what it yields", 0)
  end
end

local function body_of(entry)
  if entry.kind == "every" then return entry.once == "app" and tick_in_app or tick_in_worker end
  if type(entry.fn) == "thread" then return function(_, app) return run_thread(entry.fn, app) end end
  return function(_, app) return entry.fn(app) end
end

local function forget(self, task)
  for i, other in ipairs(self.running) do
    if other == task then return table.remove(self.running, i) end
  end
end

--- Starts an entry in this process.
---@return perigee.Background.Task
function methods:start_entry(app, entry)
  local body = body_of(entry)
  local task
  local fields = { name = entry.name, kind = entry.kind, place = entry.place }
  local ended = false
  task = task_module.start(function()
    local ok, problem = xpcall(body, traceback.handler, entry, app)
    ended = true
    if task then forget(self, task) end
    if not ok then error(problem, 0) end
  end, fields)
  if not ended then self.running[#self.running + 1] = task end
  return task
end

--- Starts what was declared. Called in a worker that accepts.
---@param app perigee.App
function methods:start(app)
  for _, entry in ipairs(self.declared) do self:start_entry(app, entry) end
  self.declared = {}
end

--- What runs in this process.
---@return { name: string, kind: "task"|"every", place: string }[] # oldest first
function methods:list()
  local list = {}
  for i, task in ipairs(self.running) do
    list[i] = { name = task.name, kind = task.kind, place = task.place }
  end
  return list
end

--- A running task by its name.
---@param name string
---@return perigee.Background.Task|nil # with join, cancel, is_done
function methods:get(name)
  for _, task in ipairs(self.running) do
    if task.name == name then return task end
  end
  return nil
end

--- Cancels a task of this process: what it waits for raises. Does not yield.
---@param name string
---@param reason string|nil
---@return boolean # false when there is none of that name
function methods:cancel(name, reason)
  local task = self:get(name)
  if task then task:cancel(reason) end
  return task ~= nil
end

--- Cancels all, the youngest first, and waits until they have ended. Yields.
function methods:stop()
  local running = { unpack(self.running) }
  for i = #running, 1, -1 do running[i]:cancel("the worker stops") end
  for _, task in ipairs(running) do
    local _, problem, code = task:join(END_TIMEOUT)
    if code == "timeout" or code == "error" then
      log.warn("the task '%s' (%s) did not end when it was cancelled: %s", task.name, task.place, problem)
    end
  end
end

return background
