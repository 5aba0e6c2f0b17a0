-- HTTP/1.1 end to end: what a client sees of the real binary. The parser's own cases are in spec/core.

local client = require "spec.support.client"
local host = require "spec.support.host"
local refusals = require "spec.support.refusals"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "web"
app:get("/", function() return "hello\n" end)
app:get("/json", function() return { name = "perigee", list = { 1, 2, 3 } } end)
app:get("/users/<id:int>", function(_, id) return type(id) .. " " .. tostring(id) end)
app:get("/files/<rest:path>", function(_, rest) return rest end)
app:post("/echo", function(req) return req.body or "" end)
app:post("/double", function(req) return { twice = req.json.number * 2 } end)
app:get("/html", function() return http.html "<p>hi</p>" end)
app:get("/made", function() return http.text("made\n", 201, { ["X-Color"] = "blue" }) end)
app:get("/nothing", function() return http.empty() end)
app:get("/away", function() return http.redirect "/" end)
app:get("/stop", function() http.abort(418, "short and stout") end)
app:get("/raise", function() error "it broke" end)
app:get("/global", function() accident = 1 return "set\n" end)
app:get("/header", function(req) return req.headers["x-word"] or "none" end)
app:get("/sleep", function() perigee.sleep(30) return "late\n" end)
app:get("/query", function(req) return req.query.a or "none" end)
return app
]]

local server

local function serve(flags)
  server = host.serve { app = app, flags = flags or { "--workers", "1" } }
  return server
end

local function get(path, headers) return client.get(server.target, path, headers) end

describe("a handler's answer", function()
  before_each(function() serve() end)
  after_each(host.finish)

  it("is text, JSON, or a response", function()
    local text = get "/"
    assert.equal(200, text.status)
    assert.equal("text/plain; charset=utf-8", text.headers["content-type"])
    assert.equal("6", text.headers["content-length"])
    assert.truthy(text.headers.date:find "^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$")

    local json = get "/json"
    assert.equal("application/json", json.headers["content-type"])
    assert.truthy(json.body:find('"list":[1,2,3]', 1, true), json.body)

    assert.equal("text/html; charset=utf-8", get("/html").headers["content-type"])
    local made = get "/made"
    assert.equal(201, made.status)
    assert.equal("blue", made.headers["x-color"])
    assert.equal(204, get("/nothing").status)
    local away = get "/away"
    assert.equal("/", away.headers.location)
    assert.is_true(away.status == 302 or away.status == 303 or away.status == 307)
    local stopped = get "/stop"
    assert.equal(418, stopped.status)
    assert.truthy(stopped.body:find("short and stout", 1, true))
  end)

  it("knows path, query, headers and body", function()
    assert.equal("number 42", get("/users/42").body)
    assert.equal(404, get("/users/abc").status)
    assert.equal("a/b/c", get("/files/a/b/c").body)
    assert.equal("x y", get("/query?a=x%20y&b=1").body)
    assert.equal("moon", get("/header", { ["X-Word"] = "moon" }).body)
    assert.equal("some bytes", client.request(server.target, "POST", "/echo", {}, "some bytes").body)
    local double = client.request(server.target, "POST", "/double", { ["Content-Type"] = "application/json" },
      '{"number":21}')
    assert.equal('{"twice":42}', double.body)
  end)

  it("is 404, 405 with Allow, HEAD and OPTIONS where no route says so", function()
    assert.equal(404, get("/nowhere").status)
    local wrong = client.request(server.target, "DELETE", "/echo")
    assert.equal(405, wrong.status)
    assert.truthy(wrong.headers.allow:find("POST", 1, true))
    local head = client.request(server.target, "HEAD", "/")
    assert.equal(200, head.status)
    assert.equal("6", head.headers["content-length"])
    assert.equal("", head.body)
    local options = client.request(server.target, "OPTIONS", "/")
    assert.is_true(options.status == 200 or options.status == 204)
    assert.truthy(options.headers.allow:find("GET", 1, true))
  end)

  it("is 500 when the handler raises; the log has the traceback, connection and worker live on", function()
    local connection = client.connect(server.target)
    local response = connection:get "/raise"
    assert.equal(500, response.status)
    assert.is_nil(response.body:find("it broke", 1, true), "the error is the operator's business")
    server:expect("worker 0 .*app%.lua:%d+: it broke")
    assert.truthy(server:expect "traceback")
    assert.equal("hello\n", connection:get("/").body)
    connection:close()
    assert.equal(0, #server:matching "killed")
  end)

  it("is 500 for an accidental global, with file and line in the log", function()
    assert.equal(500, get("/global").status)
    assert.truthy(server:expect("app%.lua:%d+:.*accident"))
    assert.equal(200, get("/").status)
  end)
end)

describe("a connection", function()
  before_each(function() serve() end)
  after_each(host.finish)

  it("is kept alive", function()
    local connection = client.connect(server.target)
    for _ = 1, 5 do assert.equal("hello\n", connection:get("/").body) end
    connection:request("GET", "/", { Connection = "close" })
    assert.equal("close", connection:response().headers.connection)
    assert.is_true(connection:wait_closed(5))
    connection:close()
  end)

  it("is closed after an HTTP/1.0 request, unless it asks to be kept", function()
    local connection = client.connect(server.target)
    connection:send "GET / HTTP/1.0\r\n\r\n"
    assert.equal("hello\n", connection:response().body)
    assert.is_true(connection:wait_closed(5))
    connection:close()
    connection = client.connect(server.target)
    connection:send "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert.equal("hello\n", connection:response().body)
    assert.is_true(connection:is_open())
    connection:close()
  end)

  it("may be pipelined", function()
    local connection = client.connect(server.target)
    local batch = {}
    for i = 1, 100 do
      local path = i % 3 == 0 and "/users/" .. i or "/"
      batch[i] = "GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n"
    end
    connection:send(table.concat(batch))
    for i = 1, 100 do
      assert.equal(i % 3 == 0 and "number " .. i or "hello\n", connection:response().body)
    end
    connection:close()
  end)

  it("takes a request in single bytes", function()
    local connection = client.connect(server.target)
    for byte in ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"):gmatch "." do
      connection:send(byte)
      wait.pause(0.001)
    end
    assert.equal("hello", connection:response().body)
    connection:close()
  end)

  it("takes a chunked body", function()
    local connection = client.connect(server.target)
    connection:request("POST", "/echo", { ["Transfer-Encoding"] = "chunked" },
      "4\r\nwiki\r\n6;name=value\r\npedia \r\nB\r\nin chunks.\n\r\n0\r\nTrailer: x\r\n\r\n")
    assert.equal("wikipedia in chunks.\n", connection:response().body)
    assert.equal("hello\n", connection:get("/").body)
    connection:close()
  end)

  it("gets 100 Continue when it waits for it", function()
    local connection = client.connect(server.target)
    connection:send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
      .. "Expect: 100-continue\r\n\r\n")
    assert.equal(100, connection:response().status)
    connection:send "hello"
    assert.equal("hello", connection:response().body)
    connection:close()
  end)
end)

describe("a limit", function()
  after_each(host.finish)

  -- The status of the answer to `bytes`, after which the connection is closed.
  local function refused(bytes)
    local connection = client.connect(server.target)
    connection:send(bytes)
    local response = assert(connection:response())
    assert.is_true(connection:wait_closed(5), "the connection stays open")
    connection:close()
    assert.equal("hello\n", get("/").body)
    return response.status
  end

  it("answers what is no HTTP with 400", function()
    serve()
    assert.equal(400, refused "NONSENSE\r\n\r\n")
    assert.equal(400, refused "GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n")
    local post = "POST /echo HTTP/1.1\r\nHost: a\r\n"
    assert.equal(400, refused(post .. "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"))
    assert.equal(400, refused(post .. "Content-Length: x\r\n\r\n"))
  end)

  it("answers a request line over 8 KiB with 414", function()
    serve()
    assert.equal(414, refused("GET /" .. ("a"):rep(9000) .. " HTTP/1.1\r\nHost: a\r\n\r\n"))
  end)

  it("answers headers over 16 KiB, and more than 100, with 431", function()
    serve()
    assert.equal(431, refused("GET / HTTP/1.1\r\nHost: a\r\nX-Long: " .. ("a"):rep(17000) .. "\r\n\r\n"))
    assert.equal(431, refused("GET / HTTP/1.1\r\nHost: a\r\n" .. ("X-Many: 1\r\n"):rep(101) .. "\r\n"))
  end)

  it("answers a body over body_limit with 413, announced or not", function()
    serve { "--workers", "1", "--body-limit", "1000" }
    assert.equal(413, refused "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n")
    assert.equal(413, refused("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3e9\r\n" .. ("b"):rep(1001) .. "\r\n0\r\n\r\n"))
    assert.equal(("b"):rep(1000), client.request(server.target, "POST", "/echo", {}, ("b"):rep(1000)).body)
  end)

  it("answers a head or a body that does not come with 408", function()
    serve { "--workers", "1", "--header-timeout", "1", "--body-timeout", "1" }
    assert.equal(408, refused "GET / HTTP/1.1\r\nHost:")
    assert.equal(408, refused "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
  end)

  it("closes a connection that idles beyond keep_alive_timeout", function()
    serve { "--workers", "1", "--keep-alive-timeout", "1" }
    local connection = client.connect(server.target)
    assert.equal("hello\n", connection:get("/").body)
    local began = wait.now()
    assert.is_true(connection:wait_closed(5))
    assert.is_true(wait.now() - began > 0.8)
    connection:close()
  end)

  it("answers 503 for a handler beyond response_timeout, and cancels it", function()
    serve { "--workers", "1", "--response-timeout", "1" }
    local connection = client.connect(server.target)
    local response = connection:get "/sleep"
    assert.equal(503, response.status)
    connection:close()
    assert.equal("hello\n", get("/").body)
    assert.equal(0, server:stop(5))
  end)
end)

describe("what is no request", function()
  after_each(host.finish)

  it("is refused before any handler, and nothing behind it is understood", function()
    local own = host.serve { flags = { "--workers", "1" }, app = [[
      local perigee = require "perigee"
      local app = perigee.app "refusals"
      local count = 0
      app:on_request(function() count = count + 1 end)
      app:get("/", function() return "hello\n" end)
      app:get("/count", function() return tostring(count) end)
      app:get("/hello", function() return "hello\n" end)
      app:post("/echo", function(req) return req.body end)
      return app
    ]] }
    local before = tonumber(own:get("/count").body)
    local long = 0 -- whose head may be read before the rest is there
    for _, case in ipairs(refusals) do
      local status, what, bytes = case[1], case[2], case[3]
      long = long + (#bytes > 1000 and 1 or 0)
      local connection = client.connect(own.target)
      connection:send(bytes .. "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
      local response = connection:response()
      assert.equal(status, response and response.status, what)
      assert.is_true(connection:wait_closed(), what)
      assert.equal("", connection.input, what)
      connection:close()
    end
    local seen = tonumber(own:get("/count").body) - before - 1
    assert.is_true(seen <= long, seen .. " handlers ran")
  end)
end)
