--- Responses, and errors that are responses.
---
---     return http.json({ id = 7 }, 201, { Location = "/things/7" })
---     return http.text("made by hand", 200, { ["Set-Cookie"] = { "a=1", "b=2" } })
---     http.abort(404, "no such thing")
local caller = require "perigee.caller"
local cookie = require "perigee.cookie"
local files = require "perigee.files"
local json = require "perigee.json"
local nearest = require "perigee.nearest"

local http = {}

--- What a handler answers.
---@class perigee.Response
---@field status number 200 to 599
---@field type number 0 none, 1 text, 2 html, 3 json: the Content-Type when headers have none
---@field body string
---@field headers table<string, string|number|(string|number)[]>|nil
---@field stream fun(write: fun(data: string): true|nil, string|nil)|nil writes the body
---@field cookies { identity: string, line: string }[]|nil see response:cookie
---@field file string|nil path of the file that is the body, below `root` if there is one
---@field root ffi.cdata*|nil struct http_file_root *
---@field missing perigee.Response|nil what is sent when there is no such file
---@field site perigee.Site|nil of app:static, which has an answer then
---@field folder string|nil the folder whose index the file is
---@field lines string|nil headers as lines, in the place of `headers`
local methods = {}
local response_mt = { __name = "perigee.response", __index = methods }

--- An error that is an answer; what http.abort raises.
---@class perigee.HttpError
---@field status number
---@field message string|nil
---@field headers table|nil
---@field response perigee.Response|nil what is answered, whatever exception handlers there are
local error_mt = { __name = "perigee.http_error", quiet = true }

--- Reason phrases, by status.
http.reasons = {
  [200] = "OK", [201] = "Created", [202] = "Accepted", [204] = "No Content",
  [206] = "Partial Content", [301] = "Moved Permanently", [302] = "Found", [303] = "See Other",
  [304] = "Not Modified", [307] = "Temporary Redirect", [308] = "Permanent Redirect",
  [400] = "Bad Request", [401] = "Unauthorized", [403] = "Forbidden", [404] = "Not Found",
  [405] = "Method Not Allowed", [406] = "Not Acceptable", [408] = "Request Timeout",
  [409] = "Conflict", [410] = "Gone", [411] = "Length Required", [412] = "Precondition Failed",
  [413] = "Content Too Large", [414] = "URI Too Long", [415] = "Unsupported Media Type",
  [416] = "Range Not Satisfiable", [417] = "Expectation Failed", [418] = "I'm a Teapot",
  [421] = "Misdirected Request", [422] = "Unprocessable Content", [423] = "Locked",
  [424] = "Failed Dependency", [425] = "Too Early", [426] = "Upgrade Required",
  [428] = "Precondition Required", [429] = "Too Many Requests",
  [431] = "Request Header Fields Too Large", [451] = "Unavailable For Legal Reasons",
  [500] = "Internal Server Error", [501] = "Not Implemented", [502] = "Bad Gateway",
  [503] = "Service Unavailable", [504] = "Gateway Timeout", [507] = "Insufficient Storage",
}

local TYPE_NONE, TYPE_TEXT, TYPE_HTML, TYPE_JSON, TYPE_FILE = 0, 1, 2, 3, 4

http.TYPE_FILE = TYPE_FILE

local function check_status(name, status, lowest)
  if status == nil then return end
  if type(status) ~= "number" or status % 1 ~= 0 or status < lowest or status > 599 then
    caller.fail("http.%s: the status must be a whole number from %d to 599, not %s", name, lowest,
      tostring(status))
  end
end

local function new(name, body, status, headers, kind)
  check_status(name, status, 200)
  if headers ~= nil then caller.check(headers, "table", "http." .. name .. ": headers") end
  -- no tail call: LuaJIT cannot record one to a built-in that ends a trace
  local response = setmetatable({ status = status or 200, type = kind, body = body, headers = headers },
    response_mt)
  return response
end

local function text_of(name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" then
    caller.fail("http.%s: the body must be a string, not %s", name, kind == "nil" and "nil" or "a " .. kind)
  end
  return kind == "number" and tostring(value) or value
end

--- Each makes a response; none yields. Wrong arguments raise at the caller's place.
---@param value string
---@param status number|nil 200
---@param headers table|nil name → value, or a list of values
---@return perigee.Response # text/plain; charset=utf-8
function http.text(value, status, headers)
  return new("text", text_of("text", value), status, headers, TYPE_TEXT)
end

---@return perigee.Response # text/html; charset=utf-8
function http.html(value, status, headers)
  return new("html", text_of("html", value), status, headers, TYPE_HTML)
end

--- `value` is encoded here, so what JSON cannot say raises at this line.
---@param value any
---@return perigee.Response # application/json
function http.json(value, status, headers)
  local text, problem = json.try_encode(value)
  if problem then caller.fail("http.json: %s", problem) end
  return new("json", text, status, headers, TYPE_JSON)
end

--- A body without a Content-Type of Perigee's: say one in the headers.
---@param body string
---@return perigee.Response
function http.raw(body, status, headers)
  return new("raw", text_of("raw", body), status, headers, TYPE_NONE)
end

---@param status number|nil 204
---@return perigee.Response # without a body
function http.empty(status, headers)
  return new("empty", "", status or 204, headers, TYPE_NONE)
end

---@param location string what no URL can hold of it, blanks and letters beyond ASCII, is percent-encoded
---@param status number|nil 302
---@return perigee.Response
function http.redirect(location, status, headers)
  caller.check(location, "string", "http.redirect: the location")
  location = location:gsub('[ "<>\\^`{|}\128-\255]', function(byte) return ("%%%02X"):format(byte:byte()) end)
  local response = new("redirect", "", status or 302, headers, TYPE_NONE)
  if response.status < 300 or response.status > 399 then
    caller.fail("http.redirect: the status must be from 300 to 399, not %d", response.status)
  end
  local copy = { Location = location }
  for name, field in pairs(headers or {}) do copy[name] = field end
  response.headers = copy
  return response
end

--- A body sent in pieces, in the handler's coroutine: `fn(write)` calls `write(data)`, which
--- yields while the client is slow and returns true, or nil and a message once it is gone; going
--- away while write waits for it raises, as every wait of a cancelled handler does.
--- Content-Type is text/plain unless a header says otherwise. An error in `fn` closes the
--- connection with the body unfinished, so that the client can tell.
---@param fn fun(write: fun(data: string): true|nil, string|nil)
---@return perigee.Response
function http.stream(fn, status, headers)
  caller.check(fn, "function", "http.stream: the writer")
  local response = new("stream", "", status, headers, TYPE_TEXT)
  response.stream = fn
  return response
end

---@class perigee.FileOptions
---@field status number|nil 200; other ones send the whole file whatever was asked for
---@field headers table|nil
---@field type string|nil the Content-Type
---@field filename string|nil what the client is to save it as
---@field inline boolean|nil or, with that name, to show it
---@field max_age number|nil seconds that caches may keep it
---@field immutable boolean|nil and that they need not ask meanwhile
---@field root string|nil a directory that `path` is relative to and must not leave
---@field missing perigee.Response|nil what is answered when there is no such file
local file_options = { status = "number", headers = "table", type = "string", filename = "string",
  inline = "boolean", max_age = "number", immutable = "boolean", root = "string", missing = "any" }
local file_option_names = { "status", "headers", "type", "filename", "inline", "max_age", "immutable", "root",
  "missing" }

local function file_headers(options)
  local headers = {}
  for name, value in pairs(options.headers or {}) do headers[name] = value end
  headers["Content-Type"] = options.type or headers["Content-Type"]
  headers["Cache-Control"] = files.cache_control("http.file", options.max_age, options.immutable)
    or headers["Cache-Control"]
  if options.filename then
    headers["Content-Disposition"] = files.disposition(options.filename, options.inline)
  end
  return next(headers) and headers or nil
end

--- A file as the body, sent by the server: conditional and range requests, HEAD, ETag, Last-Modified
--- and the type by the name's extension included. A relative path starts at the folder of the app's
--- file. Without `root` the path is yours to vouch for; with it, what leads out of that directory,
--- dotfiles and missing files are all the same 404. A missing file answers 404, one that may not be
--- read 403, when the answer is sent. Does not yield; wrong arguments raise at the caller's place.
---@param path string
---@param options perigee.FileOptions|nil
---@return perigee.Response
function http.file(path, options)
  caller.check(path, "string", "http.file: the path")
  options = options or {}
  caller.check(options, "table", "http.file: the options")
  for name, value in pairs(options) do
    local kind = file_options[name]
    if not kind then
      caller.fail("http.file: unknown option '%s'%s", tostring(name),
        nearest.hint(tostring(name), file_option_names))
    end
    if kind ~= "any" then caller.check(value, kind, "http.file: " .. name) end
  end
  local response = new("file", "", options.status, file_headers(options), TYPE_FILE)
  if options.missing ~= nil and not http.is_response(options.missing) then
    caller.fail("http.file: missing must be a response of perigee.http, not a %s", type(options.missing))
  end
  response.missing = options.missing
  if options.root then
    response.file, response.root = path, files.root("http.file", options.root, files.PRECOMPRESSED)
  else
    response.file = files.absolute(path)
  end
  return response
end

--- A file of app:static.
---@param site perigee.Site
---@param path string below its directory
---@return perigee.Response
function http.site_file(site, path)
  local response = setmetatable({ status = 200, type = TYPE_FILE, file = path, root = site.root, site = site,
    lines = site.lines }, response_mt)
  return response
end

--- Server-sent events: `fn(stream)` calls `stream:send { data = …, event = …, id = …, retry = … }`,
--- which yields while the client is slow; see perigee.sse. The stream ends when `fn` returns; it is
--- cancelled in its next wait when the client goes away or the worker stops, after which a browser
--- connects again, with `stream.last_event_id`.
---@param fn fun(stream: perigee.EventStream)
---@return perigee.Response # text/event-stream, not to be stored or buffered
function http.sse(fn, status, headers)
  caller.check(fn, "function", "http.sse: the function")
  local response = new("sse", "", status, headers, TYPE_NONE)
  local copy = { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store",
    ["X-Accel-Buffering"] = "no" }
  for name, field in pairs(headers or {}) do copy[name] = field end
  response.headers = copy
  response.stream = function(write, req) require("perigee.sse").run(fn, req, write) end
  return response
end

--- What the route of a WebSocket returns: it has answered, and is over.
http.UPGRADED = setmetatable({ status = 101, type = TYPE_NONE, body = "" }, response_mt)

local function set_cookie(response, identity, line)
  local list = response.cookies
  if not list then
    list = {}
    response.cookies = list
  end
  for _, set in ipairs(list) do
    if set.identity == identity then
      set.line = line
      return
    end
  end
  list[#list + 1] = { identity = identity, line = line }
end

--- Sets a cookie, in the place of one of the same name, domain and path. Unless told otherwise it
--- is for the whole site, over https only (secure), not for scripts (httponly), and not sent with
--- other sites' posts (samesite "Lax"). Raises at the caller's place on what RFC 6265 does not
--- allow, see perigee.cookie; does not yield.
---@param name string
---@param value string
---@param options perigee.CookieOptions|nil
---@return perigee.Response # itself
function methods:cookie(name, value, options)
  local line = cookie.line("response:cookie", name, value, options)
  set_cookie(self, cookie.identity(name, options), line)
  return self
end

--- Has the client forget a cookie; `options` are those that it was set with.
---@param name string
---@param options perigee.CookieOptions|nil
---@return perigee.Response # itself
function methods:delete_cookie(name, options)
  local past = {}
  if options ~= nil then caller.check(options, "table", "response:delete_cookie: the options") end
  for key, value in pairs(options or {}) do past[key] = value end
  past.max_age, past.expires = 0, 0
  set_cookie(self, cookie.identity(name, options), cookie.line("response:delete_cookie", name, "", past))
  return self
end

--- Raises an error that answers the request. With a status the app's exception handlers say how; a
--- response, with its headers and cookies, is the answer as it is.
---@param status number|perigee.Response 400 to 599
---@param message string|nil shown to the client; default the status's own words
---@param headers table|nil
function http.abort(status, message, headers)
  if status == nil then caller.fail("http.abort: the status is missing") end
  if http.is_response(status) then
    if message ~= nil or headers ~= nil then
      caller.fail("http.abort: a response says it all, nothing goes with it")
    end
    local problem = http.error(status.status)
    problem.response = status
    error(problem, 0)
  end
  check_status("abort", status, 400)
  if message ~= nil then message = text_of("abort", message) end
  error(http.error(status, message, headers), 0)
end

--- The error http.abort raises, as a value.
---@return perigee.HttpError
function http.error(status, message, headers)
  return setmetatable({ status = status, message = message, headers = headers }, error_mt)
end

function error_mt.__tostring(self)
  return ("%d %s"):format(self.status, self.message or http.reasons[self.status] or "")
end

---@return boolean
function http.is_response(value)
  return getmetatable(value) == response_mt
end

---@return boolean
function http.is_error(value)
  return getmetatable(value) == error_mt
end

--- The plain answer to an error status: one line of text.
---@param status number
---@param message string|nil
---@return perigee.Response
function http.plain_error(status, message, headers)
  local text = message or ("%d %s"):format(status, http.reasons[status] or "Error")
  return new("text", text .. "\n", status, headers, TYPE_TEXT)
end

local function bad_header(name, value)
  local shown = type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or tostring(value)
  return nil, ("response header %s: %s cannot be sent"):format(("%q"):format(tostring(name)), shown)
end

--- A header line; or nil and what is wrong.
local function header_line(name, value)
  local kind = type(value)
  if kind == "number" then
    value = tostring(value)
  elseif kind ~= "string" then
    return bad_header(name, value)
  end
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") or value:find("[%z\r\n]") then
    return bad_header(name, value)
  end
  return name .. ": " .. value .. "\r\n"
end

--- Adds the lines of one header. Returns nothing, or what is wrong.
local function add_lines(lines, name, value)
  local line, problem
  if type(value) ~= "table" then
    line, problem = header_line(name, value)
    lines[#lines + 1] = line
    return problem
  end
  for _, each in ipairs(value) do
    line, problem = header_line(name, each)
    if problem then return problem end
    lines[#lines + 1] = line
  end
end

local own = { ["content-length"] = true, connection = true, date = true, ["transfer-encoding"] = true }

--- Headers and cookies as lines, and the type that is left to send.
---@param headers table<string, any>|nil
---@param kind number a response's type
---@param cookies { line: string }[]|nil
---@return string|nil lines # or nil, and what HTTP does not allow or is Perigee's own to set
---@return number|string kind
function http.header_lines(headers, kind, cookies)
  local lines = {}
  for name, value in pairs(headers or {}) do
    local lower = tostring(name):lower()
    local upgrades = lower == "connection" and value == "Upgrade" -- goes with 426
    if own[lower] and not upgrades then
      return nil, ("response header %s: Perigee sets it itself"):format(name)
    end
    if lower == "content-type" then kind = TYPE_NONE end
    local problem = add_lines(lines, name, value)
    if problem then return nil, problem end
  end
  for _, set in ipairs(cookies or {}) do lines[#lines + 1] = "Set-Cookie: " .. set.line .. "\r\n" end
  return table.concat(lines), kind
end

return http
