--- What the functions of an app were doing when an error was raised: for the error page of
--- development. Values become text at once, within limits, and secrets never do.
local caller = require "perigee.caller"
local traceback = require "perigee.traceback"

local frames = {}

local FRAMES_LIMIT = 20     -- of an app's functions
local VARIABLES_LIMIT = 40  -- of each
local LEVELS_LIMIT = 200    -- looked at
local ENTRIES_LIMIT = 10    -- of a table
local DEPTH_LIMIT = 2       -- of tables in tables
local TEXT_LIMIT = 200      -- bytes of a string
local AROUND = 5            -- source lines before and after

--- What stands for a secret.
frames.MASK = "••••••"

local secret_words = { "password", "passwd", "secret", "token", "authorization", "cookie", "api_?key",
  "credential", "private", "session", "csrf", "signature" }

--- Whether what is called so is nobody's business.
---@param name any
---@return boolean
function frames.is_secret(name)
  if type(name) ~= "string" then return false end
  local lower = name:lower():gsub("%-", "_")
  for _, word in ipairs(secret_words) do
    if lower:find((word:gsub("_%?", "_-"))) then return true end
  end
  return false
end

local function show_string(text)
  local short = #text > TEXT_LIMIT and text:sub(1, TEXT_LIMIT) or text
  local quoted = ("%q"):format(short):gsub("\\\n", "\\n"):gsub("[%c]", function(c)
    return ("\\%d"):format(c:byte())
  end)
  return short == text and quoted or ("%s… (%d bytes)"):format(quoted, #text)
end

local show

local function show_table(value, depth)
  local mt = getmetatable(value)
  local name = type(mt) == "table" and rawget(mt, "__name")
  if type(name) == "string" and name:find("^perigee%.") then return "<" .. name .. ">" end
  if depth >= DEPTH_LIMIT then return "{…}" end
  local parts, count = {}, 0
  for key, element in next, value do
    count = count + 1
    if count > ENTRIES_LIMIT then
      parts[#parts + 1] = "…"
      break
    end
    local plain = type(key) == "string" and key:find("^[%a_][%w_]*$")
    local left = plain and key or "[" .. show(key, DEPTH_LIMIT) .. "]"
    parts[#parts + 1] = left .. " = " .. (frames.is_secret(key) and frames.MASK or show(element, depth + 1))
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

--- A value as text. Calls no metamethod: they are the app's, and might raise.
function show(value, depth)
  local kind = type(value)
  if kind == "string" then return show_string(value) end
  if kind == "table" then return show_table(value, depth) end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  if kind == "function" then
    local info = debug.getinfo(value, "S")
    if info.what == "C" then return "<C function>" end
    return ("<function at %s:%d>"):format(info.short_src, info.linedefined)
  end
  return "<" .. kind .. ">"
end

local function variable(name, value)
  return { name = name, text = frames.is_secret(name) and frames.MASK or show(value, 0) }
end

local function locals_of(level)
  local list = {}
  for i = 1, VARIABLES_LIMIT do
    local name, value = debug.getlocal(level + 1, i)
    if not name then break end
    if not name:find("^%(") then list[#list + 1] = variable(name, value) end
  end
  return list
end

local function upvalues_of(fn)
  local list = {}
  for i = 1, VARIABLES_LIMIT do
    local name, value = debug.getupvalue(fn, i)
    if not name then break end
    if name ~= "" then list[#list + 1] = variable(name, value) end
  end
  return list
end

--- Lines of a file around one, as { number, text }; none when it cannot be read.
local function source_around(source, line)
  local path = source:match("^@(.*)$")
  local file = path and io.open(path, "r")
  if not file then return {} end
  local list, number = {}, 0
  for text in file:lines() do
    number = number + 1
    if number > line + AROUND then break end
    if number >= line - AROUND then list[#list + 1] = { number = number, text = text } end
  end
  file:close()
  return list
end

local function frame_of(level, info)
  return {
    place = info.short_src .. ":" .. info.currentline,
    line = info.currentline,
    name = info.name or "?",
    source = source_around(info.source, info.currentline),
    locals = locals_of(level + 1),
    upvalues = upvalues_of(info.func),
  }
end

--- The frames of the app's functions now, innermost first.
---@return table[] # { place, line, name, source, locals, upvalues }
function frames.capture()
  local list = {}
  for level = 2, LEVELS_LIMIT do
    local info = debug.getinfo(level, "Slnf")
    if not info or #list >= FRAMES_LIMIT then break end
    if info.what ~= "C" and not caller.is_ours(info.source) then
      list[#list + 1] = frame_of(level, info)
    end
  end
  return list
end

--- Message handler for xpcall: traceback.handler, and the frames with it.
---@param value any
---@return any
function frames.handler(value)
  local fault = traceback.handler(value)
  if traceback.is_fault(fault) and not fault.frames then
    local ok, list = pcall(frames.capture)
    fault.frames = ok and list or {}
  end
  return fault
end

return frames
