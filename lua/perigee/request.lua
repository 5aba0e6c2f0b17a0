--- What a handler sees of a request.
---
--- Fields are read from the C side when they are asked for, and kept. After the end of the request
--- a field that was never read is nil, and methods return nil, "request is over": the serial number
--- of the request is compared before every read, so memory that is not ours is never touched.
local ffi = require "ffi"

local abi = require "perigee.abi"
local body = require "perigee.body"
local caller = require "perigee.caller"
local form = require "perigee.form"
local http = require "perigee.http"
local json = require "perigee.json"
local proxy = require "perigee.proxy"
local url = require "perigee.url"
local urlencoded = require "perigee.urlencoded"

local C = abi.C
local ffi_string, tonumber, setmetatable = ffi.string, tonumber, setmetatable

local OVER = "request is over"

-- Where a request keeps what it is: an array part is smaller and faster than named fields.
local POINTER, SERIAL, ROUTE, VALUES, OPEN = 1, 2, 3, 4, 5
local APP = 6 -- only where there are several

local served -- the apps, where there are several

local request = { app = nil, POINTER = POINTER, SERIAL = SERIAL, ROUTE = ROUTE, VALUES = VALUES,
  OPEN = OPEN }

-- What only some requests have.
local CLIENT, TAKEN, FORM, DISCONNECT = {}, {}, {}, {}

---@class perigee.Request
---@field method string
---@field target string as received: "/a%20b?x=1"
---@field path string percent-decoded
---@field target string as received: "/a%20b?x=1"
---@field query_string string not decoded, "" when none
---@field query table<string, string> the first value of each name
---@field version string "1.1"
---@field scheme string "https" when it came over TLS, or what a trusted proxy says
---@field host string|nil the Host header, or what a trusted proxy or an absolute target says
---@field ip string|nil of the client: "127.0.0.1", "::1", "unix:"; through trusted proxies
---@field peer_ip string|nil of who is connected to us
---@field id string of this request: a well-formed X-Request-ID, or made
---@field headers table<string, string> any case; repeated ones joined by ", "
---@field params table<string, string|number> of the route
---@field body string "" when none; yields until it is there; raises the answer when it fails
---@field json any the body decoded; yields; raises the 400 answer when it is no JSON
---@field form table<string, string> the first value of each field of the body's form; yields
---@field files table<string, perigee.Upload> the first file of each name in the form; yields
---@field trailers table<string, string>|nil behind a chunked body, names in lower case; nil before its end
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

local headers_mt = json.own_mt

--- Several lines of one field are one list (RFC 9110, 5.3), which of cookies has other marks (RFC
--- 9113, 8.2.3).
local function separator(name)
  return name:lower() == "cookie" and "; " or ", "
end

function headers_mt.__index(self, name)
  local owner = self[1]
  if type(name) ~= "string" then return nil end
  local value = header(owner, name, 0)
  if value == nil then return nil end
  local nth = 1
  local more = header(owner, name, 1)
  while more do
    value = value .. separator(name) .. more
    nth = nth + 1
    more = header(owner, name, nth)
  end
  self[name] = value
  return value
end

function headers_mt.__newindex(self, name, value)
  rawset(self, name, value)
end

local text_box = ffi.new "const char *[1]"

--- Encoded as JSON, headers are all of them: names in lower case.
function headers_mt.to_json(self)
  local owner = self[1]
  local result = C.script_headers_json(owner[POINTER], owner[SERIAL], text_box, size_box)
  if result == abi.OK then
    local text = ffi_string(text_box[0], size_box[0])
    return text
  end
  if result == abi.OVER then return nil, "are the headers of a request that is over" end
  if result == abi.BAD_TEXT then return nil, "are headers with a value that is no UTF-8" end
  return nil, "are headers that do not fit in memory"
end

function getters.headers(self)
  local headers = setmetatable({ self }, headers_mt)
  return headers
end

--- All values of a header, in order.
---@param name string any case
---@return string[]|nil
---@return string|nil # "request is over"
function methods:header_all(name)
  if not alive(self) then return nil, OVER end
  local list = {}
  repeat
    local value = header(self, name, #list)
    list[#list + 1] = value
  until value == nil
  return list
end

local name_box, value_box = ffi.new "const char *[1]", ffi.new "const char *[1]"
local name_size_box, value_size_box = ffi.new "size_t[1]", ffi.new "size_t[1]"

--- All headers in the order they came.
---@return { name: string, value: string }[]|nil
---@return string|nil # "request is over"
function methods:all_headers()
  if not alive(self) then return nil, OVER end
  local list = {}
  local index = 0
  while C.http_request_header_at(self[POINTER], self[SERIAL], index, name_box, name_size_box, value_box,
      value_size_box) == 1 do
    index = index + 1
    list[index] = { name = ffi_string(name_box[0], name_size_box[0]),
      value = ffi_string(value_box[0], value_size_box[0]) }
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

function getters.version(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  if pointer.version_major == 1 and pointer.version_minor == 1 then return "1.1" end
  return pointer.version_major .. "." .. pointer.version_minor
end

function getters.peer_ip(self)
  local text = C.http_request_ip(self[POINTER], self[SERIAL])
  if text == nil then return nil end
  return ffi_string(text)
end

--- Who proxies say the client is; kept under a name of its own.
local function client(self)
  local known = rawget(self, CLIENT)
  if not known then
    known = proxy.client(self, self.peer_ip)
    self[CLIENT] = known
  end
  return known
end

function getters.scheme(self)
  if not alive(self) then return nil end
  return client(self).scheme or (self[POINTER].is_secure == 1 and "https" or "http")
end

function getters.host(self)
  if not alive(self) then return nil end
  local host = client(self).host or header(self, "host", 0)
  if host then return host end
  return self.target:match("^%a+://([^/?]+)") -- HTTP/1.0 may come without Host
end

function getters.ip(self)
  if not alive(self) then return nil end
  return client(self).ip
end

local id_pattern = "^[%w._~+=@:-]+$" -- what logs, headers and names of files can take
local id_limit = 128                  -- bytes

function getters.id(self)
  local given = header(self, "x-request-id", 0)
  if given and #given <= id_limit and given:find(id_pattern) then return given end
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

-- ── The body ─────────────────────────────────────────────────────────────────────────────────

local body_limit -- bytes, of routes without a limit of their own; nil when no route has one: C knows

--- Has bodies held to their routes' limits.
---@param default number|nil of routes that have none of their own; nil when no route has
function request.limit_bodies(default)
  body_limit = default
end

--- To be called before anything of the body is read.
local function hold_to_limit(self)
  local route, own = self[ROUTE], rawget(self, APP)
  C.http_request_body_limit(self[POINTER], self[SERIAL],
    route and route.body_limit or own and own.config.body_limit or body_limit)
end

function getters.body(self)
  if not alive(self) then return nil end
  local pointer = self[POINTER]
  if body_limit then hold_to_limit(self) end
  if rawget(self, TAKEN) then caller.fail("req.body: it was read in pieces, or as a form") end
  if pointer.body_state ~= 0 then
    local whole = body.whole(pointer, self[SERIAL])
    return whole
  end
  if pointer.body_size == 0 then return "" end
  return ffi_string(pointer.body, pointer.body_size)
end

--- The next piece of the body, of the size it came in. Yields. Raises the answer to a body that
--- fails: 400, 408 or 413. What no one reads waits in the client.
---@return string|nil # nil at the end
---@return string|nil # "request is over"
function methods:read()
  if not alive(self) then return nil, OVER end
  if body_limit then hold_to_limit(self) end
  self[TAKEN] = true
  return body.next(self[POINTER], self[SERIAL])
end

--- For `for piece in req:stream() do … end`: reads to the end. Yields, and raises as read does, and
--- when the request is over before its body.
---@return fun(): string|nil
function methods:stream()
  return function()
    local piece, message = self:read()
    if message then caller.fail("req:stream: %s", message) end
    return piece
  end
end

function getters.trailers(self)
  if not alive(self) or not body.is_complete(self[POINTER]) then return nil end
  local name, value = ffi.new("const char *[1]"), ffi.new("const char *[1]")
  local value_size, index, trailers = ffi.new("size_t[1]"), 0, {}
  while C.http_request_trailer_at(self[POINTER], self[SERIAL], index, name, size_box, value,
      value_size) == 1 do
    local key, text = ffi_string(name[0], size_box[0]):lower(), ffi_string(value[0], value_size[0])
    trailers[key] = trailers[key] and trailers[key] .. ", " .. text or text
    index = index + 1
  end
  return trailers
end

function getters.json(self)
  local text = self.body
  if not text then return nil end
  local value, message = json.decode(text)
  if message then http.abort(400, "the body is no valid JSON: " .. message) end
  return value
end

--- The body as a form, read when it is first asked for. nil when the request is over.
local function form_of(self)
  local known = rawget(self, FORM)
  if known == nil then
    if not alive(self) then return nil end
    self[OPEN] = self[OPEN] or {}
    known = form.read(self, self[OPEN])
    self[FORM] = known
  end
  return known
end

local function first_of_each(lists)
  local firsts = {}
  for name, list in pairs(lists) do firsts[name] = list[1] end
  return firsts
end

function getters.form(self)
  local known = form_of(self)
  return known and first_of_each(known.fields)
end

function getters.files(self)
  local known = form_of(self)
  return known and first_of_each(known.files)
end

--- All values of a field of the form, in order. Yields and raises as req.form does.
---@param name string
---@return string[]|nil
---@return string|nil # "request is over"
function methods:form_all(name)
  local known = form_of(self)
  if not known then return nil, OVER end
  return known.fields[name] or {}
end

--- All files of a name in the form, in order. Yields and raises as req.files does.
---@param name string
---@return perigee.Upload[]|nil
---@return string|nil # "request is over"
function methods:files_all(name)
  local known = form_of(self)
  if not known then return nil, OVER end
  return known.files[name] or {}
end

-- ── Cookies ──────────────────────────────────────────────────────────────────────────────────

--- Calls `each(into, name, value)` for every pair of Cookie (RFC 6265, 4.2): blanks and quotes
--- around a value are no part of it, percent-escapes are. What is no pair does not count.
local function cookie_pairs(self, each, into)
  for pair in (self.headers.cookie or ""):gmatch("[^;]+") do
    local name, value = pair:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    if name and name ~= "" then each(into, name, value:match('^"(.*)"$') or value) end
  end
  return into
end

--- Name → value; the first of a name counts, as browsers send the most specific first.
function getters.cookies(self)
  return cookie_pairs(self, function(into, name, value)
    if into[name] == nil then into[name] = value end
  end, {})
end

--- All values of a cookie, in order.
---@param name string
---@return string[]
function methods:cookies_all(name)
  return cookie_pairs(self, function(into, found, value)
    if found == name then into[#into + 1] = value end
  end, {})
end

-- ── The rest ─────────────────────────────────────────────────────────────────────────────────

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

function getters.app(self)
  return rawget(self, APP) or request.app
end

--- The URL of a route, as app:url_for makes it. With the option `external` it has the scheme and the
--- host that the client has asked for, unless the route or an option says another. Raises at the
--- caller's place; does not yield.
---@param name string
---@param params table|nil of the path, by name
---@param options table|nil query, anchor, external, scheme, host
---@return string
function methods:url_for(name, params, options)
  return url.build(self.app, name, params, options, self)
end

--- Has `fn(req)` called, in a task of its own, when the client goes away before it has its answer.
--- The handler itself is cancelled then: what it waits for raises.
---@param fn fun(req: perigee.Request)
function methods:on_disconnect(fn)
  caller.check(fn, "function", "req:on_disconnect: the function")
  local list = rawget(self, DISCONNECT) or {}
  list[#list + 1] = fn
  self[DISCONNECT] = list
end

--- The functions that on_disconnect was given.
---@return function[]|nil
function request.disconnect_functions(self)
  return rawget(self, DISCONNECT)
end

--- Closes what the request's form has opened.
function request.close_files(self)
  for _, file in ipairs(self[OPEN]) do file:close() end
  self[OPEN] = false
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

local function new(pointer, serial)
  local self = setmetatable({ pointer, serial, false, false, false }, request_mt)
  return self -- and not as a tail call, which LuaJIT would not record
end

--- As new, where the address that a request came to says whose it is.
local function new_of_several(pointer, serial)
  local self = setmetatable({ pointer, serial, false, false, false, served[pointer.app + 1] }, request_mt)
  return self
end

--- A request for Lua.
---@type fun(pointer: ffi.cdata*, serial: number): perigee.Request of a struct http_request *, and its
---  serial while it lives
request.new = new

--- Sets whose requests there are, from now on.
---@param apps perigee.App[] one, or by their numbers
function request.serve(apps)
  served = #apps > 1 and apps or nil
  request.app = apps[1]
  request.new = served and new_of_several or new
end

return request
