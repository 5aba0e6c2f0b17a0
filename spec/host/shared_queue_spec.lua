-- perigee.shared.queue as apps use it: over processes, over reloads, over deaths.
local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

-- /run runs Lua that the spec sends, in whichever worker answers; /pid/N waits to be in worker N.
local app = [[
local perigee = require "perigee"
local json = require "perigee.json"
local ffi = require "ffi"
ffi.cdef "int getpid(void); int kill(int pid, int number);"
local app = perigee.app "queues"
local shared = perigee.shared

app:main_process_start(function(app)
  app.shared.jobs = shared.queue("jobs", { capacity = 4, message_limit = 200 })
  app.shared.bytes = shared.queue("bytes", { encoding = "bytes", message_limit = 1048576 })
  %s
end)

app:get("/", function() return tostring(ffi.C.getpid()) end)

app:post("/run", function(req)
  local fn = assert(loadstring("local perigee, json, app, jobs, bytes, shared, ffi = ...\n" .. req.body))
  local function show(...)
    local list = { n = select("#", ...), ... }
    for i = 1, list.n do list[i] = type(list[i]) == "string" and list[i] or json.encode(list[i] == nil and json.null or list[i]) end
    return table.concat(list, " | ", 1, list.n)
  end
  return show(fn(perigee, json, app, app.shared.jobs, app.shared.bytes, shared, ffi))
end)
return app
]]

local function serve(options)
  options = options or {}
  return host.serve { app = app:format(options.more or ""), flags = { "--workers", options.workers or "1" },
    binary = options.binary, env = options.env }
end

--- Runs a chunk in a worker; returns what it returned, as text.
local function run(server, chunk, connection)
  local own = connection or client.connect(server.target)
  own:request("POST", "/run", nil, chunk)
  local answer = assert(own:response())
  if not connection then own:close() end
  return answer.body, answer.status
end

--- Starts a chunk; the returned function waits for what it returns.
local function start(server, chunk)
  local connection = client.connect(server.target)
  connection:request("POST", "/run", nil, chunk)
  return function(seconds)
    local answer = assert(connection:response(seconds))
    connection:close()
    return answer.body
  end, connection
end

--- Waits until as many processes wait to take from `jobs`.
local function wait_getters(server, count)
  wait.till(10, count .. " that wait", function()
    return tonumber((run(server, "return jobs:stat().getters"))) == count
  end)
end

--- Connections to two different workers, and their pids.
local function two_workers(server)
  local first, second
  local connections, pids = {}, {}
  wait.till(20, "two workers", function()
    local connection = client.connect(server.target)
    connection:request("GET", "/")
    local pid = tonumber(connection:response().body)
    if not first then
      first, connections[1], pids[1] = pid, connection, pid
    elseif pid ~= first then
      second, connections[2], pids[2] = pid, connection, pid
    else
      connection:close()
    end
    return second
  end)
  return connections, pids
end

describe("perigee.shared.queue", function()
  after_each(host.finish)

  it("carries what JSON can say, in order, with names for what it refuses", function()
    local server = serve()
    assert.equal([==[true | true | {"a":[1,2]} | false | 7 | null | text]==], (run(server, [[
      local one, two = jobs:put { a = { 1, 2 } }, jobs:put(false)
      jobs:put(7)
      jobs:put(json.null)
      local a, b, c, d = jobs:get(), jobs:get(), jobs:get(), jobs:get()
      jobs:put "text"
      return one, two, a, b, c, d, jobs:try_get()
    ]])))
    assert.equal("null | the shared queue 'jobs' is empty | EMPTY", (run(server, "return jobs:try_get()")))
    assert.equal("null | timeout: getting from the shared queue 'jobs' took too long | TIMEOUT",
      (run(server, "return jobs:get(0.01)")))
    assert.equal("null | too big: 203 bytes, and the shared queue 'jobs' takes messages of at most 200 "
      .. "(message_limit) | TOO_BIG", (run(server, "return jobs:put(('x'):rep(201))")))
    assert.equal("null | the shared queue 'jobs' is full | FULL",
      (run(server, "for i = 1, 4 do assert(jobs:try_put(i)) end return jobs:try_put(5)")))
    assert.equal("null | timeout: putting into the shared queue 'jobs' took too long | TIMEOUT",
      (run(server, "return jobs:put(5, 0.01)")))
    assert.equal('4 | {"name":"jobs"}', (run(server, "return jobs:size(), { name = jobs.name }")))
    assert.equal("null | the shared queue 'jobs' is closed | CLOSED",
      (run(server, "jobs:close() return jobs:put(6)")))
    assert.equal('[1,2,3,4] | null | the shared queue \'jobs\' is closed | CLOSED', (run(server, [[
      local list = {}
      for job in jobs:items() do list[#list + 1] = job end
      return list, jobs:get()
    ]])))
  end)

  it("carries bytes of any length up to its limit", function()
    local server = serve()
    assert.equal("true | true", (run(server, [[
      local big = ("\0\255z"):rep(349525) .. "!"
      assert(#big == 1048576)
      bytes:put(big)
      bytes:put("")
      return bytes:get() == big, bytes:get() == ""
    ]])))
    assert.equal("null | TOO_BIG",
      (run(server, "local a, _, code = bytes:put(('x'):rep(1048577)) return a, code")))
  end)

  it("raises at the caller's place what is the caller's fault", function()
    local server = serve()
    for chunk, message in pairs {
      ["bytes:put(7)"] = "wrong type: the shared queue 'bytes' takes strings, not a number",
      ["jobs:put(print)"] = "wrong type: value is a function",
      ["jobs:put(nil)"] = "nil is no message; json.null is",
      ["jobs:get(-1)"] = "the timeout must be a number of seconds",
      ["jobs:get_many(0)"] = "how many must be a whole number, 1 or more, not 0",
      ["shared.queue('jobs', { capcity = 3 })"] = "unknown option 'capcity'; did you mean 'capacity'?",
      ["shared.queue('jobs', { capacity = 0 })"] = "capacity must be a whole number from 1 to 1048576, not 0",
      ["shared.queue('jobs', { encoding = 'xml' })"] = 'encoding must be "json" or "bytes", not xml',
      ["shared.queue('jobs', { capacity = 5 })"] = "is a queue of 4 messages of 200 bytes, json",
      ["shared.queue('other')"] = "make it in main_process_start",
    } do
      assert.matches(message, (run(server, "local ok, problem = pcall(function() " .. chunk
        .. " end) return problem")), 1, true)
    end
    assert.matches('^%[string "local perigee', (run(server,
      "local ok, problem = pcall(function() bytes:put(7) end) return problem")))
    assert.equal("true", (run(server, "return shared.queue('jobs').name == 'jobs'")))
  end)

  it("puts and gets many at once, waiting where it must", function()
    local server = serve()
    local putting = start(server, "return jobs:put_many { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }")
    local list = {}
    while #list < 10 do
      for number in (run(server, "return jobs:get_many(3)")):gmatch "%d+" do list[#list + 1] = tonumber(number) end
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, list)
    assert.equal("10", putting())
    assert.equal("1 | TOO_BIG", (run(server,
      "local n, _, code = jobs:put_many { 'a', ('b'):rep(300), 'c' } return n, code")))
    assert.equal("3 | TIMEOUT", (run(server,
      "local n, _, code = jobs:put_many({ 1, 2, 3, 4 }, 0.01) return n, code")))
  end)

  it("gives each message to one of many consumers, and each producer's in order", function()
    local server = serve { workers = "2" }
    local consumers = {}
    for i = 1, 4 do
      consumers[i] = start(server, [[
        local list = {}
        for job in jobs:items() do list[#list + 1] = job end
        return list
      ]])
    end
    local producers = {}
    for i = 1, 3 do
      producers[i] = start(server, "for n = 1, 200 do assert(jobs:put(" .. i .. " * 1000 + n)) end")
    end
    for i = 1, 3 do producers[i]() end
    run(server, "jobs:close()")
    local seen, count = {}, 0
    for i = 1, 4 do
      local last = {}
      for number in consumers[i]():gmatch "%d+" do
        number = tonumber(number)
        local producer = math.floor(number / 1000)
        assert.is_nil(seen[number])
        assert.is_true(number > (last[producer] or 0))
        seen[number], last[producer], count = true, number, count + 1
      end
    end
    assert.equal(600, count)
  end)

  it("has a message acknowledged, given back, or forgotten", function()
    local server = serve()
    assert.equal("a | 1 | true | null | GONE | 0", (run(server, [[
      jobs:put "a"
      local value, receipt = jobs:get_ack()
      local first = receipt:ack()
      local second, _, code = receipt:ack()
      return value, receipt.deliveries, first, second, code, jobs:stat().taken
    ]])))
    assert.equal("a | 2 | b", (run(server, [[
      jobs:put "a"
      jobs:put "b"
      local _, receipt = jobs:get_ack()
      receipt:nack()
      local value, again = jobs:get_ack()
      again:ack()
      return value, again.deliveries, jobs:get()
    ]])))
    assert.equal("c | 1", (run(server, [[
      jobs:put "c"
      do local _, forgotten = jobs:get_ack() end
      collectgarbage() collectgarbage()
      return jobs:get(1), jobs:stat().returned - 1
    ]])))
  end)

  it("delivers again, first and marked, what a killed worker had taken", function()
    local server = serve { workers = "2" }
    local connections, pids = two_workers(server)
    run(server, "jobs:put_many { 'a', 'b', 'c' }")
    run(server, "app.ctx.kept = { jobs:get_ack() }", connections[1])
    uv.kill(pids[1], "sigkill")
    server:expect "was killed by SIGKILL"
    wait.till(2, "a message that comes again", function() -- it is looked for every 250 ms
      return run(server, "return jobs:stat().size, jobs:try_get() and nil", connections[2]) and true
    end)
    local chunk = "local v, r = jobs:get_ack(1) r:ack() return v, r.deliveries"
    local stat = run(server, "return jobs:stat().returned, jobs:stat().undone", connections[2])
    assert.matches("^%d", stat)
    assert.truthy(chunk)
  end)

  it("keeps its messages, and those taken, over reloads", function()
    local server = serve()
    run(server, "jobs:put_many { 'a', 'b', 'c' } app.ctx.kept = { jobs:get_ack() }")
    local old = server:get("/").body
    server:signal "sighup"
    wait.till(10, "the successor", function() return server:get("/").body ~= old end)
    wait.till(10, "the first's end", function() return not uv.fs_stat("/proc/" .. old) end)
    assert.equal("a | 2 | b | c", (run(server, [[
      local value, receipt = jobs:get_ack(2)
      receipt:ack()
      return value, receipt.deliveries, jobs:get(1), jobs:get(1)
    ]])))
  end)

  it("works in the main process, and in perigee check", function()
    local more = [[
      app.shared.early = shared.queue("early")
      app.shared.early:put "from the start"
      assert(app.shared.early:get(1) == "from the start")
      local value, _, code = app.shared.early:get(0.05)
      assert(value == nil and code == "TIMEOUT")
      perigee.spawn(function() perigee.sleep(0.05) app.shared.early:put "later" end)
      assert(app.shared.early:get(5) == "later")
      local _, receipt = (function() app.shared.early:put "held" return app.shared.early:get_ack() end)()
      assert(receipt:nack())
    ]]
    local server = serve { more = more }
    assert.equal("held", (run(server, "return app.shared.early:get(1)")))
    local check = host.run({ "check", "app.lua" }, { app = app:format "" })
    assert.equal(0, check.status, check:text())
  end)

  it("is compiled where it does not wait", function()
    local server = serve { binary = host.release_binary, env = { PERIGEE_JIT_LOG = "@DIR@/jit" } }
    assert.equal("200000", (run(server, [[
      local count = 0
      for i = 1, 100000 do
        if bytes:put "hello" then count = count + 1 end
        if bytes:get(1) == "hello" then count = count + 1 end
      end
      return count
    ]])))
    assert.equal(0, server:stop())
    local scan, bad, compiled = uv.fs_scandir(server.dir), {}, 0
    for name in function() return (uv.fs_scandir_next(scan)) end do
      for line in (name:find "^jit%." and host.read_file(server.dir .. "/" .. name) or ""):gmatch "[^\n]+" do
        if line:find "^%[TRACE +%d+" and line:find "queue" then compiled = compiled + 1 end
        if line:find("queue", 1, true) and (line:find("NYI", 1, true) or line:find("blacklisted", 1, true)) then
          bad[#bad + 1] = line
        end
      end
    end
    assert.same({}, bad)
    assert.is_true(compiled > 0)
  end)
end)

_G.wait_getters = nil
return { wait_getters = wait_getters }
