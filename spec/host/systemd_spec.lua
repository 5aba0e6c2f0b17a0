-- What systemd asks of a service: readiness, reloads, a watchdog, and its sockets. Nobody here is systemd:
-- the protocol is datagrams and environment variables.

local client = require "spec.support.client"
local host = require "spec.support.host"
local notify_socket = require "spec.support.notify_socket"
local uv = require "luv"
local wait = require "spec.support.wait"

local count = 0
local open -- notify sockets of this spec

local function notified(name)
  count = count + 1
  local socket = notify_socket.open(name or ("/tmp/perigee-notify-%d-%d"):format(uv.os_getpid(), count))
  open[#open + 1] = socket
  return socket
end

-- Starts an app that tells `socket`, and returns at once.
local function start(socket, app, flags, environment)
  local port = host.free_port()
  local arguments = { "serve", "app.lua", "--workers", "2", "--bind", "127.0.0.1:" .. port }
  for _, flag in ipairs(flags or {}) do arguments[#arguments + 1] = flag end
  local variables = { NOTIFY_SOCKET = socket.name }
  for name, value in pairs(environment or {}) do variables[name] = value end
  local server = host.start(arguments, { app = app, env = variables })
  server.port, server.target = port, port
  return server
end

-- Worker 1 is a while later than worker 0.
local late = [[
app:before_server_start(function(app)
  if app.m.slot == 1 then print "waiting" perigee.sleep(0.6) end
end)
app:get("/environment", function()
  return tostring(os.getenv "NOTIFY_SOCKET" or os.getenv "WATCHDOG_USEC")
end)
]]

describe("NOTIFY_SOCKET", function()
  before_each(function() open = {} end)
  after_each(function()
    for _, socket in ipairs(open) do socket:close() end
    host.finish()
  end)

  local abstract = "@perigee-notify-" .. uv.os_getpid()
  for kind, name in pairs { ["a path"] = false, ["an abstract name"] = abstract } do
    it("at " .. kind .. " is told when every slot serves, and no sooner", function()
      local socket = notified(name or nil)
      local server = start(socket, host.versioned_app("v1", late))
      socket:expect "^STATUS=loading generation 1$"
      server:expect "| waiting"
      assert.equal(0, socket:count "READY")
      socket:expect "^STATUS=generation 1 serves on 2 workers$"
      socket:expect "^READY=1$"
      assert.equal("MAINPID=" .. server.pid, socket:expect "^MAINPID=")
      assert.equal("nil", server:get("/environment").body)
      server:signal "sigterm"
      socket:expect "^STOPPING=1$"
      assert.equal(0, server:wait_exit())
      assert.equal(1, socket:count "^READY=1$")
      assert.equal(1, socket:count "^STOPPING=1$")
    end)
  end

  it("is told of a reload from its beginning to its end, good or bad", function()
    local socket = notified()
    local server = start(socket, host.versioned_app("v1", late))
    socket:expect "^READY=1$"
    local before = uv.hrtime() / 1000
    server:reload(host.versioned_app("v2", late))
    socket:expect "^RELOADING=1$"
    local at = tonumber(socket:expect("^MONOTONIC_USEC=%d+$"):match "%d+")
    assert.is_true(at >= before and at <= uv.hrtime() / 1000)
    socket:expect "^STATUS=loading generation 2$"
    socket:expect "^READY=1$"
    assert.truthy(server:answering().v2)
    assert.is_nil(server:answering().v1) -- READY was true

    server:reload "error 'not today'"
    socket:expect "^RELOADING=1$"
    socket:expect "^STATUS=reload failed, generation 2 goes on serving: .*app.lua:1: not today"
    socket:expect "^READY=1$"
    assert.equal(2, socket:count "^RELOADING=1$")
  end)

  it("is told once of many reloads that become one", function()
    local socket = notified()
    local server = start(socket, host.versioned_app("v1", late))
    socket:expect "^READY=1$"
    for version = 2, 5 do server:reload(host.versioned_app("v" .. version, late)) end
    server:wait_version("v5", 2)
    socket:expect "^STATUS=generation %d+ serves"
    wait.till(5, "it to be ready in the end", function()
      return socket:count "^READY=1$" == socket:count "^RELOADING=1$" + 1
    end)
  end)

  it("is told that a start fails, by its end and not by READY", function()
    local socket = notified()
    local server = start(socket, "error 'not today'")
    assert.equal(1, server:wait_exit())
    assert.equal(0, socket:count "READY=1")
  end)

  it("that is no address is an error", function()
    local server = host.run({ "serve", "app.lua" }, { app = host.versioned_app "v1",
      env = { NOTIFY_SOCKET = "nonsense" } })
    assert.equal(1, server.status)
    assert.truthy(server:text():find("NOTIFY_SOCKET", 1, true))
  end)

  it("that nobody reads any more is no harm", function()
    local socket = notified()
    local server = start(socket, host.versioned_app "v1")
    socket:expect "^READY=1$"
    socket:close()
    open = {}
    server:reload(host.versioned_app "v2")
    server:wait_version("v2", 2)
    assert.equal(0, server:stop())
  end)
end)

describe("WATCHDOG_USEC", function()
  before_each(function() open = {} end)
  after_each(function()
    for _, socket in ipairs(open) do socket:close() end
    host.finish()
  end)

  local looping = [[
app:get("/loop", function() while true do end end)
]]

  local function beats(socket, seconds)
    local before = socket:count "^WATCHDOG=1$"
    wait.pause(seconds)
    return socket:count "^WATCHDOG=1$" - before
  end

  it("is answered twice in each, and not when the manager does not run", function()
    local socket = notified()
    local server = start(socket, host.versioned_app "v1", nil, { WATCHDOG_USEC = "2000000" })
    socket:expect "^READY=1$"
    socket:expect "^WATCHDOG=1$"
    socket:expect "^WATCHDOG=1$"
    assert.is_true(beats(socket, 3) >= 2)
    server:signal "sigstop"
    socket:read()
    assert.equal(0, beats(socket, 2.2))
    server:signal "sigcont"
    socket:expect "^WATCHDOG=1$"
  end)

  it("is answered only while a worker is alive", function()
    local socket = notified()
    local server = start(socket, host.versioned_app("v1", looping),
      { "--workers", "1", "--worker-timeout", "600" }, { WATCHDOG_USEC = "2000000" })
    socket:expect "^READY=1$"
    socket:expect "^WATCHDOG=1$"
    local stuck = client.connect(server.port)
    stuck:request("GET", "/loop")
    -- Its last heartbeat counts for as long as the watchdog waits, and no longer.
    wait.till(15, "silence", function() return beats(socket, 2.2) == 0 end)
    server:signal "sigterm"
    server:expect "stopping"
    server:signal "sigterm"
    assert.equal(143, server:wait_exit())
    stuck:close()
  end)

  it("of another process is not answered", function()
    local socket = notified()
    start(socket, host.versioned_app "v1", nil, { WATCHDOG_USEC = "200000", WATCHDOG_PID = "1" })
    socket:expect "^READY=1$"
    assert.equal(0, beats(socket, 1))
  end)
end)

describe("LISTEN_FDNAMES", function()
  after_each(host.finish)

  local function tcp()
    local socket = uv.new_tcp()
    assert(socket:bind("127.0.0.1", 0))
    assert(socket:listen(128, function() end))
    return socket, socket:getsockname().port
  end

  local wrapper = { "sh", "-c", 'LISTEN_FDS=3 LISTEN_PID=$$ LISTEN_FDNAMES=web:admin:web exec "$@"', "sh" }

  it("names the sockets to bind, TCP and unix, of which one may be several", function()
    local first, first_port = tcp()
    local third, third_port = tcp()
    local path = os.tmpname()
    os.remove(path)
    local second = uv.new_pipe(false)
    assert(second:bind(path .. ".0"))
    assert(os.rename(path .. ".0", path)) -- libuv would remove it when we close
    assert(second:listen(128, function() end))
    local server = host.start({ "serve", "app.lua", "--workers", "2", "--bind", "fd:web",
      "--bind", "fd:admin" }, { app = host.versioned_app "v1", wrapper = wrapper,
      stdio = { [3] = first, [4] = second, [5] = third } })
    local targets = { first_port, third_port, path }
    for _, socket in ipairs { first, second, third } do socket:close() end
    uv.run "nowait"
    for _, target in ipairs(targets) do
      server.target = target
      server:wait_answering()
    end
    server:reload(host.versioned_app "v2")
    server:wait_version("v2", 2)
    assert.equal(0, server:stop())
    assert.truthy(uv.fs_stat(path)) -- whoever made it removes it
    os.remove(path)
  end)

  it("that was not passed is an error which names those that were", function()
    local sockets = { (tcp()), (tcp()), (tcp()) }
    local server = host.start({ "serve", "app.lua", "--bind", "fd:wbe" }, { app = host.versioned_app "v1",
      stdio = { [3] = sockets[1], [4] = sockets[2], [5] = sockets[3] }, wrapper = wrapper })
    for _, socket in ipairs(sockets) do socket:close() end
    assert.equal(1, server:wait_exit())
    assert.truthy(server:text():find("'fd:wbe': no socket of this name was passed in LISTEN_FDNAMES; "
      .. "there are admin, web", 1, true), server:text())
  end)
end)
