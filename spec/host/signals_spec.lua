-- Every signal to the manager, at every time: it does what it says or nothing, and never harm.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

-- Loads, starts and answers at its own pace; says where it is.
local function slow_app(version)
  return ([[
local perigee = require "perigee"
local uv = require "luv"
local app = perigee.app "slow"
print "loading %s"
uv.sleep(250)
app:before_server_start(function() print "starting %s" perigee.sleep(0.25) end)
app:get("/", function() return "%s " .. uv.os_getpid() .. "\n" end)
app:get("/endless", function() perigee.sleep(600) return "never\n" end)
return app
]]):format(version, version, version)
end

local function start(flags)
  local port = host.free_port()
  local arguments = { "serve", "app.lua", "--workers", "2", "--bind", "127.0.0.1:" .. port,
    "--graceful-timeout", "1" }
  for _, flag in ipairs(flags or {}) do arguments[#arguments + 1] = flag end
  local server = host.start(arguments, { app = slow_app "v1" })
  server.port, server.target = port, port
  return server
end

local function start_and_wait(flags)
  local server = start(flags)
  server:wait_answering()
  server:wait_version("v1", 2)
  return server
end

-- A request that never ends: a stop takes graceful_timeout.
local function hold(server)
  local connection = client.connect(server.port)
  connection:request("GET", "/endless")
  wait.till(5, "the request to arrive", function() return server:get("/").status == 200 end)
  return connection
end

local stopping = { sigterm = 143, sigint = 130, sigquit = 131 }
local harmless = { "sighup", "sigusr1", "sigusr2", "sigttin", "sigttou" }

describe("a signal", function()
  after_each(host.finish)

  for _, name in ipairs(harmless) do
    it(name:upper() .. " during the start leaves it to go on", function()
      local server = start()
      server:expect "loading v1"
      server:signal(name)
      server:expect "starting v1"
      server:signal(name)
      server:wait_answering()
      server:wait_version("v1", 2)
      assert.equal(0, server:stop())
    end)

    it(name:upper() .. " before the manager is ready for it does not end it", function()
      for _ = 1, 3 do
        local server = start()
        wait.till(5, "the manager", function()
          return (host.read_file("/proc/" .. server.pid .. "/cmdline") or ""):find "@manager"
        end)
        server:signal(name)
        server:expect "loading v1"
        server:signal "sigterm"
        assert.equal(0, server:wait_exit())
      end
    end)

    it(name:upper() .. " during a reload leaves it to go on", function()
      local server = start_and_wait()
      server:reload(slow_app "v2")
      server:expect "loading v2"
      server:signal(name)
      server:expect "starting v2"
      server:signal(name)
      local scaled = { sigttin = 4, sigttou = 1 } -- sent twice, and one worker stays
      server:wait_version("v2", scaled[name] or 2)
      assert.equal(0, server:stop())
    end)

    it(name:upper() .. " during a stop leaves it to go on", function()
      local server = start_and_wait()
      local connection = hold(server)
      local began = wait.now()
      server:signal "sigterm"
      server:expect "stopping"
      server:signal(name)
      server:signal(name)
      assert.equal(0, server:wait_exit(5))
      -- graceful_timeout is what was set, no less and not much more
      local took = wait.now() - began
      assert.is_true(took >= 0.95 and took < 4, ("it took %.2f s"):format(took))
      connection:close()
    end)
  end

  for name, forced in pairs(stopping) do
    it(name:upper() .. " during the start ends it, and leaves nothing", function()
      for _, place in ipairs { "loading", "starting" } do
        local server = start()
        server:expect(place .. " v1")
        server:signal(name)
        assert.equal(0, server:wait_exit(5))
        wait.till(3, "no process to be left", function() return #server:processes() == 0 end)
      end
    end)

    it(name:upper() .. " during a reload ends it", function()
      local server = start_and_wait()
      server:reload(slow_app "v2")
      server:expect "loading v2"
      server:signal(name)
      assert.equal(0, server:wait_exit(5))
    end)

    it(name:upper() .. " drains, and forces when it comes again", function()
      local server = start_and_wait { "--graceful-timeout", "60" }
      local connection = hold(server)
      server:signal(name)
      server:expect "stopping"
      assert.is_nil(server.status)
      server:signal(name)
      assert.equal(forced, server:wait_exit(5))
      connection:close()
    end)
  end

  it("that stops, after another one, forces with its own status", function()
    local server = start_and_wait { "--graceful-timeout", "60" }
    local connection = hold(server)
    server:signal "sigterm"
    server:expect "stopping"
    server:signal "sigint"
    assert.equal(130, server:wait_exit(5))
    connection:close()
  end)

  it("leaves a start that fails its status, 1", function()
    for _, name in ipairs(harmless) do
      local server = host.start({ "serve", "app.lua", "--bind", "127.0.0.1:" .. host.free_port() }, { app = [[
local uv = require "luv"
print "loading"
uv.sleep(300)
error "not today"
]] })
      server:expect "loading"
      server:signal(name)
      assert.equal(1, server:wait_exit(5))
      assert.truthy(server:text():find("app.lua:4: not today", 1, true), server:text())
    end
  end)
end)

describe("as pid 1", function()
  local allowed = os.execute "unshare -pf --mount-proc true 2>/dev/null" == 0

  after_each(host.finish)

  -- Starts it as the first process of a pid namespace.
  local function start_inside(app, flags)
    local port = host.free_port()
    local arguments = { "serve", "app.lua", "--workers", "1", "--bind", "127.0.0.1:" .. port }
    for _, flag in ipairs(flags or {}) do arguments[#arguments + 1] = flag end
    local server = host.start(arguments, { app = app,
      wrapper = { "unshare", "-pf", "--mount-proc", "--kill-child" } })
    server.port, server.target = port, port
    return server
  end

  -- The same; returns the instance and its pid outside.
  local function serve(app, flags)
    local server = start_inside(app, flags)
    local inner = wait.till(5, "pid 1 inside", function()
      for _, process in ipairs(server:processes()) do
        if process.parent == server.pid then return process.pid end
      end
    end)
    return server, inner
  end

  local function it_in_namespace(name, fn)
    it(name, function()
      if not allowed then pending "this machine does not let us make a pid namespace" return end
      fn()
    end)
  end

  it_in_namespace("it obeys what comes before it can, and gives the status of a stop", function()
    local server, inner = serve(slow_app "v1")
    wait.till(5, "the program to hold its signals", function()
      local held = (host.read_file("/proc/" .. inner .. "/status") or ""):match "SigBlk:%s*(%x+)"
      return held and tonumber(held, 16) ~= 0
    end)
    uv.kill(inner, "sigterm") -- it still reads its command line, or has just become the manager
    assert.equal(0, server:wait_exit(10))
  end)

  it_in_namespace("it gives the status of a start that failed, and of a stop that was forced", function()
    local failed = start_inside "error 'not today'"
    assert.equal(1, failed:wait_exit(10))
    for name, forced in pairs(stopping) do
      local server, inner = serve(slow_app "v1", { "--graceful-timeout", "60" })
      server:wait_answering()
      local connection = hold(server)
      uv.kill(inner, name)
      server:expect "stopping"
      uv.kill(inner, name)
      assert.equal(forced, server:wait_exit(5))
      connection:close()
    end
  end)

  it_in_namespace("it buries whoever is left to it", function()
    local server, inner = serve [[
local app = require "perigee".app "orphans"
app:get("/", function() return "hello\n" end)
app:get("/leave", function()
  -- The shell ends at once; what it leaves goes to pid 1, in a session of its own.
  for _ = 1, 20 do os.execute "setsid sh -c 'sleep 0.05' > /dev/null 2>&1 &" end
  return "left\n"
end)
return app
]]
    server:wait_answering()
    local before = #server:processes()
    assert.equal("left\n", server:get("/leave").body)
    wait.till(5, "the orphans to be gone, and buried", function() return #server:processes() == before end)
    for _, process in ipairs(server:processes()) do assert.are_not.equal("Z", process.state) end
    uv.kill(inner, "sigterm")
    assert.equal(0, server:wait_exit())
  end)
end)
