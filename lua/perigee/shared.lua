--- Objects that every process of the app sees, in shared memory; they outlive workers and reloads.
---
---     app:main_process_start(function(app)
---       app.shared.hits = perigee.shared.value("hits", "int64")
---     end)
---     app:get("/", function(req) return "hit " .. app.shared.hits:add(1) end)
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local phase = require "perigee.phase"

local C = abi.C
local tonumber, setmetatable = tonumber, setmetatable

local shared = {}

local NAME_LIMIT = 63  -- bytes; shm_abi.h
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

for name, kind in pairs(kinds) do
  kind.mt = { __index = kind.methods, __name = "perigee.shared.value" }
  --- What `perigee check` gives out, where there is no shared memory: a value of this process.
  local mt = { __name = "perigee.shared.value", __index = {} }
  function mt.__index.get(self) return self.cell end
  function mt.__index.set(self, value) self.cell = value end
  if name ~= "bool" then
    function mt.__index.add(self, number)
      self.cell = self.cell + number
      return self.cell
    end
  end
  kind.local_mt = mt
end

local function check_arguments(name, kind, options)
  caller.check(name, "string", "perigee.shared.value: the name")
  if #name == 0 or #name > NAME_LIMIT or name:find("%z") then
    caller.fail("perigee.shared.value: a name has 1 to %d bytes and no NUL: %q", NAME_LIMIT, name)
  end
  if not kinds[kind] then
    caller.fail("perigee.shared.value('%s'): the kind must be one of %s, not %s%s", name,
      table.concat(kind_names, ", "), tostring(kind), nearest.hint(tostring(kind), kind_names))
  end
  if options == nil then return kinds[kind].initial end
  caller.check(options, "table", "perigee.shared.value: the options")
  for key in pairs(options) do
    if key ~= "initial" then
      caller.fail("perigee.shared.value('%s'): unknown option '%s'%s", name, tostring(key),
        nearest.hint(tostring(key), { "initial" }))
    end
  end
  if options.initial == nil then return kinds[kind].initial end
  if not kinds[kind].is(options.initial) then
    caller.fail("perigee.shared.value('%s'): initial must be %s, not %s", name, kinds[kind].wanted,
      tostring(options.initial))
  end
  return options.initial
end

--- A number or boolean that all processes share. Made in the main process, with its contents
--- when it was there before a reload; in a worker one that exists is opened. Does not yield.
---@param name string 1 to 63 bytes
---@param kind "int64"|"double"|"bool"
---@param options { initial: number|boolean }|nil for a new one; default 0 or false
---@return perigee.SharedValue # with get, set, and for numbers add; all atomic
function shared.value(name, kind, options)
  local initial = check_arguments(name, kind, options)
  local object = { name = name, kind = kind }
  if phase.current == "check" then
    object.cell = initial
    return setmetatable(object, kinds[kind].local_mt)
  end
  local create = phase.can_share() and 1 or 0
  local cell = C.shm_value_open(name, kind, kinds[kind].bits(initial), create)
  if cell == nil then
    caller.fail("perigee.shared.value('%s'): %s", name, ffi.string(C.shm_last_error()))
  end
  object.cell = cell
  return setmetatable(object, kinds[kind].mt)
end

--- Whether a value is a shared object.
---@return boolean
function shared.is_object(value)
  local mt = getmetatable(value)
  return type(mt) == "table" and type(mt.__name) == "string" and mt.__name:find("^perigee%.shared%.") ~= nil
end

return shared
