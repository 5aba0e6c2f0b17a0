local abi = require "spec.support.abi"
local app_module = require "perigee.app"
local dispatch = require "perigee.dispatch"
local http = require "perigee.http"
local log = require "perigee.log"
local scheduler = require "perigee.scheduler"

local logged
local serial = 100
local real_log = log.error

--- Serves one request in a fresh coroutine, as script_http.c would.
local function serve(fields)
  serial = serial + 1
  fields.serial = fields.serial or serial
  local pointer = abi.request(fields)
  abi.state.current = pointer
  local released = {}
  local function release(slot) released[#released + 1] = slot end
  local co = coroutine.create(dispatch.body)
  local ok, problem = coroutine.resume(co, serial, release)
  if not ok then dispatch.failed(serial, problem, release) end
  return pointer
end

local function sent()
  return abi.sent[#abi.sent]
end

describe("a request's way", function()
  local app

  before_each(function()
    abi.sent, abi.result, abi.state.idle_count = {}, 0, 0
    logged = {}
    log.error = function(text) logged[#logged + 1] = text end
    scheduler.open { now = os.clock, timer_set = function() end, wake_soon = function() end }
    app = app_module.new "spec"
  end)

  after_each(function() log.error = real_log end)

  local function ready()
    app_module.freeze(app)
    dispatch.install(app)
  end

  it("sends a string as text, a table as JSON, a response as it is", function()
    app:get("/text", function() return "hi" end)
    app:get("/table", function() return { 1, 2 } end)
    app:get("/response", function() return http.html("<p>", 201, { ["X-A"] = { 1, "b" } }) end)
    ready()
    serve { target = "/text" }
    assert.same({ call = "send", status = 200, type = 1, headers = "", body = "hi" }, sent())
    serve { target = "/table" }
    assert.same({ call = "send", status = 200, type = 3, headers = "", body = "[1,2]" }, sent())
    serve { target = "/response" }
    assert.same({ call = "send", status = 201, type = 2, headers = "X-A: 1\r\nX-A: b\r\n", body = "<p>" },
      sent())
    assert.equal(3, abi.state.idle_count) -- each coroutine waits for another request
  end)

  it("gives handlers the parameters", function()
    app:get("/<a:int>/<b>/<c>/<d>/<e>", function(_, ...) return { ... } end)
    app:get("/p/<name>", function(req, name) return name .. "=" .. req.params.name end)
    ready()
    serve { target = "/1/b/c/d/e" }
    assert.equal('[1,"b","c","d","e"]', sent().body)
    serve { target = "/p/a%2Fb%20c?x=%2F", path = "/p/a/b c" }
    assert.equal("a/b c=a/b c", sent().body)
  end)

  it("answers 404, 405 with Allow, and OPTIONS", function()
    app:get("/a", function() return "" end)
    ready()
    serve { target = "/b" }
    assert.equal(404, sent().status)
    serve { target = "/a", method = "POST" }
    assert.equal(405, sent().status)
    assert.truthy(sent().headers:find("Allow: GET, HEAD, OPTIONS\r\n", 1, true))
    serve { target = "/a", method = "OPTIONS" }
    assert.equal(204, sent().status)
    assert.same({}, logged)
  end)

  it("logs what a handler raised with its place, and tells the client nothing", function()
    app:get("/", function() error({ secret = true }) end)
    app:get("/text", function() error("boom") end)
    ready()
    serve { target = "/text" }
    assert.equal(500, sent().status)
    assert.equal("500 Internal Server Error\n", sent().body)
    local expected = "^GET /text %(id %w+%-%x+%): .-dispatch_spec.lua:%d+: boom\nstack traceback:\n"
    assert.truthy(logged[1]:find(expected), logged[1])
    serve { target = "/" }
    assert.equal(500, sent().status)
  end)

  it("shows the error in development", function()
    app_module.set(app, "config", { mode = "development" })
    app:get("/", function() error("boom") end)
    ready()
    serve {}
    assert.truthy(sent().body:find("boom", 1, true))
  end)

  for name, value in pairs { ["nil"] = {}, ["a number"] = { 5 }, ["a boolean"] = { true } } do
    it("says that a handler returned " .. name, function()
      app:get("/x", function() return value[1] end)
      ready()
      serve { target = "/x" }
      assert.equal(500, sent().status)
      assert.truthy(logged[1]:find("the handler of GET /x %(.-dispatch_spec.lua:%d+%) returned " .. name),
        logged[1])
    end)
  end

  it("says that JSON cannot say a table", function()
    app:get("/x", function() return { print } end)
    ready()
    serve { target = "/x" }
    assert.equal(500, sent().status)
    assert.truthy(logged[1]:find("returned a table that JSON cannot say: ", 1, true), logged[1])
  end)

  it("lets http.abort answer", function()
    app:get("/", function() http.abort(403, "not you", { ["X-Why"] = "because" }) end)
    ready()
    serve {}
    assert.equal(403, sent().status)
    assert.equal("not you\n", sent().body)
    assert.truthy(sent().headers:find("X-Why: because\r\n", 1, true))
    assert.same({}, logged)
  end)

  it("gives response hooks headers to add to, of every answer", function()
    app:get("/text", function() return "x" end)
    app:get("/made", function() return http.text("x", 200, { ["X-Own"] = "1" }) end)
    app:on_response(function(_, response) response.headers["X-Hook"] = "2" end)
    app:on_response(function(_, response) if response.body == "x" then return http.text "y" end end)
    ready()
    for target, body in pairs { ["/text"] = "y", ["/made"] = "y", ["/none"] = "404 Not Found\n" } do
      serve { target = target }
      assert.equal(body, sent().body)
      assert.matches("X%-Hook: 2\r\n", sent().headers)
    end
  end)

  it("lets http.abort answer with a response, as it is", function()
    app:get("/", function()
      http.abort(http.redirect("/login", 303, { ["X-Why"] = "because" }):cookie("seen", "1"))
    end)
    app:exception(function() return "not asked" end)
    app:on_response(function(_, response) response.headers["X-Hook"] = "yes" end)
    ready()
    serve {}
    assert.equal(303, sent().status)
    for _, line in ipairs { "Location: /login\r\n", "X-Why: because\r\n", "X-Hook: yes\r\n",
      "Set-Cookie: seen=1;" } do
      assert.truthy(sent().headers:find(line, 1, true), line)
    end
    assert.same({}, logged)
    app = app_module.new "spec"
    app:get("/", function() http.abort(http.text "x", "and more") end)
    ready()
    serve {}
    assert.truthy(logged[1]:find("dispatch_spec.lua:%d+: http.abort: a response says it all"), logged[1])
  end)

  it("asks the app's exception handlers", function()
    app:get("/", function() error("boom", 0) end)
    app:exception(404, function(req) return "nothing at " .. req.path end)
    app:exception(function(_, problem) return http.json({ problem = problem }, 500) end)
    ready()
    serve { target = "/none" }
    assert.equal(404, sent().status)
    assert.equal("nothing at /none", sent().body)
    serve {}
    assert.equal('{"problem":"boom"}', sent().body)
  end)

  it("answers when an exception handler raises too", function()
    app:get("/", function() error("first", 0) end)
    app:exception(function() error("second", 0) end)
    ready()
    serve {}
    assert.equal("500 Internal Server Error\n", sent().body)
    assert.equal(2, #logged)
  end)

  it("runs the hooks around each answer", function()
    local seen = {}
    app:get("/", function() return "answer" end)
    app:on_request(function(req) seen[#seen + 1] = "in " .. req.path end)
    app:on_request(function(req) if req.path == "/early" then return "early" end end)
    app:on_response(function(_, response) seen[#seen + 1] = "out " .. response.body end)
    app:on_response(function(_, response) response.headers = { ["X-B"] = "1" } end)
    app:on_response(function(req) if req.path == "/other" then return http.text("other", 299) end end)
    ready()
    serve {}
    assert.same({ call = "send", status = 200, type = 1, headers = "X-B: 1\r\n", body = "answer" }, sent())
    serve { target = "/early" }
    assert.equal("early", sent().body)
    serve { target = "/other" }
    assert.equal(299, sent().status)
    serve { target = "/none", method = "PUT" }
    assert.same({ "in /", "out answer", "in /early", "out early", "in /other", "out other", "in /none",
      "out 404 Not Found\n" }, seen)
  end)

  it("runs response hooks once when one raises", function()
    local count = 0
    app:get("/", function() return "" end)
    app:on_response(function()
      count = count + 1
      error("hook", 0)
    end)
    ready()
    serve {}
    assert.equal(1, count)
    assert.equal(500, sent().status)
  end)

  it("refuses headers that cannot be sent", function()
    for _, headers in ipairs { { ["X-A"] = "a\r\nb: c" }, { ["a b"] = "x" }, { Date = "x" }, { X = true },
      { ["Content-Length"] = 3 } } do
      local own = app_module.new "headers"
      own:get("/", function() return http.text("", 200, headers) end)
      app_module.freeze(own)
      dispatch.install(own)
      serve {}
      assert.equal(500, sent().status)
      assert.truthy(logged[#logged]:find("response header", 1, true), logged[#logged])
    end
  end)

  it("streams, waits while the client is slow, and ends", function()
    app:get("/", function()
      return http.stream(function(write)
        assert(write("one"))
        assert(write("two"))
      end)
    end)
    ready()
    abi.result = abi.FULL
    abi.C.http_response_begin, abi.real_begin = function(...)
      abi.real_begin(...)
      return 0
    end, abi.C.http_response_begin
    local pointer = serve {}
    abi.C.http_response_begin = abi.real_begin
    assert.equal("one", sent().data)
    abi.result = 0
    dispatch.writable(tonumber(pointer.serial))
    scheduler.ready()
    assert.equal("two", abi.sent[#abi.sent - 1].data)
    assert.equal("end", sent().call)
  end)

  it("cuts a stream off whose writer raises", function()
    app:get("/", function() return http.stream(function(write) write("x") error("torn", 0) end) end)
    ready()
    serve {}
    assert.equal("abort", sent().call)
    assert.truthy(logged[1]:find("torn", 1, true))
  end)

  it("cuts off what an exception handler streams and does not finish", function()
    app:get("/", function() error("boom", 0) end)
    app:exception(function() return http.stream(function(write) write("x") error("torn", 0) end) end)
    ready()
    serve {}
    assert.equal("abort", sent().call)
    assert.truthy(logged[2]:find("torn", 1, true))
  end)

  it("ends what keeps an event stream alive with its function, however that ends", function()
    local ended, real = 0, scheduler.cancel
    scheduler.cancel = function(task, reason)
      if reason == "the stream is over" then ended = ended + 1 end
      return real(task, reason)
    end
    finally(function() scheduler.cancel = real end)
    app_module.set(app, "config", { sse_keep_alive = 1000 })
    app:get("/returns", function() return http.sse(function() end) end)
    app:get("/raises", function() return http.sse(function() error("torn", 0) end) end)
    app:get("/waits", function() return http.sse(function() scheduler.park() end) end)
    ready()
    serve { target = "/returns" }
    assert.equal(1, ended)
    serve { target = "/raises" }
    assert.equal(2, ended)
    local number = tonumber(serve({ target = "/waits" }).serial)
    dispatch.cancel(number, 2)
    scheduler.ready()
    assert.equal(3, ended)
  end)

  it("cancels the handler of a request that is over, quietly", function()
    local cleaned
    app:get("/", function()
      local ok, problem = pcall(scheduler.park)
      cleaned = tostring(problem)
      error(problem, 0)
      return ok
    end)
    ready()
    local pointer = serve {}
    local number = tonumber(pointer.serial)
    pointer.serial = 0
    dispatch.cancel(number, 2)
    scheduler.ready()
    assert.equal("cancelled: the client went away", cleaned)
    assert.same({}, abi.sent)
    assert.same({}, logged)
  end)

  it("gives coroutines up when too many wait", function()
    app:get("/", function() return "" end)
    ready()
    for _ = 1, 10 do serve {} end
    assert.equal(abi.state.idle_limit, abi.state.idle_count)
  end)
end)
