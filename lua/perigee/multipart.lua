--- multipart/form-data (RFC 7578, RFC 2046 5.1) in pieces: a push parser.
---
--- Strict where two readers could differ: every part needs a Content-Disposition of form-data with
--- one name, lines end in CRLF and are not folded, a delimiter is followed by nothing but blanks.
--- Preamble and epilogue are passed over. What is wrong raises the 400 or 413 that answers it.
local http = require "perigee.http"
local parameters = require "perigee.parameters"

local find, sub = string.find, string.sub

local multipart = {}

---@class perigee.MultipartSink what a parser tells of; each may yield
---@field part fun(self, part: perigee.Part)
---@field data fun(self, data: string)
---@field part_end fun(self)

---@class perigee.Part
---@field name string
---@field filename string|nil only of a file; without folders
---@field type string|nil the Content-Type

local methods = {}
local parser_mt = { __index = methods, __name = "perigee.multipart" }

local function refuse(status, text)
  error(http.error(status, "the form cannot be read: " .. text), 0)
end

--- The boundary of a Content-Type's parameters, or nil when it is none.
---@param boundary string|nil
function multipart.is_boundary(boundary)
  return boundary ~= nil and #boundary <= 70 and find(boundary, "^[%w'()+_,./:=? -]*[%w'()+_,./:=?-]$") ~= nil
end

--- A parser that tells `sink` what it finds.
---@param boundary string
---@param limits { parts: number, header: number } most parts, and most bytes of a part's header
---@param sink perigee.MultipartSink
function multipart.new(boundary, limits, sink)
  return setmetatable({
    state = "preamble",
    data = "\r\n", -- the first delimiter may stand at the very beginning
    delimiter = "\r\n--" .. boundary,
    limits = limits,
    sink = sink,
    count = 0,
  }, parser_mt)
end

-- ── Headers of a part ────────────────────────────────────────────────────────────────────────

--- Browsers escape quotes and line ends in names like this (HTML, "multipart form data").
local function unescape(text)
  return (text:gsub("%%22", '"'):gsub("%%0[Dd]", "\r"):gsub("%%0[Aa]", "\n"))
end

--- A file's name without folders; "" when nothing is left that could be one.
local function base_name(text)
  local name = text:match("[^/\\]*$")
  if name == "." or name == ".." or name:find("%z") then return "" end
  return name
end

local function read_disposition(value, part)
  local kind, found = parameters.split(value)
  if kind ~= "form-data" or not found or not found.name then
    refuse(400, "a part's Content-Disposition is malformed")
  end
  part.name = unescape(found.name)
  if found.filename then part.filename = base_name(unescape(found.filename)) end
end

--- Lines of a part's header, each with its CRLF.
local function read_header(text)
  local part, seen, position = {}, {}, 1
  while position <= #text do
    local _, stop, name, value = find(text, "^([%w!#$%%&'*+.^_`|~-]+):[ \t]*([^\r\n%z]-)[ \t]*\r\n", position)
    if not stop then refuse(400, "a line of a part's header is malformed") end
    name = name:lower()
    if seen[name] then refuse(400, "a part has two fields " .. name) end
    seen[name] = true
    if name == "content-disposition" then read_disposition(value, part) end
    if name == "content-type" then part.type = value end
    position = stop + 1
  end
  if not part.name then refuse(400, "a part has no Content-Disposition") end
  return part
end

-- ── States: each returns whether it got on ───────────────────────────────────────────────────

--- Before the first delimiter.
function methods:preamble()
  local _, stop = find(self.data, self.delimiter, 1, true)
  if not stop then
    self.data = sub(self.data, -#self.delimiter + 1)
    return false
  end
  self.data, self.state = sub(self.data, stop + 1), "delimited"
  return true
end

--- Behind a delimiter.
function methods:delimited()
  if sub(self.data, 1, 2) == "--" then
    self.data, self.state = "", "epilogue"
    return true
  end
  local _, stop = find(self.data, "^[ \t]*\r\n")
  if stop then
    self.data, self.state = sub(self.data, stop + 1), "header"
    return true
  end
  if #self.data > self.limits.header or not find(self.data, "^[ \t]*\r?$") and self.data ~= "-" then
    refuse(400, "a delimiter is followed by something else")
  end
  return false
end

function methods:header()
  local stop = find(self.data, "\r\n\r\n", 1, true)
  if not stop and sub(self.data, 1, 2) == "\r\n" then refuse(400, "a part has no header") end
  if (stop or #self.data) > self.limits.header then refuse(413, "a part's header is too long") end
  if not stop then return false end
  self.count = self.count + 1
  if self.count > self.limits.parts then refuse(413, "it has too many parts") end
  local part = read_header(sub(self.data, 1, stop + 1))
  self.data, self.state = sub(self.data, stop + 4), "content"
  self.sink:part(part)
  return true
end

function methods:content()
  local start, stop = find(self.data, self.delimiter, 1, true)
  if start then
    local data = sub(self.data, 1, start - 1)
    self.data, self.state = sub(self.data, stop + 1), "delimited"
    if data ~= "" then self.sink:data(data) end
    self.sink:part_end()
    return true
  end
  -- what is left back may be the beginning of a delimiter
  local safe = #self.data - #self.delimiter + 1
  if safe > 0 then
    local data = sub(self.data, 1, safe)
    self.data = sub(self.data, safe + 1)
    self.sink:data(data)
  end
  return false
end

function methods:epilogue()
  self.data = ""
  return false
end

--- Goes on with the next piece of the body. Yields when the sink does. Raises http errors.
---@param piece string
function methods:feed(piece)
  self.data = self.data .. piece
  repeat until not self[self.state](self)
end

--- The body has ended. Raises when the form has not.
function methods:finish()
  if self.state ~= "epilogue" then refuse(400, "it ends before its last delimiter") end
end

return multipart
