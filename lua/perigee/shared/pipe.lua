--- A stream of bytes from one process to another.
---
--- The engine is host/shm/pipe.c. Nothing is opened: the first to write is the writer, the first to read
--- the reader, until they close it or their process ends.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local object = require "perigee.shared.object"
local waiting = require "perigee.waiting"

local C = abi.C
local tonumber, type, setmetatable = tonumber, type, setmetatable
local min = math.min

-- enum shm_pipe_result
local OK, LATER, ENDED, DIED, CLOSED, BUSY = 0, 1, 2, 3, 4, 5

local SIZE, SIZE_MOST = 65536, 2 ^ 30
local READ = 65536 -- bytes that one read gives, at most

local room = ffi.new("char[?]", READ)
local count = ffi.new "uint64_t[1]"

---@class perigee.SharedPipe
---@field name string
local methods = {}
local pipe_mt = object.metatable("pipe", methods)

local words = {
  [ENDED] = { "the shared pipe '%s' is closed: its writer closed it", "CLOSED" },
  [DIED] = { "the shared pipe '%s' is closed: the process that wrote it died", "DIED" },
  [CLOSED] = { "the shared pipe '%s' is closed: its reader closed it", "CLOSED" },
}

local function problem(self, result, verb)
  if result == nil then
    return nil, ("timeout: %s the shared pipe '%s' took too long"):format(verb, self.name), "TIMEOUT"
  elseif result == BUSY then
    return nil, ("another process is %s the shared pipe '%s'"):format(verb, self.name), "BUSY"
  elseif words[result] then
    return nil, words[result][1]:format(self.name), words[result][2]
  end
  return nil, ffi.string(C.shm_last_error()), "FAILED"
end

local function attempt_write(self, data, state)
  local start = ffi.cast("const char *", data)
  while state.done < #data do
    local result = C.shm_pipe_write(self.pipe, start + state.done, #data - state.done, count)
    if result == LATER then return nil end
    if result ~= OK then return result end
    state.done = state.done + tonumber(count[0])
  end
  return OK
end

--- Writes all of a string. Yields while there is no room for the rest.
---@param data string
---@param timeout number|nil seconds for all of it; nil: as long as it takes
---@return true|nil # or nil, message, "CLOSED" | "TIMEOUT" | "BUSY", and the bytes that were written
---@return string|nil
---@return string|nil
---@return number|nil
function methods:write(data, timeout)
  if type(data) ~= "string" then
    caller.fail("pipe:write: wrong type: a shared pipe takes strings, not a %s", type(data))
  end
  waiting.check_timeout(timeout, "pipe:write")
  local state = { done = 0 }
  local result = self.writers:take(timeout, attempt_write, self, data, state)
  if result == OK then return true end
  local _, message, code = problem(self, result, "writing")
  return nil, message, code, state.done
end

local function attempt_read(self, most)
  local result = C.shm_pipe_read(self.pipe, room, most, count)
  if result == LATER then return nil end
  if result ~= OK then return result end
  return OK, ffi.string(room, count[0])
end

--- Reads what is there, once there is something. Yields until then.
---@param most number|nil bytes at most, 1 or more; never more than 65536 at once
---@param timeout number|nil seconds; nil: as long as it takes
---@return string|nil # or nil, message, "CLOSED" (by its writer) | "DIED" (it did) | "TIMEOUT" | "BUSY"
---@return string|nil
---@return string|nil
function methods:read(most, timeout)
  if most ~= nil and (type(most) ~= "number" or most % 1 ~= 0 or most < 1) then
    caller.fail("pipe:read: how much must be a whole number of bytes, 1 or more, not %s", tostring(most))
  end
  waiting.check_timeout(timeout, "pipe:read")
  local result, data = self.readers:take(timeout, attempt_read, self, min(most or READ, READ))
  if result == OK then return data end
  return problem(self, result, "reading")
end

--- Ends the side that this process has: its stream when it writes; when it reads, writing fails from now
--- on until somebody else reads. Does not yield.
function methods:close()
  C.shm_pipe_close(self.pipe)
end

--- Figures. Does not yield.
---@return table # size_bytes, used_bytes, written (bytes, ever), writing and reading (1 when a living process
--- does), undone (operations of killed processes)
function methods:stat()
  local stat = ffi.new "struct shm_pipe_stat"
  C.shm_pipe_stat(self.pipe, stat)
  return {
    size_bytes = tonumber(stat.size), used_bytes = tonumber(stat.used), written = tonumber(stat.written),
    writing = tonumber(stat.writing), reading = tonumber(stat.reading), undone = tonumber(stat.undone),
  }
end

local pipe = {}

local function wrap(name, pointer)
  return setmetatable({
    name = name, pipe = pointer,
    readers = waiting.line(C.shm_pipe_readers(pointer)), writers = waiting.line(C.shm_pipe_writers(pointer)),
  }, pipe_mt)
end

--- Makes one, or finds the one there is: see perigee.shared.pipe.
function pipe.new(name, options)
  object.check_name("pipe", name)
  local size = object.whole_option("pipe", name,
    object.check_options("pipe", name, options, { "size" }), "size", 1, SIZE_MOST, SIZE)
  return wrap(name, object.open("pipe", name, function(create)
    return C.shm_pipe_open(name, (create == 1 or options) and size or 0, create)
  end))
end

--- The figures of a pipe that exists: see pipe:stat.
---@param name string
---@return table|nil # or nil and the reason
function pipe.stat(name)
  local pointer = C.shm_pipe_open(name, 0, 0)
  if pointer == nil then return nil, ffi.string(C.shm_last_error()) end
  return wrap(name, pointer):stat()
end

return pipe
