-- Server-sent events over the real binary.
local client = require "spec.support.client"
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app("events", { workers = 1, sse_keep_alive = 0.1 })
app:get("/", function() return "VERSION " .. app.m.pid .. "\n" end)
app:get("/few", function() return http.sse(function(stream)
  stream:send { data = "one\ntwo\r\nthree\rfour\n", event = "list", id = "7", retry = 250 }
  stream:send { data = { 1, 2 } }
  stream:send { data = "" }
  stream:send { data = tostring(stream.last_event_id) }
end, 200, { ["X-Mine"] = "yes" }) end)
local function fault(...)
  local ok, text = pcall(...)
  return { data = ok and "no error" or text:match "[^/]*$" }
end
app:get("/faults", function() return http.sse(function(stream)
  stream:send(fault(stream.send, stream, "x"))
  stream:send(fault(stream.send, stream, {}))
  stream:send(fault(stream.send, stream, { date = "x" }))
  stream:send(fault(stream.send, stream, { id = "a\nb" }))
  stream:send(fault(stream.send, stream, { event = "a\rb", data = "x" }))
  stream:send(fault(stream.send, stream, { retry = 1.5 }))
end) end)
app:get("/wait", function() return http.sse(function(stream)
  stream:send { data = "here" }
  local ok, why = pcall(perigee.sleep, 100)
  print("ended", ok, why, stream:send { data = "late" })
end) end)
return app
]]

-- Opens a stream and waits until `text` has come.
local function open(server, path, text)
  local connection = client.connect(server.port)
  connection:request("GET", path)
  wait.till(5, text, function() return connection.input:find(text, 1, true) end)
  return connection
end

describe("http.sse", function()
  after_each(host.finish)

  it("sends events, of any number of lines", function()
    local server = host.serve { app = app }
    local response = server:get("/few", { ["Last-Event-ID"] = "6" })
    assert.equal("text/event-stream", response.headers["content-type"])
    assert.equal("no-store", response.headers["cache-control"])
    assert.equal("no", response.headers["x-accel-buffering"])
    assert.equal("yes", response.headers["x-mine"])
    assert.equal("event: list\nid: 7\nretry: 250\ndata: one\ndata: two\ndata: three\ndata: four\ndata: \n\n"
      .. "data: [1,2]\n\ndata: \n\ndata: 6\n\n", response.body)
  end)

  it("raises what is the caller's fault at its line", function()
    local body = host.serve({ app = app }):get("/faults").body
    for _, text in ipairs { "the event must be a table", "has no field", "did you mean 'data'",
      "id must be one line", "event must be one line", "whole number of milliseconds" } do
      assert.matches("data: app.lua:%d+: [^\n]*" .. text, body)
    end
  end)

  it("sends comments while it is idle", function()
    local server = host.serve { app = app }
    local connection = open(server, "/wait", "data: here\n\n")
    wait.till(5, "three comments", function()
      return select(2, connection.input:gsub("\n:\n\n", "")) >= 3
    end)
    connection:close()
    server:expect "ended%s+false%s+cancelled: the client went away%s+nil%s+request is over"
  end)

  it("ends when the client goes, long before anything is sent to it", function()
    local server = host.serve { app = app, flags = { "--sse-keep-alive", "100" } }
    open(server, "/wait", "data: here\n\n"):close()
    server:expect "ended%s+false%s+cancelled: the client went away"
  end)

  it("ends when its worker is replaced or stops, whole", function()
    local server = host.serve { app = app }
    local connection = open(server, "/wait", "data: here\n\n")
    server:reload((app:gsub("VERSION", "NEXT")))
    local response = assert(connection:response())
    assert.equal("data: here\n\n", response.body:sub(1, 12))
    server:expect "ended%s+false%s+cancelled: the server stops%s+nil%s+request is over"
    server:wait_version("NEXT", 1)
    assert.matches("^NEXT ", connection:get("/").body) -- the connection lives on in the new worker
    connection:close()
    connection = open(server, "/wait", "data: here\n\n")
    server:signal "sigterm"
    assert.equal(200, assert(connection:response()).status)
    assert.equal(0, server:wait_exit())
  end)
end)
