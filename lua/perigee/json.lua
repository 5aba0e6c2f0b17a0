--- JSON, over lua-cjson.
local cjson = require "cjson"

local json = {
  --- JSON's null, as decode gives it and encode takes it.
  null = cjson.null,
}

-- Instances of our own, so that code that configures "cjson" does not change ours.
local codec = cjson.new()
codec.decode_invalid_numbers(false)
codec.encode_sparse_array(true)

--- A Lua value as JSON text. Raises on what JSON cannot say (functions, NaN, mixed tables).
---@param value any
---@return string
json.encode = codec.encode

--- The value of JSON text.
---@param text string
---@return any # or nil and a message
function json.decode(text)
  local ok, value = pcall(codec.decode, text)
  if ok then return value end
  return nil, value
end

return json
