--- Shared dicts without Lua's half, for spec/core.
local core = require "spec.support.core"
local ffi = require "ffi"

local C = core.lib

local function declare(path)
  local file = assert(io.open(path, "r"))
  local text = file:read("*a")
  file:close()
  ffi.cdef((("\n" .. text):gsub("\n%s*#[^\n]*", "\n")))
end

declare "host/shm/dict_abi.h"
ffi.cdef [[
const char *dict_probe(struct shm_dict *dict);
int usleep(unsigned microseconds);
]]

local dict = { found = ffi.new "struct shm_dict_found" }

local NUMBER, INTEGER, BOOLEAN, STRING, TABLE = 1, 2, 3, 4, 5
local count = 0

--- Waits until the clock is `ms` further.
function dict.later(ms)
  ffi.C.usleep(ms * 1000)
end

--- A new one of so many bytes.
function dict.new(size, evicts)
  count = count + 1
  local made = C.shm_dict_open("spec.dict." .. count, size, evicts and 1 or 0, 1)
  assert(made ~= nil, ffi.string(C.shm_last_error()))
  return made
end

--- Raises unless each cell is accounted for exactly once.
function dict.check(made)
  local problem = C.dict_probe(made)
  if problem ~= nil then error(ffi.string(problem), 2) end
end

--- Stores a string or number; returns the engine's result, DONE by default.
function dict.set(made, key, value, ttl, how)
  if type(value) == "number" then return C.shm_dict_set_number(made, key, #key, how or 0, value, ttl or 0) end
  return C.shm_dict_set_bytes(made, key, #key, how or 0, STRING, value, #value, ttl or 0)
end

local function value_of(kind)
  local found = dict.found
  if kind == NUMBER then return found.number end
  if kind == INTEGER then return found.integer end
  if kind == BOOLEAN then return found.number ~= 0 end
  if kind == STRING or kind == TABLE then return ffi.string(found.data, found.size) end
  return kind
end

--- The value of a key; what the engine says when it has none that is a number, boolean or string.
function dict.get(made, key)
  return value_of(C.shm_dict_get(made, key, #key, dict.found))
end

function dict.delete(made, key)
  return C.shm_dict_delete(made, key, #key, 0)
end

function dict.push(made, key, value, front)
  return C.shm_dict_push_bytes(made, key, #key, front and 1 or 0, STRING, value, #value, dict.found)
end

function dict.pop(made, key, front)
  return value_of(C.shm_dict_pop(made, key, #key, front and 1 or 0, dict.found))
end

--- All values of a list.
function dict.list(made, key)
  local list, cursor = {}, ffi.new "int64_t[1]"
  while true do
    local kind = C.shm_dict_element(made, key, #key, 0, cursor, dict.found)
    if kind <= 0 then return list end
    list[#list + 1] = value_of(kind)
  end
end

function dict.stat(made)
  local stat = ffi.new "struct shm_dict_stat"
  C.shm_dict_stat(made, stat)
  return { size = tonumber(stat.size), used = tonumber(stat.used), entries = tonumber(stat.entries),
    evicted = tonumber(stat.evicted), expired = tonumber(stat.expired), undone = tonumber(stat.undone) }
end

--- All keys by a scan, as key → how often it came; and the most that one call brought.
function dict.keys(made, between)
  local cursor, data, keys, most = ffi.new "int64_t[1]", ffi.new "const char *[1]", {}, 0
  repeat
    local size, at, here = tonumber(C.shm_dict_scan(made, cursor, data)), 0, 0
    while at < size do
      local key_size = ffi.cast("const uint32_t *", data[0] + at)[0]
      local key = ffi.string(data[0] + at + 4, key_size)
      keys[key] = (keys[key] or 0) + 1
      at, here = at + 4 + key_size, here + 1
    end
    most = math.max(most, here)
    if between then between(tonumber(cursor[0])) end
  until cursor[0] < 0
  return keys, most
end

return dict
