-- The inspector: what it tells, what it does, who may ask, the command line, and the page in a browser.
local cjson = require "cjson"
local chromium = require "spec.support.chromium"
local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local KEY = "0123456789abcdef"

local app = [[
local perigee = require "perigee"
local app = perigee.app "shop"
app:get("/", function() return "hello" end)
app:get("/users/<id:int>", function(_, id) return tostring(id) end)
app:get("/slow", function()
  perigee.sleep(60)
end)
app:get("/spin", function() while true do end end)
app:get("/generation", function(req) return tostring(req.app.m.generation) end)
app:main_process_start(function()
  app.shared.hits = perigee.shared.value("hits", "int64", { initial = 7 })
end)
app:inspector_command("add", function(args) return args.a + args.b end, { help = "adds",
  args = { a = { type = "number", required = true }, b = { type = "number", default = 1 } } })
app:inspector_command("hits", function() return { hits = app.shared.hits:add(1), role = app.m.role } end)
app:inspector_command("wrong", function() error "no such luck" end)
return app
]]

--- Asks the inspector at `target`. Returns the status and the decoded body, or the body as it is.
local function ask(target, method, path, body, key)
  local connection = client.connect(target)
  local headers = { Connection = "close", ["Content-Type"] = body and "application/json" }
  if key then headers.Authorization = "Bearer " .. key end
  connection:request(method, path, headers, body)
  local answer = connection:response()
  connection:close()
  local ok, value = pcall(cjson.decode, answer.body)
  return answer.status, ok and value or answer.body
end

local function serve(flags, more)
  local all = { "--workers", "2", "--inspector", "on", unpack(flags or {}) }
  local server = host.serve { app = more or app, flags = all }
  server.inspector = server.dir .. "/perigee.sock"
  wait.till(10, "the inspector", function() return client.try_connect(server.inspector) ~= nil end)
  return server
end

local function get(server, path)
  local status, answer = ask(server.inspector, "GET", path)
  assert.equal(200, status, type(answer) == "table" and answer.message or answer)
  return answer
end
local function post(server, path, body) return ask(server.inspector, "POST", path, body or "{}") end

local function row_of(server, name)
  for _, row in ipairs(get(server, "/api/state").processes) do
    if row.name == name then return row end
  end
end

--- perigee inspect, to its end.
local function inspect(server, ...)
  return host.run { "inspect", "--address", "unix:" .. server.inspector, ... }
end

describe("the inspector", function()
  after_each(host.finish)

  it("is off unless it is asked for", function()
    local server = host.serve { app = app }
    assert.is_nil(uv.fs_stat(server.dir .. "/perigee.sock"))
    for _, process in ipairs(server:processes()) do assert.is_nil(process.command:find "inspector") end
  end)

  it("listens at a unix socket that only its owner opens, and takes it away at the end", function()
    local server = serve()
    local stat = uv.fs_stat(server.inspector)
    assert.equal("socket", stat.type)
    assert.equal(tonumber("600", 8), stat.mode % 512)
    server:stop()
    assert.is_nil(uv.fs_stat(server.inspector))
  end)

  it("tells of every process", function()
    local server = serve()
    for i = 1, 5 do server:get("/users/" .. i) end
    local state = get(server, "/api/state")
    assert.equal("shop", state.name)
    assert.equal(server.pid, state.pid)
    assert.equal("production", state.mode)
    local names = {}
    for _, row in ipairs(state.processes) do names[#names + 1] = row.name end
    assert.same({ "main", "worker-0", "worker-1", "inspector" }, names)
    local worker = row_of(server, "worker-1")
    assert.equal("ACKED", worker.state)
    assert.is_true(worker.serving and worker.memory > 1e6 and worker.cpu_seconds >= 0 and worker.pid > 0)
    assert.is_true(state.totals.requests >= 5)
    local hits
    for _, object in ipairs(state.shared.objects) do
      if object.name == "hits" then hits = object end
    end
    assert.equal("int64", hits.shape)
    assert.equal(7, hits.figures.value)
  end)

  it("tells of requests in flight, and at which line they wait", function()
    local server = serve()
    local connection = client.connect(server.port)
    connection:request("GET", "/slow?a=1", { ["X-Request-Id"] = "mine" })
    local request = wait.till(10, "the request and its line", function()
      local list = get(server, "/api/requests").requests
      return list[1] and list[1].where and list[1]
    end)
    assert.equal("GET", request.method)
    assert.equal("/slow?a=1", request.target)
    assert.equal("127.0.0.1", request.ip)
    assert.equal("app.lua:6", request.where)
    assert.is_true(request.seconds >= 1)
    assert.matches("^worker%-%d$", request.process)
    connection:close()
  end)

  it("answers while every worker is busy, and says which is stuck", function()
    local server = serve({ "--worker-timeout", "60" })
    local spinning = {}
    for i = 1, 40 do -- enough that each worker has some
      spinning[i] = client.connect(server.port)
      spinning[i]:request("GET", "/spin")
    end
    wait.till(20, "both workers to be stalled", function()
      local stalled = {}
      for _, request in ipairs(get(server, "/api/requests").requests) do
        if request.stalled then stalled[request.process] = request.where end
      end
      return stalled["worker-0"] and stalled["worker-1"]
    end)
    assert.equal("shop", get(server, "/api/state").name)
    assert.equal(0, inspect(server).status)
    for _, connection in ipairs(spinning) do connection:close() end
    server:signal "sigkill"
    server:wait_exit()
  end)

  it("does what it is asked for, and says what became of it", function()
    local server = serve()
    assert.equal(200, post(server, "/api/scale", '{"workers":3}'))
    assert.equal("ACKED", row_of(server, "worker-2").state)
    local status, answer = post(server, "/api/scale", '{"workers":0}')
    assert.equal(400, status)
    assert.is_false(answer.ok)
    assert.matches("1 to 256", answer.message)
    local before = row_of(server, "worker-1").pid
    assert.equal(200, post(server, "/api/restart", '{"name":"worker-1"}'))
    assert.not_equal(before, row_of(server, "worker-1").pid)
    status, answer = post(server, "/api/restart", '{"name":"workr-1"}')
    assert.equal(404, status)
    assert.matches("did you mean 'worker%-1'", answer.message)
    assert.equal(200, post(server, "/api/reload"))
    server:expect "generation 2 serves on 3 workers"
    server:write "return 1 +"
    wait.till(10, "the inspector of generation 2", function()
      return client.try_connect(server.inspector) and row_of(server, "inspector").generation == 2
    end)
    status, answer = post(server, "/api/reload")
    assert.equal(409, status)
    assert.matches("app.lua:1", answer.message)
    assert.equal("2", server:get("/generation").body)
    assert.equal(200, post(server, "/api/shutdown"))
    assert.equal(0, server:wait_exit())
  end)

  it("runs the app's own commands in its process", function()
    local server = serve()
    local function run(name, given) return post(server, "/api/commands/" .. name, given) end
    assert.equal(5, select(2, run("add", '{"a":2,"b":"3"}')).result)
    assert.equal(3, select(2, run("add", '{"a":2}')).result)
    assert.same({ hits = 8, role = "managed" }, select(2, run "hits").result)
    local wrong = {
      ["the argument 'a' is missing"] = { 400, "add", '{"b":1}' },
      ["'a' must be a number, not x"] = { 400, "add", '{"a":"x"}' },
      ["there is no argument 'c'"] = { 400, "add", '{"a":1,"c":2}' },
      ["there is no command 'ad'; did you mean 'add'?"] = { 404, "ad" },
      ["app.lua:16: no such luck"] = { 409, "wrong" },
    }
    for text, case in pairs(wrong) do
      local status, answer = run(case[2], case[3])
      assert.equal(case[1], status, text)
      assert.truthy(answer.message:find(text, 1, true), answer.message)
    end
    local known = get(server, "/api/commands").commands
    assert.equal("add", known[1].name)
    assert.equal("adds", known[1].help)
    assert.same({ name = "a", type = "number", required = true }, known[1].args[1])
  end)

  it("shows the log as it grows", function()
    local server = serve()
    local first = get(server, "/api/logs?last=100000")
    assert.matches("serves \"shop\"", first.text, 1, true)
    local reader = client.connect(server.inspector)
    reader:request("GET", "/api/logs?wait=20&from=" .. ("%d"):format(first.next))
    server:signal "sigttin"
    local answer = cjson.decode(reader:response().body)
    assert.matches("from 2 to 3 workers", answer.text, 1, true)
    assert.is_nil(answer.text:find("serves \"shop\"", 1, true))
    reader:close()
  end)

  it("has metrics that stay exact when a worker dies, with how long requests took by route", function()
    local server = serve()
    local function figure(name)
      local text = get(server, "/metrics")
      local at = text:find("\n" .. name .. " ", 1, true)
      return at and tonumber(text:match("^\n%S+ (%S+)", at))
    end
    for i = 1, 20 do assert.equal(200, server:get("/users/" .. i).status) end
    local name = 'perigee_request_seconds_count{route="/users/<id:int>",method="GET"}'
    wait.till(5, "20 requests to be counted", function() return figure(name) == 20 end)
    local total = figure "perigee_requests_total"
    uv.kill(row_of(server, "worker-0").pid, "sigkill")
    server:expect "worker 0 .* was killed by SIGKILL"
    assert.equal(20, figure(name))
    assert.equal(total, figure "perigee_requests_total")
    server:reload(app)
    server:expect "generation 2 serves"
    assert.equal(200, server:get("/users/1").status)
    wait.till(10, "one more", function()
      return client.try_connect(server.inspector) and figure(name) == 21
    end)
  end)

  it("is there again when it was killed, at the same socket", function()
    local server = serve()
    local before = row_of(server, "inspector").pid
    uv.kill(before, "sigkill")
    server:expect "inspector .* was killed by SIGKILL"
    local now = wait.till(10, "another inspector", function()
      return row_of(server, "inspector").pid
    end)
    assert.not_equal(before, now)
  end)

  it("has the program upgraded", function()
    local server = serve()
    local status, answer = post(server, "/api/upgrade")
    assert.equal(200, status)
    assert.equal("the new program takes over", answer.message)
    server:expect "generation 2 serves on 2 workers"
    wait.till(10, "the inspector", function()
      return client.try_connect(server.inspector) and row_of(server, "inspector") ~= nil
    end)
  end)

  describe("over TCP", function()
    local function serve_tcp()
      local port = host.free_port()
      local server = host.serve { app = app,
        flags = { "--workers", "2", "--inspector", "127.0.0.1:" .. port, "--inspector-key", KEY } }
      server.inspector = port
      wait.till(10, "the inspector", function() return client.try_connect(port) ~= nil end)
      return server
    end

    it("wants a key for all but its page", function()
      local server = serve_tcp()
      for _, key in ipairs { "", "0123456789abcdeX", "0123456789abcde" } do
        local status, answer = ask(server.inspector, "GET", "/api/state", nil, key)
        assert.equal(401, status)
        assert.matches("key is needed", answer.message)
      end
      assert.equal(401, (ask(server.inspector, "POST", "/api/shutdown", "{}")))
      assert.equal(401, (ask(server.inspector, "GET", "/metrics")))
      assert.equal(200, (ask(server.inspector, "GET", "/")))
      local status, answer = ask(server.inspector, "GET", "/api/state", nil, KEY)
      assert.equal(200, status)
      assert.equal("shop", answer.name)
      local ended = host.run { "inspect", "-a", "127.0.0.1:" .. server.inspector, "-k", KEY, "scale", "1" }
      assert.equal(0, ended.status)
      ended = host.run { "inspect", "-a", "127.0.0.1:" .. server.inspector }
      assert.equal(1, ended.status)
      assert.matches("key is needed", ended:text())
    end)

    it("shows its page in a browser, whose buttons do what they say", function()
      if chromium.missing() then
        pending("no browser here: " .. chromium.missing())
        return
      end
      local server = serve_tcp()
      local browser = assert(chromium.start())
      local page = browser:open("http://127.0.0.1:" .. server.inspector .. "/")
      page:wait "!document.getElementById('login').hidden"
      page:fill("#key", KEY)
      page:click "#login button"
      local rows = "[...document.querySelectorAll('#processes tbody tr')].map(row => "
        .. "row.cells[0].textContent + ' ' + row.cells[1].textContent + ' ' + row.cells[3].textContent)"
      page:wait(rows .. ".includes('worker-1 ACKED 1')")
      page:fill("#workers", "3")
      page:click "#scale"
      page:wait "document.getElementById('message').textContent == 'scale to 3: done'"
      page:wait(rows .. ".includes('worker-2 ACKED 1')")
      page:click "#reload"
      page:wait "document.getElementById('message').textContent.startsWith('reload: done')"
      page:wait(rows .. ".includes('worker-2 ACKED 2')")
      assert.equal("2", server:get("/generation").body)
      page:wait "document.getElementById('log').textContent.includes('generation 2 serves on 3 workers')"
      page:wait "document.getElementById('rate').textContent != '–'"
      page:fill("#commands input[name=a]", "4")
      page:click "#commands form button"
      page:wait "document.getElementById('message').textContent == 'add: done: 5'"
      browser:stop()
    end)
  end)

  describe("on the command line", function()
    it("shows tables, and JSON", function()
      local server = serve()
      local state = inspect(server)
      assert.equal(0, state.status)
      assert.matches("NAME +STATE +PID", state:text())
      assert.matches("\nworker%-1 +ACKED +%d+ +1 ", state:text())
      assert.equal("shop", cjson.decode(inspect(server, "--json"):text()).name)
      assert.matches("CPU %%", inspect(server, "top"):text())
      assert.matches("no request has been in flight", inspect(server, "requests"):text())
      assert.matches("serves \"shop\"", inspect(server, "logs"):text())
    end)

    it("ends with 0 only when it has happened", function()
      local server = serve()
      local cases = {
        { 0, "done", "scale", "3" }, { 1, "1 to 256", "scale", "0" }, { 1, "A number follows", "scale" },
        { 0, "done", "restart", "worker-2" }, { 1, "did you mean 'worker%-2'", "restart", "wrker-2" },
        { 0, "5", "add", "a=2", "b=3" }, { 1, "'a' is missing", "add" },
        { 1, "did you mean 'reload'", "relod" }, { 1, "a word too many", "reload", "now" },
        { 0, "done", "reload" },
      }
      for _, case in ipairs(cases) do
        local ended = inspect(server, unpack(case, 3))
        assert.equal(case[1], ended.status, ended:text())
        assert.matches(case[2], ended:text())
        wait.till(10, "the inspector", function() return client.try_connect(server.inspector) ~= nil end)
      end
      assert.equal(0, inspect(server, "shutdown").status)
      assert.equal(0, server:wait_exit())
      local ended = inspect(server)
      assert.equal(1, ended.status)
      assert.matches("cannot connect to the inspector", ended:text())
    end)
  end)

  it("half configured is refused, saying what is missing", function()
    local wrong = {
      ["set inspector_key, of at least 16 characters"] = { "--inspector", "127.0.0.1:0" },
      ["at least 16 characters"] = { "--inspector", "127.0.0.1:0", "--inspector-key", "short" },
      ["needs tls_certificate and tls_key"] = { "--inspector", "tls:127.0.0.1:0", "--inspector-key", KEY },
      ["single_process allows none"] = { "--inspector", "on", "--single-process" },
    }
    for text, flags in pairs(wrong) do
      local ended = host.run({ "serve", "app.lua", "--bind", "127.0.0.1:0", unpack(flags) }, { app = app })
      assert.not_equal(0, ended.status)
      assert.truthy(ended:text():find(text, 1, true), ended:text())
    end
  end)

  it("refuses commands that cannot be declared, at their line", function()
    local wrong = {
      ["app.lua:3: app:inspector_command('reload'): there is such a command already"] =
        'app:inspector_command("reload", print)',
      ["the type must be one of boolean, number, string, not numbr; did you mean 'number'?"] =
        'app:inspector_command("x", print, { args = { a = { type = "numbr" } } })',
      ["unknown option 'hlp'; did you mean 'help'?"] = 'app:inspector_command("x", print, { hlp = "" })',
    }
    for text, line in pairs(wrong) do
      local ended = host.run({ "check", "app.lua" }, { app = 'local perigee = require "perigee"\n'
        .. 'local app = perigee.app "wrong"\n' .. line .. "\nreturn app" })
      assert.equal(1, ended.status)
      assert.truthy(ended:text():find(text, 1, true), ended:text())
    end
  end)
end)
