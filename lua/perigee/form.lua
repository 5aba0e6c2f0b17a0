--- Forms: application/x-www-form-urlencoded, and multipart/form-data with files.
---
--- A form is read once, as it comes. Its fields, and its files as far as there is room, are in
--- memory (form_memory_limit for all of them together); other files go to temporary files in
--- form_directory. Names and values are bytes as received.
local http = require "perigee.http"
local multipart = require "perigee.multipart"
local parameters = require "perigee.parameters"
local upload = require "perigee.upload"
local urlencoded = require "perigee.urlencoded"

local form = {}

local limits = { memory = 1048576, parts = 1000, header = 8192 }
local directory = os.getenv("TMPDIR") or "/tmp"

---@class perigee.Form
---@field fields table<string, string[]>
---@field files table<string, perigee.Upload[]>

--- Takes the settings of the app that is served.
---@param config table
function form.configure(config)
  limits.memory = config.form_memory_limit or limits.memory
  limits.parts = config.form_part_limit or limits.parts
  limits.header = config.form_header_limit or limits.header
  directory = config.form_directory or directory
end

local function refuse(status, text)
  error(http.error(status, "the form cannot be read: " .. text), 0)
end

local function add(into, name, value)
  local list = into[name]
  if list then list[#list + 1] = value else into[name] = { value } end
end

-- ── application/x-www-form-urlencoded ────────────────────────────────────────────────────────

local function read_urlencoded(req)
  local pieces, size = {}, 0
  for piece in req:stream() do
    size = size + #piece
    if size > limits.memory then refuse(413, "it is longer than form_memory_limit") end
    pieces[#pieces + 1] = piece
  end
  local fields, count = urlencoded.all_values(table.concat(pieces), limits.parts)
  if count > limits.parts then refuse(413, "it has too many fields") end
  return { fields = fields, files = {} }
end

-- ── multipart/form-data ──────────────────────────────────────────────────────────────────────

local sink_methods = {}
local sink_mt = { __index = sink_methods }

function sink_methods:part(part)
  if part.filename then
    self.file = upload.new(part, self.store)
  else
    self.field, self.pieces = part.name, {}
  end
end

function sink_methods:data(data)
  if self.file then return self.file:add(data) end
  local store = self.store
  if #data > store.left then refuse(413, "its fields are longer than form_memory_limit") end
  store.left = store.left - #data
  self.pieces[#self.pieces + 1] = data
end

function sink_methods:part_end()
  local file = self.file
  self.file = nil
  if not file then
    add(self.form.fields, self.field, table.concat(self.pieces))
  elseif file.filename ~= "" or file.size > 0 then -- else: nothing was chosen
    add(self.form.files, file.name, file)
  end
end

local function read_multipart(req, boundary, open)
  if not multipart.is_boundary(boundary) then refuse(400, "its Content-Type has no boundary") end
  local sink = setmetatable({ form = { fields = {}, files = {} },
    store = { left = limits.memory, directory = directory, open = open } }, sink_mt)
  local parser = multipart.new(boundary, limits, sink)
  for piece in req:stream() do parser:feed(piece) end
  parser:finish()
  return sink.form
end

--- Reads a request's body as a form. Yields. Raises 400, 408, 413, and 415 when it is no form.
---@param req perigee.Request
---@param open table[] gets what has to be closed at the request's end
---@return perigee.Form
function form.read(req, open)
  local given = req.headers["content-type"]
  if not given then return read_urlencoded(req) end
  local kind, found = parameters.split(given)
  if kind == "application/x-www-form-urlencoded" then return read_urlencoded(req) end
  if kind ~= "multipart/form-data" then refuse(415, "the body's Content-Type is that of no form") end
  if not found then refuse(400, "its Content-Type is malformed") end
  return read_multipart(req, found.boundary, open)
end

return form
