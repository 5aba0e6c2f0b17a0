-- A WebSocket client for specs over the real binary: blocking, one frame at a time.
local client = require "spec.support.client"
local frames = require "spec.support.frames"
local wait = require "spec.support.wait"

local websocket = {}

local methods = {}
local mt = { __index = methods }

--- Opens one. Returns it, or nil and the response that refused it.
function websocket.try_open(target, path, headers)
  local connection = client.connect(target)
  connection.method = "GET"
  connection:send(frames.handshake(path, headers))
  local response, why = connection:response()
  assert(response, why)
  if response.status ~= 101 then
    connection:close()
    return nil, response
  end
  return setmetatable({ connection = connection, response = response }, mt)
end

function websocket.open(target, path, headers)
  local self, response = websocket.try_open(target, path, headers)
  return self or error(("%s: refused with %d: %s"):format(path, response.status, response.body), 2)
end

function methods:send(bytes) self.connection:send(bytes) end
function methods:text(payload) self:send(frames.text(payload)) end

--- The next frame, or nil and why there is none.
function methods:frame(seconds)
  local connection, frame = self.connection, nil
  wait.try(seconds or 10, function()
    local rest
    frame, rest = frames.take(connection.input)
    connection.input = rest or connection.input -- at once: more may come before try returns
    return frame or connection.ended
  end)
  if not frame then return nil, connection.ended and "closed" or "timeout" end
  return frame
end

--- The next frame that is no ping; pings are answered.
function methods:message(seconds)
  local frame, why = self:frame(seconds)
  while frame and frame.opcode == frames.PING do
    self:send(frames.make(frames.PONG, frame.payload))
    frame, why = self:frame(seconds)
  end
  return frame, why
end

--- Sends text and returns what comes back.
function methods:ask(payload)
  self:text(payload)
  local frame, why = self:message()
  return frame and frame.payload or error("no answer: " .. why, 2)
end

--- Waits for the server's close frame, answers it, and waits for the end. Returns code and reason.
function methods:closed(seconds)
  local frame, why = self:message(seconds)
  while frame and frame.opcode ~= frames.CLOSE do frame, why = self:message(seconds) end
  if not frame then error("no close frame: " .. why, 2) end
  self:send(frames.close(frame.code))
  assert(self.connection:wait_closed(), "the server did not close")
  self.connection:close()
  return frame.code, frame.reason
end

function methods:close() self.connection:close() end

return websocket
