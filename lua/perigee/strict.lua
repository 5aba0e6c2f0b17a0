--- Strict globals: a mistyped name in app code is an error where it happens.
---
--- App code is every Lua file below the app's folder, and every file loaded under a relative path.
--- There, writing a global that does not exist yet and reading one that does not exist raise.
--- Libraries (installed rocks, anything in lua_modules or share/lua) and modules written in C do
--- as they always did. Who wants a global writes rawset(_G, "name", value) once.
local strict = {}

local getinfo = debug.getinfo

--- Whether a chunk is app code.
---@param source string as debug.getinfo gives it
---@param root string the app's folder, absolute, with a slash at its end
---@return boolean
function strict.is_app_code(source, root)
  if source:byte() ~= 64 then return false end -- not "@": made from a string
  local path = source:sub(2)
  if path:find("^perigee/") or path:find("lua_modules/", 1, true) or path:find("share/lua", 1, true) then
    return false
  end
  return path:byte() ~= 47 or path:sub(1, #root) == root
end

local function is_code_of(roots, source)
  for _, root in ipairs(roots) do
    if strict.is_app_code(source, root) then return true end
  end
  return false
end

--- Guards a table of globals, once more for each app.
---@param globals table usually _G
---@param root string the app's folder, absolute, with a slash at its end
function strict.install(globals, root)
  local mt = getmetatable(globals) or {}
  mt.app_roots = mt.app_roots or {}
  table.insert(mt.app_roots, root)
  local function place()
    local info = getinfo(3, "Sl")
    if not info or info.what == "C" or not is_code_of(mt.app_roots, info.source) then return nil end
    return info.short_src .. ":" .. info.currentline
  end
  function mt.__newindex(t, name, value)
    local where = place()
    if where then
      error(("%s: write to the undeclared global '%s'; say `local %s`, or rawset(_G, \"%s\", …) "
        .. "when it is meant"):format(where, tostring(name), tostring(name), tostring(name)), 0)
    end
    rawset(t, name, value)
  end
  function mt.__index(_, name)
    local where = place()
    if where then
      error(("%s: no such variable: '%s'"):format(where, tostring(name)), 0)
    end
    return nil
  end
  setmetatable(globals, mt)
end

return strict
