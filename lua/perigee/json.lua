--- JSON, as RFC 8259 has it: strict when reading, and never silently changed on the way.
---
---     local value, problem = json.decode(text)     -- nil and "line 3, column 7: …" when it is none
---     local text = json.encode { id = 7, tags = json.array {}, note = json.null }
---
--- `[]` is decoded as a table that is marked as an array and stays one, `{}` as one that is not;
--- `null` is json.null. Integers are exact: up to 2^53 they are numbers, beyond it int64_t cdata
--- (`12LL`), and what does not fit in 64 bits is refused. Of a name that comes twice in an object
--- the last value counts.
local ffi = require "ffi"

local caller = require "perigee.caller"
local codec = require "perigee.json_codec"

local array_mt = { __name = "perigee.json.array" }
local object_mt = { __name = "perigee.json.object" }

local DEPTH, DEPTH_MOST = 128, 1024 -- as host/json/reader.h has them

local json = {
  --- JSON's null, as decode gives it and encode takes it; the same as cjson.null.
  null = codec.null,
  --- How deeply tables may lie in each other, unless an option says otherwise.
  DEPTH = DEPTH,
}

local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"

local function int64_of(high, low)
  return int64(high) * 4294967296LL + int64(low)
end

--- The metatable of tables of ours that say their own JSON: `to_json(self)` in it returns the text,
--- or nil and what is wrong with the value. perigee.request has it for req.headers.
json.own_mt = { __name = "perigee.request.headers" }

--- The JSON of a value that the C API cannot read; or nil and the problem.
local function text_of(value)
  if type(value) == "table" then
    local text, problem = json.own_mt.to_json(value)
    return text, problem -- and not as a tail call, which LuaJIT would not record
  end
  if not ffi.istype(int64, value) and not ffi.istype(uint64, value) then
    return nil, "is cdata, but no 64-bit integer"
  end
  return (tostring(value):gsub("U?LL$", ""))
end

--- What a codec is opened with, for who else has one.
json.codec_arguments = { array_mt, object_mt, int64_of, text_of, json.own_mt }

local decode_text, encode_value = codec.open(unpack(json.codec_arguments))

local integers = { int64 = 0, refuse = 1, number = 2 }

local function depth_of(name, options)
  local depth = options.depth
  if depth == nil then return DEPTH end
  if type(depth) ~= "number" or depth % 1 ~= 0 or depth < 0 or depth > DEPTH_MOST then
    caller.fail("%s: depth must be a whole number from 0 to %d", name, DEPTH_MOST)
  end
  return depth
end

--- A Lua value as JSON text. A table is an object when all its keys are strings or it is empty, an
--- array when its keys are 1 to n or it was marked by json.array or decode; anything else raises,
--- as do NaN, infinite numbers, strings that are no UTF-8, functions, and tables nested too deeply
--- (as those that hold themselves are). The error names the way to it: `value.items[3]`.
---@param value any
---@param options { depth: number }|nil depth: of tables in each other, default 128, at most 1024
---@return string
function json.encode(value, options)
  local text, problem = encode_value(value, options and depth_of("json.encode", options) or DEPTH)
  if problem then caller.fail("json.encode: %s", problem) end
  return text
end

--- As json.encode, for a caller that words the error itself.
---@param value any
---@return string|nil
---@return string|nil # the problem: "value.items[3] is NaN or infinite"
function json.try_encode(value)
  return encode_value(value, DEPTH)
end

--- The value of JSON text.
---
--- Options: `depth`, of arrays and objects in each other, default 128, at most 1024; `integers`,
--- for those beyond 2^53: "int64" (default) makes int64_t cdata of them, "refuse" is an error, and
--- "number" rounds them.
---@param text string
---@param options { depth: number, integers: "int64"|"refuse"|"number" }|nil
---@return any # or nil, message, line, column
---@return string|nil # "line 3, column 7: a comma or "]" must come here"
---@return number|nil
---@return number|nil
function json.decode(text, options)
  local depth, mode = DEPTH, 0
  caller.check(text, "string", "json.decode: the text")
  if options then
    depth, mode = depth_of("json.decode", options), integers[options.integers or "int64"]
    if not mode then caller.fail 'json.decode: integers must be "int64", "refuse" or "number"' end
  end
  local value, problem, line, column = decode_text(text, depth, mode)
  if problem then return nil, ("line %d, column %d: %s"):format(line, column, problem), line, column end
  return value
end

--- Marks a table as an array, so that it is `[]` even when it is empty.
---@param list table|nil default a new one
---@return table # the same table
function json.array(list)
  if list == nil then list = {} end
  caller.check(list, "table", "json.array: the list")
  return setmetatable(list, array_mt)
end

--- Marks a table as an object whose names may be whole numbers: `{ [7] = "x" }` is `{"7":"x"}`.
---@param members table|nil default a new one
---@return table # the same table
function json.object(members)
  if members == nil then members = {} end
  caller.check(members, "table", "json.object: the members")
  return setmetatable(members, object_mt)
end

--- Whether a table is marked as an array, as those that decode made of `[…]` are.
---@param value any
---@return boolean
function json.is_array(value)
  return getmetatable(value) == array_mt
end

return json
