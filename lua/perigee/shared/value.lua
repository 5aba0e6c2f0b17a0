--- A number or boolean that all processes share; every operation is atomic.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local object = require "perigee.shared.object"

local C = abi.C
local tonumber, setmetatable = tonumber, setmetatable

local EXACT = 9007199254740992LL -- 2^53: up to here a number holds every integer

--- An int64 as a number where that is exact, else as it is.
local function plain(number)
  if number <= EXACT and number >= -EXACT then return tonumber(number) end
  return number
end

---@class perigee.SharedValue
---@field name string
---@field kind "int64"|"double"|"bool"

local kinds = {}

--- Raises at the caller's place unless a value can be stored.
local function check(self, value, what)
  if not kinds[self.kind].is(value) then
    caller.fail("%s of the shared value '%s': it takes %s, not %s", what, self.name,
      kinds[self.kind].wanted, tostring(value))
  end
end

kinds.int64 = {
  initial = 0,
  bits = function(number) return ffi.cast("int64_t", number) end,
  is = function(value)
    return type(value) == "number" and value % 1 == 0 and value >= -2 ^ 63 and value < 2 ^ 63
      or ffi.istype("int64_t", value)
  end,
  wanted = "a whole number",
  methods = {
    --- The number now: a Lua number up to 2^53, an int64_t beyond.
    get = function(self) return plain(C.shm_value_get_int64(self.cell)) end,
    set = function(self, number)
      check(self, number, "set")
      C.shm_value_set_int64(self.cell, number)
    end,
    --- Adds at once for all processes; returns the new number.
    add = function(self, number)
      check(self, number, "add")
      return plain(C.shm_value_add_int64(self.cell, number))
    end,
  },
}

kinds.double = {
  initial = 0,
  bits = function(number)
    local cell = ffi.new("union { double number; int64_t bits; }")
    cell.number = number
    return cell.bits
  end,
  is = function(value) return type(value) == "number" end,
  wanted = "a number",
  methods = {
    get = function(self) return C.shm_value_get_double(self.cell) end,
    set = function(self, number)
      check(self, number, "set")
      C.shm_value_set_double(self.cell, number)
    end,
    add = function(self, number)
      check(self, number, "add")
      return C.shm_value_add_double(self.cell, number)
    end,
  },
}

kinds.bool = {
  initial = false,
  bits = function(value) return ffi.cast("int64_t", value and 1 or 0) end,
  is = function(value) return type(value) == "boolean" end,
  wanted = "true or false",
  methods = {
    get = function(self) return C.shm_value_get_int64(self.cell) ~= 0 end,
    set = function(self, value)
      check(self, value, "set")
      C.shm_value_set_int64(self.cell, value and 1 or 0)
    end,
  },
}

local kind_names = { "int64", "double", "bool" }

for _, kind in pairs(kinds) do
  kind.mt = object.metatable("value", kind.methods)
end

local function check_arguments(name, kind, options)
  object.check_name("value", name)
  if not kinds[kind] then
    caller.fail("perigee.shared.value('%s'): the kind must be one of %s, not %s%s", name,
      table.concat(kind_names, ", "), tostring(kind), nearest.hint(tostring(kind), kind_names))
  end
  local initial = object.check_options("value", name, options, { "initial" }).initial
  if initial == nil then return kinds[kind].initial end
  if not kinds[kind].is(initial) then
    caller.fail("perigee.shared.value('%s'): initial must be %s, not %s", name, kinds[kind].wanted,
      tostring(initial))
  end
  return initial
end

local value = {}

--- Makes one, or finds the one there is: see perigee.shared.value.
function value.new(name, kind, options)
  local initial = check_arguments(name, kind, options)
  local cell = object.open("value", name, function(create)
    return C.shm_value_open(name, kind, kinds[kind].bits(initial), create)
  end)
  return setmetatable({ name = name, kind = kind, cell = cell }, kinds[kind].mt)
end

return value
