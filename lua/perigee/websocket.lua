--- WebSockets: the handshake, and the object that a handler gets.
---
---     app:websocket("/echo", function(req, ws)
---       for message, kind in ws:messages() do ws:send(message, kind) end
---     end)
---
--- What the client does (closing, going away, silence) is no error here: receive returns nil then.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local http = require "perigee.http"
local nearest = require "perigee.nearest"
local request = require "perigee.request"
local scheduler = require "perigee.scheduler"

local C = abi.C
local OK, FULL, OVER, BAD_TEXT, BAD_HEADER = abi.OK, abi.FULL, abi.OVER, abi.BAD_TEXT, abi.BAD_HEADER
local POINTER, SERIAL = request.POINTER, request.SERIAL
local NONE, TEXT, BINARY, CLOSED = 0, 1, 2, 3 -- enum http_websocket_kind
local REASON_MAX, PING_MAX = 123, 125 -- bytes, RFC 6455, 5.5
local ffi_string = ffi.string

local kinds = { [TEXT] = "text", [BINARY] = "binary" }
local numbers = { text = TEXT, binary = BINARY }

local websocket = {}

--- An open or closed WebSocket.
---@class perigee.WebSocket
---@field protocol string|nil the subprotocol agreed on
---@field closed boolean nothing can be sent, nothing new comes in
---@field close_code number|nil once it is closed: the client's code, or ours; 1005 none, 1006 lost
---@field close_reason string|nil
local methods = {}
local getters = {}
local websocket_mt = { __name = "perigee.websocket" }

local sockets = {} -- serial → WebSocket whose handler has not returned
local event = ffi.new("struct http_websocket_event")
local reason_box = ffi.new("const char *[1]")

local function text_of_event()
  if event.size == 0 then return "" end
  return ffi_string(event.data, event.size)
end

-- ── Waiting ──────────────────────────────────────────────────────────────────────────────────

local function wake_senders(self)
  local senders = self.senders
  if #senders == 0 then return end
  self.senders = {}
  for _, task in ipairs(senders) do scheduler.wake(task, true) end
end

local function wake_receiver(self)
  local task = self.receiver
  if not task then return end
  self.receiver = false
  scheduler.wake(task, true)
end

--- There is a message, or the end. Called from C.
---@param serial number
function websocket.event(serial)
  local self = sockets[serial]
  if not self then return end
  wake_senders(self) -- who finds no room waits again
  local task = self.receiver
  if not task then return end
  self.receiver = false
  scheduler.go_on(task, true)
end

--- A slow client has taken what was sent. Called from C.
---@param serial number
function websocket.writable(serial)
  local self = sockets[serial]
  if self then wake_senders(self) end
end

-- ── The end ──────────────────────────────────────────────────────────────────────────────────

--- Code and reason once it is not open, else nil.
local function closing(self)
  if self.ended then return self.ended[1], self.ended[2] end
  if C.http_websocket_closing(self[POINTER], self[SERIAL], event) ~= 1 then return nil end
  return event.code, text_of_event()
end

function getters.closed(self) return closing(self) ~= nil end
function getters.close_code(self) return (closing(self)) end
function getters.close_reason(self)
  local _, reason = closing(self)
  return reason
end

local function closed_error(self)
  local code, reason = closing(self)
  if not reason or reason == "" then reason = "the WebSocket is closed" end
  return nil, reason, code
end

--- The handler is done with it: closes it unless it is closed.
local function finish(self, code)
  sockets[self[SERIAL]] = nil
  local last, reason = closing(self) -- before it is over, and nothing can be asked any more
  C.http_websocket_finish(self[POINTER], self[SERIAL], code)
  self.ended = { last or code, reason or "" }
end

--- Closes with 1011 what a handler that raised has left open.
---@param serial number of its request
---@return boolean # whether there was one
function websocket.abandon(serial)
  local self = sockets[serial]
  if not self then return false end
  finish(self, 1011)
  return true
end

-- ── Methods ──────────────────────────────────────────────────────────────────────────────────

--- The next message. Yields.
---@param timeout number|nil seconds; nil waits as long as the WebSocket is open
---@return string|nil message nil: closed, or the time is up (the reason is "timeout" then)
---@return "text"|"binary"|string kind or the reason
---@return number|nil code once it is closed: RFC 6455, 7.4.1; 1005 none was given, 1006 lost
function methods:receive(timeout)
  if timeout ~= nil and (type(timeout) ~= "number" or timeout ~= timeout or timeout < 0) then
    caller.fail("ws:receive: the timeout must be a number of seconds, not %s", tostring(timeout))
  end
  if self.receiver and self.receiver.parked then
    caller.fail("ws:receive: another coroutine waits for a message already")
  end
  while true do
    if C.http_websocket_receive(self[POINTER], self[SERIAL], event) ~= OK then return closed_error(self) end
    local kind = event.kind
    if kind == CLOSED then return closed_error(self) end
    if kind ~= NONE then return text_of_event(), kinds[kind] end
    self.receiver = scheduler.current
    if not scheduler.park_for(timeout) then
      self.receiver = false
      return nil, "timeout"
    end
  end
end

--- An iterator over receive: `for message, kind in ws:messages() do … end`. Yields.
function methods:messages()
  return function() return self:receive() end
end

--- Does `try()` until it is not told to wait for the client. Yields.
local function when_writable(self, try)
  local result = try()
  while result == FULL do
    table.insert(self.senders, scheduler.current)
    scheduler.park()
    result = try()
  end
  return result
end

local function outcome(self, result)
  if result == OK then return true end
  if result == OVER then return closed_error(self) end
  return nil, "memory is out", "ENOMEM"
end

--- Sends a message. Yields while the client is slow: while write_buffer_limit bytes wait for it.
---@param data string
---@param kind "text"|"binary"|nil "text", which must be UTF-8
---@return true|nil
---@return string|nil reason when it is closed
---@return number|nil code
function methods:send(data, kind)
  caller.check(data, "string", "ws:send: the message")
  local number = numbers[kind or "text"]
  if not number then caller.fail('ws:send: the kind must be "text" or "binary", not %s', tostring(kind)) end
  local result = C.http_websocket_send(self[POINTER], self[SERIAL], number, data, #data)
  if result == OK then return true end
  if result == FULL then
    result = when_writable(self, function()
      return C.http_websocket_send(self[POINTER], self[SERIAL], number, data, #data)
    end)
  end
  if result == BAD_TEXT then caller.fail('ws:send: a text must be UTF-8; send this as "binary"') end
  return outcome(self, result)
end

--- Sends a ping, as websocket_ping_interval does by itself. Yields as send does.
---@param data string|nil at most 125 bytes
---@return true|nil, string|nil reason, number|nil code
function methods:ping(data)
  data = data or ""
  caller.check(data, "string", "ws:ping: the data")
  if #data > PING_MAX then caller.fail("ws:ping: the data has %d bytes, at most %d go", #data, PING_MAX) end
  return outcome(self, when_writable(self, function()
    return C.http_websocket_ping(self[POINTER], self[SERIAL], data, #data)
  end))
end

--- Closes. Nothing is sent or received after it; the client has websocket_close_timeout to agree.
--- Does not yield.
---@param code number|nil 1000; what else may be sent is in RFC 6455, 7.4: 3000 to 4999 are yours
---@param reason string|nil UTF-8, at most 123 bytes
---@return true|nil, string|nil reason when it is closed already, number|nil code
function methods:close(code, reason)
  code, reason = code or 1000, reason or ""
  if type(code) ~= "number" or code % 1 ~= 0 or C.http_websocket_code_valid(code) ~= 1 then
    caller.fail("ws:close: the code must be one that may be sent (1000, 1008, 3000 to 4999 …), not %s",
      tostring(code))
  end
  caller.check(reason, "string", "ws:close: the reason")
  if #reason > REASON_MAX then
    caller.fail("ws:close: the reason has %d bytes, at most %d go", #reason, REASON_MAX)
  end
  local result = C.http_websocket_close(self[POINTER], self[SERIAL], code, reason, #reason)
  if result == BAD_TEXT then caller.fail("ws:close: the reason must be UTF-8") end
  if result ~= OK then return closed_error(self) end
  wake_receiver(self)
  wake_senders(self)
  return true
end

local function check_topic(what, topic)
  caller.check(topic, "string", what .. ": the topic")
end

--- Has what app:publish sends to `topic`, in whichever worker, sent to this client. Does not yield.
---@param topic string
---@return true|nil, string|nil reason when it is closed, number|string|nil code
function methods:subscribe(topic)
  check_topic("ws:subscribe", topic)
  return outcome(self, C.http_websocket_subscribe(self[POINTER], self[SERIAL], topic, #topic))
end

--- Ends that. Does not yield.
---@param topic string
---@return boolean # whether it was subscribed
function methods:unsubscribe(topic)
  check_topic("ws:unsubscribe", topic)
  return C.http_websocket_unsubscribe(self[POINTER], self[SERIAL], topic, #topic) == 1
end

function websocket_mt.__index(self, key)
  local getter = getters[key]
  if getter then return getter(self) end
  return methods[key]
end

function websocket_mt.__newindex(_, key)
  caller.fail("ws.%s cannot be set; keep what is yours in req.ctx", tostring(key))
end

-- ── The handshake ────────────────────────────────────────────────────────────────────────────

--- A list header's elements.
local function elements(text)
  local list = {}
  for element in (text or ""):gmatch("[^,%s]+") do list[#list + 1] = element end
  return list
end

--- The first of ours that the client offers, or nil.
local function choose_protocol(req, protocols)
  local offered = {}
  for _, name in ipairs(elements(req.headers["sec-websocket-protocol"])) do offered[name] = true end
  for _, name in ipairs(protocols or {}) do
    if offered[name] then return name end
  end
  return nil
end

--- "host" or "host:port" without a default port, in lower case.
local function authority(scheme, host)
  host = host:lower()
  local default = scheme == "https" and ":443" or ":80"
  if host:sub(-#default) == default then host = host:sub(1, -#default - 1) end
  return host
end

--- Whether a page of this origin may connect. A client that is no browser sends none.
local function origin_allowed(req, origins)
  local origin = req.headers.origin
  if not origin or origins == "*" then return true end
  for _, allowed in ipairs(origins or {}) do
    if allowed == "*" or origin:lower() == allowed:lower() then return true end
  end
  if origins then return false end
  local scheme, host = origin:match("^(%a+)://([^/]+)$")
  if not scheme or not req.host then return false end
  scheme = scheme:lower()
  return authority(scheme, host) == authority(scheme, req.host)
end

local function refuse(status, reason)
  local headers
  if status == 426 then
    headers = { Upgrade = "websocket", Connection = "Upgrade", ["Sec-WebSocket-Version"] = "13" }
  end
  error(http.error(status, reason, headers), 0)
end

--- Whether a request asks to become a WebSocket, be it in a proper way or not. Does not yield.
---@param req perigee.Request
---@return boolean
function websocket.is_wanted(req)
  for _, name in ipairs(elements(req.headers.upgrade)) do
    if name:lower() == "websocket" then return true end
  end
  return false
end

--- Answers 101, or raises the error that refuses the request.
local function open(req, options)
  local pointer, serial = req[POINTER], req[SERIAL]
  local status = C.http_websocket_check(pointer, serial, reason_box)
  if status == OVER then error("the request was answered already", 0) end
  if status ~= 0 then refuse(status, ffi_string(reason_box[0])) end
  if not origin_allowed(req, options.origins) then
    refuse(403, "pages of this origin may not connect")
  end
  local protocol = choose_protocol(req, options.protocols)
  local lines = protocol and "Sec-WebSocket-Protocol: " .. protocol .. "\r\n" or ""
  local result = C.http_websocket_accept(pointer, serial, lines, #lines)
  if result == BAD_HEADER then error("the subprotocol cannot be sent: " .. tostring(protocol), 0) end
  if result ~= OK then error("memory is out for a WebSocket", 0) end
  local self = setmetatable({ pointer, serial, protocol = protocol, senders = {}, receiver = false,
    ended = false }, websocket_mt)
  sockets[serial] = self
  return self
end

local own_options = { protocols = true, origins = true }

local function check_list(value, what)
  caller.check(value, "table", what)
  for _, element in ipairs(value) do
    caller.check(element, "string", what .. ": each")
  end
end

--- Checks the options of app:websocket, and returns those that it has in common with other routes.
--- Raises at the caller's place.
---@param options table
---@param of_routes string[] the names of these
---@return table
function websocket.check_options(options, of_routes)
  caller.check(options, "table", "app:websocket: the options")
  local names, route_options = { "protocols", "origins" }, {}
  for _, name in ipairs(of_routes) do
    names[#names + 1] = name
    route_options[name] = options[name]
  end
  for key in pairs(options) do
    if not own_options[key] and route_options[key] == nil then
      caller.fail("app:websocket: unknown option '%s'%s", tostring(key), nearest.hint(tostring(key), names))
    end
  end
  if options.protocols ~= nil then check_list(options.protocols, "app:websocket: the protocols") end
  for _, name in ipairs(options.protocols or {}) do
    if not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
      caller.fail("app:websocket: %q is no name of a subprotocol", name)
    end
  end
  if options.origins ~= nil and options.origins ~= "*" then
    check_list(options.origins, "app:websocket: the origins")
  end
  return route_options
end

--- The route handler around a WebSocket handler.
---@param fn fun(req: perigee.Request, ws: perigee.WebSocket, ...) may yield
---@param options { protocols: string[]|nil, origins: string[]|"*"|nil }
---@return function
function websocket.handler(fn, options)
  return function(req, ...)
    local self = open(req, options)
    fn(req, self, ...)
    finish(self, 1000)
    return http.UPGRADED
  end
end

--- Sends a message to every WebSocket that has subscribed to a topic, in all workers. See app:publish.
---@param topic string
---@param message string
---@param kind "text"|"binary"|nil
function websocket.publish(topic, message, kind)
  check_topic("app:publish", topic)
  caller.check(message, "string", "app:publish: the message")
  local number = numbers[kind or "text"]
  if not number then
    caller.fail('app:publish: the kind must be "text" or "binary", not %s', tostring(kind))
  end
  local result = C.script_publish(abi.state, topic, #topic, number, message, #message)
  if result == OK then return true end
  if result == BAD_TEXT then caller.fail('app:publish: a text must be UTF-8; publish this as "binary"') end
  if result == abi.NOT_HERE then
    caller.fail("app:publish: nobody can have subscribed yet: this works in workers and managed processes")
  end
  return nil, "a message and its topic have to fit into publish_limit", "EMSGSIZE"
end

return websocket
