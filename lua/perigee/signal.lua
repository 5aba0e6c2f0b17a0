--- Signals by name and by number.
local uv = require "luv"

local caller = require "perigee.caller"

local signal = {}

---@type table<number, string> "SIGTERM" by its number
signal.names = {}
for name, number in pairs(uv.constants) do
  if name:find("^SIG%u") then signal.names[number] = name end
end

--- The number of a signal. Raises at the caller's place when it is none.
---@param what string for messages: "process:kill"
---@param value string|number "SIGTERM", "term", 15
---@return number
function signal.number(what, value)
  local number = type(value) == "number" and value or nil
  if type(value) == "string" then
    local name = value:upper()
    number = uv.constants[name:find("^SIG") and name or "SIG" .. name]
  end
  if not number or number % 1 ~= 0 or number < 1 or number > 64 then
    caller.fail("%s: %s is no signal", what, tostring(value))
  end
  return number
end

return signal
