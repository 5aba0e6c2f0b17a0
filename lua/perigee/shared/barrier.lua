--- A place where a number of tasks of all processes wait for each other, again and again.
local ffi = require "ffi"

local abi = require "perigee.abi"
local object = require "perigee.shared.object"
local sync = require "perigee.shared.sync"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, setmetatable = tonumber, setmetatable

local PARTIES_LIMIT = 4096

---@class perigee.SharedBarrier
---@field name string
local methods = {}
local barrier_mt = object.metatable("barrier", methods)

local generation, place = ffi.new "uint64_t[1]", ffi.new "uint64_t[1]"

local function attempt(pointer, before)
  if C.shm_barrier_generation(pointer) ~= before then return true end
  return nil
end

--- Waits until all parties have come. One that stops waiting, or whose process dies before the last comes,
--- has not come. Yields unless it is the last.
---@param timeout number|nil seconds; nil for as long as it takes
---@return number|nil # from 1 to the number of parties, another one for each
---@return string|nil message
---@return string|nil code "TIMEOUT"
function methods:wait(timeout)
  waiting.check_timeout(timeout, "barrier:wait")
  local result = C.shm_barrier_arrive(self.barrier, generation, place)
  if result == sync.FAILED then sync.fail("barrier:wait") end
  local before, index = generation[0], tonumber(place[0])
  if result == sync.OK then return index end
  local ok, passed = pcall(self.line.take, self.line, timeout, attempt, self.barrier, before)
  if ok and passed then return index end
  local late = C.shm_barrier_leave(self.barrier, before, index) == sync.DONE
  if not ok then error(passed, 0) end
  if late then return index end
  return nil, ("timeout: not all came to the barrier '%s' in %g s"):format(self.name, timeout), "TIMEOUT"
end

local figures = ffi.new "struct shm_barrier_stat"

---@return { parties: number, waiting: number, passed: number } # passed: how many times
function methods:stat()
  C.shm_barrier_read(self.barrier, figures)
  return { parties = tonumber(figures.parties), waiting = tonumber(figures.arrived),
    passed = tonumber(figures.generation) - 1 }
end

local barrier = {}

--- Makes one, or finds the one there is: see perigee.shared.barrier.
function barrier.new(name, parties, options)
  object.check_name("barrier", name)
  object.check_options("barrier", name, options, {})
  if parties ~= nil then
    object.whole_option("barrier", name, { parties = parties }, "parties", 1, PARTIES_LIMIT)
  end
  local pointer = object.open("barrier", name, function(create)
    return C.shm_barrier_open(name, parties or 0, parties and create or 0)
  end)
  return setmetatable({ name = name, barrier = pointer,
    line = sync.line("barrier", name, C.shm_barrier_waiters(pointer)) }, barrier_mt)
end

--- The figures of the one of that name, which exists.
---@param name string
---@return table<string, number>
function barrier.stat(name)
  local pointer = object.any("barrier", name, "struct shm_barrier *")
  return methods.stat { barrier = pointer }
end

return barrier
