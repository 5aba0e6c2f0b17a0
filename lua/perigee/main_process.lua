--- app.manager: what the main process may ask of the manager.
---
--- The main process forks for the manager, so it cannot wait for what takes forks: restart, scale and
--- reload return as soon as they have begun.
local caller = require "perigee.caller"
local control = require "perigee.control"
local nearest = require "perigee.nearest"
local phase = require "perigee.phase"

local main_process = {}

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
  if phase.current == "worker" then
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

return main_process
