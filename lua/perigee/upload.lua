--- A file of a form: in memory as long as there is room, else in a temporary file that has no name.
local ffi = require "ffi"
local uv = require "luv"

local async_file = require "perigee.async_file"
local caller = require "perigee.caller"

local PIECE = 65536 -- bytes read at once

-- Linux, asm-generic/fcntl.h: O_TMPFILE holds O_DIRECTORY, which differs on ARM.
local O_RDWR, O_DIRECTORY = 2, (ffi.arch == "arm" or ffi.arch == "arm64") and 0x4000 or 0x10000
local O_TMPFILE = 0x400000 + O_DIRECTORY

local upload = {}

---@class perigee.Upload
---@field name string of the form's field
---@field filename string as the client calls it, without folders
---@field type string|nil the Content-Type the client gives it
---@field size number bytes
---@field body string its content; read from the disk, which yields, when it is there
local methods = {}

local upload_mt = { __name = "perigee.upload" }

function upload_mt.__index(self, key)
  if key == "body" then
    local content = methods.content(self)
    rawset(self, "body", content)
    return content
  end
  return methods[key]
end

--- Starts an upload. `store` counts the memory of all files of a form.
---@param part perigee.Part
---@param store { left: number, directory: string, open: table[] } bytes of memory left; where
---   temporary files go; what is to be closed at the request's end
---@return perigee.Upload
function upload.new(part, store)
  return setmetatable({ name = part.name, filename = part.filename, type = part.type, size = 0, at = 0,
    store = store, pieces = {}, file = false }, upload_mt)
end

local function fail(message)
  error("an upload cannot be kept: " .. message, 0)
end

--- A temporary file without a name. Yields.
local function open_temporary(directory)
  local file, message, code = async_file.open(directory, O_TMPFILE + O_RDWR, 384) -- 0600
  if file or (code ~= "EOPNOTSUPP" and code ~= "ENOTSUP" and code ~= "EISDIR") then return file, message end
  local fd, path = uv.fs_mkstemp(directory .. "/perigee-XXXXXX")
  if not fd then return nil, path end
  uv.fs_unlink(path)
  return async_file.of(fd)
end

--- Moves what is in memory to a temporary file. Yields.
local function spill(self)
  local store = self.store
  local file, message = open_temporary(store.directory)
  if not file then fail(("a temporary file in %s: %s"):format(store.directory, message)) end
  store.open[#store.open + 1] = file
  local content = table.concat(self.pieces)
  self.file, self.pieces = file, nil
  store.left = store.left + self.size
  local ok
  ok, message = file:write(content, 0)
  if not ok then fail(message) end
end

--- Adds to it. Yields while it is written to the disk. Raises when it cannot be.
---@param data string
function methods:add(data)
  if not self.file and #data > self.store.left then spill(self) end
  if self.file then
    local ok, message = self.file:write(data, self.size)
    if not ok then fail(message) end
  else
    self.pieces[#self.pieces + 1] = data
    self.store.left = self.store.left - #data
  end
  self.size = self.size + #data
end

local function check_open(self)
  if self.file and self.file.closed then
    caller.fail("the file '%s' is gone: the request is over (save it, or read it, before)", self.name)
  end
end

--- The next bytes of the file, at most 64 KiB. Yields when it is on the disk.
---@return string|nil # nil at the end; or nil, message, code
---@return string|nil message
---@return string|nil code
function methods:read()
  check_open(self)
  if self.at >= self.size then return nil end
  local piece, message, code
  if self.file then
    piece, message, code = self.file:read(PIECE, self.at)
    if not piece then return nil, message, code end
  else
    if #self.pieces > 1 then self.pieces = { table.concat(self.pieces) } end
    piece = self.pieces[1]:sub(self.at + 1, self.at + PIECE)
  end
  self.at = self.at + #piece
  return piece
end

--- All of it.
function methods:content()
  check_open(self)
  if not self.file then return table.concat(self.pieces) end
  local parts, at = {}, 0
  while at < self.size do
    local piece, message = self.file:read(PIECE, at)
    if not piece or piece == "" then fail(message or "the temporary file is too short") end
    parts[#parts + 1], at = piece, at + #piece
  end
  return table.concat(parts)
end

--- Writes it to `path`, in place of what is there, as a whole or not at all. Yields.
---@param path string
---@return true|nil
---@return string|nil message
---@return string|nil code "ENOENT"
function methods:save(path)
  caller.check(path, "string", "save: the path")
  check_open(self)
  local part = ("%s.%x.part"):format(path, math.random(0, 2 ^ 31 - 1))
  -- not in the thread pool: were the handler cancelled meanwhile, nobody would remove the file
  local fd, message, code = uv.fs_open(part, "wx", 420) -- 0644, less the umask
  if not fd then return nil, message, code end
  local target = async_file.of(fd)
  local open = self.store.open
  -- should the handler be cancelled meanwhile, this is what closes and removes it
  local unfinished = { close = function() target:close() uv.fs_unlink(part) end }
  open[#open + 1] = unfinished
  local ok
  if self.file then
    ok, message, code = target:copy(self.file, self.size)
  else
    ok, message, code = target:write(table.concat(self.pieces), 0)
  end
  target:close()
  if ok then
    ok, message, code = uv.fs_rename(part, path)
  end
  if not ok then
    uv.fs_unlink(part)
  end
  unfinished.close = function() end
  return ok, message, code
end

return upload
