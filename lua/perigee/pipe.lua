--- Our ends of a child process's pipes, in plain blocking style.
local uv = require "luv"

local caller = require "perigee.caller"
local scheduler = require "perigee.scheduler"

local pipe = {}

local LINE_LIMIT = 1048576 -- bytes of a line, by default

--- What a libuv callback reports, as the world's fault.
local function failure(problem)
  local code = problem:match("^(%u[%u%d]*)") or "EIO"
  return nil, problem, code
end

--- Makes a pipe and puts our end on the loop.
---@param ours "read"|"write"
---@return userdata|nil handle # or nil, message, code
---@return number fd # the other end, to be closed by the caller
local function open(ours)
  local ends, message, code = uv.pipe()
  if not ends then return nil, message, code end
  local handle = uv.new_pipe(false)
  local opened, problem, name = handle:open(ends[ours])
  local theirs = ends[ours == "read" and "write" or "read"]
  if opened then return handle, theirs end
  handle:close()
  uv.fs_close(ends[ours])
  uv.fs_close(theirs)
  return nil, problem, name
end

--- What our end is, apart from the object users hold: `inbox` is all that callbacks refer to, so
--- that an object nobody holds any more can be collected, and its `guard` closes the handle.
local function new(handle, mt)
  local inbox = { closed = false }
  local guard = newproxy(true)
  getmetatable(guard).__gc = function()
    if not inbox.closed then handle:close() end
  end
  return setmetatable({ handle = handle, inbox = inbox, guard = guard, reading = false, rest = "" }, mt)
end

local function close(self)
  if not self.inbox.closed then
    self.inbox.closed = true
    self.handle:close()
  end
end

-- ── Reading ──────────────────────────────────────────────────────────────────────────────────

---@class perigee.Reader
local reader = {}
local reader_mt = { __name = "perigee.process.reader", __index = reader }

---@return perigee.Reader|nil # or nil, message, code
---@return number fd # of the other end
function pipe.reader()
  local handle, fd, code = open "read"
  if not handle then return nil, fd, code end
  return new(handle, reader_mt), fd
end

--- Asks the loop for one chunk; nothing more is taken out of the pipe before it is asked again.
local function start_reading(handle, inbox, task)
  handle:read_start(function(problem, data)
    handle:read_stop()
    inbox.chunk, inbox.problem, inbox.done = data, problem, true
    if task then scheduler.wake(task) end
  end)
end

local function read_chunk(self)
  local inbox = self.inbox
  inbox.done = false
  start_reading(self.handle, inbox, scheduler.current)
  self.reading = true
  local ok, raised = pcall(scheduler.park)
  self.reading = false
  local chunk, problem = inbox.chunk, inbox.problem
  inbox.chunk, inbox.problem = nil, nil
  if not ok then
    if not inbox.done and not inbox.closed then self.handle:read_stop() end
    if chunk then self.rest = self.rest .. chunk end
    error(raised, 0)
  end
  if chunk then return chunk end
  close(self)
  if problem then return failure(problem) end
  return nil
end

--- What has come: at least a byte, as much as the pipe gave at once. Yields.
---@return string|nil # nil at the end; or nil, message, code
function reader:read()
  if self.reading then caller.fail("read: another task is reading from this already") end
  if self.rest ~= "" then
    local rest = self.rest
    self.rest = ""
    return rest
  end
  if self.inbox.closed then return nil end
  return read_chunk(self)
end

--- All until the end. Yields.
---@param limit number|nil bytes; default none but memory
---@return string|nil # or nil, message, code; "limit" when there is more, which is left unread
function reader:read_all(limit)
  local parts, size = {}, 0
  while true do
    local chunk, problem, code = self:read()
    if problem then return nil, problem, code end
    if not chunk then return table.concat(parts) end
    size = size + #chunk
    if limit and size > limit then return nil, ("it is more than %d bytes"):format(limit), "limit" end
    parts[#parts + 1] = chunk
  end
end

--- A line without its newline, or nil at the end. Raises on one that is too long.
local function next_line(self, state, limit)
  while true do
    local stop = state.text:find("\n", state.seen, true)
    if stop then
      local line = state.text:sub(1, stop - 1)
      state.text, state.seen = state.text:sub(stop + 1), 1
      return line
    end
    if #state.text > limit then caller.fail("lines: a line has more than %d bytes", limit) end
    state.seen = #state.text + 1
    local chunk, problem = self:read()
    if problem then error(problem, 0) end
    if not chunk then
      local last = state.text
      state.text, state.seen = "", 1
      return last ~= "" and last or nil
    end
    state.text = state.text .. chunk
  end
end

--- For a `for` loop over the lines until the end, without their newlines. Yields.
---@param limit number|nil bytes of a line; default 1 MiB; a longer one raises
---@return fun(): string|nil
function reader:lines(limit)
  local state = { text = "", seen = 1 }
  return function() return next_line(self, state, limit or LINE_LIMIT) end
end

--- Gives the pipe up: whoever writes to it is told. Does not yield.
function reader:close()
  close(self)
end

-- ── Writing ──────────────────────────────────────────────────────────────────────────────────

---@class perigee.Writer
local writer = {}
local writer_mt = { __name = "perigee.process.writer", __index = writer }

---@return perigee.Writer|nil # or nil, message, code
---@return number fd # of the other end
function pipe.writer()
  local handle, fd, code = open "write"
  if not handle then return nil, fd, code end
  return new(handle, writer_mt), fd
end

--- Writes all of it; returns when the pipe has taken it. Yields while it is full.
---@param data string
---@return true|nil # or nil, message, code: "EPIPE" when nobody reads any more
function writer:write(data)
  caller.check(data, "string", "write: the data")
  if self.inbox.closed then return nil, "EPIPE: the pipe is closed", "EPIPE" end
  local task = scheduler.current
  local problem, done
  self.handle:write(data, function(err)
    problem, done = err, true
    if task then scheduler.wake(task) end
  end)
  while not done do scheduler.park() end
  if problem then
    close(self)
    return failure(problem)
  end
  return true
end

--- The reader gets its end. Does not yield.
function writer:close()
  close(self)
end

return pipe
