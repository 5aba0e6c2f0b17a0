-- The access log: a whole line for each answer, in three formats, off in production.

local client = require "spec.support.client"
local frames = require "spec.support.frames"
local host = require "spec.support.host"
local wait = require "spec.support.wait"
local websocket = require "spec.support.websocket"

local source = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "spec"
app:get("/", function() return "hello\n" end)
app:get("/id", function(req) return req.id end)
app:get("/stream", function()
  return http.stream(function(write) write "abc" perigee.sleep(0.05) write "defg" end)
end)
app:get("/wait", function() perigee.sleep(30) return "" end)
app:get("/open", function()
  return http.stream(function(write) write "abc" perigee.sleep(30) end)
end)
app:websocket("/echo", function(_, ws)
  for message in ws:messages() do ws:send(message) end
end)
return app
]]

local function serve(...)
  return host.serve { app = source, flags = { "--workers", "1", ... } }
end

local function ask(server, path, headers)
  return client.request(server.target, "GET", path, headers or {})
end

describe("the access log", function()
  after_each(host.finish)

  it("is off in production", function()
    local server = serve()
    ask(server, "/id")
    assert.equal(0, server:stop())
    assert.equal(0, #server:matching "HTTP/1.1")
  end)

  it("is in the combined format in development", function()
    local server = serve("--mode", "development")
    ask(server, "/?spec=1", { Referer = "http://x/", ["User-Agent"] = 'a"\\b' })
    server:expect('worker 0 gen 1 | 127%.0%.0%.1 %- %- %[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d %+0000%] '
      .. '"GET /%?spec=1 HTTP/1%.1" 200 6 "http://x/" "a\\x22\\x5cb" %S+ %d+%.%d+$')
  end)

  it("tells bytes of streams, durations, ids and refusals", function()
    local server = serve("--access-log", "common")
    local id = ask(server, "/id").body
    server:expect('"GET /id HTTP/1%.1" 200 %d+ ' .. id:gsub("%-", "%%-") .. " ")
    ask(server, "/stream", { ["X-Request-ID"] = "mine-1" })
    local seconds = server:expect('"GET /stream HTTP/1%.1" 200 7 mine%-1 '):match "([%d.]+)$"
    assert.is_true(tonumber(seconds) >= 0.05)
    local connection = client.connect(server.target)
    connection:send "NONSENSE\r\n\r\n"
    connection:response()
    connection:close()
    server:expect '127%.0%.0%.1 .* "%-" 400 '
  end)

  it("knows who a client was that has gone", function()
    local server = serve("--access-log", "common")
    for path, status in pairs { ["/wait"] = "499 0", ["/open"] = "200 3" } do
      local connection = client.connect(server.target)
      connection:request("GET", path)
      wait.try(0.05, function() return connection.input:find "abc" end)
      connection.socket:close_reset()
      server:expect('127%.0%.0%.1 .*"GET ' .. path .. ' HTTP/1%.1" ' .. status)
    end
  end)

  it("is JSON, one object a line", function()
    local server = serve("--access-log", "json")
    ask(server, "/?json=1", { ["User-Agent"] = "line\tbreak" })
    local line = server:expect "json=1"
    local value = require("cjson").decode(line:match "| ({.*})$")
    assert.equal(200, value.status)
    assert.equal(6, value.bytes)
    assert.equal("GET", value.method)
    assert.equal("/?json=1", value.target)
    assert.equal("line\tbreak", value.agent)
    assert.equal("127.0.0.1", value.peer)
    assert.equal("127.0.0.1", value.ip)
  end)

  it("has a line for each WebSocket, at its end", function()
    local server = serve("--access-log", "common")
    local socket = websocket.open(server.port, "/echo")
    assert.equal("12345", socket:ask "12345")
    socket:send(frames.close(1000))
    socket:closed()
    server:expect '"GET /echo HTTP/1%.1" 101 7 ' -- and two bytes of the close
    socket = websocket.open(server.port, "/echo")
    socket:close()
    server:expect '"GET /echo HTTP/1%.1" 101 0 '
    server:stop()
    assert.equal(2, #server:matching "/echo")
  end)

  it("names the client behind trusted proxies, of requests and WebSockets", function()
    local server = serve("--access-log", "json", "--trusted-proxies", "127.0.0.1")
    ask(server, "/?first", { ["X-Forwarded-For"] = "192.0.2.7" })
    local value = require("cjson").decode(server:expect("first"):match "| ({.*})$")
    assert.same({ "192.0.2.7", "127.0.0.1" }, { value.ip, value.peer })
    ask(server, "/?second")
    assert.matches('"ip":"127.0.0.1"', server:expect "second")
    local socket = websocket.open(server.port, "/echo", { ["X-Forwarded-For"] = "192.0.2.8" })
    socket:close()
    assert.matches('"ip":"192.0.2.8","peer":"127.0.0.1"', server:expect "/echo")
  end)
end)
