--- A number or boolean that all processes share; every operation is atomic.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local number_module = require "perigee.shared.number"
local object = require "perigee.shared.object"
local persist = require "perigee.shared.persist"

local C = abi.C
local setmetatable = setmetatable
local plain, types = number_module.plain, number_module.types

---@class perigee.SharedValue
---@field name string
---@field kind "int64"|"double"|"bool"

--- Raises at the caller's place unless a value can be stored.
local function check(self, value, what)
  if not types[self.kind].is(value) then
    caller.fail("%s of the shared value '%s': it takes %s, not %s", what, self.name,
      types[self.kind].wanted, tostring(value))
  end
end

local methods = { int64 = {}, double = {}, bool = {} }

--- The number now: a Lua number up to 2^53, an int64_t beyond. As all of these, it does not yield.
---@return number|ffi.cdata*
function methods.int64:get()
  return plain(C.shm_value_get_int64(self.cell))
end

---@param number number|ffi.cdata*
function methods.int64:set(number)
  check(self, number, "set")
  C.shm_value_set_int64(self.cell, number)
end

--- Adds at once for all processes; wraps at the ends of 64 bits.
---@param number number|ffi.cdata*
---@return number|ffi.cdata* # the new number
function methods.int64:add(number)
  check(self, number, "add")
  return plain(C.shm_value_add_int64(self.cell, number))
end

--- Sets it if it is `expected`.
---@param expected number|ffi.cdata*
---@param number number|ffi.cdata*
---@return boolean # whether it was
---@return number|ffi.cdata* # what it was
function methods.int64:cas(expected, number)
  check(self, expected, "cas")
  check(self, number, "cas")
  local old = C.shm_value_cas_int64(self.cell, expected, number)
  return old == expected, plain(old)
end

---@param number number|ffi.cdata*
---@return number|ffi.cdata* # what was there before
function methods.int64:exchange(number)
  check(self, number, "exchange")
  return plain(C.shm_value_exchange_int64(self.cell, number))
end

--- Sets it if `number` is greater.
---@param number number|ffi.cdata*
---@return number|ffi.cdata* # what is there then
function methods.int64:max(number)
  check(self, number, "max")
  return plain(C.shm_value_max_int64(self.cell, number))
end

--- Sets it if `number` is less.
---@param number number|ffi.cdata*
---@return number|ffi.cdata* # what is there then
function methods.int64:min(number)
  check(self, number, "min")
  return plain(C.shm_value_min_int64(self.cell, number))
end

---@return number
function methods.double:get()
  return C.shm_value_get_double(self.cell)
end

---@param number number
function methods.double:set(number)
  check(self, number, "set")
  C.shm_value_set_double(self.cell, number)
end

---@param number number
---@return number # the new one
function methods.double:add(number)
  check(self, number, "add")
  return C.shm_value_add_double(self.cell, number)
end

---@param expected number
---@param number number
---@return boolean
---@return number
function methods.double:cas(expected, number)
  check(self, expected, "cas")
  check(self, number, "cas")
  local old = C.shm_value_cas_double(self.cell, expected, number)
  return old == expected, old
end

---@param number number
---@return number # what was there before
function methods.double:exchange(number)
  check(self, number, "exchange")
  return C.shm_value_exchange_double(self.cell, number)
end

---@param number number
---@return number # what is there then
function methods.double:max(number)
  check(self, number, "max")
  return C.shm_value_max_double(self.cell, number)
end

---@param number number
---@return number # what is there then
function methods.double:min(number)
  check(self, number, "min")
  return C.shm_value_min_double(self.cell, number)
end

---@return boolean
function methods.bool:get()
  return C.shm_value_get_int64(self.cell) ~= 0
end

---@param value boolean
function methods.bool:set(value)
  check(self, value, "set")
  C.shm_value_set_int64(self.cell, value and 1 or 0)
end

---@param expected boolean
---@param value boolean
---@return boolean
---@return boolean
function methods.bool:cas(expected, value)
  check(self, expected, "cas")
  check(self, value, "cas")
  local old = C.shm_value_cas_int64(self.cell, expected and 1 or 0, value and 1 or 0) ~= 0
  return old == expected, old
end

---@param value boolean
---@return boolean # what was there before
function methods.bool:exchange(value)
  check(self, value, "exchange")
  return C.shm_value_exchange_int64(self.cell, value and 1 or 0) ~= 0
end

local metatables = {}

for kind, list in pairs(methods) do
  --- What perigee.shared.stat shows of it.
  function list.stat(self) return { value = self:get() } end
  metatables[kind] = object.metatable("value", list)
end

local kind_names = { "int64", "double", "bool" }

-- How values are kept: their 8 bytes.
local way = {}

function way.snapshot(self, write)
  write(ffi.string(ffi.new("int64_t[1]", C.shm_value_get_int64(self.cell)), 8))
end

function way.restore(self, read)
  local bits = ffi.new "int64_t[1]"
  ffi.copy(bits, read(), 8)
  C.shm_value_set_int64(self.cell, bits[0])
end

local function check_arguments(name, kind, options)
  object.check_name("value", name)
  if not metatables[kind] then
    caller.fail("perigee.shared.value('%s'): the kind must be one of %s, not %s%s", name,
      table.concat(kind_names, ", "), tostring(kind), nearest.hint(tostring(kind), kind_names))
  end
  options = object.check_options("value", name, options, { "initial", "persist" })
  local initial = options.initial
  if initial == nil then return types[kind].initial end
  if not types[kind].is(initial) then
    caller.fail("perigee.shared.value('%s'): initial must be %s, not %s", name, types[kind].wanted,
      tostring(initial))
  end
  return initial
end

local value = {}

--- Makes one, or finds the one there is: see perigee.shared.value.
function value.new(name, kind, options)
  local initial = check_arguments(name, kind, options)
  return persist.open("value", name, options and options.persist, function()
    local cell = object.open("value", name, function(create)
      return C.shm_value_open(name, kind, types[kind].bits(initial), create)
    end)
    return setmetatable({ name = name, kind = kind, cell = cell }, metatables[kind])
  end, way)
end

--- The figures of the one of that name, which exists.
---@param name string
---@param kind "value"
---@param shape "int64"|"double"|"bool"
---@return table<string, number|boolean>
function value.stat(name, kind, shape)
  local cell = object.any(kind, name, "struct shm_value *")
  return { value = methods[shape].get { cell = cell } }
end

return value
