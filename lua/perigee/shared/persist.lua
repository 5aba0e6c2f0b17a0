--- Snapshots of shared objects in files: written now and then and when the host stops, read when the
--- object is new.
---
--- How a kind is kept is a table of two functions: `snapshot(object, write)` calls write(piece) with strings,
--- which may yield, and for `restore(object, read)`, read() gives the same pieces again, then nil. A
--- snapshot is no instant: what is changed while it is written is in it as before or as after.
---
--- A file is some lines that say what it is of, the pieces, each with its length and a checksum, and a last
--- line with their number. It is written beside its place, flushed to the disk and renamed; a lease has only
--- one process at it.
local ffi = require "ffi"
local uv = require "luv"

local abi = require "perigee.abi"
local async_file = require "perigee.async_file"
local caller = require "perigee.caller"
local files = require "perigee.files"
local log = require "perigee.log"
local phase = require "perigee.phase"
local scheduler = require "perigee.scheduler"

local C = abi.C

local persist = {}

local HEAD = "perigee snapshot 1"
local BUFFER = 65536         -- bytes that are written at once
local LINE_LIMIT = 1024      -- bytes of a line
local PIECE_LIMIT = 2 ^ 28   -- bytes of a piece that anybody would have written
local MODE = 384             -- 0600, of the files
local LEASE_PREFIX = "perigee.persist."
local LEASE_TRIES = 100      -- for a snapshot under way elsewhere to end, when the host stops
local LEASE_PAUSE = 0.05     -- seconds between them

local kept = {} -- in the order they were made: { object, way, path, kind, name, shape }

--- A checksum of 32 bits, as adler32.
local function checksum(text)
  local a, b = 1, 0
  local bytes = ffi.cast("const uint8_t *", text)
  for i = 0, #text - 1 do
    a = (a + bytes[i]) % 65521
    b = (b + a) % 65521
  end
  return b * 65536 + a
end

-- ── Writing ──────────────────────────────────────────────────────────────────────────────────

--- Writes through a buffer; the first failure ends it.
local function writer(file)
  local self = { pieces = {}, size = 0, offset = 0, problem = nil }
  function self.flush()
    local text = table.concat(self.pieces)
    self.pieces, self.size = {}, 0
    if self.problem or text == "" then return end
    local written, problem = file:write(text, self.offset)
    self.offset = self.offset + #text
    if not written then self.problem = problem end
  end
  function self.add(text)
    self.pieces[#self.pieces + 1] = text
    self.size = self.size + #text
    if self.size >= BUFFER then self.flush() end
  end
  return self
end

--- Writes a snapshot into a file. Yields.
local function fill(entry, file)
  local out, count = writer(file), 0
  out.add(("%s\n%s\n%s\n%s\n"):format(HEAD, entry.kind, entry.name:gsub("%c", "?"), entry.shape))
  entry.way.snapshot(entry.object, function(piece)
    count = count + 1
    out.add(("%d %d\n"):format(#piece, checksum(piece)))
    out.add(piece)
  end)
  out.add(("end %d\n"):format(count))
  out.flush()
  if out.problem then return nil, out.problem end
  return file:sync()
end

--- Calls fn(file) with an open file, which is closed whatever happens. Yields.
local function with_file(path, flags, fn, ...)
  local file, problem = async_file.open(path, flags, MODE)
  if not file then return nil, problem end
  local ok, done, why = pcall(fn, file, ...)
  file:close_at_once()
  if not ok then error(done, 0) end
  return done, why
end

--- Writes one beside its place and puts it there. Yields.
local function replace(entry)
  local beside = entry.path .. ".new"
  local done, problem = with_file(beside, "w", function(file) return fill(entry, file) end)
  if done then done, problem = uv.fs_rename(beside, entry.path) end
  if not done then return nil, problem end
  return with_file(entry.path:match("^(.*/)"), "r", function(folder) return folder:sync() end)
end

local function take_lease(name, tries)
  for _ = 1, tries do
    if C.shm_lease_take(name) == 1 then return true end
    scheduler.sleep(LEASE_PAUSE)
  end
  return false
end

--- Writes all snapshots; what cannot be written is logged. Yields.
---@param tries number|nil how often to ask for the lease of one; default once
function persist.save(tries)
  for _, entry in ipairs(kept) do
    local lease = LEASE_PREFIX .. entry.name
    if take_lease(lease, tries or 1) then
      local ok, done, problem = pcall(replace, entry)
      C.shm_lease_release(lease)
      if not ok and scheduler.is_cancelled(done) then error(done, 0) end
      if not ok or not done then
        log.error("the snapshot of the shared %s '%s' cannot be written to %s: %s", entry.kind, entry.name,
          entry.path, tostring(ok and problem or done))
      end
    end
  end
end

--- The same when the host stops, or a generation does. Yields.
function persist.finish()
  persist.save(LEASE_TRIES)
end

--- Has them written every so often, by one process of the app, if there are any. Called in the main
--- process, before the first fork.
---@param app perigee.App
function persist.schedule(app)
  if #kept == 0 then return end
  app.background:every(app, app.config.persist_interval, function() persist.save() end,
    { once = "app", name = "perigee.persist" })
end

-- ── Reading ──────────────────────────────────────────────────────────────────────────────────

local function line_of(file)
  local line = file:read("*l")
  return line and #line <= LINE_LIMIT and line or nil
end

--- The next piece; nil at the end, and nil and what is wrong.
local function read_piece(file, count)
  local line = line_of(file)
  local total = line and line:match("^end (%d+)$")
  if total then
    if tonumber(total) ~= count or file:read(1) then return nil, "it does not end where it says" end
    return nil
  end
  local size, sum = (line or ""):match("^(%d+) (%d+)$")
  size = tonumber(size)
  if not size or size > PIECE_LIMIT then return nil, "it is cut off, or was written over" end
  local piece = size == 0 and "" or file:read(size)
  if not piece or #piece ~= size or checksum(piece) ~= tonumber(sum) then
    return nil, "a part of it is not what was written"
  end
  return piece
end

--- Reads a file through and says what is wrong with it.
---@return string|nil
local function find_fault(file)
  local count = 0
  while true do
    local piece, problem = read_piece(file, count)
    if not piece then return problem end
    count = count + 1
  end
end

--- Keeps a file that cannot be read aside and raises.
local function refuse(entry, why)
  local aside = ("%s.broken-%d"):format(entry.path, os.time())
  local ok, problem = os.rename(entry.path, aside)
  local text = "%s: the snapshot of the shared %s '%s' is broken: %s. It is kept as %s; the next start is "
    .. "without it"
  error(text:format(entry.path, entry.kind, entry.name, why, ok and aside or problem), 0)
end

local function open_checked(entry, file)
  local head, kind, name, shape = line_of(file), line_of(file), line_of(file), line_of(file)
  if head ~= HEAD then refuse(entry, "it does not begin as one") end
  if kind ~= entry.kind or shape ~= entry.shape then
    error(("%s: this is the snapshot of the %s '%s' of %s, and not of a %s of %s; move it away, or give "
      .. "another path"):format(entry.path, kind or "?", name or "?", shape or "?", entry.kind,
      entry.shape), 0)
  end
end

local function restore(entry)
  local file, problem, code = io.open(entry.path, "rb")
  if not file then
    if code == 2 then return end -- ENOENT: there was none yet
    error(("the snapshot of the shared %s '%s' cannot be read: %s"):format(entry.kind, entry.name,
      problem), 0)
  end
  open_checked(entry, file)
  local start = file:seek()
  local fault = find_fault(file)
  if fault then
    file:close()
    refuse(entry, fault)
  end
  file:seek("set", start)
  local ok, message = pcall(entry.way.restore, entry.object, function()
    return (read_piece(file, -1)) -- its end is right: we have been there
  end)
  file:close()
  if not ok then error(("%s: %s"):format(entry.path, message), 0) end
end

-- ── Objects ──────────────────────────────────────────────────────────────────────────────────

local function check_path(kind, name, path)
  if type(path) ~= "string" or path == "" or path:find("[%c]") then
    caller.fail("perigee.shared.%s('%s'): persist must be the path of a file, not %s", kind, name,
      tostring(path))
  end
  path = files.absolute(path)
  local folder = path:match("^(.*/)")
  local found = uv.fs_stat(folder)
  if not found or found.type ~= "directory" then
    caller.fail("perigee.shared.%s('%s'): persist: there is no folder %s", kind, name, folder)
  end
  return path
end

--- Opens an object that may be kept: `open` makes or finds it, and it is filled from its file when it is
--- new. Raises at the caller's place.
---@param kind string
---@param name string
---@param path any the option persist, or nil
---@param open fun(): table the object
---@param way { snapshot: function, restore: function }
---@return table # the object
function persist.open(kind, name, path, open, way)
  if path == nil or not phase.can_share() then return open() end
  path = check_path(kind, name, path)
  for _, other in ipairs(kept) do
    if other.path == path and other.name ~= name then
      caller.fail("perigee.shared.%s('%s'): persist: %s is where '%s' is kept", kind, name, path, other.name)
    end
  end
  C.shm_region_make_empty(1)
  local ok, object = pcall(open)
  C.shm_region_make_empty(0)
  if not ok then error(object, 0) end
  local entry = { object = object, way = way, path = path, kind = kind, name = name,
    shape = persist.shape(name) }
  if C.shm_region_is_empty(name) == 1 then
    local restored, problem = pcall(restore, entry)
    if not restored then caller.fail("%s", problem) end
    C.shm_region_filled(name)
  end
  for i, other in ipairs(kept) do
    if other.name == name then
      kept[i] = entry
      return object
    end
  end
  kept[#kept + 1] = entry
  return object
end

--- What the region says an object is.
---@param name string
---@return string
function persist.shape(name)
  local stat, object = ffi.new "struct shm_region_stat", ffi.new "struct shm_region_object"
  C.shm_region_stat(stat)
  for i = 0, stat.objects - 1 do
    C.shm_region_object(i, object)
    if ffi.string(object.name) == name then return ffi.string(object.shape) end
  end
  return "?"
end

return persist
