--- What a handler sees of a request.
---
--- Fields are read from the C side when they are asked for, and kept. After the end of the request
--- a field that was never read is nil, and methods return nil, "request is over": the serial number
--- of the request is compared before every read, so memory that is not ours is never touched.
local ffi = require "ffi"

local abi = require "perigee.abi"
local http = require "perigee.http"
local json = require "perigee.json"
local urlencoded = require "perigee.urlencoded"

local C = abi.C
local ffi_string, tonumber, setmetatable = ffi.string, tonumber, setmetatable

local OVER = "request is over"

-- Where a request keeps what it is: an array part is smaller and faster than named fields.
local POINTER, SERIAL, ROUTE, VALUES = 1, 2, 3, 4

local request = { app = nil, POINTER = POINTER, SERIAL = SERIAL, ROUTE = ROUTE, VALUES = VALUES }

---@class perigee.Request
---@field method string
---@field path string percent-decoded
---@field target string as received: "/a%20b?x=1"
---@field query_string string not decoded, "" when none
---@field query table<string, string> the first value of each name
---@field version string "1.1"
---@field scheme string "http"
---@field host string|nil the Host header
---@field ip string|nil of the client: "127.0.0.1", "::1", "unix:"
---@field id string of this request: X-Request-ID, or made
---@field headers table<string, string> any case; repeated ones joined by ", "
---@field params table<string, string|number> of the route
---@field body string "" when none
---@field json any the body decoded; raises the 400 answer when it is no JSON
---@field form table<string, string> the body decoded as application/x-www-form-urlencoded
---@field cookies table<string, string>
---@field ctx table yours, for this request
---@field app perigee.App
---@field route perigee.Route|nil
local methods = {}
local getters = {}

local function alive(self)
  return tonumber(self[POINTER].serial) == self[SERIAL]
end

-- ── Headers ──────────────────────────────────────────────────────────────────────────────────

local size_box = ffi.new("size_t[1]")

--- The nth value of a header, from 0.
local function header(self, name, nth)
  local value = C.http_request_header(self[POINTER], self[SERIAL], name, #name, nth, size_box)
  if value == nil then return nil end
  return ffi_string(value, size_box[0])
end

local headers_mt = {}

function headers_mt.__index(self, name)
  local owner = self[1]
  if type(name) ~= "string" then return nil end
  local value = header(owner, name, 0)
  if value == nil then return nil end
  local nth = 1
  local more = header(owner, name, 1)
  while more do
    value = value .. ", " .. more
    nth = nth + 1
    more = header(owner, name, nth)
  end
  self[name] = value
  return value
end

function headers_mt.__newindex(self, name, value)
  rawset(self, name, value)
end

function getters.headers(self)
  local headers = setmetatable({ self }, headers_mt)
  return headers
end

--- All headers in the order they came.
---@return { name: string, value: string }[]|nil
---@return string|nil # "request is over"
function methods:all_headers()
  if not alive(self) then return nil, OVER end
  local list = {}
  local name, value = ffi.new("const char *[1]"), ffi.new("const char *[1]")
  local name_size, value_size = ffi.new("size_t[1]"), ffi.new("size_t[1]")
  local index = 0
  while C.http_request_header_at(self[POINTER], self[SERIAL], index, name, name_size, value,
      value_size) == 1 do
    index = index + 1
    list[index] = { name = ffi_string(name[0], name_size[0]), value = ffi_string(value[0], value_size[0]) }
  end
  return list
end

-- ── Fields ───────────────────────────────────────────────────────────────────────────────────

function getters.method(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  return ffi_string(pointer.method, pointer.method_size)
end

function getters.path(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  return ffi_string(pointer.path, pointer.path_size)
end

--- As received, not decoded and with the query.
function getters.target(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  return ffi_string(pointer.target, pointer.target_size)
end

function getters.query_string(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  if pointer.query_size == 0 then return "" end
  return ffi_string(pointer.query, pointer.query_size)
end

function getters.body(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  if pointer.body_size == 0 then return "" end
  return ffi_string(pointer.body, pointer.body_size)
end

function getters.version(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  if pointer.version_major == 1 and pointer.version_minor == 1 then return "1.1" end
  return pointer.version_major .. "." .. pointer.version_minor
end

function getters.scheme(self)
  if not alive(self) then return nil end
  return "http"
end

function getters.host(self)
  return header(self, "host", 0)
end

function getters.ip(self)
  local text = C.http_request_ip(self[POINTER], self[SERIAL])
  if text == nil then return nil end
  return ffi_string(text)
end

function getters.id(self)
  local given = header(self, "x-request-id", 0)
  if given and #given <= 128 then return given end
  return ("%s-%x"):format(request.id_prefix or "0", self[SERIAL])
end

function getters.query(self)
  local text = self.query_string
  if not text then return nil end
  return urlencoded.first_values(text)
end

--- All values of a name in the query, in order.
---@param name string
---@return string[]|nil
---@return string|nil # "request is over"
function methods:query_all(name)
  local text = self.query_string
  if not text then return nil, OVER end
  return urlencoded.values(text, name)
end

function getters.json(self)
  local body = self.body
  if not body then return nil end
  local value, message = json.decode(body)
  if message then http.abort(400, "the body is no valid JSON: " .. message) end
  return value
end

function getters.form(self)
  local body = self.body
  if not body then return nil end
  return urlencoded.first_values(body)
end

--- Name → value; the first of a name counts, as browsers send the most specific first.
function getters.cookies(self)
  local text = self.headers.cookie
  local cookies = {}
  if not text then return cookies end
  for name, value in text:gmatch("([^=;,%s]+)%s*=%s*([^;]*)") do
    value = value:gsub("%s+$", ""):gsub('^"(.*)"$', "%1")
    if cookies[name] == nil then cookies[name] = value end
  end
  return cookies
end

function getters.params(self)
  local route, params = self[ROUTE], {}
  if not route or not self[VALUES] then return params end
  for i, name in ipairs(route.names) do params[name] = self[VALUES][i] end
  return params
end

function getters.ctx()
  return {}
end

function getters.route(self)
  return self[ROUTE] or nil
end

function getters.app()
  return request.app
end

--- Whether the request is over: answered, timed out, or its client gone.
---@return boolean
function methods:is_over()
  return not alive(self)
end

-- ── The object ───────────────────────────────────────────────────────────────────────────────

local request_mt = { __name = "perigee.request" }

function request_mt.__index(self, key)
  local getter = getters[key]
  if getter then
    local value = getter(self)
    self[key] = value
    return value
  end
  return methods[key]
end

--- A request for Lua.
---@param pointer ffi.cdata* struct http_request *
---@param serial number its serial while it lives
---@return perigee.Request
function request.new(pointer, serial)
  local self = setmetatable({ pointer, serial, false, false }, request_mt)
  return self -- and not as a tail call, which LuaJIT would not record
end

return request
