-- Locks, semaphores, events, barriers and what is done once, as apps use them in several workers:
-- waits that yield, timeouts, cancelled handlers, and workers that are killed.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local source = [[
local perigee = require "perigee"
local uv = require "luv"
local app = perigee.app "sync"

app:main_process_start(function(app)
  local shared = app.shared
  shared.lock = perigee.shared.lock("lock")
  shared.pool = perigee.shared.semaphore("pool", 2)
  shared.go = perigee.shared.event("go")
  shared.gate = perigee.shared.barrier("gate", 3)
  shared.waiting = perigee.shared.value("waiting", "int64")
  shared.runs = perigee.shared.value("runs", "int64")
  shared.setup = perigee.shared.once("setup", function()
    local run = shared.runs:add(1)
    if run == 1 then error("the first run fails", 0) end
    perigee.sleep(0.05)
    return { run = run, by = uv.os_getpid() }
  end)
  shared.big = perigee.shared.once("big", function() return ("x"):rep(100) end, { limit = 64 })
  shared.nothing = perigee.shared.once("nothing", function() end)
end)

local function line(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  return table.concat(words, " ")
end

local function message(...)
  local _, text = pcall(...)
  return tostring(text)
end

app:get("/", function() return "hello\n" end)
app:get("/pid", function() return tostring(uv.os_getpid()) end)
app:get("/waiting", function() return tostring(app.shared.waiting:get()) end)

app:get("/hold/<ms:int>", function(_, ms)
  return app.shared.lock:with(function(note)
    app.shared.waiting:add(1)
    perigee.sleep(ms / 1000)
    app.shared.waiting:add(-1)
    return line(uv.os_getpid(), note)
  end)
end)
app:get("/take/<ms:int>", function(_, ms)
  local ok, note, code = app.shared.lock:acquire(ms / 1000)
  if ok then app.shared.lock:release() end
  return line(ok, note, code)
end)
app:get("/forget", function()
  app.shared.lock:acquire()
  return "forgotten"
end)
app:get("/owner", function()
  local owner = app.shared.lock:owner()
  return owner and line(owner.pid, owner.mine) or "nobody"
end)
app:get("/wrong", function()
  local lock, out = app.shared.lock, {}
  out[1] = message(lock.release, lock)
  lock:acquire()
  out[2] = message(lock.acquire, lock)
  out[3] = tostring(select(3, perigee.spawn(function() return lock:acquire(0) end):join()) ~= nil)
  out[4] = message(perigee.spawn, nil)
  lock:release()
  out[5] = message(lock.with, lock, function() error("inside", 0) end)
  out[6] = line(lock:acquire(0))
  lock:release()
  out[7] = message(app.shared.pool.release, app.shared.pool)
  out[8] = message(lock.acquire, lock, -1)
  out[9] = message(perigee.shared.semaphore, "pool", 3)
  out[10] = message(perigee.shared.lock, "late")
  out[11] = message(perigee.shared.barrier, "gate", 0)
  return table.concat(out, "\n")
end)

app:get("/permit/<ms:int>", function(_, ms)
  return app.shared.pool:with(function()
    app.shared.waiting:add(1)
    perigee.sleep(ms / 1000)
    app.shared.waiting:add(-1)
    return "had"
  end)
end)
app:get("/permit", function()
  local pool = app.shared.pool
  local ok, text, code = pool:acquire(0.05)
  if ok then pool:release() end
  return line(ok, text, code, pool:available())
end)

app:get("/go", function()
  app.shared.waiting:add(1)
  return line(app.shared.go:wait(10))
end)
app:get("/went", function() return line(app.shared.go:wait(0.02)) end)
app:get("/pulse", function()
  app.shared.go:set()
  app.shared.go:clear()
  return line(app.shared.go:is_set(), app.shared.go:stat().times)
end)

app:get("/gate/<ms:int>", function(_, ms) return line(app.shared.gate:wait(ms / 1000)) end)
app:get("/gate", function()
  local stat = app.shared.gate:stat()
  return line(stat.parties, stat.waiting, stat.passed)
end)

app:get("/setup", function()
  local result = app.shared.setup()
  return line(result.run, result.by)
end)
app:get("/once", function()
  return table.concat({ message(app.shared.big.run, app.shared.big), line(app.shared.nothing()),
    line(app.shared.nothing:is_done(), app.shared.big:is_done()) }, "\n")
end)
return app
]]

local server

--- Asks on a connection of its own and returns what gives the answer's body.
local function ask(path)
  local connection = client.connect(server.target)
  connection:send("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n")
  return function()
    local response = assert(connection:response())
    connection:close()
    return response.body, response.status
  end, connection
end

local function waiting_is(count)
  wait.till(10, count .. " that wait", function() return server:get("/waiting").body == tostring(count) end)
end

local function serve(workers)
  server = host.serve { app = source, flags = { "--workers", tostring(workers) } }
end

describe("a lock", function()
  after_each(host.finish)

  it("is had by one of all workers at a time, and by all that wait in the end", function()
    serve(3)
    local began, answers = wait.now(), {}
    for i = 1, 12 do answers[i] = ask "/hold/20" end
    for i = 1, 12 do assert.matches("^%d+ nil$", (answers[i]())) end
    assert.is_true(wait.now() - began >= 0.24, "two had it at once")
    assert.equal("nobody", server:get("/owner").body)
  end)

  it("is refused after the timeout, and where it would be a mistake", function()
    serve(2)
    local answer = ask "/hold/600"
    waiting_is(1)
    for ms, seconds in pairs { [50] = "0.05", [0] = "0" } do
      assert.equal(("nil timeout: the lock 'lock' could not be had in %s s TIMEOUT"):format(seconds),
        server:get("/take/" .. ms).body)
    end
    assert.matches("^%d+ nil$", (answer()))
    local lines = {}
    for text in server:get("/wrong").body:gmatch "[^\n]+" do lines[#lines + 1] = text end
    for i, text in ipairs { "app.lua:%d+: lock:release: this task does not have the lock 'lock'",
      "app.lua:%d+: lock:acquire: this task has the lock 'lock' already", "true", "", "^inside$", "^true$",
      "app.lua:%d+: semaphore:release: this process has no permit of the semaphore 'pool'",
      "timeout must be a number of seconds",
      "exists as semaphore of 2 permits, not as semaphore of 3 permits",
      "make it in main_process_start", "parties must be a whole number from 1" } do
      assert.matches(text, lines[i])
    end
  end)

  it("of a worker that is killed is had by another within a second, which is told", function()
    serve(2)
    local _, connection = ask "/hold/30000"
    waiting_is(1)
    local pid = tonumber(server:get("/owner").body:match "^%d+")
    local answer = ask "/hold/1"
    server:allow "killed by SIGKILL"
    uv.kill(pid, "sigkill")
    local died = wait.now()
    -- ours may have been in the worker that died
    local ok, body = pcall(answer)
    if not ok then body = server:get("/hold/1").body end
    assert.matches("^%d+ abandoned$", body)
    assert.is_true(wait.now() - died < 1.5, "it took too long")
    connection:close()
    assert.matches("^%d+ nil$", server:get("/hold/1").body)
  end)

  it("is released when its handler is cancelled, and taken from one that forgot it", function()
    serve(2)
    local _, connection = ask "/hold/30000"
    waiting_is(1)
    connection.socket:close_reset()
    assert.matches("^%d+ nil$", server:get("/hold/1").body)
    for _ = 1, 6 do -- in the same worker, and in another
      assert.equal("forgotten", server:get("/forget").body)
      assert.matches("^%d+ abandoned$", server:get("/hold/1").body)
      server:expect "the lock 'lock' was not released before the task that had acquired it ended"
    end
  end)
end)

describe("a semaphore", function()
  after_each(host.finish)

  it("lets in as many as it has permits", function()
    serve(2)
    local answers = {}
    for i = 1, 2 do answers[i] = ask "/permit/700" end
    waiting_is(2)
    assert.equal("nil timeout: the semaphore 'pool' could not be had in 0.05 s TIMEOUT 0",
      server:get("/permit").body)
    local third = ask "/permit/1"
    for i = 1, 2 do assert.equal("had", answers[i]()) end
    assert.equal("had", third())
    assert.equal("true nil nil 2", server:get("/permit").body)
  end)

  it("has the permits of a worker that is killed back", function()
    serve(1)
    local connections = {}
    for i = 1, 2 do
      local _
      _, connections[i] = ask "/permit/30000"
    end
    waiting_is(2)
    server:allow "killed by SIGKILL"
    local pid = tonumber(server:get("/pid").body)
    uv.kill(pid, "sigkill")
    wait.till(10, "another worker", function() return client.try(server.target, "GET", "/") ~= nil end)
    assert.matches("^true nil nil 2", server:get("/permit").body)
    for i = 1, 2 do connections[i]:close() end
  end)
end)

describe("an event", function()
  after_each(host.finish)

  it("has all go on who wait when it is set, though it is cleared at once", function()
    serve(2)
    local answers = {}
    for i = 1, 6 do answers[i] = ask "/go" end
    waiting_is(6)
    assert.equal("nil timeout: the event 'go' was not set in 0.02 s TIMEOUT", server:get("/went").body)
    assert.equal("false 1", server:get("/pulse").body)
    for i = 1, 6 do assert.equal("true", answers[i]()) end
    assert.equal("nil timeout: the event 'go' was not set in 0.02 s TIMEOUT", server:get("/went").body)
  end)
end)

describe("a barrier", function()
  after_each(host.finish)

  it("is passed by all at once, by whom ever they are served", function()
    serve(2)
    for round = 1, 3 do
      local answers, seen = {}, {}
      for i = 1, 2 do answers[i] = ask "/gate/10000" end
      wait.till(10, "two that wait", function()
        return server:get("/gate").body == "3 2 " .. round - 1
      end)
      answers[3] = ask "/gate/10000"
      for i = 1, 3 do seen[i] = answers[i]() end
      table.sort(seen)
      assert.equal("1 2 3", table.concat(seen, " "))
      assert.equal("3 0 " .. round, server:get("/gate").body)
    end
  end)

  it("is as before when one leaves, by timeout or with its client", function()
    serve(2)
    assert.equal("nil timeout: not all came to the barrier 'gate' in 0.03 s TIMEOUT",
      server:get("/gate/30").body)
    assert.equal("3 0 0", server:get("/gate").body)
    local _, connection = ask "/gate/30000"
    wait.till(10, "one that waits", function() return server:get("/gate").body == "3 1 0" end)
    connection.socket:close_reset()
    wait.till(10, "none that waits", function() return server:get("/gate").body == "3 0 0" end)
  end)
end)

describe("what is done once", function()
  after_each(host.finish)

  it("is done by one worker, again if it raised, and never after, also by new code", function()
    serve(3)
    server:allow "the first run fails"
    local bodies, answers, failed = {}, {}, 0
    for i = 1, 9 do answers[i] = ask "/setup" end
    for i = 1, 9 do
      local body, status = answers[i]()
      if status == 500 then failed = failed + 1 else bodies[body] = true end
    end
    assert.equal(1, failed)
    local only = next(bodies)
    assert.is_nil(next(bodies, only))
    assert.matches("^2 %d+$", only)
    server:reload(source)
    server:expect "generation 2 serves"
    assert.equal(only, server:get("/setup").body)
  end)

  it("has a result that fits, or none", function()
    serve(1)
    local text = server:get("/once").body
    assert.truthy(text:find("its result is too big: 102 bytes as JSON, the limit is 64", 1, true), text)
    assert.truthy(text:find("\ntrue\ntrue false", 1, true), text)
  end)
end)
