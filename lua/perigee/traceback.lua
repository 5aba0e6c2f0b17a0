--- Errors with the way they took: caught where they are raised, without Perigee's own frames.
local caller = require "perigee.caller"

local traceback = {}

--- An error together with its traceback; what `handler` makes of most errors.
---@class perigee.Fault
---@field error any what was raised
---@field traceback string "stack traceback:\n\tapp.lua:12: …"
---@field frames table[]|nil in development, see perigee.frames
local fault_mt = { __name = "perigee.fault" }

--- An error value's own text.
---@param value any
---@return string
function traceback.message(value)
  if type(value) == "string" then return value end
  local ok, text = pcall(tostring, value)
  if not ok then return "(an error whose __tostring fails)" end
  local mt = getmetatable(value)
  if type(value) == "table" and not (type(mt) == "table" and mt.__tostring) then
    if type(value.message) == "string" then return value.message end
    return "(error object is a table without __tostring)"
  end
  return text
end

--- Drops the frames of Perigee's own modules and of the calls that led into them.
---@param text string as debug.traceback makes it
---@return string # "" when no frame is left that says anything
function traceback.trim(text)
  local kept, telling = {}, false
  for line in text:gmatch("[^\n]+") do
    local place = line:match("^\t([^%[].-): in ")
    place = place and place:gsub(":%d+$", "")
    local ours = place and caller.is_ours("@" .. place)
    local plumbing = line:find("^\t%[C%]: in function 'x?pcall'") or line:find("^\t%[C%]: at 0x")
      or line == "\t[C]: in function 'error'" or line == "\t[C]: in function 'require'"
    if not ours and not plumbing then kept[#kept + 1] = line end
    telling = telling or place ~= nil and not ours
  end
  if not telling then return "" end
  return table.concat(kept, "\n")
end

local function is_quiet(value)
  local mt = getmetatable(value)
  return mt == fault_mt or type(mt) == "table" and mt.quiet
end

--- Message handler for xpcall. Errors that are part of the flow (http.abort, cancellation: their
--- metatable says `quiet`) pass as they are, all others become a perigee.Fault.
function traceback.handler(value)
  if is_quiet(value) then return value end
  return setmetatable({ error = value, traceback = traceback.trim(debug.traceback("", 2)) }, fault_mt)
end

--- The same for the error that a coroutine died of.
---@param co thread
---@param value any
---@return perigee.Fault|any
function traceback.of(co, value)
  if is_quiet(value) then return value end
  local text = traceback.trim(debug.traceback(co, ""))
  -- LuaJIT knows the line of every frame but the innermost, which the message tells
  local place, line = traceback.message(value):match("^([^\n]-):(%d+): ")
  if place then
    local innermost = "^(stack traceback:\n\t" .. place:gsub("%p", "%%%0") .. ")(: in )"
    text = text:gsub(innermost, "%1:" .. line .. "%2")
  end
  return setmetatable({ error = value, traceback = text }, fault_mt)
end

--- Whether a value is a perigee.Fault.
---@return boolean
function traceback.is_fault(value)
  return getmetatable(value) == fault_mt
end

--- What was raised, taken out of its fault.
function traceback.unwrap(value)
  if getmetatable(value) == fault_mt then return value.error end
  return value
end

--- The text for a log: message on the first line, then the traceback.
---@param value any an error, or a perigee.Fault
---@return string
function traceback.text(value)
  local text = traceback.message(traceback.unwrap(value))
  if getmetatable(value) == fault_mt and value.traceback ~= "" then
    text = text .. "\n" .. value.traceback
  end
  return text
end

fault_mt.__tostring = traceback.text

return traceback
