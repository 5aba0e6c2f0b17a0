--- Commands that an app gives its inspector: app:inspector_command(name, fn, options).
---
---     app:inspector_command("forget", function(args) return app.shared.cache:delete(args.key) end,
---       { help = "forget a page", args = { key = { type = "string", required = true } } })
---
---     perigee inspect forget key=/index.html
local caller = require "perigee.caller"
local json = require "perigee.json"
local nearest = require "perigee.nearest"
local traceback = require "perigee.traceback"

local commands = {}

local types = { string = true, number = true, boolean = true }
local type_names = { "boolean", "number", "string" }
local taken = { reload = true, restart = true, scale = true, shutdown = true, requests = true, top = true,
  logs = true, state = true }

local function check_argument(what, name, one)
  if type(name) ~= "string" or not name:find("^[%a_][%w_]*$") then
    caller.fail("%s: an argument's name is a word, not %s", what, tostring(name))
  end
  caller.check(one, "table", ("%s: the argument '%s'"):format(what, name))
  for key in pairs(one) do
    if key ~= "type" and key ~= "required" and key ~= "default" and key ~= "help" then
      caller.fail("%s: the argument '%s': unknown option '%s'%s", what, name, tostring(key),
        nearest.hint(tostring(key), { "type", "required", "default", "help" }))
    end
  end
  if not types[one.type] then
    caller.fail("%s: the argument '%s': the type must be one of %s, not %s%s", what, name,
      table.concat(type_names, ", "), tostring(one.type), nearest.hint(tostring(one.type), type_names))
  end
end

--- Declares a command. Raises at the caller's place.
---@param list table<string, table> the app's commands so far
function commands.add(list, name, fn, options)
  local what = "app:inspector_command"
  caller.check(name, "string", what .. ": the name")
  what = ("%s('%s')"):format(what, name)
  if not name:find("^%a[%w_-]*$") then caller.fail("%s: a name is a word", what) end
  if taken[name] or list[name] then
    caller.fail("%s: there is such a command already%s", what,
      list[name] and ", at " .. list[name].place or "")
  end
  caller.check(fn, "function", what .. ": the function")
  options = options or {}
  caller.check(options, "table", what .. ": the options")
  for key in pairs(options) do
    if key ~= "help" and key ~= "args" then
      caller.fail("%s: unknown option '%s'%s", what, tostring(key),
        nearest.hint(tostring(key), { "args", "help" }))
    end
  end
  for argument, one in pairs(options.args or {}) do check_argument(what, argument, one) end
  list[name] = { fn = fn, help = options.help, args = options.args or {}, place = caller.place() }
end

--- The commands of an app, as clients are told of them.
---@param app perigee.App
---@return table[]
function commands.list(app)
  local found = {}
  for name, command in pairs(app.inspector_commands) do
    local arguments = {}
    for argument, one in pairs(command.args) do
      arguments[#arguments + 1] = { name = argument, type = one.type, required = one.required or false,
        default = one.default, help = one.help }
    end
    table.sort(arguments, function(a, b) return a.name < b.name end)
    found[#found + 1] = { name = name, help = command.help, args = json.array(arguments) }
  end
  table.sort(found, function(a, b) return a.name < b.name end)
  return json.array(found)
end

local readers = {
  string = function(value) return type(value) == "string" and value or nil end,
  number = function(value) return type(value) ~= "boolean" and tonumber(value) or nil end,
  boolean = function(value)
    if type(value) == "boolean" then return value end
    if value == "true" or value == "1" then return true end
    if value == "false" or value == "0" then return false end
    return nil
  end,
}

--- Arguments as they were declared, of what a client sent; or nil and what is wrong.
local function read_arguments(command, given)
  local result, names = {}, {}
  for name, one in pairs(command.args) do
    names[#names + 1] = name
    local value = given[name]
    if value == nil or value == json.null then
      if one.required then return nil, ("the argument '%s' is missing"):format(name) end
      result[name] = one.default
    else
      result[name] = readers[one.type](value)
      if result[name] == nil then
        return nil, ("the argument '%s' must be a %s, not %s"):format(name, one.type, tostring(value))
      end
    end
  end
  for name in pairs(given) do
    if not command.args[name] then
      return nil, ("there is no argument '%s'%s"):format(name, nearest.hint(name, names))
    end
  end
  return result
end

--- Runs a command. Yields when it does.
---@param app perigee.App
---@param name string
---@param given table argument → value, as a client sent it
---@return any # what it returned
---@return string|nil # or nil, message, code: "ENOENT", "EINVAL", "failed"
---@return string|nil
function commands.run(app, name, given)
  local command = app.inspector_commands[name]
  if not command then
    local names = {}
    for other in pairs(app.inspector_commands) do names[#names + 1] = other end
    return nil, ("there is no command '%s'%s"):format(name, nearest.hint(name, names)), "ENOENT"
  end
  local arguments, problem = read_arguments(command, given)
  if not arguments then return nil, ("%s: %s"):format(name, problem), "EINVAL" end
  local ok, result = xpcall(function() return command.fn(arguments) end, traceback.handler)
  if not ok then return nil, ("%s: %s"):format(name, traceback.text(result)), "failed" end
  return result
end

return commands
