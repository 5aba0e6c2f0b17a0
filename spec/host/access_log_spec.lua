-- The access log: a whole line for each answer, in three formats, off in production.

local client = require "spec.support.client"
local host = require "spec.support.host"

local source = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "spec"
app:get("/", function() return "hello\n" end)
app:get("/id", function(req) return req.id end)
app:get("/stream", function()
  return http.stream(function(write) write "abc" perigee.sleep(0.05) write "defg" end)
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
  end)
end)
