-- Waiting for shared objects (lua/perigee/waiting.lua), seen at a queue: who gets what, when, and what
-- becomes of the wait when the one who waits, or its client, or its process, goes away.
local host = require "spec.support.host"
local support = require "spec.support.shared"
local uv = require "luv"
local wait = require "spec.support.wait"

local make = [[ app.shared.jobs = shared.queue("jobs", { capacity = 4 }) ]]
local names = "local jobs = objects.jobs\n"

local function run(server, chunk, connection) return support.run(server, names .. chunk, connection) end
local function start(server, chunk, connection) return support.start(server, names .. chunk, connection) end

--- Waits until a figure of the queue is `number`.
local function till(server, figure, number, connection)
  local seen
  wait.till(10, function() return figure .. " of " .. number .. "; it is " .. tostring(seen) end, function()
    seen = tonumber(run(server, "return jobs:stat()." .. figure, connection))
    return seen == number
  end)
end

describe("waiting for a shared object", function()
  after_each(host.finish)

  it("is first come, first served, for the tasks of a process", function()
    local server = support.serve(make)
    assert.equal("[1,1,2,2,3,3,4,4]", run(server, [[
      local list, tasks = {}, {}
      for i = 1, 4 do
        tasks[i] = perigee.spawn(function()
          local value = jobs:get()
          list[#list + 1] = i
          list[#list + 1] = value
        end)
      end
      perigee.sleep(0)
      jobs:put_many { 1, 2, 3, 4 }
      for i = 1, 4 do tasks[i]:join() end
      return list
    ]]))
  end)

  it("keeps newcomers behind those who wait, and tells those in a hurry", function()
    local server = support.serve(make)
    assert.equal('["first"] | EMPTY', run(server, [[
      local list = {}
      local task = perigee.spawn(function() list[1] = jobs:get() end)
      jobs:put "first"
      local _, _, code = jobs:try_get()
      task:join()
      return list, code
    ]]))
    assert.equal("FULL | [1,2,3,4,5]", run(server, [[
      jobs:put_many { 1, 2, 3, 4 }
      local task = perigee.spawn(function() jobs:put(5) end)
      local list = { jobs:get() }
      local _, _, code = jobs:try_put(6)
      task:join()
      for i = 2, 5 do list[i] = jobs:get(0) end
      return code, list
    ]]))
  end)

  it("ends at its time, at any place in the line, and the others go on", function()
    local server = support.serve(make)
    assert.equal('["b TIMEOUT","a TIMEOUT","d TIMEOUT","c 1"]', run(server, [[
      local list, tasks = {}, {}
      for i, timeout in ipairs { 0.06, 0.03, 30, 0.09 } do
        tasks[i] = perigee.spawn(function()
          local value, _, code = jobs:get(timeout)
          list[#list + 1] = ("abcd"):sub(i, i) .. " " .. tostring(value or code)
        end)
      end
      for _, i in ipairs { 1, 2, 4 } do tasks[i]:join() end
      jobs:put(1)
      tasks[3]:join()
      return list
    ]]))
    till(server, "getters", 0)
  end)

  it("ends for a task that is cancelled, at any place in the line, and the others go on", function()
    local server = support.serve(make)
    for place = 1, 3 do
      assert.equal("[1,2]", run(server, [[
        local list, tasks = {}, {}
        for i = 1, 3 do
          tasks[i] = perigee.spawn(function()
            local value = jobs:get()
            list[#list + 1] = value
          end)
        end
        perigee.sleep(0)
        tasks[]] .. place .. [[]:cancel()
        perigee.sleep(0)
        jobs:put_many { 1, 2 }
        for i = 1, 3 do tasks[i]:join() end
        return list
      ]]))
    end
  end)

  it("leaves no mark of one who waits no more", function()
    local server = support.serve(make, { workers = 2 })
    local connections = support.two_workers(server)
    local got = start(server, "return jobs:get()", connections[1])
    till(server, "getters", 1, connections[2])
    run(server, "jobs:put 'one'", connections[2])
    assert.equal("one", got())
    till(server, "getters", 0, connections[2]) -- else the next ring would go where nobody waits
    assert.equal("TIMEOUT", run(server, "local _, _, code = jobs:get(0.01) return code", connections[1]))
    till(server, "getters", 0, connections[2])
    for i = 1, 2 do connections[i]:close() end
  end)

  it("hears of a close, all at once, in all processes", function()
    local server = support.serve(make, { workers = 2 })
    local connections, waiting = support.two_workers(server), {}
    for i = 1, 2 do
      waiting[i] = start(server, [[
        local tasks, codes = {}, {}
        for i = 1, 3 do
          tasks[i] = perigee.spawn(function()
            local value, _, code = jobs:get()
            codes[#codes + 1] = value or code
          end)
        end
        for i = 1, 3 do tasks[i]:join() end
        return codes
      ]], connections[i])
    end
    till(server, "getters", 2)
    run(server, "jobs:close()")
    for i = 1, 2 do
      assert.equal('["CLOSED","CLOSED","CLOSED"]', waiting[i]())
      connections[i]:close()
    end
  end)

  it("goes on elsewhere within a second when the one that was woken is killed", function()
    local server = support.serve(make, { workers = 2 })
    local connections, pids = support.two_workers(server)
    start(server, "return jobs:get()", connections[1])
    till(server, "getters", 1, connections[2])
    uv.kill(pids[1], "sigstop") -- it will be rung for, and hear nothing
    run(server, "jobs:put 'one'", connections[2])
    till(server, "getters", 0, connections[2])
    uv.kill(pids[1], "sigkill")
    local began = wait.now()
    assert.equal("one", run(server, "return jobs:get()", connections[2]))
    assert.is_true(wait.now() - began < 1)
    connections[1]:close()
    connections[2]:close()
  end)

  it("ends with the client, whose handler takes nothing then", function()
    local server = support.serve(make)
    local _, connection = start(server, "return jobs:get()")
    till(server, "getters", 1)
    connection:close()
    till(server, "getters", 0)
    assert.equal("one", run(server, "jobs:put 'one' return jobs:try_get()"))
  end)

  it("goes on in a worker that is being replaced", function()
    local server = support.serve(make)
    local old = server:get("/").body
    local got = start(server, "return jobs:get()")
    till(server, "getters", 1)
    server:signal "sighup"
    wait.till(10, "the successor", function() return server:get("/").body ~= old end)
    run(server, "jobs:put 'to the old'")
    assert.equal("to the old", got())
    run(server, "jobs:put 'to the new'")
    assert.equal("to the new", run(server, "return jobs:get()"))
  end)
end)
