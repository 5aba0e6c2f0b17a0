-- What an app asks of the manager, and what it is told.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local app = perigee.app "controlled"
local dir = os.getenv "SPEC_INSTANCE"
local function exists(name)
  local file = io.open(dir .. "/" .. name)
  if file then file:close() end
  return file ~= nil
end
app:before_server_start(function(app)
  if exists "broken" then error "it is broken" end
  while exists "slow" do perigee.sleep(0.02) end
  local starts = assert(io.open(dir .. "/starts", "a"))
  starts:write(app.m.name, "\n")
  starts:close()
end)
local function said(ok, message, code)
  return ("%s %s %s|%s\n"):format(app.m.name, tostring(ok), code or "-", message or "")
end
app:get("/", function() return "VERSION " .. app.m.pid .. "\n" end)
app:get("/restart", function(req)
  local names = req:query_all "name"
  return said(app.m:restart(names[1] and names, { order = req.query.order }))
end)
app:get("/name", function() return app.m.name end)
app:get("/scale/<n>", function(req, n) return said(app.m:scale(tonumber(n))) end)
app:get("/reload", function() return said(app.m:reload()) end)
app:get("/terminate", function() return said(app.m:terminate()) end)
return app
]]

local function versioned(version) return (app:gsub("VERSION", version)) end

local function serve(workers, flags, options)
  options = options or {}
  options.app = options.app or versioned "v1"
  options.flags = { "--workers", tostring(workers), unpack(flags or {}) }
  local server = host.serve(options)
  server:wait_version("v1", workers)
  return server
end

--- A connection to the worker called `name`.
local function connect_to(server, name)
  return wait.till(20, "a connection to " .. name, function()
    local connection = client.connect(server.target)
    if connection:get("/name").body == name then return connection end
    connection:close()
  end)
end

local function sorted(pids)
  table.sort(pids)
  return pids
end

local function common(a, b)
  local count = 0
  for _, x in ipairs(a) do
    for _, y in ipairs(b) do count = count + (x == y and 1 or 0) end
  end
  return count
end

--- An answer that is not there yet: its lines collect in the connection.
local function ask_later(server, path)
  local connection = client.connect(server.target)
  connection:send("GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n")
  return connection
end

describe("app.m:restart", function()
  after_each(host.finish)

  it("puts a fresh process in the place of one, by either spelling of its name", function()
    local server = serve(2)
    local before = server:wait_version("v1", 2)
    assert.truthy(server:get("/restart?name=worker-1").body:find "true %-|\n$")
    local between = server:wait_version("v1", 2)
    assert.equal(1, common(before, between))
    assert.truthy(server:get("/restart?name=worker%200").body:find "true %-|\n$")
    assert.equal(0, common(before, server:wait_version("v1", 2)))
  end)

  it("restarts its own process when no name is given, and has its answer first", function()
    local server = serve(1)
    local before = server:wait_version("v1", 1)
    assert.equal("worker-0 true -|\n", server:get("/restart").body)
    assert.equal(0, common(before, server:wait_version("v1", 1)))
  end)

  it("restarts all, one at a time, its own last", function()
    local server = serve(3)
    local before = server:wait_version("v1", 3)
    os.remove(server.dir .. "/starts")
    local body = server:get("/restart?name=all").body
    assert.truthy(body:find "true %-|\n$", body)
    local asker = body:match "^worker%-%d"
    assert.equal(0, common(before, server:wait_version("v1", 3)))
    local order = {}
    for name in host.read_file(server.dir .. "/starts"):gmatch "[^\n]+" do order[#order + 1] = name end
    assert.equal(3, #order)
    assert.equal(asker, order[3])
    wait.till(5, "the old ones' end", function() return #server:matching "exited with status 0" == 3 end)
  end)

  it("in the order shutdown_first says so when its own process goes before the end", function()
    local server = serve(1)
    local before = server:wait_version("v1", 1)
    assert.equal("worker-0 true -|this process goes before all is done\n",
      server:get("/restart?order=shutdown_first").body)
    assert.equal(0, common(before, server:wait_version("v1", 1)))
  end)

  it("starts as many at a time as restart_keep allows", function()
    local function most_at_once(keep)
      local server = serve(4, { "--set", "restart_keep=" .. keep })
      local count = #server:processes()
      host.write_file(server.dir .. "/slow", "")
      local asked = ask_later(server, "/restart?name=all")
      wait.till(10, "the first to start", function() return #server:processes() > count end)
      wait.pause(0.3)
      local more = #server:processes() - count
      os.remove(server.dir .. "/slow")
      asked:response(20)
      asked:close()
      return more
    end
    assert.equal(1, most_at_once(100))
    assert.equal(2, most_at_once(50))
  end)

  it("ends when a new one cannot start: the old ones that are left go on", function()
    local server = serve(3)
    local before = server:wait_version("v1", 3)
    host.write_file(server.dir .. "/broken", "")
    local body = server:get("/restart?name=all").body
    assert.truthy(body:find "nil failed|worker %d gen 1 pid %d+ failed to start after .*it is broken", body)
    assert.same(sorted(before), sorted(server:wait_version("v1", 3)))
    os.remove(server.dir .. "/broken")
    assert.truthy(server:get("/restart?name=all").body:find "true %-|\n$")
    assert.equal(0, common(before, server:wait_version("v1", 3)))
  end)

  it("names the nearest name, and harms nobody", function()
    local server = serve(2)
    local before = server:wait_version("v1", 2)
    assert.truthy(server:get("/restart?name=wrker-1").body:find(
      "nil ENOENT|there is no process called 'wrker-1'; did you mean 'worker-1'?", 1, true))
    assert.truthy(server:get("/restart?name=worker-0&name=worker-2").body:find("'worker-2'", 1, true))
    assert.same(sorted(before), sorted(server:wait_version("v1", 2)))
  end)

  it("answers every asker", function()
    local server = serve(2)
    local asked = {}
    for i = 1, 12 do asked[i] = ask_later(server, i % 2 == 0 and "/restart?name=all" or "/restart") end
    for _, connection in ipairs(asked) do
      local body = connection:response(20).body
      assert.truthy(body:find "^worker%-%d true", body)
      connection:close()
    end
    server:wait_version("v1", 2)
  end)

  it("survives the death of its asker, of the new worker and of the main process", function()
    local server = serve(2)
    local count = #server:processes()
    host.write_file(server.dir .. "/slow", "")
    local pids = server:wait_version("v1", 2)
    local asked = ask_later(server, "/restart?name=all")
    local list = server:wait_processes(count + 1)
    local known = { [pids[1]] = true, [pids[2]] = true, [server.pid] = true }
    for _, process in ipairs(list) do
      local ours = known[process.pid] or process.name == "perigee-guard"
      if not ours then uv.kill(process.pid, "sigkill") end -- the main process and the new worker
    end
    for _, pid in ipairs(pids) do uv.kill(pid, "sigkill") end -- the asker is among them
    os.remove(server.dir .. "/slow")
    asked:close()
    server:wait_version("v1", 2, 20)
    server:wait_processes(count)
    assert.truthy(server:get("/restart?name=all").body:find "true %-|\n$")
  end)
end)

describe("app.m:scale", function()
  after_each(host.finish)

  it("returns when the workers serve", function()
    local server = serve(1)
    local count = #server:processes()
    assert.truthy(server:get("/scale/4").body:find "true %-|\n$")
    assert.equal(count + 3, #server:processes())
    server:wait_version("v1", 4)
    local leaver = connect_to(server, "worker-3")
    assert.truthy(leaver:get("/scale/2").body:find "worker%-3 true")
    leaver:close()
    server:wait_version("v1", 2)
    server:wait_processes(count + 1)
    assert.truthy(server:get("/scale/2").body:find "true %-|\n$")
  end)

  it("refuses absurd numbers without harm", function()
    local server = serve(2)
    for _, number in ipairs { "0", "-3", "2.5", "257", "1e9", "1e300", "-0.5" } do
      local body = server:get("/scale/" .. number).body
      assert.truthy(body:find "nil EINVAL|there can be", number .. ": " .. body)
    end
    assert.truthy(server:get("/scale/nan").body:find "nil EINVAL")
    assert.equal(500, server:get("/scale/many").status) -- tonumber made nil of it
    server:expect "app.lua:%d+: app.m:scale: the number of workers must be a number, not nil"
    server:wait_version("v1", 2)
  end)

  it("says that a new worker cannot start, and goes on trying", function()
    local server = serve(1)
    host.write_file(server.dir .. "/broken", "")
    local body = server:get("/scale/2").body
    assert.truthy(body:find "nil failed|worker 1 .*it is broken", body)
    os.remove(server.dir .. "/broken")
    server:wait_version("v1", 2)
  end)

  it("tells who is overtaken by another number", function()
    local server = serve(1)
    host.write_file(server.dir .. "/slow", "")
    local first = ask_later(server, "/scale/2")
    server:expect "scale: from 1 to 2"
    local second = ask_later(server, "/scale/3")
    local body = first:response(10).body
    assert.truthy(body:find("nil superseded|the number of workers is to be 3 by now", 1, true), body)
    os.remove(server.dir .. "/slow")
    assert.truthy(second:response(10).body:find "true %-|\n$")
    first:close()
    second:close()
  end)
end)

describe("app.m:reload", function()
  after_each(host.finish)

  it("returns when the new code serves everywhere, or before its own worker goes", function()
    local server = serve(2)
    server:write(versioned "v2")
    local body = server:get("/reload").body
    assert.truthy(body:find "^worker%-%d true", body)
    server:wait_version("v2", 2)
    assert.truthy(server:matching("reload: asked by worker %d gen 1")[1])
  end)

  it("says what is wrong with code that does not load", function()
    local server = serve(2)
    server:write(versioned "v2" .. "\nx = = 1\n")
    local body = server:get("/reload").body
    assert.truthy(body:find "nil failed|app.lua:%d+: ", body)
    server:write((versioned("v2"):gsub("it is broken\" end", "%0 error 'it never starts'")))
    body = server:get("/reload").body
    assert.truthy(body:find "nil failed|app.lua:%d+: it never starts", body)
    server:wait_version("v1", 2)
  end)

  it("merges what comes meanwhile, and answers every asker", function()
    local server = serve(2)
    server:write(versioned "v2")
    host.write_file(server.dir .. "/slow", "")
    local asked = {}
    for i = 1, 8 do asked[i] = ask_later(server, "/reload") end
    for _ = 1, 7 do server:expect "reload: asked by .*after the one under way" end
    os.remove(server.dir .. "/slow")
    for _, connection in ipairs(asked) do
      local body = connection:response(20).body
      assert.truthy(body:find "^worker%-%d true", body)
      connection:close()
    end
    server:wait_version("v2", 2)
    wait.pause(0.3)
    assert.is_true(#server:matching "generation %d+ serves on" <= 3)
  end)

  it("fails for who still waits when the host stops", function()
    local server = serve(1)
    host.write_file(server.dir .. "/slow", "")
    local asked = ask_later(server, "/reload")
    server:expect "reload: asked"
    server:signal "sigterm"
    assert.truthy(asked:response(10).body:find("nil stopping|the host is stopping", 1, true))
    asked:close()
    assert.equal(0, server:wait_exit())
  end)
end)

describe("control", function()
  after_each(host.finish)

  it("ends the host with app.m:terminate", function()
    local server = serve(2)
    assert.truthy(server:get("/terminate").body:find "true %-|\n$")
    assert.equal(0, server:wait_exit())
    assert.truthy(server:matching("worker %d gen 1 asks to stop")[1])
  end)

  it("is there in the main process, and returns when it has begun", function()
    local server = host.serve { app = versioned("v1"):gsub("return app%s*$", [[
app:main_process_ready(function(app)
  print("scale", app.manager:scale(3))
  print("zero", app.manager:scale(0))
  print("name", app.manager:restart "worker-9")
end)
app:main_process_start(function(app)
  print(pcall(function() return app.manager:reload() end))
  print(pcall(function() return app.manager.realod end))
end)
app:get("/manager", function() return app.manager:scale(2) end)
return app
]]), flags = { "--workers", "1" } }
    server:expect "false\tapp.lua:%d+: app.manager:reload: nothing is served yet; call it in a main_"
    server:expect "false\tapp.lua:%d+: app.manager has no 'realod'; did you mean 'reload'?"
    server:expect "scale\ttrue\tbegun"
    server:expect "zero\tnil\tthere can be 1 to 256 workers, not 0\tEINVAL"
    server:expect "name\tnil\tthere is no process called 'worker%-9'; did you mean 'worker%-%d'%?\tENOENT"
    server:wait_version("v1", 3)
    server:get "/manager"
    server:expect "app.manager:scale is for the main process; here it is app.m"
  end)

  it("refuses what is more than a process can wait for", function()
    local server = serve(1, nil, { app = versioned("v1"):gsub("return app%s*$", [[
app:get("/many", function()
  local tasks, told = {}, {}
  for i = 1, 100 do
    tasks[i] = perigee.spawn(function()
      local ok, _, code = app.m:scale(1)
      return ok and "ok" or code
    end)
  end
  for i = 1, 100 do
    local _, said = tasks[i]:join()
    told[said] = (told[said] or 0) + 1
  end
  return said(told.ok == 64 and told.busy == 36, app.m:scale(1))
end)
return app
]]) })
    assert.equal("worker-0 true -|true\n", server:get("/many").body)
  end)

  it("stands requests that make no sense, whoever sends them", function()
    local server = serve(1, nil, { app = versioned("v1"):gsub("return app%s*$", [[
local abi = require "perigee.abi"
local words = { "op", "reload", "restart", "scale", "manage", "stop", "ready", "name", "all", "worker-0",
  "workers", "1e9", "-1", "order", "argv", "function", "x", "", "restart", "never", "within",
  "18446744073709551616", "\0", "\255" }
app:get("/storm/<seed:int>", function(req, seed)
  math.randomseed(seed)
  for _ = 1, 40 do
    local pieces = math.random(2) == 1 and { "op", words[math.random(2, 7)] } or {}
    if pieces[2] == "reload" then pieces[2] = "unload" end
    for i = #pieces + 1, #pieces + math.random(0, 12) do pieces[i] = words[math.random(#words)] end
    local block = table.concat(pieces, "\0") .. (math.random(4) == 1 and "" or "\0")
    abi.C.script_request(abi.state, math.random(-5, 1e9), block, #block)
  end
  return "sent"
end)
return app
]]) })
    for seed = 1, 20 do assert.equal("sent", server:get("/storm/" .. seed).body) end
    wait.till(20, "calm; it said:\n" .. server:text(), function()
      return server:get("/scale/1").body:find "true %-|\n$" and #server:processes() == 4
    end)
    assert.truthy(server:get("/restart?name=all").body:find "^worker%-0 true")
  end)

  it("names the caller's line for wrong arguments", function()
    local server = host.serve { app = versioned("v1"):gsub("return app%s*$", [[
local function try(fn)
  local ok, problem = pcall(fn)
  return tostring(ok) .. " " .. tostring(problem) .. "\n"
end
app:get("/wrong", function()
  return try(function() app.m:restart("all", { oder = "x" }) end)
    .. try(function() app.m:restart("all", { order = "startup_frist" }) end)
    .. try(function() app.m:restart({}) end)
    .. try(function() app.m:restart(7) end)
    .. try(function() app.m:restart("a\0b") end)
    .. try(function() return app.m.scal end)
    .. try(function() app.m.name = "x" end)
end)
return app
]]), flags = { "--workers", "1" } }
    local body = server:get("/wrong").body
    for _, text in ipairs {
      "app.m:restart: unknown option 'oder'; did you mean 'order'?",
      "not \"startup_frist\"; did you mean 'startup_first'?", "app.m:restart: there is no name in the list",
      "app.m:restart: the name must be a table, not a number", "has a NUL",
      "app.m has no 'scal'; did you mean 'scale'?", "app.m.name cannot be set" } do
      assert.truthy(body:find("false app.lua:%d+: [^\n]*" .. text:gsub("%p", "%%%0")), text .. "\n" .. body)
    end
  end)
end)
