--- app.manager: what the main process may ask of the manager.
---
--- The main process forks for the manager, so it cannot wait for what takes forks: restart, scale and
--- reload return as soon as they have begun.
local caller = require "perigee.caller"
local control = require "perigee.control"
local manage_terms = require "perigee.manage_terms"
local nearest = require "perigee.nearest"
local phase = require "perigee.phase"

local main_process = {}

---@class perigee.ManageOptions
---@field workers number|nil processes of it, 1 to 64
---@field transient boolean|nil restarted with the workers, at a restart of all and at a reload
---@field restartable boolean|nil may be restarted by name; default: transient
---@field tracked boolean|nil its row stays when it is over; default true, of app.m:manage false
---@field auto_start boolean|nil false: not before it is restarted by name
---@field restart "always"|"on_failure"|"never"|nil when it ends of its own accord; default "on_failure"
---@field max_restarts number|nil of its own accord `within` so many seconds, else it is given up; 10, 60
---@field within number|nil
---@field notify boolean|nil a function is ready when it calls process:ready()
---@field start_timeout number|nil seconds until it is ready
---@field stop_signal string|number|nil of a command; default SIGTERM
---@field stop_timeout number|nil seconds it has to stop; default the setting graceful_timeout
---@field env table<string, string|number|false>|nil changes to the environment; false takes one away
---@field cwd string|nil
---@field user string|nil
---@field rlimits table<string, number|"unlimited"|table>|nil by name: nofile, as, cpu …; or { soft, hard }

---@class perigee.Manager
local methods = {}
local manager_mt = { __name = "perigee.manager" }

function manager_mt.__index(_, key)
  local method = methods[key]
  if method then return method end
  local names = {}
  for name in pairs(methods) do names[#names + 1] = name end
  caller.fail("app.manager has no '%s'%s", tostring(key), nearest.hint(tostring(key), names))
end

function manager_mt.__newindex(_, key)
  caller.fail("app.manager.%s cannot be set", tostring(key))
end

---@return perigee.Manager
function main_process.new()
  return setmetatable({}, manager_mt)
end

local function check_phase(what)
  if phase.single then return end -- and the answer is that there is no manager
  if phase.is_forked() then
    caller.fail("%s is for the main process; here it is app.m", what)
  end
  if phase.current ~= "main" then
    caller.fail("%s: nothing is served yet; call it in a main_process_ready listener", what)
  end
end

--- As app.m:restart, and returns as soon as it has begun. Yields.
---@param names string|string[] "worker-0", "all"
---@param options { order: "startup_first"|"shutdown_first"|nil }|nil
---@return true|nil # or nil, message, code
---@return string|nil
---@return string|nil
function methods:restart(names, options) -- luacheck: no self
  check_phase "app.manager:restart"
  return control.restart("app.manager:restart", names or "all", options)
end

--- As app.m:scale, and returns as soon as it has begun. Yields.
---@param count number 1 to 256
---@return true|nil # or nil, message, code
---@return string|nil
---@return string|nil
function methods:scale(count) -- luacheck: no self
  check_phase "app.manager:scale"
  return control.scale("app.manager:scale", count)
end

--- As app.m:reload, and returns as soon as it has begun. Yields.
---@return true|nil # or nil, message, code
---@return string|nil
---@return string|nil
function methods:reload() -- luacheck: no self
  check_phase "app.manager:reload"
  return control.ask("app.manager:reload", "reload")
end

--- Stops the whole app, as SIGTERM does. Yields.
---@return true|nil # or nil, message, code
---@return string|nil
---@return string|nil
function methods:terminate() -- luacheck: no self
  check_phase "app.manager:terminate"
  return control.ask("app.manager:terminate", "terminate")
end

--- Gives a function a name by which app.m:manage can start it; manage does the same for its own.
--- Raises at the caller's place; does not yield.
---@param name string
---@param fn fun(process: perigee.ManagedProcess)
function methods:register(name, fn) -- luacheck: no self
  if phase.is_forked() then caller.fail("app.manager:register is for the main process") end
  manage_terms.check_name("app.manager:register", name)
  manage_terms.register("app.manager:register", name, fn)
end

--- Has a process looked after beside the workers, started once the code is what serves: a function of
--- the app's in a process of its own, or a command. Raises at the caller's place on what is wrong with
--- the arguments. In main_process_ready it yields, and returns as soon as it has begun; before that it
--- becomes part of the plan.
---@param name string 1 to 31 of A-Z a-z 0-9 _ . -
---@param target fun(process: perigee.ManagedProcess)|string[]|string the function, argv, or the name of
---   a function: a registered one, or "module.function"
---@param options perigee.ManageOptions|nil
---@return true|nil # or nil, message, code: "EEXIST", "stopping", "busy"
---@return string|nil
---@return string|nil
function methods:manage(name, target, options) -- luacheck: no self
  if phase.single then
    caller.fail "app.manager:manage: there is no manager: the app runs with --single-process"
  end
  local what = "app.manager:manage"
  if phase.is_forked() then caller.fail("%s is for the main process; here it is app.m:manage", what) end
  manage_terms.check_name(what, name)
  if type(target) == "function" then
    manage_terms.register(what, name, target)
    target = name
  elseif type(target) ~= "string" then
    caller.check(target, "table", what .. ": the function, or the command,")
  end
  local fields = manage_terms.make(what, name, target, options, true)
  if phase.current == "main" then
    fields.name = name
    return control.ask(what, "manage", fields)
  end
  manage_terms.declare(what, name, fields)
  return true
end

return main_process
