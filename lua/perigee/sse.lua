--- Server-sent events (WHATWG HTML, 9.2): the stream that the function of http.sse gets.
---
--- Built on the streaming of a response, so a slow client holds the function back, and one that has
--- gone ends it as it ends any handler.
local abi = require "perigee.abi"
local caller = require "perigee.caller"
local json = require "perigee.json"
local nearest = require "perigee.nearest"
local request = require "perigee.request"
local scheduler = require "perigee.scheduler"

local C = abi.C
local POINTER, SERIAL = request.POINTER, request.SERIAL
local COMMENT = ":\n\n"

local sse = {}

---@class perigee.EventStream
---@field last_event_id string|nil what the client has seen last (Last-Event-ID): send what came after
local methods = {}
local stream_mt = { __name = "perigee.sse", __index = methods }

local streams = {} -- serial → stream whose function has not returned

local known = { "data", "event", "id", "retry" }

local function is_known(key)
  for _, name in ipairs(known) do
    if name == key then return true end
  end
  return false
end

--- A field of one line.
local function one_line(name, value)
  caller.check(value, "string", "stream:send: " .. name)
  if value:find("[%z\r\n]") then
    caller.fail("stream:send: %s must be one line without NUL: %q", name, value)
  end
  return name .. ": " .. value .. "\n"
end

local function data_lines(data)
  if type(data) == "table" then data = json.encode(data) end
  if type(data) == "number" then data = tostring(data) end
  caller.check(data, "string", "stream:send: data")
  local lines = {}
  for line in (data:gsub("\r\n?", "\n") .. "\n"):gmatch("([^\n]*)\n") do
    lines[#lines + 1] = "data: " .. line .. "\n"
  end
  return table.concat(lines)
end

local function retry_line(milliseconds)
  if type(milliseconds) ~= "number" or milliseconds % 1 ~= 0 or milliseconds < 0 then
    caller.fail("stream:send: retry must be a whole number of milliseconds, not %s", tostring(milliseconds))
  end
  return ("retry: %d\n"):format(milliseconds)
end

--- Sends an event. Yields while the client is slow.
---@param event { data: string|number|table|nil, event: string|nil, id: string|nil, retry: number|nil }
---   data: of any number of lines, a table is sent as JSON; retry: ms until the client comes again
---@return true|nil
---@return string|nil reason when the stream is over
function methods:send(event)
  caller.check(event, "table", "stream:send: the event")
  for key in pairs(event) do
    if not is_known(key) then
      caller.fail("stream:send: unknown field '%s'%s", tostring(key), nearest.hint(tostring(key), known))
    end
  end
  local parts = {}
  if event.event ~= nil then parts[#parts + 1] = one_line("event", event.event) end
  if event.id ~= nil then parts[#parts + 1] = one_line("id", event.id) end
  if event.retry ~= nil then parts[#parts + 1] = retry_line(event.retry) end
  if event.data ~= nil then parts[#parts + 1] = data_lines(event.data) end
  if #parts == 0 then caller.fail("stream:send: the event has no field") end
  self.sent = true
  return self.write(table.concat(parts) .. "\n")
end

local function is_over(self)
  local req = self.request
  return tonumber(req[POINTER].serial) ~= req[SERIAL] or self.ended
end

--- Sends a comment in each interval in which nothing else was sent, so that whoever is between us
--- and the client does not take the connection for dead.
local function keep_alive(self, seconds)
  while true do
    self.sent = false
    scheduler.sleep(seconds)
    if is_over(self) then return end
    local req = self.request
    if not self.sent then C.http_response_write(req[POINTER], req[SERIAL], COMMENT, #COMMENT) end
  end
end

--- The body of a response: runs `fn` with a stream.
---@param fn fun(stream: perigee.EventStream)
---@param req perigee.Request
---@param write fun(data: string): true|nil, string|nil
function sse.run(fn, req, write)
  local self = setmetatable({ request = req, write = write, task = scheduler.current, ended = false,
    sent = false, last_event_id = req.headers["last-event-id"] }, stream_mt)
  streams[req[SERIAL]] = self
  self.keeper = scheduler.spawn(keep_alive, self, req.app.config.sse_keep_alive)
  fn(self)
  sse.abandon(req[SERIAL])
end

--- The function of a request's stream has returned or raised; no matter if there was none.
---@param serial number of the request
function sse.abandon(serial)
  local self = streams[serial]
  if not self then return end
  self.ended = true
  streams[serial] = nil
  scheduler.cancel(self.keeper, "the stream is over")
end

--- Ends all streams, whose clients will come again, and cancels their handlers: the worker stops.
function sse.drain()
  for _, self in pairs(streams) do
    if not is_over(self) then
      local req = self.request
      self.ended = true
      C.http_response_end(req[POINTER], req[SERIAL])
      scheduler.cancel(self.task, "the server stops")
    end
  end
end

return sse
