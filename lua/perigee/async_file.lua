--- Files for handlers: each operation runs in libuv's thread pool and yields meanwhile, so a slow
--- disk holds nobody else up.
---
--- A task may be cancelled while an operation of its is under way. The operation goes on then, and
--- the descriptor is closed behind it, never under it.
local uv = require "luv"

local scheduler = require "perigee.scheduler"

local async_file = {}

---@class perigee.AsyncFile
local methods = {}
local file_mt = { __index = methods, __name = "perigee.async_file" }

--- Starts `operation(..., callback)` and waits for its end.
---@return any # its result; or nil, a message and the error's name ("ENOSPC")
local function run(self, operation, ...)
  local task = scheduler.current
  if not task then return scheduler.park() end -- which says what is wrong
  local done, waiting, failure, result = false, false, nil, nil
  local arguments, count = { ... }, select("#", ...)
  arguments[count + 1] = function(why, value)
    done, failure, result = true, why, value
    arguments = nil -- which was kept until here, because the thread reads what is in it
    self.pending = false
    if self.opening then self.fd, self.opening = value, false end
    if self.closed then self:release() end
    if waiting then scheduler.wake(task) end
  end
  self.pending = true
  local ok, message, code = operation(unpack(arguments, 1, count + 1))
  if not ok then
    self.pending = false
    return nil, message, code
  end
  while not done do
    waiting = true
    local woken, problem = pcall(scheduler.park)
    waiting = false
    if not woken then
      if self.opening then self:close() end -- nobody else knows of it
      error(problem, 0)
    end
  end
  if failure then
    code, message = failure:match("^([%u%d]+): ?(.*)$")
    return nil, message or failure, code
  end
  return result == nil and true or result
end

--- Opens a file. Yields.
---@param path string
---@param flags string|number as uv.fs_open
---@param mode number
---@return perigee.AsyncFile|nil
---@return string|nil message
---@return string|nil code "ENOENT"
function async_file.open(path, flags, mode)
  local self = setmetatable({ fd = nil, opening = true, pending = false, closed = false }, file_mt)
  local ok, message, code = run(self, uv.fs_open, path, flags, mode)
  self.opening = false
  if not ok then return nil, message, code end
  return self
end

--- Takes a descriptor over.
---@param fd number
---@return perigee.AsyncFile
function async_file.of(fd)
  return setmetatable({ fd = fd, opening = false, pending = false, closed = false }, file_mt)
end

--- Writes all of `data` at `offset`. Yields.
---@return true|nil
---@return string|nil message
---@return string|nil code
function methods:write(data, offset)
  while #data > 0 do
    local count, message, code = run(self, uv.fs_write, self.fd, data, offset)
    if not count then return nil, message, code end
    data, offset = data:sub(count + 1), offset + count
  end
  return true
end

--- Has what was written put on the disk. Yields.
---@return true|nil
---@return string|nil message
---@return string|nil code
function methods:sync()
  return run(self, uv.fs_fsync, self.fd)
end

--- Reads up to `size` bytes from `offset`. Yields.
---@return string|nil # "" at the end
---@return string|nil message
---@return string|nil code
function methods:read(size, offset)
  return run(self, uv.fs_read, self.fd, size, offset)
end

--- Copies `size` bytes from the beginning of another file. Yields.
---@return true|nil
---@return string|nil message
---@return string|nil code
function methods:copy(from, size)
  local offset = 0
  while offset < size do
    local count, message, code = run(self, uv.fs_sendfile, self.fd, from.fd, offset, size - offset)
    if not count then return nil, message, code end
    if count == 0 then return nil, "the file is shorter than it was", "EIO" end
    offset = offset + count
  end
  return true
end

--- Closes the descriptor. Internal: close() sees to it that nothing is under way.
function methods:release()
  if self.fd then uv.fs_close(self.fd, function() end) end
  self.fd = nil
end

--- Closes it as soon as nothing is under way. Does not yield.
function methods:close()
  if self.closed then return end
  self.closed = true
  if not self.pending then self:release() end
end

--- The same, done when this returns if nothing is under way: for who leaves its loop with nothing open.
function methods:close_at_once()
  if not self.pending and self.fd and not self.closed then
    uv.fs_close(self.fd)
    self.fd = nil
  end
  self:close()
end

return async_file
