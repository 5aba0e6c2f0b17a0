--- Percent-encoding, and application/x-www-form-urlencoded: queries and forms.
local find, sub, byte, char = string.find, string.sub, string.byte, string.char
local concat = table.concat

local urlencoded = {}

--- "2f", "2F", … → the byte.
local hex = {}
do
  local digits = "0123456789abcdefABCDEF"
  for i = 1, #digits do
    for j = 1, #digits do
      local pair = sub(digits, i, i) .. sub(digits, j, j)
      hex[pair] = char(tonumber(pair, 16))
    end
  end
end

--- Decodes percent-escapes, once. What is no escape stays as it is.
---@param text string
---@param plus boolean|nil whether "+" is a space
---@return string
function urlencoded.decode(text, plus)
  if not find(text, "%", 1, true) and not (plus and find(text, "+", 1, true)) then return text end
  local parts, count, position = {}, 0, 1
  for i = 1, #text do
    if i >= position then
      local c = byte(text, i)
      local value = c == 37 and hex[sub(text, i + 1, i + 2)] or c == 43 and plus and " "
      if value then
        parts[count + 1], parts[count + 2] = sub(text, position, i - 1), value
        count = count + 2
        position = i + (c == 37 and 3 or 1)
      end
    end
  end
  parts[count + 1] = sub(text, position)
  return concat(parts)
end

--- Calls `each(into, name, value)` for every pair.
local function pairs_of(text, each, into)
  local position, size = 1, #text
  while position <= size do
    local stop = find(text, "&", position, true) or size + 1
    if stop > position then
      local equals = find(text, "=", position, true)
      if not equals or equals > stop then equals = stop end
      each(into, urlencoded.decode(sub(text, position, equals - 1), true),
        urlencoded.decode(sub(text, equals + 1, stop - 1), true))
    end
    position = stop + 1
  end
  return into
end

local function keep_first(into, name, value)
  if into[name] == nil then into[name] = value end
end

--- Name → its first value.
---@param text string
---@return table<string, string>
function urlencoded.first_values(text)
  return pairs_of(text, keep_first, {})
end

local function keep_all(into, name, value)
  if name == into.name then into.list[#into.list + 1] = value end
end

--- All values of one name, in order.
---@param text string
---@param name string
---@return string[]
function urlencoded.values(text, name)
  return pairs_of(text, keep_all, { name = name, list = {} }).list
end

return urlencoded
