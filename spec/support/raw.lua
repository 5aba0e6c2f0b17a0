--- Raw sockets and the HTTP test host for specs, with deadlines.
--
-- Everything runs on luv's default loop; a call runs the loop until it has what it wants or its
-- deadline passes, so a spec reads from top to bottom. A deadline is a failure, never a pace: what
-- a spec waits for is an event.
local ffi = require "ffi"
local uv = require "luv"

ffi.cdef [[
int socket(int domain, int type, int protocol);
int socketpair(int domain, int type, int protocol, int pair[2]);
int bind(int fd, const void *address, unsigned int size);
int listen(int fd, int backlog);
int setsockopt(int fd, int level, int name, const void *value, unsigned int size);
ssize_t recv(int fd, void *data, size_t size, int flags);
int close(int fd);
]]

local AF_UNIX, AF_INET, SOCK_STREAM, SOCK_SEQPACKET = 1, 2, 1, 5
local SOCK_CLOEXEC, SOCK_NONBLOCK = 0x80000, 0x800
local SOL_SOCKET, SO_RCVBUF, SO_LINGER = 1, 8, 13
local DEADLINE = 10000 -- ms

local raw = {}

--- Runs the loop until `done()` is true. Raises after `timeout` ms (default 10 s).
function raw.wait(done, what, timeout)
  if done() then
    return
  end
  local expired = false
  local timer = uv.new_timer()
  timer:start(timeout or DEADLINE, 0, function()
    expired = true
  end)
  while not done() and not expired do
    uv.run "once"
  end
  timer:stop()
  timer:close()
  if not done() then
    error("deadline: " .. (what or "an event") .. " did not come", 2)
  end
end

--- Lets `ms` pass while the loop runs; only for showing that nothing happens meanwhile.
function raw.pass(ms)
  local over = false
  local timer = uv.new_timer()
  timer:start(ms, 0, function()
    over = true
    timer:close()
  end)
  raw.wait(function()
    return over
  end, "the time")
end

-- Connections -------------------------------------------------------------------------------------

local connection = {}
connection.__index = connection

--- Connects to 127.0.0.1:port. options.receive_buffer (bytes) makes a client that takes little;
-- options.paused does not read until connection:read().
function raw.connect(port, options)
  local self = setmetatable({ data = "", eof = false }, connection)
  local failure, connected
  self.tcp = uv.new_tcp "inet"
  if options and options.receive_buffer then
    local value = ffi.new("int[1]", options.receive_buffer)
    assert(ffi.C.setsockopt(self.tcp:fileno(), SOL_SOCKET, SO_RCVBUF, value, 4) == 0)
  end
  self.tcp:connect("127.0.0.1", port, function(err)
    failure, connected = err, true
  end)
  raw.wait(function()
    return connected
  end, "the connection")
  assert(not failure, failure)
  self.tcp:nodelay(true)
  if not (options and options.paused) then
    self:read()
  end
  return self
end

--- Starts taking what the server sends.
function connection:read()
  self.tcp:read_start(function(err, chunk)
    if err then
      self.failure = err
    elseif chunk then
      self.data = self.data .. chunk
    else
      self.eof = true
    end
  end)
end

function connection:send(bytes)
  local sent
  self.tcp:write(bytes, function(err)
    sent = true
    self.failure = self.failure or err
  end)
  raw.wait(function()
    return sent
  end, "the write")
  return self
end

--- Starts sending and does not wait for it.
function connection:start_send(bytes)
  self.tcp:write(bytes)
  return self
end

--- Sends byte by byte, each in a segment of its own.
function connection:drip(bytes)
  for i = 1, #bytes do
    if self.eof or self.failure then
      break
    end
    self:send(bytes:sub(i, i))
  end
  return self
end

--- Closes the sending side only.
function connection:half_close()
  local done
  self.tcp:shutdown(function()
    done = true
  end)
  raw.wait(function()
    return done
  end, "the shutdown")
  return self
end

--- Closes such that the server sees a reset.
function connection:reset()
  local value = ffi.new("int[2]", 1, 0)
  assert(ffi.C.setsockopt(self.tcp:fileno(), SOL_SOCKET, SO_LINGER, value, 8) == 0)
  self:close()
end

--- Of a paused connection that the server has closed: whether that was a reset. Not through
-- libuv, which reports the end and drops the error when both have come.
function connection:was_reset()
  local buffer = ffi.new "char[65536]"
  local size
  repeat
    size = ffi.C.recv(self.tcp:fileno(), buffer, 65536, 0)
  until size <= 0
  return size < 0 and ffi.errno() == 104
end

function connection:close()
  if not self.tcp:is_closing() then
    self.tcp:close()
    uv.run "nowait"
  end
end

local function dechunk(text)
  local parts, at = {}, 1
  while true do
    local _, stop, size = text:find("^(%x+)\r\n", at)
    if not stop then
      return nil
    end
    size = tonumber(size, 16)
    if #text < stop + size + 2 then
      return nil
    end
    parts[#parts + 1] = text:sub(stop + 1, stop + size)
    at = stop + size + 3
    if size == 0 then
      return table.concat(parts), at
    end
  end
end

-- The body of the response whose head ends at `stop`, and where the next response begins.
local function parse_body(response, data, stop, method, eof)
  local length = tonumber(response.headers["content-length"])
  if method == "HEAD" or response.status < 200 or response.status == 204
    or response.status == 304 then
    return "", stop + 1
  elseif length then
    if #data >= stop + length then
      return data:sub(stop + 1, stop + length), stop + length + 1
    end
  elseif response.headers["transfer-encoding"] then
    local body, used = dechunk(data:sub(stop + 1))
    return body, body and stop + used
  elseif eof then
    return data:sub(stop + 1), #data + 1
  end
end

local function parse(data, method, eof)
  local _, stop = data:find("\r\n\r\n", 1, true)
  if not stop then
    return nil
  end
  local response = { headers = {}, head = data:sub(1, stop) }
  response.status = tonumber(data:match "^HTTP/1%.1 (%d%d%d) ")
  for name, value in response.head:gmatch "\r\n([^:\r\n]+): ([^\r\n]*)" do
    response.headers[name:lower()] = value
  end
  local body, rest = parse_body(response, data, stop, method, eof)
  response.body = body
  return body and response, rest
end

--- The next response: { status, headers (lower case), body, head }. Raises when none comes.
function connection:response(method)
  local response, rest
  raw.wait(function()
    response, rest = parse(self.data, method, self.eof)
    return response or self.eof or self.failure
  end, "a response")
  if not response then
    error(("no response, but %s after %q"):format(
      self.failure or "the end", self.data:sub(1, 200)), 2)
  end
  self.data = self.data:sub(rest)
  return response
end

--- Sends and returns the response.
function connection:ask(bytes, method)
  return self:send(bytes):response(method)
end

--- Waits for the server's close. Returns what came before it, and the error if it was a reset.
function connection:wait_end(timeout)
  raw.wait(function()
    return self.eof or self.failure
  end, "the end of the connection", timeout)
  local data = self.data
  self.data = ""
  return data, self.failure
end

--- One request on a connection of its own, which the server is expected to close.
function raw.once(port, bytes)
  local client = raw.connect(port)
  local response = client:ask(bytes)
  local rest = client:wait_end()
  client:close()
  return response, rest
end

-- Sockets to hand to children ---------------------------------------------------------------------

--- A listening socket on a free port of 127.0.0.1: { fd, port, close }.
function raw.listen()
  local fd = ffi.C.socket(AF_INET, SOCK_STREAM + SOCK_CLOEXEC + SOCK_NONBLOCK, 0)
  assert(fd >= 0)
  local address = ffi.new "uint8_t[16]"
  address[0], address[4], address[7] = AF_INET, 127, 1
  assert(ffi.C.bind(fd, address, 16) == 0)
  assert(ffi.C.listen(fd, 511) == 0)
  local handle = uv.new_tcp()
  assert(handle:open(fd))
  return {
    fd = fd,
    port = handle:getsockname().port,
    close = function()
      handle:close()
      uv.run "nowait"
    end,
  }
end

--- A connected SOCK_SEQPACKET pair: two fds, which the caller closes with raw.close_fd.
function raw.packet_pair()
  local pair = ffi.new "int[2]"
  assert(ffi.C.socketpair(AF_UNIX, SOCK_SEQPACKET + SOCK_CLOEXEC, 0, pair) == 0)
  return pair[0], pair[1]
end

function raw.close_fd(fd)
  ffi.C.close(fd)
end

-- The test host -----------------------------------------------------------------------------------

local host = {}
host.__index = host

local program = os.getenv "PERIGEE_HTTP_HOST" or "build/asan-ubsan/http_host"

local function command_line(settings, wrap)
  local arguments = {}
  for i, word in ipairs(wrap or {}) do
    arguments[i] = word
  end
  arguments[#arguments + 1] = program
  for name, value in pairs(settings or {}) do
    arguments[#arguments + 1] = name .. "=" .. value
  end
  return table.remove(arguments, 1), arguments
end

function host:watch()
  self.stdout:read_start(function(_, chunk)
    self.text = self.text .. (chunk or "")
    self.text = self.text:gsub("([^\n]*)\n", function(line)
      self.lines[#self.lines + 1] = line
      return ""
    end)
    self.ended = self.ended or chunk == nil
  end)
  self.stderr:read_start(function(_, chunk)
    self.complaint = self.complaint .. (chunk or "")
  end)
end

--- Starts spec/core/http_host.c. `settings` are its arguments by name; `fds` become its fd 3, 4 …;
-- `wrap` is a command (a list) to start it under.
function raw.host(settings, fds, wrap)
  local self = setmetatable({ lines = {}, text = "", complaint = "" }, host)
  local command, arguments = command_line(settings, wrap)
  self.stdin, self.stdout, self.stderr = uv.new_pipe(false), uv.new_pipe(false), uv.new_pipe(false)
  local stdio = { self.stdin, self.stdout, self.stderr }
  for _, fd in ipairs(fds or {}) do
    stdio[#stdio + 1] = fd
  end
  -- Not LD_PRELOAD: that is for the sanitized library which another spec loads into this Lua.
  local environment = { "PATH=" .. os.getenv "PATH", "ASAN_OPTIONS=detect_leaks=1:exitcode=99" }
  self.process = assert(uv.spawn(command, { args = arguments, stdio = stdio, env = environment },
    function(code, signal)
      self.code, self.signal = code, signal
    end))
  self:watch()
  self.port = tonumber(self:line "^ready (%d+)")
  return self
end

--- Waits for the `nth` (default: first) line that matches and returns its captures.
function host:line(pattern, nth)
  local found
  raw.wait(function()
    local count = 0
    for _, line in ipairs(self.lines) do
      if line:find(pattern) then
        count = count + 1
        found = count == (nth or 1) and line or found
      end
    end
    return found or (self.code and self.ended)
  end, "the line " .. pattern)
  if not found then
    error("the host ended: " .. self.complaint, 2)
  end
  return found:match(pattern)
end

--- How many lines match by now.
function host:count(pattern)
  local count = 0
  for _, line in ipairs(self.lines) do
    count = count + (line:find(pattern) and 1 or 0)
  end
  return count
end

function host:tell(line)
  self.stdin:write(line .. "\n")
end

--- The counters, asked now.
function host:stat()
  local before = self:count "^stat "
  self:tell "stat"
  local requests, connections, accepted, busy, websockets, slow = self:line(
    "^stat requests (%d+) connections (%d+) accepted (%d+) busy (%d+) websockets (%d+) slow (%d+)",
    before + 1)
  return {
    requests = tonumber(requests),
    connections = tonumber(connections),
    accepted = tonumber(accepted),
    busy = tonumber(busy),
    websockets = tonumber(websockets), -- open ones
    slow = tonumber(slow),             -- closed because they took too slowly what was published
  }
end

--- Waits until the counters satisfy `done`.
function host:wait_stat(done)
  local stat
  raw.wait(function()
    stat = self:stat()
    return done(stat)
  end, "the counters")
  return stat
end

--- Waits for its exit; raises if it was not a clean one.
function host:wait_exit(timeout)
  raw.wait(function()
    return self.code and self.ended
  end, "the host's exit", timeout)
  uv.run "nowait"
  for _, handle in ipairs { self.process, self.stdin, self.stdout, self.stderr } do
    if not handle:is_closing() then
      handle:close()
    end
  end
  uv.run "nowait"
  if self.code ~= 0 or self.complaint ~= "" then
    error(("the host ended with %d, signal %d: %s"):format(
      self.code, self.signal, self.complaint), 2)
  end
  return self
end

--- Stops it and checks that it ended cleanly.
function host:stop()
  self:tell "stop"
  self:line "^drained"
  return self:wait_exit()
end

--- A spec's function: runs `body(host)` against a host with these settings, which has to end cleanly.
function raw.with_host(settings, body)
  return function()
    local started = raw.host(settings)
    local ok, err = pcall(body, started)
    if not ok then
      started:tell "stop"
      pcall(started.wait_exit, started)
      error(err, 0)
    end
    started:stop()
  end
end

return raw
