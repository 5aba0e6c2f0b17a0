--- A route's pattern, "/users/<id:int>": taken apart, told from others, and filled in again.
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local parameter = require "perigee.parameter"

local byte, concat = string.byte, table.concat

local pattern = {}

---@class perigee.Pattern
---@field segments (string|perigee.Parameter)[] literal text, or a parameter
---@field names string[] of the values a match gives, in order
---@field shape string the pattern without its parameters' names: two of one shape collide
---@field slash boolean whether it ends with "/"

local function parse_parameter(text, whole)
  local found, problem, kind = parameter.parse(text)
  if found then return found end
  if kind then
    caller.fail("route '%s': there is no parameter type '%s'%s (types: %s; or a Lua pattern)", whole, kind,
      nearest.hint(kind, parameter.names), concat(parameter.names, " "))
  end
  caller.fail("route '%s': '<%s>': %s; write <name>, <name:type> with one of the types %s, or "
    .. "<name:a Lua pattern>", whole, text, problem, concat(parameter.names, " "))
end

--- One segment of a pattern.
local function parse_segment(text, whole)
  if not text:find("[<>]") then return text end
  local inner = text:match("^<([^<>]*)>$")
  if not inner then
    caller.fail("route '%s': '%s' mixes text and a parameter; a parameter is a whole segment: "
      .. "/text/<name>", whole, text)
  end
  return parse_parameter(inner, whole)
end

local function add_names(names, found)
  names[#names + 1] = found.name
  if found.width == 2 then names[#names + 1] = "ext" end
end

local function check_names(names, whole)
  local seen = {}
  for _, name in ipairs(names) do
    if seen[name] then caller.fail("route '%s': two parameters are called '%s'", whole, name) end
    seen[name] = true
  end
end

--- The pattern with its parameters' names left out.
local function shape_of(segments)
  local parts = {}
  for i, segment in ipairs(segments) do
    parts[i] = type(segment) == "string" and segment or "<" .. segment.kind .. ">"
  end
  return "/" .. concat(parts, "/")
end

--- Takes a pattern apart. Raises at the caller's place when it is none.
---@param text string
---@return perigee.Pattern
function pattern.parse(text)
  caller.check(text, "string", "a route's path")
  if byte(text) ~= 47 then caller.fail("route '%s': a path starts with '/'", text) end
  if text:gsub("<[^<>]*>", ""):find("[%z\1-\32?#\127]") then
    caller.fail("route '%s': a path has no space, '?' or '#'; it is matched without the query", text)
  end
  local segments, names = {}, {}
  local slash = #text > 1 and byte(text, #text) == 47
  local trimmed = #text > 1 and text:gsub("/$", "") or ""
  for piece in trimmed:gmatch("/([^/]*)") do
    if piece == "" then caller.fail("route '%s': '//' never matches", text) end
    local last = segments[#segments]
    if type(last) == "table" and last.rest then
      caller.fail("route '%s': <%s:path> takes the rest of the path, so nothing can follow it", text,
        last.name)
    end
    local segment = parse_segment(piece, text)
    segments[#segments + 1] = segment
    if type(segment) == "table" then add_names(names, segment) end
  end
  check_names(names, text)
  return { segments = segments, names = names, shape = shape_of(segments), slash = slash }
end

-- ── Filling in ───────────────────────────────────────────────────────────────────────────────

local function escape_byte(c)
  return ("%%%02X"):format(byte(c))
end

--- Text as one segment of a URL's path (RFC 3986, 3.3).
local function escape_segment(text)
  return (text:gsub("[^%w%-._~!$&'()*+,;=:@]", escape_byte))
end

--- Text as a part of a URL's query, or its fragment: what a form would not misread.
---@param text string
---@return string
function pattern.escape(text)
  return (text:gsub("[^%w%-._~]", escape_byte))
end

local function as_text(value)
  if type(value) == "number" and value % 1 == 0 and math.abs(value) < 2 ^ 53 then
    return ("%d"):format(value)
  end
  return tostring(value)
end

--- The text of one parameter, or nil and what is wrong.
local function fill_parameter(segment, params)
  local value = params[segment.name]
  if value == nil and segment.empty then value = "" end
  if type(value) ~= "string" and type(value) ~= "number" then
    return nil, ("the parameter '%s' must be a string or a number, not %s"):format(segment.name,
      value == nil and "nil" or "a " .. type(value))
  end
  local text = as_text(value)
  if segment.width == 2 then
    if type(params.ext) ~= "string" then return nil, "the parameter 'ext' must be a string" end
    text = text .. "." .. params.ext
  end
  if segment.match(text) == nil then
    return nil, ("the parameter '%s' is <%s>, which %q is not"):format(segment.name, segment.kind, text)
  end
  local parts = {}
  for piece in ((segment.rest and text or text:gsub("/", "\0")) .. "/"):gmatch("([^/]*)/") do
    -- a client would take them for steps up or down, escaped or not
    if piece == "." or piece == ".." then
      return nil, ("the parameter '%s' cannot be %q in a URL"):format(segment.name, piece)
    end
    parts[#parts + 1] = escape_segment((piece:gsub("%z", "/")))
  end
  return concat(parts, "/")
end

--- The path of a pattern with values for its parameters, percent-encoded.
---@param self perigee.Pattern
---@param params table name → string or number
---@return string|nil
---@return string|nil # what is wrong
function pattern.fill(self, params)
  local parts = {}
  for i, segment in ipairs(self.segments) do
    if type(segment) == "string" then
      parts[i] = escape_segment(segment)
    else
      local text, problem = fill_parameter(segment, params)
      if not text then return nil, problem end
      parts[i] = text
    end
  end
  return "/" .. concat(parts, "/") .. (self.slash and "/" or "")
end

return pattern
