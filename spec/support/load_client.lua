-- The load process: N keep-alive and M one-shot clients on one loop. Started by load.lua with its
-- options as JSON; prints "started", then one JSON object with what it counted.
--
-- An answer is good (ok) when it is 200, complete, and its body is "VERSION PID\n". A request fails as
--   refused        the connection was not taken
--   reset          it was answered with RST, before or in an answer
--   lost           the server closed after the request was sent and before a byte of the answer
--   short          the answer was cut off
--   wrong          another status, or a body that is not ours
--   timeout        no complete answer within ten seconds
--   local_failure  this machine could not make the connection: no port, no descriptor
-- A server that closes a connection on which nothing is asked (idle_closed), or that announces it
-- with its answer (told_to_close), fails no request; the client connects again.

package.path = "./?.lua;" .. package.path

local cjson = require "cjson"
local uv = require "luv"

local options = cjson.decode(arg[1])
local answer_deadline = 10e9 -- ns
local examples_kept = 10
local events_kept = 5000

local counts = {
  ok = 0, refused = 0, reset = 0, lost = 0, short = 0, wrong = 0, timeout = 0, local_failure = 0,
  failures = 0, idle_closed = 0, told_to_close = 0, connections = 0,
  longest = 0, -- ms
}
local examples, events, versions = {}, {}, {}
local clients = {}
local stopping = false
local began = uv.hrtime()

local keep_alive_request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
local one_shot_request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

local connect -- both ways: a client that has failed connects again

local function fail(client, kind, why)
  local at = uv.hrtime()
  counts[kind] = counts[kind] + 1
  counts.failures = counts.failures + 1
  if #examples < examples_kept then
    local text = "%s after %.3f s: %s, %s client, connection's request %d, answered before by %s"
    examples[#examples + 1] = text:format(kind, (at - began) / 1e9, why,
      client.one_shot and "one-shot" or "keep-alive", client.asked, client.pid or "nobody")
  end
  if #events < events_kept then
    events[#events + 1] = { kind = kind, at = at / 1e9, pid = client.pid, one_shot = client.one_shot,
      asked_at = client.since and client.since / 1e9 }
  end
end

local function close(client)
  client.since = nil
  local socket = client.socket
  client.socket = nil
  if socket and not socket:is_closing() then socket:close() end
end

-- Connects again: at once, or after a moment when something went wrong.
local function again(client, delay)
  close(client)
  if stopping then return end
  client.timer:start(delay, 0, function() connect(client) end)
end

local function ask(client)
  client.input, client.since, client.asked = "", uv.hrtime(), client.asked + 1
  client.socket:write(client.one_shot and one_shot_request or keep_alive_request)
end

local function note_version(client, version, pid)
  local entry = versions[version]
  local now = uv.hrtime() / 1e9
  if not entry then
    entry = { count = 0, pids = {}, first = now }
    versions[version] = entry
  end
  entry.count = entry.count + 1
  entry.pids[pid] = (entry.pids[pid] or 0) + 1
  entry.last = now
  client.pid = pid
end

-- A complete answer: counts it and goes on.
local function answered(client, head, body)
  local took = (uv.hrtime() - client.since) / 1e6
  client.since = nil
  if took > counts.longest then counts.longest = took end
  local version, pid = body:match "^(%S+) (%d+)\n$"
  if not head:find("^HTTP/1.1 200 ") or not version then
    fail(client, "wrong", head:match "^[^\r\n]*" .. " with body " .. body:sub(1, 40))
    return again(client, 5)
  end
  counts.ok = counts.ok + 1
  note_version(client, version, pid)
  if stopping then return close(client) end
  if client.one_shot then return again(client, 0) end
  if head:lower():find("\r\nconnection: close", 1, true) then
    counts.told_to_close = counts.told_to_close + 1
    return again(client, 0)
  end
  if client.think == 0 then return ask(client) end
  client.timer:start(client.think, 0, function()
    if client.socket and not stopping then ask(client) end
  end)
end

local function on_data(client, chunk)
  client.input = client.input .. chunk
  local _, head_end = client.input:find("\r\n\r\n", 1, true)
  if not head_end then return end
  local head = client.input:sub(1, head_end)
  local length = tonumber(head:match "\r\n[Cc]ontent%-[Ll]ength: (%d+)")
  if not length then
    fail(client, "wrong", "no Content-Length")
    return again(client, 5)
  end
  if #client.input >= head_end + length then
    answered(client, head, client.input:sub(head_end + 1, head_end + length))
  end
end

local function on_end(client, failure)
  if not client.since then
    counts.idle_closed = counts.idle_closed + 1
    return again(client, 0)
  end
  if failure then
    fail(client, "reset", failure)
  elseif client.input == "" then
    fail(client, "lost", "closed before the answer")
  else
    fail(client, "short", "closed after " .. #client.input .. " bytes of the answer")
  end
  again(client, 5)
end

local function on_connected(client, socket, failure)
  if client.socket ~= socket then return end
  if failure then
    local name = failure:match "^[%w_]+"
    local kind = name == "ECONNREFUSED" and "refused" or name == "ECONNRESET" and "reset" or "local_failure"
    fail(client, kind, failure)
    return again(client, 5)
  end
  counts.connections = counts.connections + 1
  socket:read_start(function(why, chunk)
    if client.socket ~= socket then return end
    if chunk then on_data(client, chunk) else on_end(client, why) end
  end)
  ask(client)
end

function connect(client)
  local tcp = type(options.target) == "number"
  local socket = tcp and uv.new_tcp() or uv.new_pipe(false)
  local function connected(failure) on_connected(client, socket, failure) end
  client.socket, client.asked, client.pid, client.input = socket, 0, nil, ""
  client.since = uv.hrtime()
  if not tcp then
    socket:connect(options.target, connected)
    return
  end
  socket:nodelay(true)
  local request, why = socket:connect("127.0.0.1", options.target, connected)
  if not request then
    fail(client, "local_failure", why)
    again(client, 50)
  end
end

for i = 1, options.keep_alive + options.one_shot do
  local client = { timer = uv.new_timer(), one_shot = i > options.keep_alive, asked = 0,
    think = i % 2 == 0 and options.think or 0 }
  clients[i] = client
  connect(client)
end
local asked_to_stop = uv.new_signal()
asked_to_stop:start("sigterm", function() stopping = true end)
io.write "started\n"
io.flush()

local function finish()
  counts.examples, counts.events, counts.versions = examples, events, versions
  counts.seconds = (uv.hrtime() - began) / 1e9
  cjson.encode_sparse_array(true)
  io.write(cjson.encode(counts), "\n")
  io.flush()
  os.exit(0) -- with sockets open as they are
end

local tick = uv.new_timer()
tick:start(50, 50, function()
  local now, waiting = uv.hrtime(), 0
  if now - began > options.seconds * 1e9 then stopping = true end
  for _, client in ipairs(clients) do
    if client.since and now - client.since > answer_deadline then
      fail(client, "timeout", "no answer")
      again(client, 5)
    end
    if client.since then waiting = waiting + 1 end
  end
  if stopping and waiting == 0 then finish() end
end)

uv.run()
