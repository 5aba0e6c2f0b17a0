--- Parameters of header fields, as in `form-data; name="a b"; filename=x` (RFC 9110, 5.6.6).
local find, sub, byte = string.find, string.sub, string.byte

local parameters = {}

--- A quoted string that begins at `position`. A backslash escapes quotes and backslashes; before
--- anything else it stays, as there are clients that send Windows paths unescaped.
---@return string|nil value
---@return number|nil position behind it
local function quoted(text, position)
  local parts, from = {}, position + 1
  while true do
    local at = find(text, '["\\]', from)
    if not at then return nil end
    parts[#parts + 1] = sub(text, from, at - 1)
    if byte(text, at) == 34 then return table.concat(parts), at + 1 end
    local escaped = sub(text, at + 1, at + 1)
    parts[#parts + 1] = (escaped == '"' or escaped == "\\") and escaped or "\\" .. escaped
    from = at + 2
  end
end

--- Reads "name=value" at `position`.
---@return string|nil name lower case
---@return string|nil value
---@return number|nil position behind it
function parameters.pair(text, position)
  local _, stop, name = find(text, "^([%w!#$%%&'*+.^_`|~-]+)[ \t]*=[ \t]*", position)
  if not stop then return nil end
  local value
  if byte(text, stop + 1) == 34 then
    value, position = quoted(text, stop + 1)
  else
    -- more than a token: there are senders that leave the quotes of "[::1]:80" or "a/b" out
    _, position, value = find(text, '^([^%s;,"]*)', stop + 1)
    position = position + 1
  end
  if not value then return nil end
  return name:lower(), value, position
end

--- Reads ";name=value" pairs up to the end.
---@param text string
---@param position number
---@return table<string, string>|nil # name in lower case → value; nil when malformed or a name comes twice
function parameters.all(text, position)
  local found = {}
  while true do
    local _, stop = find(text, "^[ \t]*;[ \t]*", position)
    if not stop then return find(text, "^[ \t]*$", position) and found or nil end
    if stop == #text then return found end
    local name, value, after = parameters.pair(text, stop + 1)
    if not name or found[name] then return nil end
    found[name] = value
    position = after
  end
end

--- Takes "value; name=value" apart.
---@param text string
---@return string|nil value lower case
---@return table<string, string>|nil # nil when malformed
function parameters.split(text)
  local _, stop, value = find(text, "^[ \t]*([^ \t;]+)")
  if not stop then return nil end
  return value:lower(), parameters.all(text, stop + 1)
end

return parameters
