--- The config script: plain Lua whose globals, or returned table, are settings.
---
---     workers = 4
---     body_limit = "10 MiB"
---     app:main_process_start(function(app) … end)
local settings = require "perigee.settings"
local traceback = require "perigee.traceback"

local config = {}

--- Globals of a config script: writes are settings, noted with their line; reads see Lua's own
--- globals, `app`, and what was set.
local function environment(app, written, lines)
  return setmetatable({}, {
    __index = function(_, name)
      if written[name] ~= nil then return written[name] end
      if name == "app" then return app end
      return _G[name]
    end,
    __newindex = function(_, name, value)
      written[name] = value
      lines[name] = debug.getinfo(2, "l").currentline
    end,
  })
end

--- Runs a config script and gives its settings.
---@param path string
---@param app perigee.App
---@param given perigee.Given
function config.load(path, app, given)
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  local written, lines = {}, {}
  setfenv(chunk, environment(app, written, lines))
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
  settings.give_all(given, written, function(name)
    return ("%s:%d"):format(path, lines[name] or 1)
  end)
end

return config
