-- Tasks beside requests: they start, are listed and cancelled, survive errors, and have one owner.

local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local source = [[
local perigee = require "perigee"
local app = perigee.app "spec"
app:get("/", function() return "hello\n" end)

app:every(0.05, function()
  print("tick " .. app.m.pid)
end, { once = "app", name = "single", immediately = true })

local count = 0
app:every(0.02, function()
  count = count + 1
  if count == 2 then error "tick broke" end
  if count == 4 then print "ticks go on" end
end, { name = "fragile" })

app:add_task(function()
  local ok, problem = pcall(perigee.sleep, 1000)
  print("sleeper: " .. tostring(problem))
  error(problem, 0)
end, { name = "sleeper" })
app:add_task(function() error "task broke" end, { name = "broken" })
app:before_server_stop(function() print "stop listener" end)

app:get("/list", function()
  local names = {}
  for i, task in ipairs(app.background:list()) do names[i] = task.name end
  return table.concat(names, " ")
end)
app:get("/cancel/<name>", function(_, name) return tostring(app.background:cancel(name, "by request")) end)
app:get("/join", function()
  local a = perigee.spawn(function(x) perigee.sleep(0.01) return x + 1, "b" end, 1)
  local b = perigee.spawn(function() error("bad", 0) end)
  local c = perigee.spawn(function() perigee.sleep(1000) end)
  local out = { { a:join() }, { b:join() }, { c:join(0.01) } }
  c:cancel()
  out[4] = { c:join() }
  out[5] = { perigee.timeout(0.01, perigee.sleep, 1000) }
  out[6] = { perigee.timeout(1, function() return "in time" end) }
  local parts = {}
  for i, row in ipairs(out) do
    local texts = {}
    for j = 1, 3 do texts[j] = tostring(row[j]) end
    parts[i] = table.concat(texts, ",")
  end
  return table.concat(parts, ";")
end)
return app
]]

local server

describe("background tasks", function()
  after_each(host.finish)

  it("run, are listed, cancelled, and end in order when the worker stops", function()
    server = host.serve { app = source, flags = { "--workers", "1" } }
    server:expect "error: in the task 'broken' made at app.lua:%d+: app.lua:%d+: task broke"
    wait.till(10, "both of the fragile job's lines", function()
      return #server:matching "tick broke" == 1 and #server:matching "ticks go on" == 1
    end)
    assert.equal("single fragile sleeper", server:get("/list").body)
    assert.equal("true", server:get("/cancel/fragile").body)
    assert.equal("false", server:get("/cancel/fragile").body)
    assert.equal("single sleeper", server:get("/list").body)
    assert.equal(0, server:stop())
    server.cursor = 1
    server:expect "stop listener"
    server:expect "sleeper: cancelled: the worker stops"
  end)

  it("are joined, given a time and cancelled by who made them", function()
    server = host.serve { app = source, flags = { "--workers", "1" } }
    assert.equal("true,2,b;nil,bad,error;nil,it is not done after 0.01 s,timeout;"
      .. "nil,cancelled: the task was cancelled,cancelled;nil,timed out after 0.01 s,timeout;in time,nil,nil",
      server:get("/join").body)
  end)

  it("that run once per app have one owner, and another when it dies", function()
    server = host.serve { app = source, flags = { "--workers", "3" } }
    local function owner()
      return tonumber(server:expect("tick %d+"):match "tick (%d+)")
    end
    local first = owner()
    for _ = 1, 10 do assert.equal(first, owner()) end
    uv.kill(first, "sigkill")
    local died = wait.now()
    local second
    wait.till(10, "another owner", function()
      second = owner()
      return second ~= first
    end)
    assert.is_true(wait.now() - died < 3, "the gap is too long")
    for _ = 1, 10 do assert.equal(second, owner()) end
    server:reload(source)
    wait.till(10, "an owner of the new generation", function()
      local third = owner()
      return third ~= second
    end)
  end)
end)
