-- WebSockets as an application writes them: the handler's API, refusals, ends, drains, publishing.
local frames = require "spec.support.frames"
local host = require "spec.support.host"
local wait = require "spec.support.wait"
local websocket = require "spec.support.websocket"

local app = [[
local perigee = require "perigee"
local app = perigee.app "sockets"
app:get("/", function() return "VERSION " .. app.m.pid .. "\n" end)

app:websocket("/echo", function(req, ws)
  for message, kind in ws:messages() do assert(ws:send(message, kind)) end
end)

app:websocket("/rooms/<name>/<n:int>", function(req, ws, name, n)
  ws:send(name .. (n + 1) .. (req.query.q or "") .. tostring(req.headers["x-test"]) .. req.ip)
  ws:receive()
  ws:send(req.headers["x-test"] .. " still")
end)

app:websocket("/protocols", function(_, ws) ws:send(tostring(ws.protocol)) end,
  { protocols = { "v2", "v1" } })
app:websocket("/anywhere", function(_, ws) ws:send "hi" end, { origins = "*" })
app:websocket("/listed", function(_, ws) ws:send "hi" end, { origins = { "https://a.example" } })
app:websocket("/raises", function(_, ws) ws:receive() error "my own fault" end)
app:websocket("/returns", function() end)

app:websocket("/told", function(req, ws) ws:send(req.route.ctx.role .. " " .. req.path) end,
  { ctx = { role = "admin" }, version = 2, exception = function(_, err) return "own: " .. err.status end })
app:get("/both/<id:int>", function(req, id)
  return "page " .. id .. " " .. req.route.name
end, { name = "page" })
app:websocket("/both/<id:int>", function(req, ws, id)
  ws:send("socket " .. id .. " " .. req.route.name)
end, { name = "socket" })

app:websocket("/report", function(_, ws)
  local message, reason, code = ws:receive()
  print("end", tostring(message), reason, tostring(code), ws.closed, ws.close_code, ws.close_reason)
  print("send", ws:send "late")
  print("again", ws:receive())
  print("close", ws:close())
end)

app:websocket("/kept", function(_, ws)
  app.ctx.kept = ws
  ws:receive()
end)
app:get("/kept-code", function()
  local ws = app.ctx.kept
  return tostring(ws.closed) .. " " .. ws.close_code .. " " .. tostring(select(3, ws:send "late"))
end)

app:websocket("/timeout", function(_, ws)
  local message, reason, code = ws:receive(0.05)
  ws:send(tostring(message) .. " " .. reason .. " " .. tostring(code) .. " " .. tostring(ws.closed))
  ws:send((ws:receive(5)))
  ws:close(4001, "enough")
  print("after", ws:receive())
end)

local function fault(...)
  local ok, text = pcall(...)
  return ok and "no error" or tostring(text):match "[^/]*$"
end
app:websocket("/faults", function(_, ws)
  local list = {
    fault(ws.send, ws, 1), fault(ws.send, ws, "x", "json"), fault(ws.send, ws, "\255"),
    fault(ws.close, ws, 1005), fault(ws.close, ws, 1000, ("x"):rep(124)), fault(ws.ping, ws, ("x"):rep(126)),
    fault(ws.receive, ws, "soon"), fault(ws.subscribe, ws), fault(function() ws.mine = 1 end),
    fault(app.publish, app, "t", "\255"), tostring(select(3, app:publish("t", ("x"):rep(100000)))),
  }
  ws:send(table.concat(list, "\n"))
end)

app:websocket("/topic/<name>", function(_, ws, name)
  ws:subscribe(name)
  ws:subscribe(name)
  ws:send("ready " .. app.m.pid)
  for message in ws:messages() do
    if message == "leave" then ws:send(tostring(ws:unsubscribe(name)) .. tostring(ws:unsubscribe(name)))
    else app:publish(name, message) end
  end
end)

app:websocket("/flood", function(_, ws)
  local data = ("x"):rep(10000)
  local count = 0
  while ws:send(data, "binary") do
    count = count + 1
    app.ctx.flooded = count
  end
  print("flood ended", ws.close_code)
end)
app:get("/flooded", function() return tostring(app.ctx.flooded) end)

app:websocket("/slow-end", function(_, ws)
  local _, _, code = ws:receive()
  perigee.sleep(0.2)
  print("cleaned up after " .. code)
end)
return app
]]

local function serve(options)
  options = options or {}
  options.app = options.app or app
  options.flags = options.flags or { "--workers", "1" }
  return host.serve(options)
end

describe("an app's WebSocket", function()
  after_each(host.finish)

  it("echoes text and binary, and sees the request as long as it runs", function()
    local server = serve()
    local ws = websocket.open(server.port, "/echo")
    assert.equal("hällo", ws:ask "hällo")
    ws:send(frames.make(frames.BINARY, "\0\255"))
    local frame = ws:message()
    assert.same({ frames.BINARY, "\0\255" }, { frame.opcode, frame.payload })
    ws:send(frames.close(1000, "done"))
    assert.equal(1000, (ws:closed()))
    ws = websocket.open(server.port, "/rooms/a%20b/6?q=1", { ["X-Test"] = "yes" })
    assert.equal("a b71yes127.0.0.1", ws:message().payload)
    assert.equal("yes still", ws:ask "go on")
    assert.equal(1000, (ws:closed()))
  end)

  it("refuses what is no handshake, with what would be one", function()
    local server = serve()
    local response = server:get "/echo"
    assert.equal(426, response.status)
    assert.equal("websocket", response.headers.upgrade)
    assert.matches("Upgrade", response.headers.connection)
    assert.equal("13", response.headers["sec-websocket-version"])
    local _, refused = websocket.try_open(server.port, "/echo", { ["Sec-WebSocket-Key"] = "short" })
    assert.equal(400, refused.status)
    _, refused = websocket.try_open(server.port, "/nowhere")
    assert.equal(404, refused.status)
    _, refused = websocket.try_open(server.port, "/")
    assert.equal(200, refused.status)
  end)

  it("has the options of any route", function()
    local server = serve()
    assert.equal("admin /v2/told", websocket.open(server.port, "/v2/told"):message().payload)
    assert.equal("own: 426", server:get("/v2/told").body)
  end)

  it("may have a page at its path", function()
    local server = serve()
    assert.equal("page 7 page", server:get("/both/7").body)
    local ws = websocket.open(server.port, "/both/7")
    assert.equal("socket 7 socket", ws:message().payload)
    assert.equal(1000, (ws:closed()))
    local _, refused = websocket.try_open(server.port, "/both/7", { ["Sec-WebSocket-Version"] = "8" })
    assert.equal(426, refused.status)
    assert.equal("page 8 page", server:get("/both/8", { Upgrade = "h2c" }).body)
    assert.equal(404, server:get("/both/x").status)
  end)

  it("lets in pages of its own origin, or of those it names", function()
    local server = serve()
    local function status(path, origin, host_name)
      local ws, refused = websocket.try_open(server.port, path, { Origin = origin, Host = host_name })
      if ws then ws:close() end
      return ws and 101 or refused.status
    end
    assert.equal(101, status("/echo", "http://localhost"))
    assert.equal(101, status("/echo", "https://LOCALHOST:443", "localhost:443"))
    assert.equal(101, status("/echo", "http://localhost:8000", "localhost:8000"))
    assert.equal(403, status("/echo", "http://localhost:8001", "localhost:8000"))
    assert.equal(403, status("/echo", "http://localhost.evil.example"))
    assert.equal(403, status("/echo", "null"))
    assert.equal(101, status("/anywhere", "null"))
    assert.equal(101, status("/listed", "https://A.example"))
    assert.equal(403, status("/listed", "http://localhost"))
  end)

  it("agrees on the subprotocol that it likes best", function()
    local server = serve()
    for offer, expected in pairs { ["v1, v2"] = "v2", ["v0,v1"] = "v1", ["v0"] = "nil" } do
      local ws = websocket.open(server.port, "/protocols", { ["Sec-WebSocket-Protocol"] = offer })
      assert.equal(expected, ws:message().payload)
      assert.equal(expected ~= "nil" and expected or nil, ws.response.headers["sec-websocket-protocol"])
      ws:closed()
    end
  end)

  it("ends with its handler: 1000 when it returns, 1011 and the log when it raises", function()
    local server = serve()
    assert.equal(1000, (websocket.open(server.port, "/returns"):closed()))
    local ws = websocket.open(server.port, "/raises")
    ws:text "x"
    assert.equal(1011, (ws:closed()))
    server:expect "GET /raises .*: app.lua:%d+: my own fault"
    server:expect "stack traceback"
  end)

  it("tells the handler how the client ended it", function()
    local server = serve()
    local ws = websocket.open(server.port, "/report")
    ws:send(frames.close(4321, "bye"))
    ws:closed()
    server:expect "end%s+nil%s+bye%s+4321%s+true%s+4321%s+bye"
    server:expect "send%s+nil%s+bye%s+4321"
    server:expect "again%s+nil%s+bye%s+4321"
    server:expect "close%s+nil%s+bye%s+4321"
    websocket.open(server.port, "/report"):close()
    server:expect "end%s+nil%s+the client went away%s+1006"
  end)

  it("keeps what it knows when its handler is over", function()
    local server = serve()
    websocket.open(server.port, "/kept"):close()
    wait.till(5, "the code", function() return server:get("/kept-code").body == "true 1006 1006" end)
    local ws = websocket.open(server.port, "/kept")
    ws:send(frames.close(4444))
    ws:closed()
    wait.till(5, "the code", function() return server:get("/kept-code").body == "true 4444 4444" end)
  end)

  it("receives with a timeout, and closes with a code", function()
    local server = serve()
    local ws = websocket.open(server.port, "/timeout")
    assert.equal("nil timeout nil false", ws:message().payload)
    assert.equal("now", ws:ask "now")
    local code, reason = ws:closed()
    assert.same({ 4001, "enough" }, { code, reason })
    server:expect "after%s+nil%s+enough%s+4001"
  end)

  it("raises at the caller's line what is the caller's fault", function()
    local server = serve()
    local ws = websocket.open(server.port, "/faults")
    local text = ws:message().payload
    local lines = {}
    for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
    local expected = { "the message must be a string", 'the kind must be "text" or "binary"',
      "must be UTF%-8", "one that may be sent", "at most 123", "at most 125", "number of seconds",
      "the topic must be a string",
      "ws.mine cannot be set", "must be UTF%-8", "EMSGSIZE" }
    for i, pattern in ipairs(expected) do assert.matches(pattern, lines[i]) end
    for i = 1, 10 do assert.matches("^app.lua:%d+: ", lines[i]) end
    ws:closed()
  end)

  it("holds a handler back while its client takes nothing", function()
    local server = serve()
    local ws = websocket.open(server.port, "/flood")
    ws.connection.socket:read_stop()
    local before
    wait.till(10, "the handler to wait", function()
      local now = server:get("/flooded").body
      local same = now == before
      before = now
      wait.pause(0.1)
      return same
    end)
    assert.is_true(tonumber(before) * 10000 < 16 * 1024 * 1024)
    ws:close()
    server:expect "flood ended%s+1006"
  end)

  it("checks its options when the app is loaded", function()
    local function complaint(line)
      local run = host.run({ "check", "app.lua" }, { app = ([[
local app = require("perigee").app "x"
%s
return app]]):format(line) })
      return run:text()
    end
    assert.matches("app.lua:2: app:websocket: the handler must be a function", complaint 'app:websocket("/")')
    assert.matches("unknown option 'protocol'; did you mean 'protocols'",
      complaint 'app:websocket("/", print, { protocol = {} })')
    assert.matches("app.lua:2: app:publish: nobody can have", complaint 'app:publish("a", "b")')
  end)
end)

describe("WebSockets at a drain", function()
  after_each(host.finish)

  it("are closed with 1012 at a reload, and their handlers may finish", function()
    local server = serve()
    local ws = websocket.open(server.port, "/slow-end")
    server:reload(app:gsub("VERSION", "NEXT"))
    assert.equal(1012, (ws:closed()))
    server:expect "cleaned up after 1012"
    server:wait_version("NEXT", 1)
  end)

  it("are closed with 1001 when the host stops", function()
    local server = serve()
    local ws = websocket.open(server.port, "/slow-end")
    server:signal "sigterm"
    assert.equal(1001, (ws:closed()))
    server:expect "cleaned up after 1001"
    assert.equal(0, server:wait_exit())
  end)

  it("do not hold a worker longer than graceful_timeout", function()
    local server = serve { app = [[
local perigee = require "perigee"
local app = perigee.app("stubborn", { graceful_timeout = 0.3, workers = 1 })
app:get("/", function() return "x" end)
app:websocket("/stay", function(_, ws) ws:receive() perigee.sleep(100) end)
return app]], flags = {} }
    local ws = websocket.open(server.port, "/stay")
    server:signal "sigterm"
    assert.equal(1001, (ws:closed()))
    local began = wait.now()
    server:wait_exit()
    assert.is_true(wait.now() - began < 5)
  end)

  it("all get 1012, at each of ten reloads", function()
    local server = serve { flags = { "--workers", "2" }, binary = host.release_binary }
    for round = 1, 10 do
      local list = {}
      for i = 1, 20 do list[i] = websocket.open(server.port, "/echo") end
      for i = 1, 20 do assert.equal("x", list[i]:ask "x") end
      server:reload((app:gsub("VERSION", "V" .. round)))
      for i = 1, 20 do assert.equal(1012, (list[i]:closed())) end
      server:wait_version("V" .. round, 2)
    end
  end)
end)

describe("app:publish", function()
  after_each(host.finish)

  -- Subscribers in each of the workers.
  local function subscribers(server, workers, topic)
    local list, pids, count = {}, {}, 0
    wait.till(10, "subscribers in every worker", function()
      local ws = websocket.open(server.port, "/topic/" .. topic)
      local pid = ws:message().payload:match "ready (%d+)"
      if not pids[pid] then
        pids[pid] = true
        count = count + 1
      end
      list[#list + 1] = ws
      return count == workers
    end)
    return list
  end

  it("reaches the subscribers in all workers, in order, and nobody else", function()
    local server = serve { flags = { "--workers", "3" } }
    local other = websocket.open(server.port, "/topic/other")
    other:message()
    local list = subscribers(server, 3, "news")
    for i = 1, 200 do list[1]:text("m" .. i) end
    for _, ws in ipairs(list) do
      for i = 1, 200 do assert.equal("m" .. i, ws:message().payload) end
    end
    other:text "own"
    assert.equal("own", other:message().payload)
    assert.equal("truefalse", list[2]:ask "leave")
    list[1]:text "last"
    assert.equal("last", list[1]:message().payload)
    assert.same({ nil, "timeout" }, { list[2]:frame(0.1) })
    for _, ws in ipairs(list) do ws:close() end
  end)

  it("goes on when a worker is killed while it publishes, and over a reload", function()
    local server = serve { flags = { "--workers", "2" }, binary = host.release_binary }
    server:allow "was killed by SIGKILL"
    for round = 1, 3 do
      local list = subscribers(server, 2, "news")
      local victim = list[1]
      for i = 1, 2000 do victim:text("noise" .. i) end
      local pids = server:answering(20)
      local all = {}
      for _, by_pid in pairs(pids) do
        for pid in pairs(by_pid) do all[#all + 1] = pid end
      end
      require("luv").kill(all[1], "sigkill")
      wait.till(10, "another worker", function()
        local ok, now = pcall(server.answering, server, 20) -- the killed one resets connections
        local count = 0
        for _ in pairs(ok and now.VERSION or {}) do count = count + 1 end
        return count == 2
      end)
      for _, ws in ipairs(list) do ws:close() end
      list = subscribers(server, 2, "after" .. round)
      for i = 1, 50 do list[#list]:text("m" .. i) end
      for k, ws in ipairs(list) do
        for i = 1, 50 do
          local frame, why = ws:message(3)
          assert(frame, ("%d of %d, message %d: %s"):format(k, #list, i, tostring(why)))
          assert.equal("m" .. i, frame.payload)
        end
      end
      for _, ws in ipairs(list) do ws:close() end
    end
    server:reload((app:gsub("VERSION", "NEXT")))
    server:wait_version("NEXT", 2)
    local list = subscribers(server, 2, "news")
    list[1]:text "hello"
    for _, ws in ipairs(list) do assert.equal("hello", ws:message().payload) end
    for _, ws in ipairs(list) do ws:close() end
  end)
end)
