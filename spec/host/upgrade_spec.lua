-- SIGUSR2: another binary in the manager's place, and nothing lost.

local client = require "spec.support.client"
local host = require "spec.support.host"
local load = require "spec.support.load"
local notify_socket = require "spec.support.notify_socket"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"

-- A copy of a binary in a folder of its own, to be replaced as a package manager would.
local function install(binary)
  local folder = assert(uv.fs_mkdtemp "/tmp/perigee-upgrade-XXXXXX")
  assert(uv.fs_copyfile(binary, folder .. "/perigee"))
  return folder
end

local function replace(folder, text)
  local new = folder .. "/perigee.new"
  if text then
    host.write_file(new, text)
    assert(uv.fs_chmod(new, 493)) -- 0755
  else
    assert(uv.fs_copyfile(folder .. "/perigee", new))
  end
  assert(uv.fs_rename(new, folder .. "/perigee"))
end

local function inode(path)
  return assert(uv.fs_stat(path)).ino
end

local function uninstall(folder)
  os.remove(folder .. "/perigee")
  uv.fs_rmdir(folder)
end

-- What runs a process: its program's inode.
local function program_of(process)
  return (uv.fs_stat("/proc/" .. process.pid .. "/exe") or {}).ino
end

local counting = [[
app:main_process_start(function(app) app.shared.hits = perigee.shared.value("hits", "int64") end)
app:get("/hit", function() return tostring(app.shared.hits:add(1)) end)
]]

describe("an upgrade", function()
  local folder
  after_each(function()
    host.finish()
    if folder then uninstall(folder) end
    folder = nil
  end)

  local function serve(options)
    folder = install(options.binary or host.binary)
    options.binary = folder .. "/perigee"
    return host.serve(options)
  end

  it("replaces every program but the guardian's, and keeps pid, objects, log and socket files", function()
    local server = serve { app = host.versioned_app("v1", counting), flags = { "--workers", "2",
      "--pid-file", "perigee.pid", "--bind", "unix:app.sock", "--log-file", "perigee.log" } }
    local path = server.dir .. "/perigee.log"
    local function said(text)
      wait.till(20, text .. " in the log; there is:\n" .. (host.read_file(path) or ""), function()
        return (host.read_file(path) or ""):find(text, 1, true)
      end)
    end
    for _ = 1, 3 do server:get "/hit" end
    local before, descriptors = server:processes(), proc.descriptors(server.pid)
    for round = 1, 2 do
      replace(folder)
      server:signal "sigusr2"
      said(("generation %d serves on 2 workers"):format(round + 1))
      server:wait_processes(#before)
      for _, process in ipairs(server:processes()) do
        if process.name ~= "perigee-guard" then
          assert.equal(inode(folder .. "/perigee"), program_of(process), process.command)
        end
      end
    end
    wait.till(5, "no more descriptors than before", function()
      return proc.descriptors(server.pid) <= descriptors
    end)
    assert.equal("4", server:get("/hit").body)
    assert.equal(server.pid .. "\n", host.read_file(server.dir .. "/perigee.pid"))
    server.target = server.dir .. "/app.sock"
    assert.equal("5", server:get("/hit").body)
    -- It is a whole manager: it reloads, scales, replaces, and ends as one.
    server.target = server.port
    server:reload(host.versioned_app("v2", counting))
    server:wait_version("v2", 2)
    server:signal "sigttin"
    local pids = server:wait_version("v2", 3)
    uv.kill(pids[1], "sigkill")
    server:wait_version("v2", 3)
    assert.equal(0, server:stop())
    assert.is_nil(uv.fs_stat(server.dir .. "/app.sock"))
    assert.is_nil(uv.fs_stat(server.dir .. "/perigee.pid"))
  end)

  it("under load loses nothing", function()
    local server = serve { app = host.versioned_app "v1", binary = host.release_binary,
      flags = { "--workers", "2" } }
    server:wait_version("v1", 2)
    local run = load.start { target = server.target, keep_alive = 32, one_shot = 32, seconds = 8 }
    local upgrades = 0
    while run:is_going(2) do
      replace(folder)
      server:signal "sigusr2"
      upgrades = upgrades + 1
      server:expect(("generation %d serves"):format(upgrades + 1), 20)
      wait.pause(0.3)
    end
    local result = run:result()
    assert.equal(0, result.failures, ("%d of %d requests failed:\n%s"):format(result.failures,
      result.ok + result.failures, table.concat(result.examples, "\n")))
    assert.is_true(upgrades >= 2)
    print(("    %d requests, %d upgrades, longest %.0f ms"):format(result.ok, upgrades, result.longest))
  end)

  for text, program in pairs {
    ["the new program is none that can take over"] = "#!/bin/sh\nexit 1\n",
    ["takes the state of version 99 only"] = "#!/bin/sh\necho it takes the state of version 99 only\n",
  } do
    it("is refused when " .. text, function()
      local server = serve { app = host.versioned_app "v1", flags = { "--workers", "2" } }
      local pids, descriptors = server:wait_version("v1", 2), proc.descriptors(server.pid)
      replace(folder, program)
      server:signal "sigusr2"
      local line = server:expect "upgrade refused"
      assert.truthy(line:find(text, 1, true), line)
      local still = server:wait_version("v1", 2)
      table.sort(pids) table.sort(still)
      assert.same(pids, still)
      server:wait_processes(5)
      wait.till(5, "no more descriptors than before", function()
        return proc.descriptors(server.pid) <= descriptors
      end)
    end)
  end

  local managing = [[
app:main_process_start(function(app)
  app.manager:manage("ticker", function() while true do perigee.sleep(60) end end)
  app.manager:manage("sleeper", { "sleep", "600" })
end)
app:get("/add", function() return tostring(app.m:manage("extra", { "sleep", "600" })) end)
]]

  it("stops managed processes, and the new program starts its own", function()
    local server = serve { app = host.versioned_app("v1", managing), flags = { "--workers", "1" } }
    server:expect "generation 1 serves"
    local function managed()
      local pids = {}
      for _, process in ipairs(server:processes()) do
        local name = process.command:match "ticker" or process.command:match "^sleep 600"
        if name then pids[name] = process.pid end
      end
      return pids.ticker and pids["sleep 600"] and pids
    end
    local before = wait.till(10, "the managed processes", managed)
    local count = #server:processes()
    server:signal "sigusr2"
    server:expect("becomes the new program", 20)
    server:expect("generation 2 serves", 20)
    server:wait_processes(count)
    local after = wait.till(10, "the managed processes again", managed)
    assert.are_not.equal(before.ticker, after.ticker)
    assert.are_not.equal(before["sleep 600"], after["sleep 600"])

    -- What no plan declares would be lost.
    assert.equal("true", server:get("/add").body)
    server:signal "sigusr2"
    assert.truthy(server:expect("upgrade refused"):find("process 'extra' was added at run time", 1, true))
    assert.equal(0, server:stop())
  end)

  it("keeps the signals that come in its middle", function()
    local server = serve { app = host.versioned_app "v1", flags = { "--workers", "2" } }
    server:signal "sigusr2"
    server:expect "becomes the new program"
    server:signal "sigterm"
    assert.equal(0, server:wait_exit())
    wait.till(5, "no process to be left", function() return #server:processes() == 0 end)
  end)

  it("notices a worker that died meanwhile", function()
    local server = serve { app = host.versioned_app "v1", flags = { "--workers", "2" } }
    local pids = server:wait_version("v1", 2)
    server:signal "sigusr2"
    server:expect "becomes the new program"
    uv.kill(pids[1], "sigkill")
    server:expect "generation %d serves on 2 workers"
    server:wait_version("v1", 2)
    server:wait_processes(5)
  end)

  it("waits for a reload that is under way", function()
    local server = serve { app = host.versioned_app "v1", flags = { "--workers", "2" } }
    server:reload(host.versioned_app("v2", "app:before_server_start(function() perigee.sleep(0.4) end)"))
    server:expect "reload: SIGHUP"
    server:signal "sigusr2"
    server:expect "SIGUSR2: upgrade, when what is under way is done"
    server:expect "generation 2 serves"
    server:expect "becomes the new program"
    server:expect "generation 3 serves"
    server:wait_version("v2", 2)
  end)

  it("goes on telling systemd", function()
    local socket = notify_socket.open("/tmp/perigee-notify-up-" .. uv.os_getpid())
    local server = serve { app = host.versioned_app "v1", flags = { "--workers", "1" },
      env = { NOTIFY_SOCKET = socket.name, WATCHDOG_USEC = "1000000" } }
    socket:expect "^READY=1$"
    server:signal "sigusr2"
    socket:expect "^RELOADING=1$"
    socket:expect "^READY=1$"
    socket:expect "^WATCHDOG=1$"
    assert.equal(0, server:stop())
    socket:expect "^STOPPING=1$"
    socket:close()
  end)

  it("does not end what the guardian is for", function()
    local server = serve { app = host.versioned_app "v1", flags = { "--workers", "2" },
      binary = host.release_binary }
    server:signal "sigusr2"
    server:expect "generation 2 serves"
    local connection = client.connect(server.port)
    server:signal "sigkill"
    server:wait_exit()
    wait.till(4, function() return "no process to be left:\n" .. proc.describe(server:processes()) end,
      function() return #server:processes() == 0 end)
    connection:close()
  end)
end)
