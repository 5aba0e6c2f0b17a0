--- A managed process: the function that app.manager:manage was given, in a process of its own.
--- Called from C, after the fork.
---
---     app.manager:manage("mailer", function(process)
---       while not process.stopping do
---         send_what_there_is()
---         process:wait(1)
---       end
---     end)
local app_module = require "perigee.app"
local boot = require "perigee.boot"
local caller = require "perigee.caller"
local control = require "perigee.control"
local handles = require "perigee.handles"
local latch = require "perigee.latch"
local log = require "perigee.log"
local manage_terms = require "perigee.manage_terms"
local member = require "perigee.member"
local phase = require "perigee.phase"
local record = require "perigee.record"
local scheduler = require "perigee.scheduler"
local traceback = require "perigee.traceback"

local managed = {}

---@class perigee.ManagedProcess
---@field name string
---@field index number of its name's processes, 0 to workers - 1
---@field pid number
---@field generation number of the code
---@field stopping boolean it was asked to end
local methods = {}

local fields     -- of this process's object
local object     -- what the function gets
local stop_asked = latch.new()
local handled = latch.new() -- the on_stop handlers are done
local handlers = {}
local watched = false -- the function looks for itself whether it is to end

local process_mt = { __name = "perigee.managed" }

function process_mt.__index(_, key)
  if key == "stopping" then
    watched = true
    return stop_asked.is_open
  end
  return methods[key] or fields[key]
end

function process_mt.__newindex(_, key)
  caller.fail("process.%s cannot be set", tostring(key))
end

--- Has a function called when the process is asked to end: by app.m:stop, at a restart, a reload, or
--- when the host stops. What it gives back is nobody's; its errors are logged. It may yield.
---@param fn fun(process: perigee.ManagedProcess)
function methods:on_stop(fn) -- luacheck: no self
  caller.check(fn, "function", "process:on_stop: the function")
  watched = true
  handlers[#handlers + 1] = fn
end

--- Whether the process was asked to end; the same as process.stopping. Does not yield.
---@return boolean
function methods:stopped() -- luacheck: no self
  watched = true
  return stop_asked.is_open
end

--- Waits until the process is asked to end. Yields.
---@param timeout number|nil seconds
---@return boolean # false when the time was over first
function methods:wait(timeout) -- luacheck: no self
  watched = true
  return stop_asked:wait(timeout, "process:wait")
end

--- Says that the process is ready, which it is to do within start_timeout when it was declared with
--- notify = true. Yields.
---@return true|nil # or nil, message, code
---@return string|nil
---@return string|nil
function methods:ready() -- luacheck: no self
  return control.ask("process:ready", "ready")
end

-- ── What C calls ─────────────────────────────────────────────────────────────────────────────

local task -- that runs the function

--- Becomes the process. As worker.before_start does for a worker.
local function become(values)
  local function number(key) return tonumber(values[key] and values[key][1]) end
  fields = { name = values.process[1], index = number "index", pid = number "pid",
    generation = number "generation" }
  phase.current = "managed"
  handles.unwatch()
  object = setmetatable({}, process_mt)
  math.randomseed(fields.pid * 65537 + os.time())
  local own = member.new {
    name = fields.name, role = "managed", pid = fields.pid, generation = fields.generation,
  }
  for _, app in ipairs(boot.apps) do app_module.set(app, "m", own) end
end

--- Runs the function. Yields when it does; the process ends when this returns, and raises what it
--- raised.
---@param block string record block: the terms, process, index, generation, pid
function managed.run(block)
  local values = record.parse(block)
  become(values)
  task = scheduler.current
  local fn = manage_terms.resolve(values["function"][1])
  local ok, fault = xpcall(fn, traceback.handler, object)
  local is_end = stop_asked.is_open and scheduler.is_cancelled(traceback.unwrap(fault))
  if stop_asked.is_open and not task.cancelled then handled:wait(nil, "managed") end
  if not ok and not is_end then error(fault, 0) end
end

--- The process is asked to end. Its function has time to, if it looks; else what it waits for raises.
--- Yields when a handler does.
function managed.stop()
  stop_asked:open()
  for _, handler in ipairs(handlers) do
    local ok, fault = xpcall(handler, traceback.handler, object)
    if not ok then log.error("in process:on_stop: %s", traceback.text(fault)) end
  end
  handled:open()
  if not watched and task then scheduler.cancel(task, "the process is to end") end
end

return managed
