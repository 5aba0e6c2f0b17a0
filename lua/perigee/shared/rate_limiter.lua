--- How often something may happen, by key, counted for all processes: a token bucket for each key.
---
---     local limiter = perigee.shared.rate_limiter("api", { rate = 10, burst = 20 })
---     local ok, left = limiter:take(req.ip)
---     if not ok then return http.text("slow down\n", 429, { ["Retry-After"] = math.ceil(left) }) end
---
--- A bucket is full at first, has `burst` tokens at most, and gets `rate` of them back in `per` seconds,
--- steadily. When more than `keys` are in use, those not used lately are forgotten, as if their buckets were
--- full. A reload may change rate, per and burst, which count at once, but not keys. No method yields.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local object = require "perigee.shared.object"
local phase = require "perigee.phase"

local C = abi.C
local type, tostring, setmetatable, tonumber = type, tostring, setmetatable, tonumber

local KEYS_DEFAULT, KEYS_MOST = 10000, 1e9
local INTERVAL_LEAST, INTERVAL_MOST = 1, 3e15 -- nanoseconds for a token
local known = { "rate", "per", "burst", "keys" }

local answer = ffi.new "struct shm_limiter_answer"

---@class perigee.SharedRateLimiter
---@field name string
local methods = {}

local function check_key(self, what, key)
  if type(key) ~= "string" then
    caller.fail("%s of the rate limiter '%s': the key must be a string, not %s", what, self.name,
      tostring(key))
  end
end

local function bad_cost(self, cost)
  caller.fail("take of the rate limiter '%s': a cost must be above 0 and at most its burst of %.14g, not %s",
    self.name, C.shm_limiter_burst(self.limiter), tostring(cost))
end

--- Takes tokens, if there are enough; a refusal takes none.
---@param key string of any size
---@param cost number|nil default 1; more than the burst raises, as it could never be had
---@return boolean # whether there were enough
---@return number # true: whole tokens that are left; false: seconds until there will be enough
function methods:take(key, cost)
  if type(key) ~= "string" then check_key(self, "take", key) end
  if cost == nil then
    cost = 1
  elseif type(cost) ~= "number" or cost <= 0 or cost ~= cost then
    bad_cost(self, cost)
  end
  local result = C.shm_limiter_take(self.limiter, key, #key, cost, answer)
  if result == 1 then return true, answer.remaining end
  if result == -1 then bad_cost(self, cost) end
  return false, answer.retry
end

--- How many tokens a key has, without taking any.
---@param key string
---@return number # whole tokens
---@return number # seconds until its bucket is full again
function methods:peek(key)
  check_key(self, "peek", key)
  C.shm_limiter_take(self.limiter, key, #key, 0, answer)
  return answer.remaining, answer.full
end

--- Fills the bucket of a key.
---@param key string
function methods:reset(key)
  check_key(self, "reset", key)
  C.shm_limiter_reset(self.limiter, key, #key)
end

--- Figures: size (bytes for keys), used, keys (remembered; those with full buckets until their memory is
--- needed), evicted (forgotten for others).
---@return table<string, number>
function methods:stat()
  local figures = ffi.new "struct shm_limiter_stat"
  C.shm_limiter_stat(self.limiter, figures)
  return { size = tonumber(figures.size), used = tonumber(figures.used), keys = tonumber(figures.keys),
    evicted = tonumber(figures.evicted) }
end

local mt = object.metatable("rate_limiter", methods)

--- An option that is a number above 0.
local function number_option(name, options, key, default)
  local value = options[key]
  if value == nil then value = default end
  if type(value) ~= "number" or value <= 0 or value ~= value or value == math.huge then
    caller.fail("perigee.shared.rate_limiter('%s'): %s must be a number above 0, not %s", name, key,
      tostring(value))
  end
  return value
end

--- Nanoseconds for a token, and the most there are of them.
local function rate_of(name, options)
  local rate, per = number_option(name, options, "rate"), number_option(name, options, "per", 1)
  local interval = per / rate * 1e9
  if interval < INTERVAL_LEAST or interval > INTERVAL_MOST then
    caller.fail("perigee.shared.rate_limiter('%s'): a token in %.3g seconds cannot be counted", name,
      per / rate)
  end
  local burst = number_option(name, options, "burst", math.max(1, rate))
  if burst < 1 then caller.fail("perigee.shared.rate_limiter('%s'): burst must be 1 or more", name) end
  return interval, burst
end

local rate_limiter = {}

--- Makes one, or finds the one there is: see perigee.shared.rate_limiter. Where objects are only found, in
--- workers, options may be left out.
function rate_limiter.new(name, options)
  object.check_name("rate_limiter", name)
  local is_made = phase.can_share() or phase.current == "check" or options ~= nil
  options = object.check_options("rate_limiter", name, options, known)
  local keys = object.whole_option("rate_limiter", name, options, "keys", 1, KEYS_MOST, KEYS_DEFAULT)
  local interval, burst = 0, 0
  if is_made then interval, burst = rate_of(name, options) end
  local pointer = object.open("rate_limiter", name, function(create)
    return C.shm_limiter_open(name, keys, interval, burst, create)
  end)
  return setmetatable({ name = name, limiter = pointer }, mt)
end

--- The figures of the rate limiter of that name, which exists.
---@param name string
---@return table<string, number>
function rate_limiter.stat(name)
  return setmetatable({ name = name, limiter = C.shm_limiter_open(name, 1, 0, 0, 0) }, mt):stat()
end

return rate_limiter
