--- A worker process: its hooks, and what the app knows about it. Called from C, after the fork.
local abi = require "perigee.abi"
local app_module = require "perigee.app"
local boot = require "perigee.boot"
local handles = require "perigee.handles"
local health = require "perigee.health"
local listeners = require "perigee.listeners"
local log = require "perigee.log"
local member = require "perigee.member"
local phase = require "perigee.phase"
local record = require "perigee.record"
local request = require "perigee.request"

local worker = {}

--- Writes what the JIT compiler does to $PERIGEE_JIT_LOG.<pid>: -jv for a worker.
local function log_jit(pid)
  local path = os.getenv("PERIGEE_JIT_LOG")
  if not path then return end
  local ok, verbose = pcall(require, "jit.v")
  if ok then
    verbose.on(path .. "." .. pid)
  else
    log.warn("PERIGEE_JIT_LOG: LuaJIT's module jit.v is not installed")
  end
end

--- Becomes a worker and runs before_server_start. Yields when a hook does.
---@param block string record block: slot, generation, pid, role
function worker.before_start(block)
  local values = record.parse(block)
  local function number(key) return tonumber(values[key] and values[key][1]) end
  local app, pid = boot.app, number("pid")
  phase.current = "worker"
  handles.unwatch()
  log_jit(pid)
  math.randomseed(pid * 65537 + os.time())
  request.id_prefix = ("%x%x"):format(os.time(), pid)
  abi.C.http_request_id_prefix(request.id_prefix)
  app_module.set(app, "m", member.new {
    name = ("%s-%d"):format(values.role and values.role[1] or "worker", number("slot")),
    role = "worker",
    pid = pid,
    slot = number("slot"),
    generation = number("generation"),
  })
  listeners.run(app.listeners, "before_server_start", app)
end

local function run(name)
  listeners.run(boot.app.listeners, name, boot.app)
end

--- Runs after_server_start, then starts what runs in the background, whether or not that raised.
function worker.after_start()
  local ok, problem = pcall(run, "after_server_start")
  boot.app.background:start(boot.app)
  if not ok then error(problem, 0) end
end

--- Runs before_server_stop, then ends what runs in the background, whether or not that raised.
---@param how string "shutdown" when nobody takes over; else ""
function worker.before_stop(how)
  if how == "shutdown" then health.end_ready() end
  local ok, problem = pcall(run, "before_server_stop")
  boot.app.background:stop()
  if not ok then error(problem, 0) end
end

--- Runs after_server_stop.
function worker.after_stop()
  run("after_server_stop")
end
--- The drain begins, before_server_stop is done: ends what would not end by itself. Does not yield.
function worker.drain()
  require("perigee.sse").drain()
end


return worker
