-- The end of a server: three ways to drain, and hand-over of connections to another process.
local raw = require "spec.support.raw"
local uv = require "luv"

local GET = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
local SLOW = "GET /slow?80 HTTP/1.1\r\nHost: x\r\n\r\n"
local PID = "GET /pid HTTP/1.1\r\nHost: x\r\n\r\n"

describe("http: drain", function()
  local clients

  before_each(function()
    clients = {}
  end)
  after_each(function()
    for _, client in ipairs(clients) do
      client:close()
    end
  end)

  local function connect(port, options)
    clients[#clients + 1] = raw.connect(port, options)
    return clients[#clients]
  end

  it("for shutdown answers what is in flight and what comes within the grace", function()
    local host = raw.host()
    local busy, idle, silent = connect(host.port), connect(host.port), connect(host.port)
    idle:ask(GET)
    busy:send(SLOW)
    host:wait_stat(function(stat)
      return stat.busy == 1
    end)
    host:tell "drain shutdown"
    raw.pass(10)
    local response = idle:ask(GET)
    assert.equal(200, response.status)
    assert.equal("close", response.headers.connection)
    response = busy:response()
    assert.equal("slow\n", response.body)
    assert.equal("close", response.headers.connection)
    for _, client in ipairs(clients) do
      assert.equal("", client:wait_end())
      client:close()
    end
    assert.is_truthy(silent.eof)
    host:line "^drained"
    host:wait_exit()
    assert.equal(1, host:count "^drained")
  end)

  it("for shutdown serves what waits in the socket's queue", function()
    local listener = raw.listen()
    local first = connect(listener.port)
    first:send(GET)
    local host = raw.host({ listen = 3 }, { listener.fd })
    host:tell "drain shutdown"
    assert.equal(200, first:response().status)
    host:line "^drained"
    host:wait_exit()
    listener.close()
  end)

  it("of a retired worker goes on accepting for a moment", function()
    local host = raw.host()
    host:tell "drain retired"
    raw.pass(100)
    local response = connect(host.port):ask(GET)
    assert.equal(200, response.status)
    assert.equal("close", response.headers.connection)
    host:line "^drained"
    host:wait_exit()
  end)

  it("of a replaced worker leaves new connections to the others at once", function()
    local listener = raw.listen()
    local old = raw.host({ listen = 3 }, { listener.fd })
    old:tell "drain replaced"
    old:line "^drained"
    old:wait_exit()
    local client = connect(listener.port)
    client:send(GET)
    local new = raw.host({ listen = 3 }, { listener.fd })
    assert.equal(200, client:response().status)
    new:stop()
    listener.close()
  end)

  -- Two hosts on one listening socket, with a channel: the old one's fd 4 to the new one's fd 4.
  local function pair()
    local listener = raw.listen()
    local from, to = raw.packet_pair()
    local old = raw.host({ listen = 3 }, { listener.fd, from })
    local new = raw.host({ listen = 3 }, { listener.fd, to })
    raw.close_fd(from)
    raw.close_fd(to)
    new:tell "adopt 4"
    return old, new, listener
  end

  local function pid_of(client)
    return tonumber(client:ask(PID).body)
  end

  it("passes idle connections on at once and busy ones when they fall idle", function()
    local old, new, listener = pair()
    -- Both accept; only the old one's connections matter.
    local mine = {}
    while #mine < 100 do
      local client = connect(listener.port)
      if pid_of(client) == old.process:get_pid() then
        mine[#mine + 1] = client
      end
    end
    mine[1]:send(SLOW)
    mine[2]:send(SLOW .. GET)
    mine[3]:send "GET /pid HTTP/1.1\r\nHo"
    old:wait_stat(function(stat)
      return stat.busy == 2
    end)
    old:tell "drain replaced 4"
    old:wait_stat(function(stat)
      return stat.connections == 3
    end)
    for i = 4, 100 do
      assert.equal(new.process:get_pid(), pid_of(mine[i]))
    end
    assert.equal("slow\n", mine[1]:response().body)
    assert.equal("slow\n", mine[2]:response().body)
    assert.equal("hello\n", mine[2]:response().body)
    local response = mine[3]:ask "st: x\r\n\r\n"
    assert.equal(old.process:get_pid(), tonumber(response.body))
    assert.is_nil(response.headers.connection)
    old:line "^drained"
    old:wait_exit()
    for i = 1, 3 do
      assert.equal(new.process:get_pid(), pid_of(mine[i]))
      assert.is_false(mine[i].eof)
    end
    assert.equal(0, old:count "^warning" + new:count "^warning")
    new:stop()
    listener.close()
  end)

  it("keeps serving when the heir is lost, until another is named", function()
    local listener = raw.listen()
    local from, to = raw.packet_pair()
    local from2, to2 = raw.packet_pair()
    local old = raw.host({ listen = 3 }, { listener.fd, from, from2 })
    local client = connect(listener.port)
    assert.equal(old.process:get_pid(), pid_of(client))
    raw.close_fd(from)
    raw.close_fd(from2)
    raw.close_fd(to)
    old:tell "drain replaced 4"
    old:line "^heir_lost"
    local response = client:ask(PID)
    assert.equal(old.process:get_pid(), tonumber(response.body))
    assert.is_nil(response.headers.connection)
    local new = raw.host({ listen = 3 }, { listener.fd, to2 })
    raw.close_fd(to2)
    new:tell "adopt 4"
    old:tell "set_heir 5"
    old:line "^drained"
    old:wait_exit()
    assert.equal(new.process:get_pid(), pid_of(client))
    new:stop()
    listener.close()
  end)

  it("closes after a grace when the heir is lost and nobody follows", function()
    local listener = raw.listen()
    local from, to = raw.packet_pair()
    local old = raw.host({ listen = 3 }, { listener.fd, from })
    local client, other = connect(listener.port), connect(listener.port)
    pid_of(client)
    pid_of(other)
    raw.close_fd(from)
    raw.close_fd(to)
    old:tell "drain replaced 4"
    old:line "^heir_lost"
    old:tell "set_heir -1"
    local response = client:ask(PID)
    assert.equal("close", response.headers.connection)
    assert.equal("", other:wait_end())
    client:close()
    old:line "^drained"
    old:wait_exit()
    listener.close()
  end)

  it("waits for a heir that does not read its channel yet", function()
    local listener = raw.listen()
    local from, to = raw.packet_pair()
    local old = raw.host({ listen = 3 }, { listener.fd, from })
    raw.close_fd(from)
    local all = {}
    for i = 1, 500 do
      all[i] = connect(listener.port)
      all[i]:start_send(PID)
    end
    for i = 1, 500 do
      all[i]:response()
    end
    old:tell "drain replaced 4"
    raw.pass(50)
    local new = raw.host({ listen = 3 }, { listener.fd, to })
    raw.close_fd(to)
    new:tell "adopt 4"
    old:line "^drained"
    old:wait_exit()
    for i = 1, 500 do
      assert.equal(new.process:get_pid(), pid_of(all[i]))
    end
    new:stop()
    listener.close()
  end)

  -- A client that asks again as soon as it is answered, and counts.
  local function hammer(port, running)
    local client = connect(port)
    local state = { count = 0, pids = {} }
    client.tcp:read_stop()
    local function ask()
      client.tcp:write(PID)
    end
    client.tcp:read_start(function(err, chunk)
      if err or not chunk then
        state.failure = err or "closed"
        state.done = true
        return
      end
      client.data = client.data .. chunk
      local pid = client.data:match "\r\n\r\n(%d+)\n"
      if pid then
        if client.data:find "Connection: close" then
          state.failure = "told to close"
        end
        client.data = ""
        state.count = state.count + 1
        state.pids[pid] = true
        if running() then
          ask()
        else
          state.done = true
        end
      end
    end)
    ask()
    return state
  end

  it("under load loses no request and closes no connection", function()
    local ROUNDS, CLIENTS = 6, 32
    local listener = raw.listen()
    local from, to = {}, {}
    for i = 1, ROUNDS do
      from[i], to[i] = raw.packet_pair()
    end
    local running = true
    local hosts = { raw.host({ listen = 3 }, { listener.fd, from[1] }) }
    local states = {}
    for i = 1, CLIENTS do
      states[i] = hammer(listener.port, function()
        return running
      end)
    end
    for i = 1, ROUNDS do
      local before = 0
      for _, state in ipairs(states) do
        before = before + state.count
      end
      raw.wait(function()
        local now = 0
        for _, state in ipairs(states) do
          now = now + state.count
        end
        return now > before + 500
      end, "500 answers")
      local fds = { listener.fd, from[i + 1] or 0, to[i] }
      hosts[i + 1] = raw.host({ listen = 3 }, fds)
      hosts[i + 1]:tell "adopt 5"
      hosts[i]:tell "drain replaced 4"
      raw.close_fd(from[i])
      raw.close_fd(to[i])
      hosts[i]:line "^drained"
      hosts[i]:wait_exit()
    end
    running = false
    raw.wait(function()
      for _, state in ipairs(states) do
        if not state.done then
          return false
        end
      end
      return true
    end, "the last answers")
    for _, state in ipairs(states) do
      assert.is_nil(state.failure)
    end
    hosts[#hosts]:stop()
    listener.close()
  end)

  it("leaves no descriptor behind", function()
    local host = raw.host()
    local function count()
      local n = 0
      for _ in uv.fs_scandir_next, uv.fs_scandir("/proc/" .. host.process:get_pid() .. "/fd") do
        n = n + 1
      end
      return n
    end
    local before = count()
    for _ = 1, 50 do
      local client = raw.connect(host.port)
      client:ask(GET)
      client:close()
    end
    host:wait_stat(function(stat)
      return stat.connections == 0
    end)
    assert.equal(before, count())
    host:stop()
  end)
end)
