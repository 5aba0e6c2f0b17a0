-- --daemon and --pid-file: the command's word is true, and so is the file's.

local client = require "spec.support.client"
local host = require "spec.support.host"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"

local slow = [[
local perigee = require "perigee"
local app = perigee.app "slow"
print "loading"
app:before_server_start(function() perigee.sleep(0.5) end)
app:get("/", function() return "hello\n" end)
return app
]]

local function pid_in(path)
  return tonumber((host.read_file(path) or ""):match "^(%d+)\n$")
end

-- `perigee serve --daemon`, to the end of the command. Returns the instance, with .daemon its manager's pid.
local function launch(app, ...)
  local port = host.free_port()
  local launcher = host.run({ "serve", "app.lua", "--daemon", "--workers", "2",
    "--bind", "127.0.0.1:" .. port, "--pid-file", "perigee.pid", ... }, { app = app })
  launcher.port, launcher.target = port, port
  launcher.daemon = pid_in(launcher.dir .. "/perigee.pid")
  return launcher
end

local function stop(launcher)
  uv.kill(launcher.daemon, "sigterm")
  wait.till(10, "the daemon's end", function() return not proc.get(launcher.daemon) end)
end

describe("--daemon", function()
  after_each(host.finish)

  it("returns 0 when the app serves, and goes on without terminal or parent", function()
    local launcher = launch(host.versioned_app("v1", [[
app:before_server_start(function() perigee.sleep(0.5) end)
]]), "--log-file", "perigee.log")
    assert.equal(0, launcher.status)
    assert.truthy(client.get(launcher.port, "/").body:find "^v1 ") -- at once
    assert.equal(0, launcher.open_pipes) -- nobody keeps the command's output open
    local manager = assert(proc.get(launcher.daemon))
    assert.are_not.equal(launcher.pid, manager.pid)
    assert.are_not.equal(manager.pid, manager.session)
    assert.are_not.equal(launcher.pid, manager.session)
    for fd = 0, 2 do
      assert.equal("/dev/null", uv.fs_readlink(("/proc/%d/fd/%d"):format(manager.pid, fd)))
    end
    local log = host.read_file(launcher.dir .. "/perigee.log")
    assert.truthy(log:find("2 workers, generation 1", 1, true), log)
    launcher:write(host.versioned_app "v2")
    uv.kill(launcher.daemon, "sighup")
    launcher:wait_version("v2", 2)
    uv.kill(launcher.daemon, "sigusr2")
    wait.till(10, "the upgrade", function()
      return host.read_file(launcher.dir .. "/perigee.log"):find("generation 3 serves", 1, true)
    end)
    stop(launcher)
    assert.is_nil(uv.fs_stat(launcher.dir .. "/perigee.pid"))
  end)

  it("returns 1 with the error on stderr when the app does not load, or a worker does not start", function()
    for text, app in pairs {
      ["app.lua:1: no such database"] = "error 'no such database'",
      ["app.lua:2: no worker today"] = [[local app = require "perigee".app "broken"
app:before_server_start(function() error "no worker today" end)
return app]],
    } do
      local launcher = launch(app, "--log-file", "perigee.log")
      assert.equal(1, launcher.status)
      assert.truthy(table.concat(launcher.stderr, "\n"):find(text, 1, true), launcher:text())
      assert.is_nil(uv.fs_stat(launcher.dir .. "/perigee.pid"))
      wait.till(3, "no process to be left", function() return #launcher:processes() == 0 end)
    end
  end)

  it("needs a log file, which the app may name", function()
    local launcher = launch(slow)
    assert.equal(1, launcher.status)
    assert.truthy(launcher:text():find("set log_file", 1, true), launcher:text())
    launcher = launch((slow:gsub('app "slow"', 'app("slow", { log_file = "/dev/null" })')))
    assert.equal(0, launcher.status, launcher:text())
    stop(launcher)
  end)

  it("is given up with the command that waits for it", function()
    local launcher = host.start({ "serve", "app.lua", "--daemon", "--log-file", "perigee.log",
      "--bind", "127.0.0.1:" .. host.free_port() }, { app = slow:gsub("sleep%(0.5%)", "sleep(600)") })
    wait.till(10, "it to load", function()
      -- on stderr, or in the log if that is open already
      return (launcher:text() .. (host.read_file(launcher.dir .. "/perigee.log") or "")):find "loading"
    end)
    launcher:signal "sigint"
    assert.equal(130, launcher:wait_exit())
    wait.till(5, "no process to be left", function() return #launcher:processes() == 0 end)
  end)

  it("returns 1 when the start is stopped, or the manager killed", function()
    for name, text in pairs { sigterm = "stopped before it served", sigkill = "killed before it served" } do
      local launcher = host.start({ "serve", "app.lua", "--daemon", "--log-file", "perigee.log",
        "--pid-file", "perigee.pid", "--bind", "127.0.0.1:" .. host.free_port() },
        { app = slow:gsub("sleep%(0.5%)", "sleep(600)") })
      local pid = wait.till(10, "it to start", function() return pid_in(launcher.dir .. "/perigee.pid") end)
      uv.kill(pid, name)
      assert.equal(1, launcher:wait_exit())
      assert.truthy(launcher:text():find(text, 1, true), launcher:text())
      wait.till(5, "no process to be left", function() return #launcher:processes() == 0 end)
    end
  end)
end)

describe("--pid-file", function()
  after_each(host.finish)

  it("is there while it serves, also without --daemon, and gone at the end", function()
    local server = host.serve { app = slow, flags = { "--pid-file", "perigee.pid" } }
    assert.equal(server.pid, pid_in(server.dir .. "/perigee.pid"))
    assert.equal(0, server:stop())
    assert.is_nil(uv.fs_stat(server.dir .. "/perigee.pid"))
  end)

  it("keeps a second one out, which leaves it alone", function()
    local server = host.serve { app = slow, flags = { "--pid-file", "perigee.pid" } }
    local second = host.run({ "serve", "app.lua", "--pid-file", server.dir .. "/perigee.pid" },
      { app = slow })
    assert.equal(1, second.status)
    assert.truthy(second:text():find("runs already, with pid " .. server.pid, 1, true), second:text())
    assert.equal(server.pid, pid_in(server.dir .. "/perigee.pid"))
  end)

  it("that nobody holds is replaced, whoever has its pid by now", function()
    -- Killed in the middle of its end, a sanitized process complains.
    local server = host.serve { app = slow, binary = host.release_binary,
      flags = { "--pid-file", "perigee.pid" }, files = { ["perigee.pid"] = uv.os_getpid() .. "\n" } }
    assert.equal(server.pid, pid_in(server.dir .. "/perigee.pid"))
    server:signal "sigkill"
    server:wait_exit()
    assert.equal(server.pid, pid_in(server.dir .. "/perigee.pid"))
    wait.till(5, "no process to be left", function() return #server:processes() == 0 end)
    local second = host.serve { app = slow, flags = { "--pid-file", server.dir .. "/perigee.pid" } }
    assert.equal(second.pid, pid_in(server.dir .. "/perigee.pid"))
    assert.equal(0, second:stop())
  end)

  it("is never made of another file", function()
    local server = host.run({ "serve", "app.lua", "--pid-file", "precious.txt" },
      { app = slow, files = { ["precious.txt"] = "precious" } })
    assert.equal(1, server.status)
    assert.truthy(server:text():find("precious.txt is no pid file", 1, true), server:text())
    assert.equal("precious", host.read_file(server.dir .. "/precious.txt"))
    server = host.run({ "serve", "app.lua", "--pid-file", "nowhere/perigee.pid" }, { app = slow })
    assert.equal(1, server.status)
    assert.truthy(server:text():find("cannot make the pid file nowhere/perigee.pid", 1, true), server:text())
  end)

  it("is won by one of many that start at once", function()
    local folder = assert(uv.fs_mkdtemp "/tmp/perigee-pid-XXXXXX")
    host.write_file(folder .. "/perigee.pid", "1\n")
    local all = {}
    for i = 1, 6 do
      all[i] = host.start({ "serve", "app.lua", "--bind", "127.0.0.1:" .. host.free_port(),
        "--pid-file", folder .. "/perigee.pid" }, { app = slow })
    end
    local function running()
      local list = {}
      for _, server in ipairs(all) do
        if not server.status then list[#list + 1] = server end
      end
      return list
    end
    wait.till(20, "one to be left", function() return #running() == 1 end)
    local winner = running()[1]
    assert.equal(winner.pid, pid_in(folder .. "/perigee.pid"))
    assert.equal(0, winner:stop())
    local left = uv.fs_scandir(folder)
    assert.is_nil(left and uv.fs_scandir_next(left))
    uv.fs_rmdir(folder)
  end)
end)
