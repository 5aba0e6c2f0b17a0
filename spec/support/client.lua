-- An HTTP/1.1 client for specs: one connection at a time, blocking, and free to misbehave. It sends
-- the bytes it is told to and reports what came back; it never repairs and never retries.

local uv = require "luv"
local wait = require "spec.support.wait"

local client = {}

local connection_methods = {}
local connection_mt = { __name = "client.connection", __index = connection_methods }

local patience = 10 -- seconds a spec waits for an answer unless it says otherwise

--- Connects to a port of 127.0.0.1, to "[v6]:port", or to the path of a unix socket.
-- @return connection, or nil and the reason ("ECONNREFUSED")
function client.try_connect(target)
  local self = setmetatable({ input = "", ended = nil, failure = nil }, connection_mt)
  local done, why
  local function connected(failure)
    done, why = true, failure
  end
  local v6_port = type(target) == "string" and target:match "^%[::1%]:(%d+)$"
  if v6_port then
    self.socket = uv.new_tcp()
    self.socket:connect("::1", tonumber(v6_port), connected)
  elseif type(target) == "string" then
    self.socket = uv.new_pipe(false)
    self.socket:connect(target, connected)
  else
    self.socket = uv.new_tcp()
    self.socket:connect("127.0.0.1", target, connected)
  end
  wait.try(patience, function() return done end)
  if why or not done then
    self.socket:close()
    return nil, (why or "timeout"):match "^[%w_]+"
  end
  self.socket:read_start(function(failure, chunk)
    if chunk then
      self.input = self.input .. chunk
    else
      self.ended, self.failure = true, failure and failure:match "^[%w_]+"
    end
  end)
  return self
end

--- As try_connect; a failure is an error.
function client.connect(target)
  local connection, why = client.try_connect(target)
  return connection or error(("cannot connect to %s: %s"):format(target, why), 2)
end

--- Sends bytes as they are, and does not wait for them to leave.
function connection_methods:send(bytes)
  self.socket:write(bytes)
end

--- Sends one request. A body gets a Content-Length unless the headers say otherwise.
function connection_methods:request(method, path, headers, body)
  self.method = method
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: localhost" }
  for name, value in pairs(headers or {}) do lines[#lines + 1] = name .. ": " .. value end
  if body and not (headers or {})["Transfer-Encoding"] then
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  self:send(table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or ""))
end

-- Takes a chunked body off the front of `text`. Returns it and where it ends, or nil when incomplete.
local function take_chunks(text, at)
  local chunks = {}
  while true do
    local from, to, size = text:find("^(%x+)[^\r\n]*\r\n", at)
    if not from then return nil end
    size = tonumber(size, 16)
    at = to + 1
    if size == 0 then
      local trailers_end = select(2, text:find("^\r\n", at)) or select(2, text:find("\r\n\r\n", at, true))
      if not trailers_end then return nil end
      return table.concat(chunks), trailers_end
    end
    if #text < at + size + 1 then return nil end
    chunks[#chunks + 1] = text:sub(at, at + size - 1)
    at = at + size + 2
  end
end

-- Takes one response off the front of the input, or returns nil when it is incomplete.
local function take_response(self)
  local _, head_end = self.input:find("\r\n\r\n", 1, true)
  if not head_end then return nil end
  local head = self.input:sub(1, head_end)
  local version, status, reason = head:match "^HTTP/(%d%.%d) (%d%d%d) ?([^\r\n]*)\r\n"
  if not status then error("not an HTTP response: " .. head:sub(1, 200)) end
  status = tonumber(status)
  local response = { version = version, status = status, reason = reason, headers = {}, head = head }
  for name, value in head:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    name = name:lower()
    local before = response.headers[name]
    response.headers[name] = before and before .. ", " .. value or value
  end

  local body_end = head_end
  local length = tonumber(response.headers["content-length"])
  local bodiless = self.method == "HEAD" or status < 200 or status == 204 or status == 304
  if bodiless then
    response.body = ""
  elseif (response.headers["transfer-encoding"] or ""):find "chunked" then
    response.body, body_end = take_chunks(self.input, head_end + 1)
    if not response.body then return nil end
  elseif length then
    if #self.input < head_end + length then return nil end
    response.body, body_end = self.input:sub(head_end + 1, head_end + length), head_end + length
  else
    if not self.ended then return nil end
    response.body, body_end = self.input:sub(head_end + 1), #self.input
  end
  self.input = self.input:sub(body_end + 1)
  return response
end

--- The next response: { status, reason, version, headers (lower case), body, head }; a 1xx counts as one.
-- @return response, or nil and "closed", "timeout" or an error name as "ECONNRESET"
function connection_methods:response(seconds)
  local response
  wait.try(seconds or patience, function()
    response = take_response(self)
    return response or self.ended
  end)
  if response then return response end
  return nil, self.ended and (self.failure or "closed") or "timeout"
end

--- Sends a GET and returns its response.
function connection_methods:get(path, headers)
  self:request("GET", path, headers)
  return self:response()
end

--- Waits until the server has closed. Returns whether it has within `seconds`.
function connection_methods:wait_closed(seconds)
  return wait.try(seconds or patience, function() return self.ended end) == true
end

--- Whether the server has not closed yet.
function connection_methods:is_open()
  uv.run "nowait"
  return not self.ended
end

function connection_methods:close()
  if not self.socket:is_closing() then self.socket:close() end
  uv.run "nowait"
end

--- One request on a connection of its own, "Connection: close" unless the headers say otherwise.
-- @return response, or nil and the reason
function client.try(target, method, path, headers, body)
  local connection, why = client.try_connect(target)
  if not connection then return nil, why end
  headers = headers or {}
  headers.Connection = headers.Connection or "close"
  connection:request(method, path, headers, body)
  local response
  response, why = connection:response()
  connection:close()
  return response, why
end

--- As try; a failure is an error.
function client.request(target, method, path, headers, body)
  local response, why = client.try(target, method, path, headers, body)
  return response or error(("%s %s: no response: %s"):format(method, path, why), 2)
end

--- GET on a connection of its own.
function client.get(target, path, headers)
  return client.request(target, "GET", path, headers)
end

return client
