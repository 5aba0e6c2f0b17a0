--- The types of numbers in shared values and arrays: what fits them, and how it is kept.
local ffi = require "ffi"

local type, tonumber = type, tonumber
local istype = ffi.istype

local number = {}

local EXACT = 9007199254740992LL -- 2^53: up to here a number holds every integer

--- An int64 as a number where that is exact, else as it is.
---@param value ffi.cdata*
---@return number|ffi.cdata*
function number.plain(value)
  if value <= EXACT and value >= -EXACT then return tonumber(value) end
  return value
end

local plain = number.plain

local function is_whole(value)
  if type(value) == "number" then return value % 1 == 0 and value >= -2 ^ 63 and value < 2 ^ 63 end
  return istype("int64_t", value)
end

local function is_int32(value)
  return type(value) == "number" and value % 1 == 0 and value >= -2 ^ 31 and value < 2 ^ 31
end

local function is_uint8(value)
  return type(value) == "number" and value % 1 == 0 and value >= 0 and value < 256
end

local function is_number(value) return type(value) == "number" end
local function is_boolean(value) return type(value) == "boolean" end

local function whole_bits(value) return ffi.cast("int64_t", value) end

local cell = ffi.new("union { double number; int64_t bits; }")

local function double_bits(value)
  cell.number = value
  return cell.bits
end

local function bits_double(bits)
  cell.bits = bits
  return cell.number
end

---@class perigee.NumberType
---@field is fun(value: any): boolean whether it fits
---@field wanted string what fits, for messages
---@field initial number|boolean
---@field bits fun(value: any): ffi.cdata* as it is kept, an int64
---@field value fun(bits: ffi.cdata*): any the way back

---@type table<string, perigee.NumberType>
number.types = {
  int64 = { is = is_whole, wanted = "a whole number", initial = 0, bits = whole_bits, value = plain },
  double = { is = is_number, wanted = "a number", initial = 0, bits = double_bits, value = bits_double },
  int32 = { is = is_int32, wanted = "a whole number of 32 bits", initial = 0, bits = whole_bits,
    value = tonumber },
  uint8 = { is = is_uint8, wanted = "a whole number from 0 to 255", initial = 0, bits = whole_bits,
    value = tonumber },
  bool = { is = is_boolean, wanted = "true or false", initial = false,
    bits = function(value) return whole_bits(value and 1 or 0) end,
    value = function(bits) return bits ~= 0 end },
}

return number
