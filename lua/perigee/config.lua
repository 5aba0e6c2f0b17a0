--- The config script: plain Lua whose globals, or returned table, are settings.
---
---     workers = 4
---     body_limit = "10 MiB"
---     app:main_process_start(function(app) … end)
local settings = require "perigee.settings"
local traceback = require "perigee.traceback"

local config = {}

--- Globals of a config script: writes are settings, noted with their line; reads see Lua's own
--- globals, `app`, `apps` by name, and what was set.
local function environment(list, written, lines)
  local by_name = {}
  for _, entry in ipairs(list) do by_name[entry.app.name] = entry.app end
  return setmetatable({}, {
    __index = function(_, name)
      if written[name] ~= nil then return written[name] end
      if name == "app" then return list[1].app end
      if name == "apps" then return by_name end
      return _G[name]
    end,
    __newindex = function(_, name, value)
      written[name] = value
      lines[name] = debug.getinfo(2, "l").currentline
    end,
  })
end

--- Runs a config script and gives its settings to the apps it is for; `bind` only to the first.
---@param path string
---@param list perigee.ServedApp[]
function config.load(path, list)
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  local written, lines = {}, {}
  setfenv(chunk, environment(list, written, lines))
  local ok, result = xpcall(chunk, traceback.handler)
  if not ok then error(result, 0) end
  if type(result) == "table" then
    for name, value in pairs(result) do written[name] = value end
  elseif result ~= nil then
    error(("%s:1: a config script returns a table of settings or nothing, not a %s"):format(
      path, type(result)), 0)
  end
  if written.config ~= nil then
    error(("%s:%d: setting 'config' cannot be set in a config script"):format(path, lines.config or 1), 0)
  end
  for _, entry in ipairs(list) do
    settings.give_all(entry.given, written, function(name)
      return ("%s:%d"):format(path, lines[name] or 1)
    end)
    written.bind = nil
  end
end

return config
