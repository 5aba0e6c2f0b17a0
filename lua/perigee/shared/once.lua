--- Something that one process does for all, once for as long as the host runs, reloads included.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local json = require "perigee.json"
local object = require "perigee.shared.object"
local sync = require "perigee.shared.sync"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, setmetatable, tostring = tonumber, setmetatable, tostring
local OK, ABANDONED, DONE, OWN, BUSY = sync.OK, sync.ABANDONED, sync.DONE, sync.OWN, sync.BUSY

local LIMIT = 4096         -- bytes of a result as JSON; option `limit`
local LIMIT_MOST = 2 ^ 24

---@class perigee.SharedOnce
---@field name string
local methods = {}
local once_mt = object.metatable("once", methods)

local size = ffi.new "uint64_t[1]"

local function result_of(self)
  local text = ffi.string(C.shm_once_result(self.once, size), tonumber(size[0]))
  return json.decode(text)
end

local function attempt(self, number)
  local result = C.shm_once_begin(self.once, number)
  if result ~= BUSY then return result end
  return nil
end

--- What fn returned, as JSON that fits.
local function encode(self, value)
  if value == nil then value = true end
  local text, problem = json.try_encode(value)
  if not text then
    return nil, ("perigee.shared.once('%s'): JSON cannot say its result: %s"):format(self.name, problem)
  end
  local limit = tonumber(C.shm_once_limit(self.once))
  if #text > limit then
    return nil, ("perigee.shared.once('%s'): its result is too big: %d bytes as JSON, the limit is %d")
      :format(self.name, #text, limit)
  end
  return text
end

local function run(self, number)
  local ok, value = pcall(self.fn)
  local text, problem
  if ok then
    text, problem = encode(self, value)
  else
    problem = value
  end
  if not text then
    C.shm_once_fail(self.once, number)
    error(problem, 0)
  end
  C.shm_once_finish(self.once, number, text, #text)
  return json.decode(text)
end

--- Has it done, or waits until it is. Yields when fn does, or another is at it. If fn raises, that is
--- raised here, and whoever waits or comes next does it; so it is when its process dies.
---@param timeout number|nil seconds to wait for another; nil for as long as it takes
---@return any # what fn returned, by way of JSON; true for nil
---@return string|nil message
---@return string|nil code "TIMEOUT"
function methods:run(timeout)
  waiting.check_timeout(timeout, "once:run")
  local number = sync.task()
  local result = self.line:take(timeout, attempt, self, number)
  if result == nil then
    return nil, ("timeout: '%s' was not done in %g s"):format(self.name, timeout), "TIMEOUT"
  end
  if result == DONE then return result_of(self) end
  if result == OK or result == ABANDONED then
    local value = run(self, number)
    return value
  end
  if result == OWN then caller.fail("once:run: '%s' waits for itself", self.name) end
  sync.fail("once:run")
end

once_mt.__call = methods.run

---@return boolean
function methods:is_done()
  return C.shm_once_result(self.once, size) ~= nil
end

---@return { done: number, waiters: number } # done: 1 when it is
function methods:stat()
  return { done = methods.is_done(self) and 1 or 0,
    waiters = C.shm_waiters_count(C.shm_once_waiters(self.once)) }
end

local once = {}

--- Makes one, or finds the one there is: see perigee.shared.once.
function once.new(name, fn, options)
  object.check_name("once", name)
  caller.check(fn, "function", ("perigee.shared.once('%s'): the function"):format(tostring(name)))
  options = object.check_options("once", name, options, { "limit" })
  local limit = object.whole_option("once", name, options, "limit", 4, LIMIT_MOST, LIMIT)
  local pointer = object.open("once", name, function(create)
    return C.shm_once_open(name, create == 0 and options.limit == nil and 0 or limit, create)
  end)
  return setmetatable({ name = name, fn = fn, once = pointer,
    line = sync.line("once", name, C.shm_once_waiters(pointer)) }, once_mt)
end

--- The figures of the one of that name, which exists.
---@param name string
---@return table<string, number>
function once.stat(name)
  local pointer = object.any("once", name, "struct shm_once *")
  return methods.stat { once = pointer }
end

return once
