--- Whose line is at fault: errors that name the place in the user's code, not in ours.
local caller = {}

local getinfo = debug.getinfo

--- Whether a chunk belongs to Perigee itself.
---@param source string as debug.getinfo gives it: "@perigee/app.lua"
---@return boolean
function caller.is_ours(source)
  return source:find("^@perigee/") ~= nil or source:find("lua/perigee/[%w_/]+%.lua$") ~= nil
end

--- The innermost place in code that is not Perigee's.
---@return string # "app.lua:12", or "?" when there is none
function caller.place()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if not info then return "?" end
    if info.what ~= "C" and not caller.is_ours(info.source) then
      return info.short_src .. ":" .. info.currentline
    end
    level = level + 1
  end
end

--- The same in a coroutine that waits.
---@param co thread
---@return string|nil # "app.lua:12"
function caller.place_in(co)
  for level = 0, 50 do
    local info = getinfo(co, level, "Sl")
    if not info then return nil end
    if info.what ~= "C" and not caller.is_ours(info.source) then
      return info.short_src .. ":" .. info.currentline
    end
  end
  return nil
end

--- The place a function was written at.
---@param fn function
---@return string # "app.lua:12"
function caller.place_of(fn)
  local info = getinfo(fn, "S")
  return info.short_src .. ":" .. info.linedefined
end

--- Raises an error at the caller's place.
---@param format string as string.format
function caller.fail(format, ...)
  error(caller.place() .. ": " .. format:format(...), 0)
end

--- Raises unless `value` is of `kind`.
---@param value any
---@param kind string a Lua type
---@param what string how the message calls the value: "app:get: the handler"
function caller.check(value, kind, what)
  if type(value) ~= kind then
    caller.fail("%s must be a %s, not %s", what, kind, value == nil and "nil" or "a " .. type(value))
  end
end

return caller
