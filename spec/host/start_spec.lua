-- The first start: the banner, what goes wrong, and how it ends.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local hello = [[
local app = require "perigee".app "hello"
app:get("/", function() return "hello\n" end)
return app
]]

local slow = [[
local perigee = require "perigee"
local app = perigee.app "slow"
app:get("/", function() return "hello\n" end)
app:get("/slow", function() perigee.sleep(0.7) return "done\n" end)
app:get("/endless", function() perigee.sleep(600) return "never\n" end)
return app
]]

describe("perigee serve", function()
  after_each(host.finish)

  it("serves, and says where, with whom and how", function()
    local server = host.serve { app = hello, flags = { "--workers", "2" } }
    assert.equal("hello\n", server:get("/").body)
    server:expect("http://127%.0%.0%.1:" .. server.port)
    server:expect("pid " .. server.pid .. ", 2 workers, generation 1")
  end)

  it("keeps the pid it was started with", function()
    local server = host.serve { app = hello }
    local manager = server:processes()[1]
    assert.equal(server.pid, manager.pid)
  end)

  for signal, forced in pairs { sigterm = 143, sigint = 130 } do
    it("drains and exits 0 on " .. signal:upper(), function()
      local server = host.serve { app = slow, flags = { "--workers", "1" } }
      local connection = client.connect(server.port)
      connection:request("GET", "/slow")
      wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
      server:signal(signal)
      assert.equal("done\n", assert(connection:response()).body)
      assert.equal(0, server:wait_exit())
      connection:close()
    end)

    it("is forced by a second " .. signal:upper(), function()
      local server = host.serve { app = slow, flags = { "--workers", "1" } }
      local connection = client.connect(server.port)
      connection:request("GET", "/endless")
      wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
      server:signal(signal)
      wait.pause(0.3)
      assert.is_nil(server.status)
      server:signal(signal)
      assert.equal(forced, server:wait_exit(3))
      connection:close()
    end)
  end

  it("kills what does not drain within graceful_timeout, and exits 0", function()
    local server = host.serve { app = slow, flags = { "--workers", "1", "--graceful-timeout", "1" } }
    local connection = client.connect(server.port)
    connection:request("GET", "/endless")
    wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
    local began = wait.now()
    server:signal "sigterm"
    assert.equal(0, server:wait_exit(5))
    assert.is_true(wait.now() - began < 4)
    connection:close()
  end)

  describe("with an app that does not load", function()
    local function failed(app)
      local server, took = host.run({ "serve", "app.lua", "--bind", "127.0.0.1:" .. host.free_port() },
        { app = app })
      assert.equal(1, server.status)
      assert.is_true(took < (host.sanitized and 4 or 1), ("it took %.2f s"):format(took))
      return server:text()
    end

    it("exits 1 with file and line of a syntax error", function()
      assert.truthy(failed("local x = = 1\n"):find("app.lua:1:", 1, true))
    end)

    it("exits 1 with file, line and traceback of an error", function()
      local text = failed [[
local function deep() error "no such database" end
local function load() deep() return 1 end
load()
]]
      assert.truthy(text:find("app.lua:1: no such database", 1, true), text)
      assert.truthy(text:find("traceback", 1, true), text)
      assert.truthy(text:find("app.lua:3", 1, true), text)
    end)

    it("exits 1 when the file returns no app", function()
      assert.truthy(failed("return 7\n"):find("app.lua", 1, true))
    end)

    it("exits 1 when before_server_start raises", function()
      local text = failed [[
local app = require "perigee".app "broken"
app:before_server_start(function() error "no database here" end)
app:get("/", function() return "x" end)
return app
]]
      assert.truthy(text:find("app.lua:2: no database here", 1, true), text)
    end)

    it("exits 1 when main_process_start raises", function()
      local text = failed [[
local app = require "perigee".app "broken"
app:main_process_start(function() error "no disk here" end)
return app
]]
      assert.truthy(text:find("app.lua:2: no disk here", 1, true), text)
    end)

    it("exits 1 when there is no such file", function()
      local server = host.run { "serve", "nowhere.lua" }
      assert.equal(1, server.status)
      assert.truthy(server:text():find("nowhere.lua", 1, true))
    end)
  end)

  it("names address and owner of a port in use", function()
    local first = host.serve { app = hello }
    local second = host.run({ "serve", "app.lua", "--bind", "127.0.0.1:" .. first.port }, { app = hello })
    assert.equal(1, second.status)
    local text = second:text()
    assert.truthy(text:find("127.0.0.1:" .. first.port, 1, true), text)
    assert.truthy(text:find(tostring(first.pid), 1, true), text)
  end)

  it("starts on the port that a stopped one has left, at once", function()
    local first = host.serve { app = hello }
    assert.equal("hello\n", first:get("/").body)
    assert.equal(0, first:stop())
    local second = host.serve { app = hello, bind = "127.0.0.1:" .. first.port }
    second.target = first.port
    second:wait_answering()
    assert.equal("hello\n", second:get("/").body)
  end)

  it("runs the listeners in their order, each in its process", function()
    local server = host.serve { app = [[
local perigee = require "perigee"
local ffi = require "ffi"
ffi.cdef "int getpid(void);"
local app = perigee.app "ordered"
local function say(name)
  app[name](app, function() print("listener " .. name .. " in " .. ffi.C.getpid()) end)
end
say "main_process_start" say "before_server_start" say "after_server_start" say "main_process_ready"
say "before_server_stop" say "after_server_stop" say "main_process_stop"
app:get("/", function() return "hello\n" end)
return app
]], flags = { "--workers", "1" } }
    server:expect "listener main_process_ready"
    assert.equal(0, server:stop())

    local order, pids = {}, {}
    for _, line in ipairs(server.lines) do
      local name, pid = line:match "listener ([%w_]+) in (%d+)"
      if name then order[#order + 1], pids[name] = name, pid end
    end
    assert.same({ "main_process_start", "before_server_start", "after_server_start", "main_process_ready",
      "before_server_stop", "after_server_stop", "main_process_stop" }, order)
    assert.equal(pids.main_process_start, pids.main_process_stop)
    assert.equal(pids.before_server_start, pids.after_server_stop)
    assert.not_equal(pids.main_process_start, pids.before_server_start)
  end)

  it("names a handle that the main process left open", function()
    local server = host.run({ "serve", "app.lua", "--bind", "127.0.0.1:" .. host.free_port() }, { app = [[
local uv = require "luv"
local app = require "perigee".app "open"
app:main_process_start(function()
  local timer = uv.new_timer()
  timer:start(1000, 1000, function() end)
end)
app:get("/", function() return "hello\n" end)
return app
]] })
    assert.equal(1, server.status)
    assert.truthy(server:text():find "timer", server:text())
    assert.truthy(server:text():find("app.lua:4", 1, true), server:text())
  end)

  it("works as pid 1", function()
    local allowed = os.execute "unshare -pf --mount-proc true 2>/dev/null" == 0
    if not allowed then pending "this machine does not let us make a pid namespace" return end
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" },
      wrapper = { "unshare", "-pf", "--mount-proc", "--kill-child" } }
    local inner = wait.till(5, "pid 1 inside", function()
      for _, process in ipairs(server:processes()) do
        if process.parent == server.pid then return process.pid end
      end
    end)
    local versions = server:answering()
    assert.truthy(versions.v1)
    -- The namespace's pid 1 gets no default action for a signal it does not handle: these must be handled.
    server:write(host.versioned_app("v2"))
    uv.kill(inner, "sighup")
    server:wait_version("v2", 2)
    uv.kill(inner, "sigterm")
    assert.equal(0, server:wait_exit())
  end)
end)
