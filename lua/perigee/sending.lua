--- From a response to what the client gets: whole, from a file, or in pieces.
local abi = require "perigee.abi"
local http = require "perigee.http"
local request = require "perigee.request"
local scheduler = require "perigee.scheduler"
local static = require "perigee.static"

local C = abi.C
local OK, FULL, OVER = abi.OK, abi.FULL, abi.OVER
local BAD_STATUS, BAD_HEADER, FILE_LAST = abi.BAD_STATUS, abi.BAD_HEADER, abi.FILE_LAST
local POINTER, SERIAL, ROUTE = request.POINTER, request.SERIAL, request.ROUTE
local tonumber, type = tonumber, type

local sending = {}

local writers = {} -- serial → task that waits for its client to take bytes

--- Who made a response, for messages.
---@param req perigee.Request
---@return string
function sending.describe(req)
  local route = req[ROUTE]
  if not route then return "a hook" end
  return ("the handler of %s %s (%s)"):format(table.concat(route.methods, ","), route.pattern, route.place)
end

local describe = sending.describe

local function header_lines(req, response)
  if response.headers == nil and response.cookies == nil then return nil, response.type end
  local lines, kind = http.header_lines(response.headers, response.type, response.cookies)
  if not lines then error(("%s returned %s"):format(describe(req), kind), 0) end
  return lines, kind
end

local SLICE = 256 * 1024 -- bytes of a stream that are compressed before others get their turn

--- Writes a piece of a stream. Yields while the client is slow.
local function write_piece(req, data)
  local result = C.http_response_write(req[POINTER], req[SERIAL], data, #data)
  if result == FULL then
    writers[req[SERIAL]] = scheduler.current
    scheduler.park()
    return true
  elseif result == OK then
    return true
  elseif result == OVER then
    return nil, "request is over"
  end
  return nil, "cannot write (" .. tonumber(result) .. ")"
end

--- The write function of a stream.
local function stream_writer(req)
  return function(data)
    if type(data) ~= "string" then
      error("write: data must be a string, not a " .. type(data), 2)
    end
    local at = 1
    while #data - at >= SLICE do
      local ok, message = write_piece(req, data:sub(at, at + SLICE - 1))
      if not ok then return nil, message end
      at = at + SLICE
      scheduler.sleep(0)
    end
    return write_piece(req, at == 1 and data or data:sub(at))
  end
end

local function send_stream(req, response)
  local lines, kind = header_lines(req, response)
  local result = C.http_response_begin(req[POINTER], req[SERIAL], response.status, kind, lines,
    lines and #lines or 0, -1)
  if result ~= OK then return result end
  response.stream(stream_writer(req), req)
  result = C.http_response_end(req[POINTER], req[SERIAL])
  return result
end

local function send_whole(req, response)
  local body = response.body
  if type(body) ~= "string" then
    error("a response's body must be a string, not a " .. type(body), 0)
  end
  local lines, kind = header_lines(req, response)
  local result = C.http_response_send(req[POINTER], req[SERIAL], response.status, kind, lines,
    lines and #lines or 0, body, #body)
  return result -- and not as a tail call, which LuaJIT would not record
end

local function send_file(req, response)
  local lines, kind, path = response.lines, response.type, response.file
  if not lines then
    lines, kind = header_lines(req, response)
  elseif response.cookies then
    lines = lines .. http.header_lines(nil, kind, response.cookies)
  end
  local result = C.http_response_file(req[POINTER], req[SERIAL], response.root, path, #path, response.status,
    kind, lines, lines and #lines or 0)
  return result -- and not as a tail call, which LuaJIT would not record
end

--- Sends a response. Yields while a stream's client is slow. Raises when the server refuses it.
---@param req perigee.Request
---@param response perigee.Response
function sending.send(req, response)
  local result
  if response.file then
    result = send_file(req, response)
    while result < FILE_LAST do
      response = static.instead(req, response, tonumber(result))
      result = response.file and send_file(req, response) or send_whole(req, response)
    end
  elseif response.stream then
    result = send_stream(req, response)
  else
    result = send_whole(req, response)
  end
  if result == OK or result == FULL or result == OVER then return end
  if result == BAD_STATUS then error("a response's status must be from 200 to 599", 0) end
  if result == BAD_HEADER then error(describe(req) .. " returned a header that cannot be sent", 0) end
  error("the response could not be sent (" .. tonumber(result) .. ")", 0)
end

--- A slow client has taken what was written.
---@param serial number
---@return boolean # whether a stream of that request waited for it
function sending.writable(serial)
  local task = writers[serial]
  if not task then return false end
  writers[serial] = nil
  scheduler.wake(task)
  return true
end

--- The request is over: nobody waits for its client any more.
---@param serial number
function sending.forget(serial)
  writers[serial] = nil
end

return sending
