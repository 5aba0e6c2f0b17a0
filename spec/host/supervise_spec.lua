-- The manager's care for its children: verdicts, replacement, backoff, and the end of everything.

local client = require "spec.support.client"
local host = require "spec.support.host"
local load = require "spec.support.load"
local uv = require "luv"
local wait = require "spec.support.wait"

-- An app whose workers die in every way.
local dying = [[
local perigee = require "perigee"
local ffi = require "ffi"
ffi.cdef "int getpid(void); int raise(int); void _exit(int);"
local app = perigee.app "dying"
app:get("/", function() return "v1 " .. ffi.C.getpid() .. "\n" end)
app:get("/loop", function() while true do end end)
app:get("/exit", function() ffi.C._exit(7) end)
app:get("/segv", function() ffi.C.raise(11) end)
app:get("/shout", function() io.stderr:write("last words\n") io.stderr:flush() ffi.C.raise(9) end)
return app
]]

local function serve(flags)
  local arguments = { "--workers", "1" }
  for _, flag in ipairs(flags or {}) do arguments[#arguments + 1] = flag end
  return host.serve { app = dying, flags = arguments }
end

-- Asks for something that kills the worker.
local function ask(server, path)
  local connection = client.connect(server.target)
  connection:request("GET", path)
  return connection
end

describe("the manager", function()
  after_each(host.finish)

  it("tells that a worker was killed, and replaces it", function()
    local server = serve()
    local pid = server:wait_version("v1", 1)[1]
    uv.kill(pid, "sigkill")
    local line = server:expect("manager.*worker 0 .*killed")
    assert.truthy(line:find("SIGKILL", 1, true), line)
    assert.truthy(line:find("pid " .. pid, 1, true), line)
    assert.truthy(line:find "gen 1" or line:find "generation 1", line)
    local new = server:wait_version("v1", 1)[1]
    assert.are_not.equal(pid, new)
    assert.equal(1, #server:matching "worker 0 .*killed")
  end)

  it("tells that a worker exited, with its code", function()
    local server = serve()
    server:wait_version("v1", 1)
    ask(server, "/exit"):close()
    assert.truthy(server:expect("manager.*worker 0 .*exited"):find "7")
    server:wait_version("v1", 1)
  end)

  it("tells the signal of a crash", function()
    -- a sanitizer makes an exit of it
    local server = host.serve { app = dying, flags = { "--workers", "1" }, binary = host.release_binary }
    server:wait_version("v1", 1)
    ask(server, "/segv")
    server:expect("manager.*worker 0 .*SIGSEGV")
    server:wait_version("v1", 1)
  end)

  it("writes a worker's last words before its obituary", function()
    local server = serve()
    server:wait_version("v1", 1)
    ask(server, "/shout")
    server:expect("worker 0 .*| last words")
    server:expect("manager.*worker 0 .*killed")
    server:wait_version("v1", 1)
  end)

  it("kills a worker that is stuck, says so once, and replaces it", function()
    local server = serve { "--worker-timeout", "1" }
    local pid = server:wait_version("v1", 1)[1]
    ask(server, "/loop")
    server:expect("manager.*worker 0 .*is stuck", 10)
    local new = server:wait_version("v1", 1, 15)[1]
    assert.are_not.equal(pid, new)
    assert.equal(1, #server:matching "manager.*worker 0 .*is stuck")
    assert.equal(1, #server:matching "manager.*worker 0 .*was stuck")
  end)

  it("leaves a worker alone that waits for long but beats", function()
    local server = host.serve { app = [[
local perigee = require "perigee"
local app = perigee.app "waiting"
app:get("/", function() perigee.sleep(3) return "done\n" end)
return app
]], flags = { "--workers", "1", "--worker-timeout", "1" } }
    assert.equal("done\n", server:get("/").body)
    assert.equal(0, #server:matching "stuck")
  end)

  it("backs off from a worker that dies young, again and again", function()
    local server = serve()
    local began = wait.now()
    for _ = 1, 4 do
      local pid = server:wait_version("v1", 1, 20)[1]
      uv.kill(pid, "sigkill")
    end
    server:wait_version("v1", 1, 20)
    -- 100, 200, 400 ms at the least once the first two went by
    assert.is_true(wait.now() - began > 0.5)
  end)

  it("scales with SIGTTIN and SIGTTOU, and keeps one worker", function()
    local server = serve()
    local count = #server:processes()
    server:signal "sigttin"
    server:wait_version("v1", 2)
    server:signal "sigttou"
    server:wait_version("v1", 1)
    server:signal "sigttou"
    server:wait_processes(count)
    server:wait_version("v1", 1)
  end)

  it("stands a storm of signals and deaths", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "3" } }
    server:wait_version("v1", 3)
    math.randomseed(42)
    local function kill_one()
      local children = {}
      for _, process in ipairs(server:processes()) do
        local is_child = process.parent == server.pid and process.name ~= "perigee-guard"
        if is_child then children[#children + 1] = process.pid end
      end
      if #children > 0 then uv.kill(children[math.random(#children)], "sigkill") end
    end
    local version = 1
    for _ = 1, 60 do
      local dice = math.random(6)
      if dice <= 2 then
        version = version + 1
        server:reload(host.versioned_app("v" .. version))
      elseif dice == 3 then
        server:signal "sigttin"
      elseif dice == 4 then
        server:signal "sigttou"
      else
        kill_one()
      end
      wait.pause(math.random() * 0.1)
    end
    -- Signals that come in one turn have no order: the next is sent when the last has been obeyed.
    local refused = #server:matching "there can be 1 to 256 workers"
    wait.till(20, "one worker to be left", function()
      server:signal "sigttou"
      wait.pause(0.01)
      return #server:matching "there can be 1 to 256 workers" > refused
    end)
    wait.pause(0.2)
    for workers = 1, 2 do
      local pattern = ("from %d to %d workers"):format(workers, workers + 1)
      local before = #server:matching(pattern)
      server:signal "sigttin"
      wait.till(20, pattern, function() return #server:matching(pattern) > before end)
    end
    server:reload(host.versioned_app("last"))
    server:wait_version("last", 3, 40)
    server:wait_processes(6) -- manager, guardian, main process, three workers
  end)

  it("replaces its guardian", function()
    local server = serve()
    local function guardian()
      for _, process in ipairs(server:processes()) do
        if process.name == "perigee-guard" and process.state ~= "Z" then return process.pid end
      end
    end
    local first = guardian()
    uv.kill(first, "sigkill")
    local second = wait.till(5, "another guardian", function()
      local pid = guardian()
      return pid ~= first and pid
    end)
    assert.truthy(second)
    server:wait_version("v1", 1)
    uv.kill(server.pid, "sigkill")
    wait.till(3, "no process to be left", function() return #server:processes() == 0 end)
    server:wait_exit()
  end)

  it("holds when the zygote is killed", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" } }
    local pids = server:wait_version("v1", 2)
    local workers = { [pids[1]] = true, [pids[2]] = true }
    for _, process in ipairs(server:processes()) do
      local zygote = process.parent == server.pid and process.command:find("@zygote", 1, true)
      if zygote and not workers[process.pid] then
        uv.kill(process.pid, "sigkill")
      end
    end
    server:expect("manager.*main gen 1 .*killed")
    wait.till(15, "a worker to be replaced once more", function()
      local list = server:answering(20).v1
      return list and next(list)
    end)
    uv.kill(pids[1], "sigkill")
    wait.till(15, function() return "two workers; it said:\n" .. server:text() end, function()
      local count = 0
      for pid in pairs(server:answering(20).v1 or {}) do
        if pid ~= pids[1] then count = count + 1 end
      end
      return count == 2
    end)
  end)
end)

describe("kill -9 of the manager", function()
  after_each(host.finish)

  it("ends every process within three seconds, under load, and frees the port", function()
    local server = host.serve { app = host.versioned_app("v1", [[
app:get("/sleeper", function()
  os.execute "sleep 999 &"
  return "started\n"
end)
app:get("/deaf", function()
  os.execute "sh -c 'trap \"\" TERM HUP INT; sleep 998; sleep 998' &"
  return "started\n"
end)]]), flags = { "--workers", "2" }, binary = host.release_binary }
    server:wait_version("v1", 2)
    local before = #server:processes()
    assert.equal("started\n", server:get("/sleeper").body)
    assert.equal("started\n", server:get("/deaf").body)
    wait.till(5, "the grandchildren", function() return #server:processes() >= before + 3 end)

    local run = load.start { target = server.target, keep_alive = 32, one_shot = 32, seconds = 3 }
    wait.pause(0.5)
    uv.kill(server.pid, "sigkill")
    local killed = wait.now()
    wait.till(3, function()
      return "no process to be left; there are:\n" .. require "spec.support.proc".describe(server:processes())
    end, function() return #server:processes() == 0 end)
    print(("    all gone after %.0f ms"):format((wait.now() - killed) * 1000))
    assert.equal(137, server:wait_exit())
    run:result()

    local again = host.serve { app = host.versioned_app("v2"), bind = "127.0.0.1:" .. server.port,
      binary = host.release_binary }
    again.target = server.port
    again:wait_answering()
    assert.truthy(again:answering().v2)
  end)

  it("ends a stuck worker too", function()
    local server = serve()
    server:wait_version("v1", 1)
    ask(server, "/loop")
    wait.pause(0.3)
    uv.kill(server.pid, "sigkill")
    wait.till(3, "no process to be left", function() return #server:processes() == 0 end)
    server:wait_exit()
  end)
end)

describe("with few descriptors", function()
  after_each(host.finish)

  it("says what it cannot do, serves with what it has, and takes up the rest later", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" },
      wrapper = { "sh", "-c", 'ulimit -n 86; exec "$0" "$@"' } }
    server:wait_version("v1", 2)
    local count = #server:processes()
    for workers = 3, 8 do
      server:signal "sigttin"
      server:expect("from " .. workers - 1 .. " to " .. workers .. " workers")
    end
    server:expect "failed to start: .*Too many open files"
    server:signal "sighup"
    server:expect "reload failed: .*Too many open files"
    assert.truthy(server:answering().v1)
    for workers = 7, 2, -1 do
      server:signal "sigttou"
      server:expect("from " .. workers + 1 .. " to " .. workers .. " workers")
    end
    server:wait_processes(count)
    server:reload(host.versioned_app("v2"))
    server:wait_version("v2", 2)
  end)
end)
