-- --single-process: the whole application in the process that was started.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local uv = require "luv"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local uv = require "luv"
local app = perigee.app("one", { workers = 4, log_file = "/nowhere/perigee.log" })
for _, name in ipairs { "main_process_start", "before_server_start", "after_server_start",
  "main_process_ready", "before_server_stop", "after_server_stop", "main_process_stop" } do
  app[name](app, function() print("listener " .. name .. " in " .. uv.os_getpid()) end)
end
app:main_process_start(function(app)
  app.shared.hits = perigee.shared.value("hits", "int64")
end)
app:every(60, function() print "the owner ticks" end, { name = "tick", once = "app", immediately = true })
app:get("/", function() return "hello\n" end)
app:get("/slow", function() perigee.sleep(0.5) return "done\n" end)
app:get("/endless", function() perigee.sleep(600) return "never\n" end)
app:get("/facts", function()
  return { hits = app.shared.hits:add(1), workers = app.config.workers, single = app.config.single_process,
    ran = perigee.process.run({ "echo", "ran" }).stdout }
end)
app:get("/manager", function()
  local ok, message, code = app.m:scale(3)
  local names = {}
  for _, process in ipairs(app.m.workers) do names[#names + 1] = process.name .. " " .. process.state end
  return { ok = ok or false, message = message, code = code, names = names }
end)
app:websocket("/feed", function(_, ws)
  ws:subscribe "news"
  app:publish("news", "published")
  for _ in ws:messages() do end
end)
return app
]]

local function serve(source, flags)
  local arguments = { "--single-process" }
  for _, flag in ipairs(flags or {}) do arguments[#arguments + 1] = flag end
  return host.serve { app = source or app, flags = arguments }
end

describe("--single-process", function()
  after_each(host.finish)

  it("is one process, with listeners in their order and everything in it", function()
    local server = serve()
    server:expect "listener main_process_ready"
    assert.equal(1, #server:processes())
    local facts = json.decode(server:get("/facts").body)
    assert.same({ hits = 1, workers = 1, single = true, ran = "ran\n" }, facts)
    wait.till(5, "the tick", function() return #server:matching "the owner ticks" == 1 end)
    local connection = client.connect(server.port)
    connection:request("GET", "/slow")
    wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
    server:signal "sigint"
    assert.equal("done\n", assert(connection:response()).body)
    connection:close()
    assert.equal(0, server:wait_exit())
    local order = {}
    for _, line in ipairs(server.stdout) do
      local name, pid = line:match "listener ([%w_]+) in (%d+)"
      if name then
        order[#order + 1] = name
        assert.equal(tostring(server.pid), pid)
      end
    end
    assert.same({ "main_process_start", "before_server_start", "after_server_start", "main_process_ready",
      "before_server_stop", "after_server_stop", "main_process_stop" }, order)
  end)

  it("has no manager, and says so when one is asked for", function()
    local server = serve()
    assert.same({ ok = false, message = "there is no manager: the app runs with --single-process",
      code = "ENOTSUP", names = { "worker-0 ACKED" } }, json.decode(server:get("/manager").body))
  end)

  it("has none in the main process either", function()
    local server = serve([[
local app = require "perigee".app "one"
app:main_process_ready(function(app) print("ready", app.manager:scale(2)) end)
app:get("/", function() return "hello\n" end)
return app
]])
    server:expect "ready%s+nil%s+there is no manager: the app runs with %-%-single%-process%s+ENOTSUP"
    local refused = host.run({ "serve", "app.lua", "--single-process" }, { app = [[
local app = require "perigee".app "one"
app:main_process_start(function(app) app.manager:manage("mailer", { "true" }) end)
return app
]] })
    assert.equal(1, refused.status)
    assert.truthy(refused:text():find("app.lua:2: app.manager:manage: there is no manager", 1, true),
      refused:text())
  end)

  it("says where, and removes its unix socket", function()
    local server = host.serve { app = app, bind = "unix:app.sock", flags = { "--single-process" } }
    server.target = server.dir .. "/app.sock"
    server:wait_answering()
    local line = server:expect("in one process, pid " .. server.pid)
    assert.truthy(line:find('"one" at unix:' .. server.dir .. "/app.sock,", 1, true), line)
    assert.equal(0, server:stop())
    assert.is_nil(uv.fs_stat(server.dir .. "/app.sock"))
  end)

  for name, forced in pairs { sigint = 130, sigterm = 143 } do
    it("is forced by a second " .. name:upper(), function()
      local server = serve(nil, { "--graceful-timeout", "60" })
      local connection = client.connect(server.port)
      connection:request("GET", "/endless")
      wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
      server:signal(name)
      server:expect "stopping"
      assert.is_nil(server.status)
      server:signal(name)
      assert.equal(forced, server:wait_exit(5))
      connection:close()
    end)
  end

  it("ends what does not drain after graceful_timeout", function()
    local server = serve(nil, { "--graceful-timeout", "1" })
    local connection = client.connect(server.port)
    connection:request("GET", "/endless")
    wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
    local began = wait.now()
    server:signal "sigterm"
    assert.equal(0, server:wait_exit(5))
    assert.is_true(wait.now() - began >= 0.95)
    connection:close()
  end)

  it("has no reload, and takes no harm from signals for a manager", function()
    local server = serve()
    for _, name in ipairs { "sighup", "sigusr1", "sigusr2", "sigttin", "sigttou" } do
      server:signal(name)
      server:expect(name:upper() .. " is for a manager, and %-%-single%-process has none")
    end
    assert.equal("hello\n", server:get("/").body)
    assert.equal(0, server:stop())
  end)

  it("exits 1 with the error when the app does not load, start, or find its port free", function()
    local busy = host.serve { app = app, flags = { "--single-process" } }
    for text, source in pairs {
      ["app.lua:1: no such database"] = "error 'no such database'",
      ["app.lua:2: no worker today"] = [[local app = require "perigee".app "broken"
app:before_server_start(function() error "no worker today" end)
return app]],
      ["cannot listen at http://127.0.0.1:" .. busy.port] = app,
    } do
      local port = text:find "listen" and busy.port or host.free_port()
      local server = host.run({ "serve", "app.lua", "--single-process", "--bind", "127.0.0.1:" .. port },
        { app = source })
      assert.equal(1, server.status)
      assert.truthy(server:text():find(text, 1, true), server:text())
    end
  end)

  it("refuses what needs a manager, and names it", function()
    for flag, value in pairs { daemon = false, ["pid-file"] = "x.pid", user = "nobody", group = "nogroup",
      ["log-file"] = "x.log", workers = "2" } do
      local server = host.run({ "serve", "app.lua", "--single-process", "--" .. flag, value or nil },
        { app = app })
      assert.equal(2, server.status)
      local text = ("flag --%s: with single_process there is no manager, so there is no '%s'"):format(
        flag, (flag:gsub("-", "_")))
      assert.truthy(server:text():find(text, 1, true), server:text())
    end
  end)
end)
