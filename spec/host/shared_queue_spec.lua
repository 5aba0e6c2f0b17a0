-- perigee.shared.queue as apps use it: over processes, over reloads, over deaths.
local host = require "spec.support.host"
local support = require "spec.support.shared"
local uv = require "luv"
local wait = require "spec.support.wait"

local make = [[
app.shared.jobs = shared.queue("jobs", { capacity = 4, message_limit = 200 })
app.shared.bytes = shared.queue("bytes", { encoding = "bytes", message_limit = 1048576 })
]]

local function serve(options)
  return support.serve(make .. (options and options.more or ""), options)
end

local names = "local jobs, bytes = objects.jobs, objects.bytes\n"

local function run(server, chunk, connection) return support.run(server, names .. chunk, connection) end

local function start(server, chunk) return support.start(server, names .. chunk) end

describe("perigee.shared.queue", function()
  after_each(host.finish)

  it("carries what JSON can say, in order, with names for what it refuses", function()
    local server = serve()
    assert.equal([==[true | true | {"a":[1,2]} | false | 7 | null | text]==], run(server, [[
      local one, two = jobs:put { a = { 1, 2 } }, jobs:put(false)
      jobs:put(7)
      jobs:put(json.null)
      local a, b, c, d = jobs:get(), jobs:get(), jobs:get(), jobs:get()
      jobs:put "text"
      return one, two, a, b, c, d, jobs:try_get()
    ]]))
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
    assert.equal('[1,2,3,4] | null | the shared queue \'jobs\' is closed | CLOSED', run(server, [[
      local list = {}
      for job in jobs:items() do list[#list + 1] = job end
      return list, jobs:get()
    ]]))
  end)

  it("carries bytes of any length up to its limit", function()
    local server = serve()
    assert.equal("true | true", run(server, [[
      local big = ("\0\255z"):rep(349525) .. "!"
      assert(#big == 1048576)
      bytes:put(big)
      bytes:put("")
      return bytes:get() == big, bytes:get() == ""
    ]]))
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
      ["shared.queue('jobs', { capacity = 5 })"] = "exists as queue of 4 messages of 200 bytes, json",
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
      for number in run(server, "return jobs:get_many(3)"):gmatch "%d+" do
        list[#list + 1] = tonumber(number)
      end
    end
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, list)
    assert.equal("10", putting())
    assert.equal("1 | TOO_BIG", (run(server,
      "local n, _, code = jobs:put_many { 'a', ('b'):rep(300), 'c' } return n, code")))
    assert.equal("3 | TIMEOUT", (run(server,
      "local n, _, code = jobs:put_many({ 1, 2, 3, 4 }, 0.01) return n, code")))
  end)

  it("gives each message to one of many consumers, and each producer's in order", function()
    local server = serve { workers = 2 }
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
    assert.equal("a | 1 | true | null | GONE | 0", run(server, [[
      jobs:put "a"
      local value, receipt = jobs:get_ack()
      local first = receipt:ack()
      local second, _, code = receipt:ack()
      return value, receipt.deliveries, first, second, code, jobs:stat().taken
    ]]))
    assert.equal("a | 2 | b", run(server, [[
      jobs:put "a"
      jobs:put "b"
      local _, receipt = jobs:get_ack()
      receipt:nack()
      local value, again = jobs:get_ack()
      again:ack()
      return value, again.deliveries, jobs:get()
    ]]))
    assert.equal("c | 1", run(server, [[
      jobs:put "c"
      do local _, forgotten = jobs:get_ack() end
      collectgarbage() collectgarbage()
      return jobs:get(1), jobs:stat().returned - 1
    ]]))
  end)

  it("delivers again, first and marked, what a killed worker had taken", function()
    local server = serve { workers = 2 }
    local connections, pids = support.two_workers(server)
    run(server, "jobs:put_many { 'a', 'b', 'c' } app.ctx.kept = { jobs:get_ack() }", connections[1])
    uv.kill(pids[1], "sigkill")
    server:expect "was killed by SIGKILL"
    assert.equal("a | 2 | b | c", run(server, [[
      local value, receipt = jobs:get_ack(2)
      receipt:ack()
      return value, receipt.deliveries, jobs:get(1), jobs:get(1)
    ]], connections[2]))
    connections[2]:close()
  end)

  it("is among the figures of all shared objects", function()
    local server = serve()
    assert.equal("queue | 2 | 1 | 4", run(server, [[
      jobs:put_many { 1, 2, 3 }
      app.ctx.kept = { jobs:get_ack() }
      for _, object in ipairs(shared.stat().objects) do
        if object.name == "jobs" then
          return object.kind, object.figures.size, object.figures.taken, object.figures.capacity
        end
      end
    ]]))
  end)

  it("keeps its messages, and those taken, over reloads", function()
    local server = serve()
    run(server, "jobs:put_many { 'a', 'b', 'c' } app.ctx.kept = { jobs:get_ack() }")
    local old = server:get("/").body
    server:signal "sighup"
    wait.till(10, "the successor", function() return server:get("/").body ~= old end)
    wait.till(10, "the first's end", function() return not uv.fs_stat("/proc/" .. old) end)
    assert.equal("a | 2 | b | c", run(server, [[
      local value, receipt = jobs:get_ack(2)
      receipt:ack()
      return value, receipt.deliveries, jobs:get(1), jobs:get(1)
    ]]))
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
    assert.equal("held", (run(server, "return objects.early:get(1)")))
    local check = host.run({ "check", "app.lua" }, { app = support.app(make) })
    assert.equal(0, check.status, check:text())
  end)

  it("is compiled where it does not wait", function()
    local server = serve { binary = host.release_binary, env = { PERIGEE_JIT_LOG = "@DIR@/jit" } }
    assert.equal("200000", run(server, [[
      local count = 0
      for i = 1, 100000 do
        if bytes:put "hello" then count = count + 1 end
        if bytes:get(1) == "hello" then count = count + 1 end
      end
      return count
    ]]))
    assert.equal(0, server:stop())
    local scan, bad, compiled = uv.fs_scandir(server.dir), {}, 0
    for name in function() return (uv.fs_scandir_next(scan)) end do
      for line in (name:find "^jit%." and host.read_file(server.dir .. "/" .. name) or ""):gmatch "[^\n]+" do
        if line:find "^%[TRACE +%d+" then compiled = compiled + 1 end
        local refused = line:find("NYI", 1, true) or line:find("blacklisted", 1, true)
        if refused and line:find("queue", 1, true) then bad[#bad + 1] = line end
      end
    end
    assert.same({}, bad)
    assert.is_true(compiled > 0)
  end)
end)
