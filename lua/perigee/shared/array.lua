--- Numbers or booleans of one type by index, which all processes share; what concerns one of them is
--- atomic. Indexes begin with 1.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local number_module = require "perigee.shared.number"
local object = require "perigee.shared.object"
local persist = require "perigee.shared.persist"

local C = abi.C
local setmetatable, tonumber, type = setmetatable, tonumber, type
local plain, types = number_module.plain, number_module.types

local LENGTH_LIMIT = 2 ^ 40
local PIECE = 512 -- numbers that cross at once

local piece = ffi.new("int64_t[?]", PIECE)

---@class perigee.SharedArray
---@field name string
---@field type "int64"|"double"|"int32"|"uint8"|"bool"
---@field count number

--- Raises at the caller's place unless there is such an index.
local function check_index(self, index, what)
  if type(index) ~= "number" or index % 1 ~= 0 or index < 1 or index > self.count then
    caller.fail("%s of the shared array '%s': an index is a whole number from 1 to %.0f, not %s", what,
      self.name, self.count, tostring(index))
  end
end

--- Raises at the caller's place unless a value can be stored.
local function check(self, value, what)
  if not types[self.type].is(value) then
    caller.fail("%s of the shared array '%s': it takes %s, not %s", what, self.name,
      types[self.type].wanted, tostring(value))
  end
end

--- Raises at the caller's place unless there are `count` numbers from `from` on.
local function check_range(self, from, count, what)
  check_index(self, from, what)
  if type(count) ~= "number" or count % 1 ~= 0 or count < 0 or from + count - 1 > self.count then
    caller.fail("%s of the shared array '%s': there are %.0f from %.0f on, not %s", what, self.name,
      self.count - from + 1, from, tostring(count))
  end
end

local common = {}

--- How many there are.
---@return number
function common:length()
  return self.count
end

--- A list of `count` of them from `from` on; without arguments of all. Others may change some meanwhile.
---@param from number|nil default 1
---@param count number|nil default up to the end
---@return any[]
function common:read(from, count)
  from = from or 1
  if count == nil then
    check_index(self, from, "read")
    count = self.count - from + 1
  end
  check_range(self, from, count, "read")
  local list, value = {}, types[self.type].value
  for done = 0, count - 1, PIECE do
    local now = count - done < PIECE and count - done or PIECE
    C.shm_array_read(self.cells, from - 1 + done, now, piece)
    for i = 0, now - 1 do list[done + i + 1] = value(piece[i]) end
  end
  return list
end

--- Sets as many as the list has, from `from` on. All are checked before the first is set; each is
--- atomic, and all together are not.
---@param from number
---@param list any[]
function common:write(from, list)
  caller.check(list, "table", "write: the list")
  local count = #list
  check_range(self, from, count, "write")
  for i = 1, count do check(self, list[i], "write") end
  local bits = types[self.type].bits
  for done = 0, count - 1, PIECE do
    local now = count - done < PIECE and count - done or PIECE
    for i = 0, now - 1 do piece[i] = bits(list[done + i + 1]) end
    C.shm_array_write(self.cells, from - 1 + done, now, piece)
  end
end

--- Sets all, or `count` of them from `from` on.
---@param value any
---@param from number|nil default 1
---@param count number|nil default up to the end
function common:fill(value, from, count)
  check(self, value, "fill")
  from = from or 1
  check_index(self, from, "fill")
  if count == nil then count = self.count - from + 1 end
  check_range(self, from, count, "fill")
  C.shm_array_fill(self.cells, from - 1, count, types[self.type].bits(value))
end

--- What perigee.shared.stat shows of it.
---@return { length: number }
function common:stat()
  return { length = self.count }
end

local methods = { int64 = {}, double = {}, bool = {} }

--- The number at an index: a Lua number up to 2^53, an int64_t beyond. As all of these, it does not
--- yield, and raises at the caller's place when there is no such index.
---@param index number from 1
---@return number|ffi.cdata*
function methods.int64:get(index)
  check_index(self, index, "get")
  return plain(C.shm_array_get_int64(self.cells, index - 1))
end

function methods.int64:set(index, number)
  check_index(self, index, "set")
  check(self, number, "set")
  C.shm_array_set_int64(self.cells, index - 1, number)
end

--- Adds at once for all processes; wraps at the ends of the type's range.
---@return number|ffi.cdata* # the new number
function methods.int64:add(index, number)
  check_index(self, index, "add")
  if not types.int64.is(number) then check(self, number, "add") end -- a uint8 can be lessened
  return plain(C.shm_array_add_int64(self.cells, index - 1, number))
end

--- Sets it if it is `expected`.
---@return boolean # whether it was
---@return number|ffi.cdata* # what it was
function methods.int64:cas(index, expected, number)
  check_index(self, index, "cas")
  check(self, expected, "cas")
  check(self, number, "cas")
  local old = C.shm_array_cas_int64(self.cells, index - 1, expected, number)
  return old == expected, plain(old)
end

---@return number|ffi.cdata* # what was there before
function methods.int64:exchange(index, number)
  check_index(self, index, "exchange")
  check(self, number, "exchange")
  return plain(C.shm_array_exchange_int64(self.cells, index - 1, number))
end

---@return number|ffi.cdata* # the greater of the two, which is there then
function methods.int64:max(index, number)
  check_index(self, index, "max")
  check(self, number, "max")
  return plain(C.shm_array_max_int64(self.cells, index - 1, number))
end

---@return number|ffi.cdata* # the lesser of the two, which is there then
function methods.int64:min(index, number)
  check_index(self, index, "min")
  check(self, number, "min")
  return plain(C.shm_array_min_int64(self.cells, index - 1, number))
end

function methods.double:get(index)
  check_index(self, index, "get")
  return C.shm_array_get_double(self.cells, index - 1)
end

function methods.double:set(index, number)
  check_index(self, index, "set")
  check(self, number, "set")
  C.shm_array_set_double(self.cells, index - 1, number)
end

function methods.double:add(index, number)
  check_index(self, index, "add")
  check(self, number, "add")
  return C.shm_array_add_double(self.cells, index - 1, number)
end

function methods.double:cas(index, expected, number)
  check_index(self, index, "cas")
  check(self, expected, "cas")
  check(self, number, "cas")
  local old = C.shm_array_cas_double(self.cells, index - 1, expected, number)
  return old == expected, old
end

function methods.double:exchange(index, number)
  check_index(self, index, "exchange")
  check(self, number, "exchange")
  return C.shm_array_exchange_double(self.cells, index - 1, number)
end

function methods.double:max(index, number)
  check_index(self, index, "max")
  check(self, number, "max")
  return C.shm_array_max_double(self.cells, index - 1, number)
end

function methods.double:min(index, number)
  check_index(self, index, "min")
  check(self, number, "min")
  return C.shm_array_min_double(self.cells, index - 1, number)
end

function methods.bool:get(index)
  check_index(self, index, "get")
  return C.shm_array_get_int64(self.cells, index - 1) ~= 0
end

function methods.bool:set(index, value)
  check_index(self, index, "set")
  check(self, value, "set")
  C.shm_array_set_int64(self.cells, index - 1, value and 1 or 0)
end

function methods.bool:cas(index, expected, value)
  check_index(self, index, "cas")
  check(self, expected, "cas")
  check(self, value, "cas")
  local old = C.shm_array_cas_int64(self.cells, index - 1, expected and 1 or 0, value and 1 or 0) ~= 0
  return old == expected, old
end

function methods.bool:exchange(index, value)
  check_index(self, index, "exchange")
  check(self, value, "exchange")
  return C.shm_array_exchange_int64(self.cells, index - 1, value and 1 or 0) ~= 0
end

methods.int32, methods.uint8 = methods.int64, methods.int64

local metatables = {}

for name, list in pairs(methods) do
  for key, method in pairs(common) do list[key] = method end
  metatables[name] = object.metatable("array", list)
end

-- How arrays are kept: the bits of PIECE numbers in each piece, 8 bytes for each.
local way = {}

function way.snapshot(self, write)
  for done = 0, self.count - 1, PIECE do
    local now = self.count - done < PIECE and self.count - done or PIECE
    C.shm_array_read(self.cells, done, now, piece)
    write(ffi.string(piece, now * 8))
  end
end

function way.restore(self, read)
  local done = 0
  for bits in read do
    local now = math.min(#bits / 8, self.count - done, PIECE)
    ffi.copy(piece, bits, now * 8)
    C.shm_array_write(self.cells, done, now, piece)
    done = done + now
  end
end

local type_names = { "int64", "double", "int32", "uint8", "bool" }

local function check_arguments(name, kind, count, options)
  object.check_name("array", name)
  object.check_options("array", name, options, { "persist" })
  if kind == nil and count == nil then return end -- one that exists
  if not metatables[kind] then
    caller.fail("perigee.shared.array('%s'): the type must be one of %s, not %s%s", name,
      table.concat(type_names, ", "), tostring(kind), nearest.hint(tostring(kind), type_names))
  end
  if type(count) ~= "number" or count % 1 ~= 0 or count < 1 or count > LENGTH_LIMIT then
    caller.fail("perigee.shared.array('%s'): the length must be a whole number from 1 to %.0f, not %s", name,
      LENGTH_LIMIT, tostring(count))
  end
end

local array = {}

--- Makes one, or finds the one there is: see perigee.shared.array.
function array.new(name, kind, count, options)
  check_arguments(name, kind, count, options)
  return persist.open("array", name, options and options.persist, function()
    local cells = object.open("array", name, function(create)
      return C.shm_array_open(name, kind or "", count or 0, kind and create or 0)
    end)
    local own_kind, own_count = ffi.string(C.shm_array_type(cells)), tonumber(C.shm_array_length(cells))
    return setmetatable({ name = name, type = own_kind, count = own_count, cells = cells },
      metatables[own_kind])
  end, way)
end

--- The figures of the one of that name, which exists.
---@param name string
---@return table<string, number>
function array.stat(name)
  return { length = tonumber(C.shm_array_length(object.any("array", name, "struct shm_array *"))) }
end

return array
