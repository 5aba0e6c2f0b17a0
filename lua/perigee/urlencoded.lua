--- Percent-encoding, and application/x-www-form-urlencoded: queries and forms.
local find, sub, byte, char = string.find, string.sub, string.byte, string.char
local gsub, concat = string.gsub, table.concat

local LONG = 1024 -- bytes from which gsub is quicker than what LuaJIT compiles

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

--- Decodes percent-escapes, once. What is no escape stays as it is, and %00 is a NUL byte, as the
--- URL standard (WHATWG, 5.1) says: queries and forms are the client's text, and never fail.
---@param text string
---@param plus boolean|nil whether "+" is a space
---@return string
function urlencoded.decode(text, plus)
  if not find(text, "%", 1, true) and not (plus and find(text, "+", 1, true)) then return text end
  if #text > LONG then
    if plus then text = gsub(text, "%+", " ") end
    return (gsub(text, "%%(%x%x)", hex))
  end
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

--- Calls `each(into, name, value)` for every pair, `most` of them at most.
local function pairs_of(text, each, into, most)
  local position, size, left = 1, #text, most or math.huge
  while position <= size and left > 0 do
    local stop = find(text, "&", position, true) or size + 1
    if stop > position then
      local pair = sub(text, position, stop - 1)
      local equals = find(pair, "=", 1, true) or stop
      each(into, urlencoded.decode(sub(pair, 1, equals - 1), true),
        urlencoded.decode(sub(pair, equals + 1), true))
      left = left - 1
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

local function keep_list(into, name, value)
  local list = into.lists[name]
  if list then list[#list + 1] = value else into.lists[name] = { value } end
  into.count = into.count + 1
end

--- Name → all its values, in order.
---@param text string
---@param most number of pairs; reading stops at one more
---@return table<string, string[]>
---@return number # of pairs
function urlencoded.all_values(text, most)
  local found = pairs_of(text, keep_list, { lists = {}, count = 0 }, most + 1)
  return found.lists, found.count
end

return urlencoded
