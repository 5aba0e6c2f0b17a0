--- Messages between processes, in order: many put, many take, each message is taken once.
---
--- The engine is host/shm/queue.c. A message is text there; what it means (JSON or bytes) is decided here.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local json = require "perigee.json"
local object = require "perigee.shared.object"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, type, setmetatable = tonumber, type, setmetatable
local try_encode, decode = json.try_encode, json.decode
local max, min = math.max, math.min

-- enum shm_queue_result
local OK, CLOSED, TOO_BIG, FAILED = 0, 3, 4, -1

local BATCH = 128       -- messages that the engine takes or puts at once
local BATCH_ROOM = 65536 -- bytes of them, or one message
local CAPACITY_MOST, MESSAGE_MOST, SIZE_MOST = 2 ^ 20, 2 ^ 20, 2 ^ 40
local CELL, CELL_FIRST, CELL_MORE = 128, 64, 120 -- host/shm/queue_store.h
local SIZE_DEFAULT = 4 * 2 ^ 20

local known_options = { "capacity", "message_limit", "size", "encoding" }
local encodings = { bytes = 0, json = 1 }

-- What the engine writes into, for one call at a time: its content is taken before anything else runs.
local batch = ffi.new "struct shm_queue_batch"
local room = ffi.new("char[?]", BATCH_ROOM)
batch.text, batch.room = room, BATCH_ROOM
local texts, sizes = ffi.new("const char *[?]", BATCH), ffi.new("uint64_t[?]", BATCH)
local put_count = ffi.new "uint64_t[1]"

---@class perigee.SharedQueue
---@field name string
---@field encoding "json"|"bytes"
---@field message_limit number bytes
local methods = {}
local queue_mt = object.metatable("queue", methods)

---@class perigee.Receipt
---@field deliveries number how often the message was taken, this time included
local receipt_methods = {}
local receipt_mt = { __name = "perigee.receipt", __index = receipt_methods }

local function refused(self, result, size)
  if result == TOO_BIG then
    return nil, ("too big: %d bytes, and the shared queue '%s' takes messages of at most %d (message_limit)")
      :format(size, self.name, self.message_limit), "TOO_BIG"
  elseif result == CLOSED then
    return nil, ("the shared queue '%s' is closed"):format(self.name), "CLOSED"
  end
  return nil, ffi.string(C.shm_last_error()), "FAILED"
end

local function full(self)
  return nil, ("the shared queue '%s' is full"):format(self.name), "FULL"
end

local function timeout_of(self, what)
  return nil, ("timeout: %s the shared queue '%s' took too long"):format(what, self.name), "TIMEOUT"
end

--- The text of a value; raises at the caller's place when it cannot be put.
local function text_of(self, value, what)
  if self.encoding == "bytes" then
    if type(value) ~= "string" then
      caller.fail("%s: wrong type: the shared queue '%s' takes strings, not a %s (its encoding is \"bytes\")",
        what, self.name, type(value))
    end
    return value
  end
  if value == nil then caller.fail("%s: nil is no message; json.null is", what) end
  local text, problem = try_encode(value)
  if problem then caller.fail("%s: wrong type: %s", what, problem) end
  return text
end

local function value_of(self, text)
  if self.encoding == "bytes" then return text end
  return (decode(text))
end

local function attempt_put(self, text)
  local result = C.shm_queue_put(self.queue, text, #text)
  if result == OK or result == CLOSED then return result end
end

--- Puts a value at the end. Yields while the queue is full.
---@param value any what JSON can say; with the encoding "bytes" a string
---@param timeout number|nil seconds; nil: as long as it takes
---@return true|nil # or nil, message, "TOO_BIG" | "CLOSED" | "TIMEOUT"
function methods:put(value, timeout)
  local text = text_of(self, value, "queue:put")
  local putters = self.putters
  waiting.check_timeout(timeout, "queue:put")
  if putters.last < putters.first then
    local result = C.shm_queue_put(self.queue, text, #text)
    if result == OK then return true end
    if result == TOO_BIG or result == CLOSED then return refused(self, result, #text) end
  elseif #text > self.message_limit then
    return refused(self, TOO_BIG, #text)
  end
  local result = putters:take(timeout, attempt_put, self, text)
  if result == OK then return true end
  if result == nil then return timeout_of(self, "putting into") end
  return refused(self, result, #text)
end

--- Puts a value if there is a place now. Does not yield.
---@param value any
---@return true|nil # or nil, message, "FULL" | "TOO_BIG" | "CLOSED"
function methods:try_put(value)
  local text = text_of(self, value, "queue:try_put")
  if #text <= self.message_limit and self.putters:busy() then return full(self) end
  local result = C.shm_queue_put(self.queue, text, #text)
  if result == OK then return true end
  if result == TOO_BIG or result == CLOSED then return refused(self, result, #text) end
  return full(self)
end

--- One attempt at list[state.next…state.last], texts; over when all are put or nothing more can be.
local function attempt_put_many(self, list, state)
  while state.next <= #list do
    local count = min(BATCH, #list - state.next + 1)
    for i = 0, count - 1 do
      local text = list[state.next + i]
      texts[i], sizes[i] = text, #text
    end
    local result = C.shm_queue_put_many(self.queue, texts, sizes, count, put_count)
    state.next = state.next + tonumber(put_count[0])
    if result == CLOSED or result == TOO_BIG then return result end
    if result ~= OK then return nil end
  end
  return OK
end

--- Puts the values of a list, in its order, in few steps. Yields while the queue is full.
---@param list any[]
---@param timeout number|nil seconds; nil: as long as it takes
---@return number # how many were put: all, or else message and code follow
---@return string|nil
---@return "TOO_BIG"|"CLOSED"|"TIMEOUT"|nil
function methods:put_many(list, timeout)
  caller.check(list, "table", "queue:put_many: the list")
  waiting.check_timeout(timeout, "queue:put_many")
  local all = {}
  for i = 1, #list do all[i] = text_of(self, list[i], "queue:put_many") end
  local state = { next = 1 }
  local result = self.putters:take(timeout, attempt_put_many, self, all, state)
  if result == OK then return #all end
  local message, code, _
  if result == nil then
    _, message, code = timeout_of(self, "putting into")
  else
    _, message, code = refused(self, result, #(all[state.next] or ""))
  end
  return state.next - 1, message, code
end

local function need_room(self)
  if batch.room >= self.message_limit then return end
  room = ffi.new("char[?]", self.message_limit)
  batch.text, batch.room = room, self.message_limit
end

local function attempt_get(self)
  batch.most, batch.held = 1, 0
  local result = C.shm_queue_take(self.queue, batch)
  if result == OK then return OK, ffi.string(room, batch.messages[0].size) end
  if result == CLOSED or result == FAILED then return result end
end

local function nothing(self, result)
  if result == nil then return timeout_of(self, "getting from") end
  return refused(self, result)
end

--- Takes the eldest message. Yields while there is none. After close, those that are left, then "CLOSED".
---@param timeout number|nil seconds; nil: as long as it takes
---@return any # or nil, message, "CLOSED" | "TIMEOUT"
---@return string|nil
---@return string|nil
function methods:get(timeout)
  waiting.check_timeout(timeout, "queue:get")
  local result, text = self.getters:take(timeout, attempt_get, self)
  if result == OK then return value_of(self, text) end
  return nothing(self, result)
end

--- Takes the eldest message if there is one now. Does not yield.
---@return any # or nil, message, "EMPTY" | "CLOSED"
---@return string|nil
---@return string|nil
function methods:try_get()
  local result, text = self.getters:take(0, attempt_get, self)
  if result == OK then return value_of(self, text) end
  if result == nil then return nil, ("the shared queue '%s' is empty"):format(self.name), "EMPTY" end
  return nothing(self, result)
end

local function attempt_get_many(self, most)
  batch.most, batch.held = min(most, BATCH), 0
  local result = C.shm_queue_take(self.queue, batch)
  if result == CLOSED or result == FAILED then return result end
  if result ~= OK then return nil end
  local list, at = {}, room
  for i = 1, batch.count do
    local size = batch.messages[i - 1].size
    list[i] = ffi.string(at, size)
    at = at + size
  end
  return OK, list
end

--- Takes the eldest messages, at least one, in few steps. Yields while there is none.
---@param most number how many at most, 1 or more
---@param timeout number|nil seconds; nil: as long as it takes
---@return any[]|nil # or nil, message, "CLOSED" | "TIMEOUT"
---@return string|nil
---@return string|nil
function methods:get_many(most, timeout)
  if type(most) ~= "number" or most % 1 ~= 0 or most < 1 then
    caller.fail("queue:get_many: how many must be a whole number, 1 or more, not %s", tostring(most))
  end
  waiting.check_timeout(timeout, "queue:get_many")
  local result, list = self.getters:take(timeout, attempt_get_many, self, most)
  if result ~= OK then return nothing(self, result) end
  while #list < most do
    local again, more = attempt_get_many(self, most - #list)
    if again ~= OK then break end
    for i = 1, #more do list[#list + 1] = more[i] end
  end
  if self.encoding ~= "bytes" then
    for i = 1, #list do list[i] = value_of(self, list[i]) end
  end
  return list
end

-- What is known of a message that was taken; collected without a verdict, it goes back.
local held_type = ffi.typeof "struct { struct shm_queue *queue; uint64_t id; uint64_t serial; }"

local function give_back(held)
  C.shm_queue_nack(held.queue, held.id, held.serial)
end

local function attempt_get_ack(self)
  batch.most, batch.held = 1, 1
  local result = C.shm_queue_take(self.queue, batch)
  if result == CLOSED or result == FAILED then return result end
  if result ~= OK then return nil end
  local message = batch.messages[0]
  local held = ffi.gc(held_type(self.queue, message.id, message.serial), give_back)
  local receipt = { held = held, deliveries = tonumber(message.deliveries), queue = self }
  return OK, ffi.string(room, message.size), setmetatable(receipt, receipt_mt)
end

--- As get, but the message is taken for good only by `receipt:ack()`. It goes back to its place at the head
--- by `receipt:nack()`, when the receipt is forgotten (collected), or when the process ends, however it does.
---@param timeout number|nil seconds; nil: as long as it takes
---@return any # or nil, message, "CLOSED" | "TIMEOUT"
---@return perigee.Receipt|string
---@return string|nil
function methods:get_ack(timeout)
  waiting.check_timeout(timeout, "queue:get_ack")
  local result, text, receipt = self.getters:take(timeout, attempt_get_ack, self)
  if result == OK then return value_of(self, text), receipt end
  return nothing(self, result)
end

local function finish(receipt, verdict)
  local held = receipt.held
  if not held then
    return nil, ("a message of the shared queue '%s' was acknowledged or given back before")
      :format(receipt.queue.name), "GONE"
  end
  receipt.held = nil
  ffi.gc(held, nil)
  if verdict(held.queue, held.id, held.serial) == OK then return true end
  return nil, ("a message of the shared queue '%s' is no longer this process's"):format(receipt.queue.name),
    "GONE"
end

--- The message is done with. Does not yield.
---@return true|nil # or nil, message, "GONE" when that was said before
function receipt_methods:ack()
  return finish(self, C.shm_queue_ack)
end

--- The message goes back to its place before younger ones, for whoever takes next. Does not yield.
---@return true|nil # or nil, message, "GONE"
function receipt_methods:nack()
  return finish(self, C.shm_queue_nack)
end

--- The same as nack.
receipt_methods.reject = receipt_methods.nack

local function next_item(self)
  return (methods.get(self))
end

--- For a loop over what is taken, until the queue is closed and empty. Yields in between.
---@return fun(): any
function methods:items()
  return next_item, self
end

local function next_item_ack(self)
  local value, receipt = methods.get_ack(self)
  if value ~= nil then return value, receipt end
end

--- As items, with a receipt beside each value: `for job, receipt in queue:items_ack() do`.
---@return fun(): any, perigee.Receipt
function methods:items_ack()
  return next_item_ack, self
end

--- Closes it for all processes: nothing can be put any more; what is left can be taken. Does not yield.
function methods:close()
  C.shm_queue_close(self.queue)
end

--- How many messages can be taken now. Does not yield.
---@return number
function methods:size()
  return tonumber(C.shm_queue_size(self.queue))
end

--- Figures. Does not yield.
---@return table # size (messages that can be taken), taken (not yet acknowledged), capacity, put, done and
--- returned (totals), used_bytes, size_bytes, closed (1 or 0), undone (operations of killed processes),
--- getters and putters (bells of processes that wait)
function methods:stat()
  local stat, shape = ffi.new "struct shm_queue_stat", ffi.new "struct shm_queue_shape"
  C.shm_queue_stat(self.queue, stat)
  C.shm_queue_shape(self.queue, shape)
  return {
    size = tonumber(stat.ready), taken = tonumber(stat.taken), capacity = tonumber(shape.capacity),
    put = tonumber(stat.put), done = tonumber(stat.done), returned = tonumber(stat.returned),
    used_bytes = tonumber(stat.used), size_bytes = tonumber(stat.size), closed = tonumber(stat.closed),
    undone = tonumber(stat.undone), getters = stat.getters, putters = stat.putters,
  }
end

local queue = {}

--- Bytes of memory that `count` messages of `bytes` take.
local function memory_of(count, bytes)
  local more = max(0, bytes - CELL_FIRST)
  return count * CELL * (1 + math.ceil(more / CELL_MORE))
end

local function default_size(capacity, limit)
  return max(memory_of(capacity, 0), memory_of(1, limit), min(memory_of(capacity, limit), SIZE_DEFAULT))
end

local function shape_of(name, options)
  options = object.check_options("queue", name, options, known_options)
  local capacity = object.whole_option("queue", name, options, "capacity", 1, CAPACITY_MOST, 1024)
  local limit = object.whole_option("queue", name, options, "message_limit", 1, MESSAGE_MOST, 65536)
  local size = object.whole_option("queue", name, options, "size", memory_of(1, limit), SIZE_MOST,
    default_size(capacity, limit))
  local encoding = options.encoding == nil and "json" or options.encoding
  if not encodings[encoding] then
    caller.fail("perigee.shared.queue('%s'): encoding must be \"json\" or \"bytes\", not %s", name,
      tostring(encoding))
  end
  return ffi.new("struct shm_queue_shape", capacity, limit, size, encodings[encoding])
end

local function wrap(name, pointer)
  local shape = ffi.new "struct shm_queue_shape"
  C.shm_queue_shape(pointer, shape)
  local self = setmetatable({
    name = name, queue = pointer, message_limit = tonumber(shape.message_limit),
    encoding = shape.encoding == 1 and "json" or "bytes",
    getters = waiting.line(C.shm_queue_getters(pointer)),
    putters = waiting.line(C.shm_queue_putters(pointer)),
  }, queue_mt)
  need_room(self)
  return self
end

--- Makes one, or finds the one there is: see perigee.shared.queue.
function queue.new(name, options)
  object.check_name("queue", name)
  local shape = shape_of(name, options)
  return wrap(name, object.open("queue", name, function(create)
    return C.shm_queue_open(name, (create == 1 or options) and shape or nil, create)
  end))
end

--- The figures of a queue that exists: see queue:stat.
---@param name string
---@return table|nil # or nil and the reason
function queue.stat(name)
  local pointer = C.shm_queue_open(name, nil, 0)
  if pointer == nil then return nil, ffi.string(C.shm_last_error()) end
  return wrap(name, pointer):stat()
end

return queue
