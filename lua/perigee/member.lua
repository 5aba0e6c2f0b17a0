--- app.m: this process among those of its app, and what it may ask of the manager.
---
---     app:post("/scale/<n:int>", function(req, n)
---       local ok, message = app.m:scale(n)
---       return { ok = ok or false, message = message }
---     end)
local caller = require "perigee.caller"
local control = require "perigee.control"
local manage_terms = require "perigee.manage_terms"
local nearest = require "perigee.nearest"
local state = require "perigee.state"

local member = {}

---@class perigee.Member
---@field name string "worker-0", or of a managed process
---@field role "worker"|"managed"
---@field pid number
---@field slot number of a worker
---@field generation number
---@field state table what all can read of this process; yours to add to: app.m.state.queue = 7
---@field workers perigee.ProcessRow[] all processes of the app, see perigee.state
---@field totals table what all processes that are and were have counted, added up
local methods = {}

local getters = { workers = state.rows, totals = state.totals }

--- What cannot be found; with the names of what there is.
local function missing(fields, key)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  for name in pairs(methods) do names[#names + 1] = name end
  for name in pairs(getters) do names[#names + 1] = name end
  table.sort(names)
  caller.fail("app.m has no '%s'%s", tostring(key), nearest.hint(tostring(key), names))
end

--- app.m of a process.
---@param fields { name: string, pid: number, slot: number|nil, generation: number }
---@return perigee.Member
function member.new(fields)
  fields.state = state.own()
  return setmetatable({}, {
    __name = "perigee.member",
    __index = function(_, key)
      local value = fields[key] or methods[key]
      if value ~= nil then return value end
      return getters[key] and getters[key]() or missing(fields, key)
    end,
    __newindex = function(_, key) caller.fail("app.m.%s cannot be set", tostring(key)) end,
  })
end

--- Replaces processes by fresh ones of the same code, one slot at a time (see the setting
--- restart_keep), this one last. Yields until the new ones are ready; a process that cannot start
--- ends it, and the workers that are left go on. Raises at the caller's place on wrong arguments.
---@param names string|string[]|nil "worker-0", "all", a managed process's; default: this process
---@param options { order: "startup_first"|"shutdown_first"|nil }|nil default: the setting restart_order
---@return true|nil # with a note when this process goes before all is known
---@return string|nil # or nil, message, code: "ENOENT", "EPERM" (not restartable), "EBUSY" (it runs, and
---   is not transient), "failed", "superseded", "stopping", "busy"
---@return string|nil
function methods:restart(names, options) -- luacheck: no self
  return control.restart("app.m:restart", names, options)
end

--- Changes how many workers there are. Yields until all of them serve; those that are too many
--- finish what they have after that. Raises at the caller's place when `count` is no number.
---@param count number 1 to 256
---@return true|nil # or nil, message, code: "EINVAL", "failed", "superseded", "stopping", "busy"
---@return string|nil
---@return string|nil
function methods:scale(count) -- luacheck: no self
  return control.scale("app.m:scale", count)
end

--- Has a process looked after beside the workers. Yields until it is ready. Raises at the caller's
--- place on what is wrong with the arguments.
---@param name string 1 to 31 of A-Z a-z 0-9 _ . -
---@param target string[]|string argv, or the name of a function: a registered one (app.manager:register),
---   or "module.function"
---@param options perigee.ManageOptions|nil
---@return true|nil # or nil, message, code: "EEXIST", "failed", "superseded", "stopping", "busy"
---@return string|nil
---@return string|nil
function methods:manage(name, target, options) -- luacheck: no self
  local what = "app.m:manage"
  if type(target) == "function" then
    caller.fail("%s: a function made here is in no other process; give the name of one that "
      .. "app.manager:register was given, \"module.function\", or a command", what)
  elseif type(target) ~= "string" then
    caller.check(target, "table", what .. ": the command, or the function's name,")
  end
  local fields = manage_terms.make(what, name, target, options, false)
  fields.name = name
  return control.ask(what, "manage", fields)
end

--- Stops managed processes, by name: app.m:restart starts them again. Yields until they are gone.
--- Raises at the caller's place on wrong arguments.
---@param names string|string[]|nil default: this process
---@return true|nil # with a note when this process goes itself
---@return string|nil # or nil, message, code: "ENOENT", "EINVAL", "stopping", "busy"
---@return string|nil
function methods:stop(names) -- luacheck: no self
  return control.stop("app.m:stop", names)
end

--- Loads the code anew. Yields until every worker has it, or it was refused; this worker is among
--- those that are replaced, so it may be told, as a note, that the others follow.
---@return true|nil # or nil, message (what is wrong with the code), code: "failed", "stopping", "busy"
---@return string|nil
---@return string|nil
function methods:reload() -- luacheck: no self
  return control.ask("app.m:reload", "reload")
end

--- Has the program itself replaced by the one that is at its path now, as SIGUSR2 does: the same pid, no
--- connection lost. Yields until the new one has said whether it can take over, which it does next.
---@return true|nil # with a note; or nil, message, code: "failed", "stopping", "busy"
---@return string|nil
---@return string|nil
function methods:upgrade() -- luacheck: no self
  return control.ask("app.m:upgrade", "upgrade")
end

--- Stops the whole app, as SIGTERM does. Yields until the manager has begun to.
---@return true|nil # or nil, message, code
---@return string|nil
---@return string|nil
function methods:terminate() -- luacheck: no self
  return control.ask("app.m:terminate", "terminate")
end

return member
