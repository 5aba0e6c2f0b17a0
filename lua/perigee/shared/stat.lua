--- What is in the shared memory: see perigee.shared.stat.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local object = require "perigee.shared.object"

local C = abi.C
local tonumber = tonumber

local stat = {}

local OWN = "^perigee%." -- names of objects that Perigee makes for itself

local function describe(found)
  local kind, name, shape = ffi.string(found.kind), ffi.string(found.name), ffi.string(found.shape)
  return { name = name, kind = kind, shape = shape, size = tonumber(found.size),
    own = name:find(OWN) ~= nil or nil, figures = object.figures(kind, name, shape) }
end

--- Reads the directory, and of each object its figures.
---@return { size: number, used: number, free: number, objects: table[] }
function stat.read()
  local region, found = ffi.new "struct shm_region_stat", ffi.new "struct shm_region_object"
  if C.shm_region_stat(region) ~= 0 then
    caller.fail("perigee.shared.stat: %s", ffi.string(C.shm_last_error()))
  end
  local objects = {}
  for i = 0, region.objects - 1 do
    if C.shm_region_object(i, found) == 0 then objects[i + 1] = describe(found) end
  end
  local size, used = tonumber(region.size), tonumber(region.used)
  return { size = size, used = used, free = size - used, objects = objects }
end

return stat
