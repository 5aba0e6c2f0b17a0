--- Objects that every process of the app sees, in shared memory; they outlive workers and reloads.
---
---     app:main_process_start(function(app)
---       app.shared.hits = perigee.shared.value("hits", "int64")
---     end)
---     app:get("/", function(req) return "hit " .. app.shared.hits:add(1) end)
---
--- One is made in the main process, with its contents when it was there before a reload; in a worker
--- one that exists is opened. One of the same name with another shape is an error that says both.
local object = require "perigee.shared.object"

local shared = {}

--- A number or boolean. Does not yield; raises at the caller's place.
---@param name string 1 to 63 bytes
---@param kind "int64"|"double"|"bool"
---@param options { initial: number|boolean }|nil for a new one; default 0 or false
---@return perigee.SharedValue # with get, set, cas, exchange, and for numbers add, max, min; all atomic
function shared.value(name, kind, options)
  return require("perigee.shared.value").new(name, kind, options)
end

--- Messages in order: many processes put, many take, each is taken once. Does not yield; raises at the
--- caller's place. `options`, which a worker may leave out: `capacity` in messages (1024), `message_limit`
--- in bytes (65536), `size` in bytes of memory that all share (4 MiB, less when so much cannot be used),
--- `encoding`: "json" (default) or "bytes", which takes strings only.
---@param name string 1 to 63 bytes
---@param options { capacity: number, message_limit: number, size: number, encoding: string }|nil
---@return perigee.SharedQueue # put try_put put_many, get try_get get_many get_ack, items items_ack, close
--- size stat
function shared.queue(name, options)
  return require("perigee.shared.queue").new(name, options)
end

--- A stream of bytes from one process to another: the first to write is its writer, the first to read its
--- reader, until they close it or end. Does not yield; raises at the caller's place.
---@param name string 1 to 63 bytes
---@param options { size: number }|nil bytes that may be written before they are read; default 65536
---@return perigee.SharedPipe # with write, read, close, stat
function shared.pipe(name, options)
  return require("perigee.shared.pipe").new(name, options)
end

--- Numbers or booleans by index, from 1. Does not yield; raises at the caller's place.
---@param name string 1 to 63 bytes
---@param kind "int64"|"double"|"int32"|"uint8"|"bool"|nil nil: of one that exists
---@param count number|nil how many; all begin as 0 or false
---@return perigee.SharedArray # with what a value has, after an index; read, write, fill and length
function shared.array(name, kind, count, options)
  return require("perigee.shared.array").new(name, kind, count, options)
end

--- A lock: acquire(timeout), release(), with(fn, timeout), owner(). Does not yield; raises at the caller's
--- place, as all of these.
---@param name string
---@return perigee.SharedLock
function shared.lock(name, options)
  return require("perigee.shared.lock").new(name, options)
end

--- A number of permits: acquire(timeout), release(), with(fn, timeout), available().
---@param name string
---@param permits number|nil nil: of one that exists
---@return perigee.SharedSemaphore
function shared.semaphore(name, permits, options)
  return require("perigee.shared.semaphore").new(name, permits, options)
end

--- A flag: set(), clear(), is_set(), wait(timeout).
---@param name string
---@return perigee.SharedEvent
function shared.event(name, options)
  return require("perigee.shared.event").new(name, options)
end

--- A place where a number of tasks wait for each other: wait(timeout).
---@param name string
---@param parties number|nil nil: of one that exists
---@return perigee.SharedBarrier
function shared.barrier(name, parties, options)
  return require("perigee.shared.barrier").new(name, parties, options)
end

--- What one process does for all, once for as long as the host runs: once() or once:run(timeout) in any
--- process does it or waits for it, and returns what fn did.
---@param name string
---@param fn fun(): any its result is passed as JSON; may yield
---@param options { limit: number }|nil limit: bytes of the result as JSON; default 4096
---@return perigee.SharedOnce
function shared.once(name, fn, options)
  return require("perigee.shared.once").new(name, fn, options)
end

--- A figure that only grows: add(number, labels), get(labels). Shown by perigee.metrics.
---@param name string letters, digits, "_" and ":"
---@param options { help: string, labels: string[], series: number }|nil labels: names; series: how many
---   combinations of their values there may be (256), beyond which all are "other"
---@return perigee.SharedMetric
function shared.counter(name, options)
  return require("perigee.shared.metric").new("counter", name, options)
end

--- A figure that goes up and down: set(number, labels), add(number, labels), get(labels).
---@param name string
---@param options { help: string, labels: string[], series: number }|nil
---@return perigee.SharedMetric
function shared.gauge(name, options)
  return require("perigee.shared.metric").new("gauge", name, options)
end

--- How often values were up to each of some bounds: observe(value, labels).
---@param name string
---@param options { help: string, labels: string[], series: number, buckets: number[] }|nil buckets: upper
---   ends that grow; default from 5 ms to 10 s
---@return perigee.SharedMetric
function shared.histogram(name, options)
  return require("perigee.shared.metric").new("histogram", name, options)
end

--- A table of strings, numbers, booleans and nested tables by string keys, with times to live and lists; a
--- cache, when it evicts. Does not yield; raises at the caller's place. See perigee.shared.dict.
---@param name string 1 to 63 bytes
---@param options { size: number|string, eviction: "none"|"lru" }|nil size: bytes, or "16 MiB", which is the
---   default; eviction: what happens when it is full: "none" (default) refuses, "lru" makes room
---@return perigee.SharedDict
function shared.dict(name, options)
  return require("perigee.shared.dict").new(name, options)
end

--- How often something may happen, by key: a token bucket for each. Does not yield; raises at the caller's
--- place. See perigee.shared.rate_limiter.
---@param name string 1 to 63 bytes
---@param options { rate: number, per: number, burst: number, keys: number }|nil rate: tokens that come back
---   in `per` seconds (1); burst: the most there are at once (rate); keys: those remembered (10000)
---@return perigee.SharedRateLimiter
function shared.rate_limiter(name, options)
  return require("perigee.shared.rate_limiter").new(name, options)
end

--- How full the shared memory is, and what is in it. Does not yield; raises at the caller's place.
---@return { size: number, used: number, free: number, objects: table[] } # bytes, the directory included;
---   each object has name, kind, shape, size (bytes), and what its kind says: figures
function shared.stat()
  return require("perigee.shared.stat").read()
end

--- Whether a value is a shared object.
---@return boolean
shared.is_object = object.is

return shared
