--- Record blocks (host/wire/record.h): "key NUL value NUL …", how settings cross processes.
local record = {}

--- Appends a record to a list of pieces; record.block makes them one string.
---@param pieces string[]
---@param key string of [a-z0-9_.]
---@param value string|number without NUL
function record.add(pieces, key, value)
  value = tostring(value)
  if value:find("\0", 1, true) then error(("the value of '%s' has a NUL byte"):format(key), 0) end
  pieces[#pieces + 1] = key .. "\0" .. value .. "\0"
end

--- Appends a record for each element of a list, or one for what is none.
---@param pieces string[]
---@param key string
---@param value string|number|(string|number)[]
function record.add_all(pieces, key, value)
  if type(value) ~= "table" then return record.add(pieces, key, value) end
  for _, element in ipairs(value) do record.add(pieces, key, element) end
end

---@param pieces string[]
---@return string
function record.block(pieces)
  return table.concat(pieces)
end

--- Reads a block.
---@param block string
---@return table<string, string[]> # all values of each key, in order
function record.parse(block)
  local values = {}
  for key, value in block:gmatch("([^%z]+)%z([^%z]*)%z") do
    local list = values[key]
    if not list then
      list = {}
      values[key] = list
    end
    list[#list + 1] = value
  end
  return values
end

return record
