-- What is to be read of every process, in every process: app.m.workers, app.m.state, app.m.totals.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local uv = require "luv"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local app = perigee.app "state"
local dir = os.getenv "SPEC_INSTANCE"
local function exists(name)
  local file = io.open(dir .. "/" .. name)
  if file then file:close() end
  return file ~= nil
end
app:before_server_start(function(app)
  if exists "broken" then error "it is broken" end
  while exists "slow" do perigee.sleep(0.02) end
end)
app:get("/", function() return "v1 " .. app.m.pid .. "\n" end)
app:get("/rows", function() return app.m.workers end)
app:get("/own", function()
  local s = app.m.state
  return { name = s.name, pid = s.pid, state = s.state, starts = s.starts, serving = s.serving,
    requests = s.requests, color = s.color }
end)
app:get("/tell", function(req)
  app.m.state.color, app.m.state.size, app.m.state.round = req.query.color, 1.5, true
  return app.m.name
end)
app:get("/forget", function() app.m.state.color = nil return app.m.name end)
app:get("/set/<key>", function(req, key)
  local ok, problem = pcall(function() app.m.state[key] = req.query.value or {} end)
  return tostring(ok) .. " " .. tostring(problem)
end)
app:get("/large", function()
  local ok, problem = pcall(function() app.m.state.color = ("x"):rep(2048) end)
  return tostring(ok) .. " " .. tostring(problem) .. " " .. tostring(app.m.state.color)
end)
app:get("/hold", function()
  app.m.state.holding = true
  while exists "hold" do perigee.sleep(0.02) end
  return "held"
end)
app:get("/scale/<n:int>", function(req, n)
  local ok, why = app.m:scale(n)
  return ok and "true" or why
end)
app:get("/restart", function(req) return tostring(app.m:restart(req.query.name)) end)
app:get("/totals", function() return app.m.totals end)
app:get("/watch", function()
  local last, seen, falls = 0, 0, 0
  while exists "watch" do
    for _ = 1, 200 do
      local now = app.m.totals.requests
      if now < last then falls = falls + 1 end
      last, seen = now, seen + 1
    end
    perigee.sleep(0.001)
  end
  return { falls = falls, seen = seen, last = last }
end)
return app
]]

local function serve(workers)
  local server = host.serve { app = app, flags = { "--workers", tostring(workers) } }
  server:wait_version("v1", workers)
  return server
end

local function rows(server) return json.decode(server:get("/rows").body) end

local function row_of(server, name, index)
  for _, row in ipairs(rows(server)) do
    if row.name == name then
      index = (index or 1) - 1
      if index == 0 then return row end
    end
  end
end

local function names(server)
  local list = {}
  for i, row in ipairs(rows(server)) do list[i] = row.name end
  return list
end

local function ask_later(server, path)
  local connection = client.connect(server.target)
  connection:send("GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n")
  return connection
end

describe("app.m.workers", function()
  after_each(host.finish)

  it("has a row for the main process and each worker, with all that is known", function()
    local server = serve(2)
    local list = rows(server)
    assert.equal(3, #list)
    assert.same({ "main", "worker-0", "worker-1" }, names(server))
    for _, row in ipairs(list) do
      local is_worker = row.name ~= "main"
      assert.equal(is_worker and "worker" or "main", row.role)
      assert.equal(is_worker, row.server)
      assert.equal(is_worker, row.serving)
      assert.equal("ACKED", row.state)
      assert.equal(1, row.generation)
      assert.equal(1, row.starts)
      assert.is_nil(row.restart_at)
      assert.is_nil(row.last_error)
      assert.is_true(math.abs(row.start_at - os.time()) < 30)
      assert.equal(server.pid, (assert(host.read_file("/proc/" .. row.pid .. "/stat")
        :match "%) %a (%d+)") + 0))
    end
    assert.is_true(list[2].requests + list[3].requests > 40)
    local own = json.decode(server:get("/own").body)
    local row = row_of(server, own.name)
    assert.equal(row.pid, own.pid)
    assert.equal("ACKED", own.state)
    assert.is_true(own.serving)
  end)

  it("tells the truth after a restart, a death and a reload", function()
    local server = serve(2)
    local first = row_of(server, "worker-1")
    server:get "/restart?name=worker-1"
    local second = row_of(server, "worker-1")
    assert.are_not.equal(first.pid, second.pid)
    assert.equal(2, second.starts)
    assert.equal("ACKED", second.state)
    assert.is_true(second.serving)
    assert.is_true(second.restart_at >= first.start_at)
    assert.equal(second.start_at, second.restart_at)
    assert.is_nil(second.last_error)

    uv.kill(second.pid, "sigkill")
    local third = wait.till(10, "another worker-1", function()
      local row = row_of(server, "worker-1")
      return row and row.pid ~= second.pid and row.serving and row
    end)
    assert.equal(3, third.starts)
    assert.truthy(third.last_error:find("pid " .. second.pid .. " was killed by SIGKILL", 1, true))

    server:signal "sighup"
    server:expect "generation 2 serves"
    local fourth = row_of(server, "worker-1")
    assert.equal(2, fourth.generation)
    assert.equal(4, fourth.starts)
    assert.equal("ACKED", fourth.state)
    wait.till(10, "three rows", function() return #rows(server) == 3 end)
  end)

  it("shows a process on its way in, and one on its way out", function()
    local server = serve(1)
    host.write_file(server.dir .. "/slow", "")
    host.write_file(server.dir .. "/hold", "")
    local held = ask_later(server, "/hold")
    local asked = ask_later(server, "/restart")
    wait.till(5, "the new one", function() return row_of(server, "worker-0", 2) end)
    assert.equal("RESTARTING", row_of(server, "worker-0", 1).state)
    assert.is_true(row_of(server, "worker-0", 1).serving)
    local new = wait.till(5, "STARTED", function()
      local row = row_of(server, "worker-0", 2)
      return row.state == "STARTED" and row
    end)
    assert.is_false(new.serving)
    os.remove(server.dir .. "/slow")
    asked:response(10)
    wait.till(5, "the old one to leave", function()
      local old = row_of(server, "worker-0", 2)
      return old and old.state == "JOINED" and not old.serving
    end)
    assert.equal("ACKED", row_of(server, "worker-0").state)
    assert.equal(new.pid, row_of(server, "worker-0").pid)
    os.remove(server.dir .. "/hold")
    held:response(10)
    asked:close()
    held:close()
    wait.till(5, "it to be gone", function() return not row_of(server, "worker-0", 2) end)
  end)

  it("leaves nothing behind of workers that are scaled away", function()
    local server = serve(1)
    for _ = 1, 3 do
      assert.equal("true", server:get("/scale/5").body)
      assert.same({ "main", "worker-0", "worker-1", "worker-2", "worker-3", "worker-4" }, names(server))
      assert.equal("true", server:get("/scale/1").body)
      wait.till(10, "two rows", function() return #rows(server) == 2 end)
    end
  end)

  it("keeps the row of a worker that waits for its next start, with why", function()
    local server = serve(1)
    host.write_file(server.dir .. "/broken", "")
    assert.equal("worker 1", server:get("/scale/2").body:sub(1, 8))
    local row = wait.till(5, "FAILED", function()
      local found = row_of(server, "worker-1")
      return found and found.state == "FAILED" and found
    end)
    assert.truthy(row.last_error:find("it is broken", 1, true))
    assert.is_false(row.serving)
    os.remove(server.dir .. "/broken")
    wait.till(10, "ACKED", function() return row_of(server, "worker-1").state == "ACKED" end)
    assert.truthy(row_of(server, "worker-1").last_error)
    wait.till(5, "three rows", function() return #rows(server) == 3 end)
  end)
end)

describe("app.m.state", function()
  after_each(host.finish)

  it("takes keys that all processes read, until the process ends", function()
    local server = serve(2)
    local name = server:get("/tell?color=blue%0A").body
    local row = wait.till(5, "the keys", function()
      local found = row_of(server, name)
      return found.color and found
    end)
    assert.same({ "blue\n", 1.5, true }, { row.color, row.size, row.round })
    server:get("/restart?name=" .. name)
    assert.is_nil(row_of(server, name).color)
    wait.till(10, "its own", function() return json.decode(server:get("/own").body).color == nil end)
  end)

  it("forgets a key that is set to nil", function()
    local server = serve(1)
    server:get "/tell?color=blue"
    server:get "/forget"
    local row = row_of(server, "worker-0")
    assert.is_nil(row.color)
    assert.equal(1.5, row.size)
  end)

  it("refuses what is Perigee's, what has no form, and what is too large, at the caller's line", function()
    local server = serve(1)
    for _, key in ipairs { "name", "role", "server", "state", "pid", "generation", "start_at", "starts",
      "restart_at", "serving", "requests", "connections", "last_error" } do
      local body = server:get("/set/" .. key .. "?value=1").body
      assert.truthy(body:find("^false app.lua:%d+: app.m.state." .. key .. " cannot be set"), body)
    end
    assert.truthy(server:get("/set/mine").body:find "app.lua:%d+: app.m.state.mine must be a string, a")
    assert.truthy(server:get("/set/mine?value=a%00b").body:find "app.m.state.mine has a NUL")
    server:get "/tell?color=blue"
    local body = server:get("/large").body
    assert.truthy(body:find "app.lua:%d+: app.m.state.color: there is room for 2048 bytes", body)
    assert.equal("blue", row_of(server, "worker-0").color)
  end)
end)

describe("app.m.totals", function()
  after_each(host.finish)

  it("counts every request once, across deaths, restarts and scalings", function()
    local server = serve(2)
    local before = json.decode(server:get("/totals").body).requests
    local sent = 0
    local function ask(count)
      for _ = 1, count do
        assert.equal(200, server:get("/").status)
        sent = sent + 1
      end
    end
    ask(20)
    uv.kill(row_of(server, "worker-1").pid, "sigkill")
    sent = sent + 1 -- the rows
    server:expect "worker 1 gen 1 .*killed"
    ask(20)
    server:get "/scale/4"
    ask(20)
    server:get "/scale/1"
    server:get "/restart"
    ask(20)
    sent = sent + 3
    local count = #server:processes()
    wait.till(10, "the others to be gone", function() return #server:processes() == 4 end)
    assert.is_true(count >= 4)
    assert.equal(before + sent + 1, json.decode(server:get("/totals").body).requests)
  end)

  it("never falls, however often it is read while processes come and go", function()
    local server = serve(1)
    host.write_file(server.dir .. "/watch", "")
    local watching = ask_later(server, "/watch")
    for _ = 1, 6 do
      server:signal "sigttin"
      server:expect "from 1 to 2 workers"
      for _ = 1, 30 do server:get "/" end
      server:signal "sigttou"
      server:expect "from 2 to 1 workers"
      server:expect "worker 1 gen 1 pid .* after"
    end
    os.remove(server.dir .. "/watch")
    local result = json.decode(watching:response(10).body)
    watching:close()
    assert.equal(0, result.falls)
    assert.is_true(result.seen > 1000 and result.last > 100)
  end)
end)
