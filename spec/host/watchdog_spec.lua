-- What a worker's watchdog tells of a loop that does not come round: which request, where in Lua.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

-- Each way to be stuck, with the line it is on.
local app = [[
local perigee = require "perigee"
local ffi = require "ffi"
local uv = require "luv"
ffi.cdef "int getpid(void); int pause(void);"
local app = perigee.app "stuck"
local function spin() while true do end end                                           -- 6
app:get("/", function() return "v1 " .. ffi.C.getpid() .. "\n" end)
app:get("/compiled", function() spin() return "never\n" end)
app:get("/interpreted", function()
  while true do for _ in pairs { 1, 2 } do (function() end)() end end                 -- 10
end)
app:get("/pattern", function()
  return ("a"):rep(60):find(("a*"):rep(40) .. "b") and "yes\n" or "no\n"              -- 13
end)
app:get("/repeat", function() while true do local _ = ("x"):rep(1e8) end end)         -- 15
app:get("/command", function() os.execute "sleep 100" return "never\n" end)           -- 16
app:get("/call", function() while true do ffi.C.pause() end end)                      -- 17
app:get("/coroutine", function()
  coroutine.wrap(function() local n = 0 while true do n = n + 1 end end)()            -- 19
end)
app:get("/callback", function()
  local timer = uv.new_timer()
  timer:start(1, 0, function() timer:close() spin() end)                              -- 23
  perigee.sleep(50)
  return "never\n"
end)
app:get("/later", function() perigee.sleep(0.05) spin() return "never\n" end)         -- 27
app:get("/wait", function() perigee.sleep(50) return "never\n" end)
app:get("/burn", function()
  local finish = os.clock() + 0.3
  while os.clock() < finish do end
  return "burnt\n"
end)
return app
]]

local function serve(flags, options)
  local arguments = { "--worker-timeout", "1" }
  for _, flag in ipairs(flags or { "--workers", "1" }) do arguments[#arguments + 1] = flag end
  options = options or {}
  options.app, options.flags = app, arguments
  return host.serve(options)
end

local function ask(server, path)
  local connection = client.connect(server.target)
  connection:send("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\n\r\n")
  return connection
end

describe("a stuck worker", function()
  after_each(host.finish)

  local cases = {
    compiled = { line = 6, caller = 8 },
    interpreted = { line = 10 },
    pattern = { line = 13, more = "in the C function 'find'" },
    ["repeat"] = { line = 15 },
    command = { line = 16, more = "in the C function 'execute', waiting in the kernel" },
    call = { line = 17, more = "waiting in the kernel" },
    coroutine = { line = 19 },
    later = { line = 6, caller = 27 },
  }
  for name, case in pairs(cases) do
    it("tells its request and its line: " .. name, function()
      local server = serve()
      local pid = server:wait_version("v1", 1)[1]
      ask(server, "/" .. name .. "?x=1")
      local line = server:expect("manager.*worker 0 gen 1 pid " .. pid .. " is stuck: ", 20)
      assert.truthy(line:find("GET /" .. name .. "?x=1 HTTP/1.1 for ", 1, true), line)
      local place = "%(id %x+%-%x+, from 127%.0%.0%.1%), at app%.lua:" .. case.line .. ": in "
      assert.truthy(line:find(place), line)
      if case.more then assert.truthy(line:find(case.more, 1, true), line) end
      server:expect "manager.*stack traceback:"
      server:expect("manager.*app%.lua:" .. case.line .. ": in ")
      if case.caller then server:expect("manager.*app%.lua:" .. case.caller .. ": in function") end
      server:expect("manager.*worker 0 gen 1 pid " .. pid .. " was stuck, see above; it was killed by SIG")
      local new = server:wait_version("v1", 1, 15)[1]
      assert.are_not.equal(pid, new)
      assert.equal(1, #server:matching "is stuck")
      assert.equal(0, #server:matching "perigee/%w+%.lua:%d+: in") -- frames of ours say nothing
    end)
  end

  it("is told from a request when a callback of libuv holds it", function()
    local server = serve()
    server:wait_version("v1", 1)
    ask(server, "/callback")
    local line = server:expect("is stuck: ", 20)
    assert.truthy(line:find "no heartbeat for .*, in what is no request, at app%.lua:6: in function", line)
    server:expect "manager.*app%.lua:23: in function"
    server:wait_version("v1", 1, 15)
  end)

  it("names the one of several requests, and those that wait for it", function()
    local server = serve()
    server:wait_version("v1", 1)
    for _ = 1, 3 do ask(server, "/wait") end
    wait.pause(0.2)
    ask(server, "/later")
    assert.truthy(server:expect("is stuck: ", 20):find("GET /later HTTP/1.1 for ", 1, true))
    server:expect "manager.*requests that wait meanwhile:"
    for _ = 1, 3 do server:expect "manager.*\tGET /wait HTTP/1.1 for .* s" end
    server:wait_version("v1", 1, 15)
  end)

  it("is told within worker_timeout and a second, and others go on as fast", function()
    local server = serve({ "--workers", "2" }, { binary = host.release_binary })
    local pids = server:wait_version("v1", 2)
    local connections = {} -- by pid
    wait.till(10, "a connection to each worker", function()
      local connection = client.connect(server.target)
      connection:send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
      local pid = tonumber(connection:response().body:match " (%d+)")
      if connections[pid] then connection:close() else connections[pid] = connection end
      return connections[pids[1]] and connections[pids[2]]
    end)
    local function p99()
      local times = {}
      for i = 1, 300 do
        local began = wait.now()
        connections[pids[2]]:send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert.equal(200, connections[pids[2]]:response().status)
        times[i] = wait.now() - began
      end
      table.sort(times)
      return times[297]
    end
    local normal = p99()
    connections[pids[1]]:send "GET /compiled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    local began = wait.now()
    local meanwhile = p99()
    server:expect("worker %d gen 1 pid " .. pids[1] .. " is stuck: GET /compiled", 20)
    local seconds = wait.now() - began
    print(("    told after %.2f s; p99 of the other %.2f ms, before %.2f ms"):format(seconds,
      meanwhile * 1000, normal * 1000))
    assert.is_true(seconds < 1 + 1 + 1) -- the last one for a machine that others use too
    assert.is_true(meanwhile < 2 * normal + 0.02)
    server:wait_version("v1", 2, 15)
  end)

  it("is killed as well when it is stopped and says nothing", function()
    local server = serve()
    local pid = server:wait_version("v1", 1)[1]
    uv.kill(pid, "sigstop")
    server:expect("worker 0 gen 1 pid " .. pid .. " was stuck: no heartbeat, nor its watchdog's", 20)
    server:wait_version("v1", 1, 15)
  end)
end)

describe("a worker that only seems stuck", function()
  after_each(host.finish)

  it("is left alone on a busy machine", function()
    local server = serve({ "--workers", "1" }, { binary = host.release_binary })
    local pid = server:wait_version("v1", 1)[1]
    local hogs = {}
    for i = 1, 12 do
      hogs[i] = uv.spawn("luajit", { args = { "-e", "local e = os.time() + 12 while os.time() < e do end" } },
        function() end)
    end
    local connections = {}
    for i = 1, 4 do connections[i] = ask(server, "/burn") end
    for i = 1, 4 do assert.equal("burnt\n", connections[i]:response().body) end
    for i = 1, 12 do hogs[i]:kill "sigkill" hogs[i]:close() end
    assert.equal(pid, server:wait_version("v1", 1)[1])
    assert.equal(0, #server:matching "s stuck")
  end)

  it("is left alone when all were stopped for a while", function()
    local server = serve({ "--workers", "2" })
    local pids = server:wait_version("v1", 2)
    local all = server:processes()
    for _, process in ipairs(all) do uv.kill(process.pid, "sigstop") end
    wait.pause(4)
    for _, process in ipairs(all) do uv.kill(process.pid, "sigcont") end
    wait.pause(1.5) -- several looks of manager and watchdogs
    table.sort(pids)
    local now = server:wait_version("v1", 2)
    table.sort(now)
    assert.same(pids, now)
    assert.equal(0, #server:matching "s stuck")
  end)
end)

describe("what a worker is doing", function()
  after_each(host.finish)

  -- Reads it as any process of the host can, from another worker or the one itself.
  local watched = [[
local perigee = require "perigee"
local http = require "perigee.http"
local ffi = require "ffi"
local app = perigee.app "watched"
ffi.cdef "int getpid(void);"
app:get("/", function() return "v1 " .. ffi.C.getpid() .. "\n" end)
app:get("/wait", function() perigee.sleep(4) return "done\n" end)
app:get("/block", function() os.execute "sleep 6" return "done\n" end)                -- 8
app:get("/look", function()
  local list, stall = ffi.new "struct shm_activity_list", ffi.new "struct shm_activity_stall"
  local seats = {}
  for seat = 0, 7 do
    local read = ffi.C.shm_activity_requests(seat, list) == 0 and ffi.C.shm_activity_stall(seat, stall) == 0
    if not read then http.abort(503) end -- it is being written just now
    for i = 0, list.count - 1 do
      local each = list.requests[i]
      seats[#seats + 1] = { method = ffi.string(each.method), target = ffi.string(each.target),
        ip = ffi.string(each.ip), id = ffi.string(each.id), since = tonumber(each.since),
        stalled = stall.since ~= 0 and stall.serving == each.serial and ffi.string(stall.where) or nil }
    end
  end
  return { seats = perigee.json.array(seats), beyond = ffi.C.shm_activity_stall(5000, stall) }
end)
return app
]]

  local function serve_watched(count)
    local server = host.serve { app = watched, flags = { "--workers", tostring(count) } }
    local connections = {} -- by pid
    wait.till(10, "a connection to each worker", function()
      local connection = client.connect(server.target)
      connection:send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
      local pid = connection:response().body
      if connections[pid] then
        connection:close()
      else
        connections[pid] = connection
        connections[#connections + 1] = connection
      end
      return #connections == count
    end)
    return server, connections
  end

  local function look(connection)
    local response = wait.till(10, "a whole look", function()
      connection:send "GET /look HTTP/1.1\r\nHost: localhost\r\n\r\n"
      local found = connection:response()
      return found.status ~= 503 and found
    end)
    local answer = require("cjson").decode(response.body)
    assert.equal(-1, answer.beyond)
    return answer.seats
  end

  it("can be read without its help: requests in flight, until they are answered", function()
    local server, connections = serve_watched(1)
    assert.same({}, look(connections[1]))
    local long = "/wait?" .. ("x"):rep(300)
    ask(server, "/wait?1")
    local asked = wait.now()
    ask(server, long)
    local seats = wait.till(5, "both requests", function()
      local found = look(connections[1])
      return #found == 2 and found
    end)
    assert.equal("GET", seats[1].method)
    assert.equal("/wait?1", seats[1].target)
    assert.equal(long:sub(1, 159), seats[2].target) -- cut
    assert.equal("127.0.0.1", seats[1].ip)
    assert.truthy(seats[1].id:find "^%x+%-%x+$")
    assert.is_true(math.abs(seats[1].since / 1000 - asked) < 2)
    wait.till(10, "them to be gone", function() return #look(connections[1]) == 0 end)
  end)

  it("is told while the loop is stalled, with the line, and no more when it goes on", function()
    local server, connections = serve_watched(2)
    connections[1]:send "GET /block HTTP/1.1\r\nHost: localhost\r\n\r\n"
    local seats = wait.till(15, "the stall", function()
      local found = look(connections[2])
      return found[1] and found[1].stalled and found
    end)
    assert.equal("/block", seats[1].target)
    assert.truthy(seats[1].stalled:find "^at app%.lua:8: in .*, in the C function 'execute'$")
    assert.equal("done\n", connections[1]:response(15).body)
    wait.till(5, "its end", function() return #look(connections[2]) == 0 end)
    assert.equal(0, #server:matching "s stuck")
  end)
end)

describe("slow_callback", function()
  after_each(host.finish)

  local slow = [[
local app = require "perigee".app "slow"
local function burn(seconds)
  local finish = os.clock() + seconds
  while os.clock() < finish do end
end
app:get("/", function() return "ready\n" end)
app:get("/slow", function() burn(0.5) return "slow\n" end)
app:get("/command", function() os.execute "sleep 0.5" return "slow\n" end)
app:get("/quick", function() return "quick\n" end)
return app
]]

  it("names in development who keeps the loop, once for each place", function()
    local server = host.serve { app = slow, flags = { "--workers", "1", "--mode", "development" } }
    for _ = 1, 3 do
      assert.equal("slow\n", server:get("/slow").body)
      assert.equal("slow\n", server:get("/command").body)
      assert.equal("quick\n", server:get("/quick").body)
    end
    assert.truthy(server:expect "warn: slow callback: the function at app%.lua:7 kept the loop for %d"
      :find "at app%.lua:[347].*, for GET /slow$")
    assert.truthy(server:expect "warn: slow callback: the function at app%.lua:8 kept the loop for %d"
      :find "in the C function 'execute', for GET /command$")
    assert.equal(2, #server:matching "slow callback")
  end)

  it("is silent in production, and when it is 0", function()
    for _, flags in ipairs { { "--workers", "1" },
      { "--workers", "1", "--mode", "development", "--slow-callback", "0" } } do
      local server = host.serve { app = slow, flags = flags }
      assert.equal("slow\n", server:get("/slow").body)
      assert.equal("quick\n", server:get("/quick").body)
      assert.equal(0, server:stop())
      assert.equal(0, #server:matching "slow callback")
    end
  end)
end)
