--- What all kinds of shared objects have in common: names, options, where they may be made.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local phase = require "perigee.phase"
local settings = require "perigee.settings"

local C = abi.C

local object = {}

local NAME_LIMIT = 63 -- bytes; SHM_NAME_MAX of host/shm/region.h

--- A metatable for objects of a kind; shared.is_object knows them by it.
---@param kind string "queue"
---@param methods table
---@return table
function object.metatable(kind, methods)
  return { __index = methods, __name = "perigee.shared." .. kind }
end

--- Whether a value is a shared object.
---@return boolean
function object.is(value)
  local mt = getmetatable(value)
  return type(mt) == "table" and type(mt.__name) == "string" and mt.__name:find("^perigee%.shared%.") ~= nil
end

--- Raises at the caller's place unless it is a name an object can have.
---@param kind string
---@param name any
function object.check_name(kind, name)
  caller.check(name, "string", ("perigee.shared.%s: the name"):format(kind))
  if #name == 0 or #name > NAME_LIMIT or name:find("%z") then
    caller.fail("perigee.shared.%s: a name has 1 to %d bytes and no NUL: %q", kind, NAME_LIMIT, name)
  end
end

--- Raises at the caller's place unless options are a table, or nil, with no other keys than these.
---@param kind string
---@param name string of the object
---@param options any
---@param known string[]
---@return table # the options, or an empty table
function object.check_options(kind, name, options, known)
  if options == nil then return {} end
  caller.check(options, "table", ("perigee.shared.%s('%s'): the options"):format(kind, name))
  for key in pairs(options) do
    local is_known = false
    for _, other in ipairs(known) do is_known = is_known or other == key end
    if not is_known then
      caller.fail("perigee.shared.%s('%s'): unknown option '%s'%s", kind, name, tostring(key),
        nearest.hint(tostring(key), known))
    end
  end
  return options
end

--- An option that is a whole number, checked.
---@param kind string
---@param name string of the object
---@param options table
---@param key string
---@param least number
---@param most number
---@param default number|nil nil: it must be given
---@return number
function object.whole_option(kind, name, options, key, least, most, default)
  local value = options[key]
  if value == nil then value = default end
  if type(value) ~= "number" or value % 1 ~= 0 or value < least or value > most then
    caller.fail("perigee.shared.%s('%s'): %s must be a whole number from %.0f to %.0f, not %s", kind, name,
      key, least, most, tostring(value))
  end
  return value
end

--- An option that is a size, checked.
---@param kind string
---@param name string of the object
---@param options table
---@param key string
---@param least number bytes
---@param most number bytes
---@param default number bytes
---@return number # bytes
function object.size_option(kind, name, options, key, least, most, default)
  local written = options[key]
  local bytes = written == nil and default or settings.bytes(written)
  if not bytes or bytes < least or bytes > most then
    caller.fail("perigee.shared.%s('%s'): %s must be a size of %.0f to %.0f bytes (8192, \"64 KiB\"), not %s",
      kind, name, key, least, most, tostring(written))
  end
  return bytes
end

--- An option that is one of some words, checked.
---@param kind string
---@param name string of the object
---@param options table
---@param key string
---@param words string[] the first is the default
---@return string
function object.word_option(kind, name, options, key, words)
  local value = options[key]
  if value == nil then return words[1] end
  for _, word in ipairs(words) do
    if word == value then return word end
  end
  return caller.fail("perigee.shared.%s('%s'): %s must be one of %s, not %s%s", kind, name, key,
    table.concat(words, ", "), tostring(value), nearest.hint(tostring(value), words))
end

--- Calls open(create), which returns a pointer or NULL, and raises at the caller's place with the
--- engine's reason. Objects are made before the fork, and only found after it. In `perigee check`, which
--- has no shared memory, they are made in memory of its own.
---@param kind string
---@param name string
---@param open fun(create: integer): ffi.cdata*
---@return ffi.cdata*
function object.open(kind, name, open)
  if phase.current == "check" and C.shm_region_private() ~= 0 then
    caller.fail("perigee.shared.%s('%s'): %s", kind, name, ffi.string(C.shm_last_error()))
  end
  local pointer = open((phase.can_share() or phase.current == "check") and 1 or 0)
  if pointer == nil then
    caller.fail("perigee.shared.%s('%s'): %s", kind, name, ffi.string(C.shm_last_error()))
  end
  return pointer
end

local modules = { counter = "metric", gauge = "metric", histogram = "metric" }

--- The figures of an object of a kind: what the kind's module says of it, if it says anything.
---@param kind string
---@param name string
---@param shape string
---@return table<string, number>|nil
function object.figures(kind, name, shape)
  local ok, module = pcall(require, "perigee.shared." .. (modules[kind] or kind))
  if not ok or type(module) ~= "table" or not module.stat then return nil end
  return module.stat(name, kind, shape)
end

--- The object of a name, for its figures.
---@param kind string
---@param name string
---@param struct string "struct shm_lock *"
---@return ffi.cdata*
function object.any(kind, name, struct)
  return ffi.cast(struct, C.shm_region_any(name, kind))
end

return object
