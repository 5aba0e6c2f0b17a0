--- A worker process: its hooks, and what the app knows about it. Called from C, after the fork.
local abi = require "perigee.abi"
local app_module = require "perigee.app"
local boot = require "perigee.boot"
local handles = require "perigee.handles"
local health = require "perigee.health"
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
  local pid = number("pid")
  phase.current = "worker"
  handles.unwatch()
  log_jit(pid)
  math.randomseed(pid * 65537 + os.time())
  request.id_prefix = ("%x%x"):format(os.time(), pid)
  abi.C.http_request_id_prefix(request.id_prefix)
  local own = member.new {
    name = ("%s-%d"):format(values.role and values.role[1] or "worker", number("slot")),
    role = "worker",
    pid = pid,
    slot = number("slot"),
    generation = number("generation"),
  }
  for _, app in ipairs(boot.apps) do app_module.set(app, "m", own) end
  boot.run "before_server_start"
end

--- Runs after_server_start, then starts what runs in the background, whether or not that raised.
function worker.after_start()
  local ok, problem = pcall(boot.run, "after_server_start")
  for _, app in ipairs(boot.apps) do app.background:start(app) end
  if not ok then error(problem, 0) end
end

--- Runs before_server_stop, then ends what runs in the background, whether or not that raised.
---@param how string "shutdown" when nobody takes over; else ""
function worker.before_stop(how)
  if how == "shutdown" then health.end_ready() end
  local ok, problem = pcall(boot.run, "before_server_stop")
  for i = #boot.apps, 1, -1 do boot.apps[i].background:stop() end
  if not ok then error(problem, 0) end
end

--- Runs after_server_stop.
function worker.after_stop()
  boot.run "after_server_stop"
end
--- The drain begins, before_server_stop is done: ends what would not end by itself. Does not yield.
function worker.drain()
  require("perigee.sse").drain()
end


return worker
