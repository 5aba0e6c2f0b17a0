--- An HTTP client for the command line: one request at a time, by blocking. It speaks what the inspector
--- speaks: HTTP/1.1 over TCP or a unix socket, an answer with a length or until the end.
local uv = require "luv"

local handles = require "perigee.handles"

local client = {}

--- Host and port, or the path, of an address as the setting inspector has it.
local function split(address)
  local path = address:match("^unix:([^?]+)")
  if path then return path end
  local host, port = address:match("^%[([%x:.%%%w]+)%]:(%d+)$")
  if not host then host, port = address:match("^([^:]*):(%d+)$") end
  if not port then return nil end
  if host == "" or host == "0.0.0.0" or host == "localhost" then host = "127.0.0.1" end
  return host, tonumber(port)
end

local function run_until(done)
  while not done() do handles.run_once() end
end

local function close(handle)
  local closed = false
  handle:close(function() closed = true end)
  run_until(function() return closed end)
end

--- Connects. Returns a stream, or nil and why not.
local function connect(address)
  local host, port = split(address)
  if not host then return nil, ("'%s' is no address that can be connected to"):format(address) end
  local stream = port and uv.new_tcp() or uv.new_pipe(false)
  local finished, problem = false, nil
  local function on_connect(err) finished, problem = true, err end
  local handle, message
  if port then handle, message = stream:connect(host, port, on_connect)
  else handle, message = stream:connect(host, on_connect) end
  if not handle then
    close(stream)
    return nil, message
  end
  run_until(function() return finished end)
  if not problem then return stream end
  close(stream)
  return nil, problem
end

local function request_text(method, path, body, key)
  local lines = { ("%s %s HTTP/1.1"):format(method, path), "Host: inspector", "Connection: close" }
  if key and key ~= "" then lines[#lines + 1] = "Authorization: Bearer " .. key end
  if body then
    lines[#lines + 1] = "Content-Type: application/json"
    lines[#lines + 1] = "Content-Length: " .. #body
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

--- Asks. Blocks until the answer is complete.
---@param address string "unix:perigee.sock", "127.0.0.1:8001"
---@param method string
---@param path string
---@param body string|nil
---@param key string|nil the bearer token
---@return number|nil # the status
---@return string # the body; or why there is no answer
function client.ask(address, method, path, body, key)
  if address:find("^tls:") then
    return nil, "TLS is for browsers and curl; here, connect to the unix socket, or by TCP without it"
  end
  local stream, problem = connect(address)
  if not stream then return nil, ("cannot connect to the inspector at %s: %s"):format(address, problem) end
  local chunks, ended, failure = {}, false, nil
  stream:write(request_text(method, path, body, key))
  stream:read_start(function(err, chunk)
    if chunk then
      chunks[#chunks + 1] = chunk
    else
      ended, failure = true, err
    end
  end)
  run_until(function() return ended end)
  close(stream)
  local text = table.concat(chunks)
  local status, rest = text:match("^HTTP/1%.1 (%d%d%d)[^\r]*\r\n.-\r\n\r\n(.*)$")
  local length = tonumber(text:match("\r\n[Cc]ontent%-[Ll]ength: (%d+)\r\n"))
  if not status or length and #rest < length then
    return nil, ("the inspector at %s broke off%s"):format(address, failure and ": " .. failure or "")
  end
  return tonumber(status), rest
end

return client
