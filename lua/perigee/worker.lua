--- A worker process: its hooks, and what the app knows about it. Called from C, after the fork.
local abi = require "perigee.abi"
local app_module = require "perigee.app"
local apps = require "perigee.apps"
local boot = require "perigee.boot"
local handles = require "perigee.handles"
local health = require "perigee.health"
local log = require "perigee.log"
local manage_terms = require "perigee.manage_terms"
local member = require "perigee.member"
local phase = require "perigee.phase"
local record = require "perigee.record"
local request = require "perigee.request"

local worker = {}

local hooked -- the apps whose hooks run in this process

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

--- A managed process that serves clients: which app it serves, its function says. The hooks of the app
--- that was loaded are for workers, and do not run in it.
local function serve_managed(values)
  local make = manage_terms.resolve(values["function"][1])
  local own = make(boot.app, values)
  app_module.freeze(own)
  require("perigee.dispatch").install(own)
  hooked = { own }
end

--- Becomes a worker and runs before_server_start. Yields when a hook does.
---@param block string record block: slot, generation, pid, role; of a managed process its terms too
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
  local is_managed = values.role[1] == "managed"
  local own = member.new {
    name = is_managed and values.process[1] or ("worker-%d"):format(number("slot")),
    role = values.role[1],
    pid = pid,
    slot = not is_managed and number("slot") or nil,
    generation = number("generation"),
  }
  for _, app in ipairs(boot.apps) do app_module.set(app, "m", own) end
  hooked = boot.apps
  if is_managed then serve_managed(values) end
  apps.run(hooked, "before_server_start")
end

--- Runs after_server_start, then starts what runs in the background, whether or not that raised.
function worker.after_start()
  local ok, problem = pcall(apps.run, hooked, "after_server_start")
  for _, app in ipairs(hooked) do app.background:start(app) end
  if not ok then error(problem, 0) end
end

--- Runs before_server_stop, then ends what runs in the background, whether or not that raised.
---@param how string "shutdown" when nobody takes over; else ""
function worker.before_stop(how)
  if how == "shutdown" then health.end_ready() end
  local ok, problem = pcall(apps.run, hooked, "before_server_stop")
  for i = #hooked, 1, -1 do hooked[i].background:stop() end
  if not ok then error(problem, 0) end
end

--- Runs after_server_stop.
function worker.after_stop()
  apps.run(hooked, "after_server_stop")
end

--- The drain begins, before_server_stop is done: ends what would not end by itself. Does not yield.
function worker.drain()
  require("perigee.sse").drain()
end

return worker
