-- SIGHUP: the new code serves, or the old code goes on.

local client = require "spec.support.client"
local host = require "spec.support.host"
local proc = require "spec.support.proc"
local wait = require "spec.support.wait"

describe("a reload", function()
  after_each(host.finish)

  it("puts new code on every worker, and leaves no old process", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" } }
    local old = server:wait_version("v1", 2)
    local count = #server:processes()
    server:reload(host.versioned_app("v2"))
    local new = server:wait_version("v2", 2)
    for _, pid in ipairs(new) do
      assert.are_not.equal(old[1], pid)
      assert.are_not.equal(old[2], pid)
    end
    server:wait_processes(count)
  end)

  it("merges requests that come while one is under way", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" } }
    for version = 2, 9 do server:reload(host.versioned_app("v" .. version)) end
    server:wait_version("v9", 2)
    local generations = server:matching "generation"
    wait.pause(0.5)
    assert.equal("v9", (next(server:answering())))
    assert.is_true(#generations < 60)
  end)

  describe("to code that does not load", function()
    local function keeps_serving(bad, expected, flags, seconds)
      local arguments = { "--workers", "2" }
      for _, flag in ipairs(flags or {}) do arguments[#arguments + 1] = flag end
      local server = host.serve { app = host.versioned_app("v1"), flags = arguments }
      local pids = server:wait_version("v1", 2)
      local count = #server:processes()

      local stop = false
      server:reload(bad)
      wait.till(seconds or 10, function() return expected .. "; it said:\n" .. server:text() end, function()
        local answer = server:get "/"
        if answer.status ~= 200 or not answer.body:find "^v1 " then stop = true end
        return stop or #server:matching(expected) > 0
      end)
      assert.is_false(stop, "an answer was not the old generation's")
      table.sort(pids)
      local still = server:wait_version("v1", 2)
      table.sort(still)
      assert.same(pids, still)
      server:wait_processes(count)

      server:reload(host.versioned_app("v3"))
      server:wait_version("v3", 2)
    end

    it("keeps the old generation after a syntax error", function()
      keeps_serving("local x = = 1\n", "app%.lua:1:")
    end)

    it("keeps the old generation after an error at load", function()
      keeps_serving("\nerror 'not today'\n", "app%.lua:2: not today")
    end)

    it("keeps the old generation after an endless loop at load", function()
      keeps_serving("while true do end\n", "start", { "--start-timeout", "2" }, 15)
    end)

    it("keeps the old generation when a worker cannot start", function()
      keeps_serving([[
local app = require "perigee".app "broken"
app:before_server_start(function() error "no database here" end)
return app
]], "app%.lua:2: no database here")
    end)
  end)

  it("passes idle connections to the new workers, and none is closed", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" } }
    local connections = {}
    for i = 1, 50 do
      connections[i] = client.connect(server.target)
      assert.truthy(connections[i]:get("/").body:find "^v1 ")
    end
    server:reload(host.versioned_app("v2"))
    server:wait_version("v2", 2)
    for i, connection in ipairs(connections) do
      local response, why = connection:get("/")
      assert.truthy(response, ("connection %d: %s"):format(i, tostring(why)))
      assert.truthy(response.body:find "^v2 ", response.body)
    end
    for _, connection in ipairs(connections) do connection:close() end
  end)

  it("lets a request finish where it began, and passes its connection on then", function()
    local function app(version)
      return host.versioned_app(version, [[
app:get("/slow", function() perigee.sleep(1) return "%s\n" end)
app:post("/echo", function(req) return "%s " .. req.body end)]]):gsub("%%s", version)
    end
    local server = host.serve { app = app "v1", flags = { "--workers", "1" } }
    local slow, half = client.connect(server.target), client.connect(server.target)
    slow:request("GET", "/slow")
    half:send "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf "
    assert.equal(200, server:get("/").status)
    server:reload(app "v2")
    server:wait_version("v2", 1)
    half:send "whole"
    assert.equal("v1 half whole", assert(half:response()).body)
    assert.equal("v1\n", assert(slow:response()).body)
    for _, connection in ipairs { slow, half } do
      assert.truthy(assert(connection:get "/").body:find "^v2 ")
      connection:close()
    end
  end)

  it("works the other way round: shutdown_first", function()
    local server = host.serve { app = host.versioned_app("v1"),
      flags = { "--workers", "2", "--restart-order", "shutdown_first" } }
    server:wait_version("v1", 2)
    server:reload(host.versioned_app("v2"))
    server:wait_version("v2", 2)
  end)

  it("picks up changed modules beside the app", function()
    local app = [[
package.path = "@DIR@/?.lua;" .. package.path
local app = require "perigee".app "modular"
local words = require "words"
app:get("/", function() return words.greeting end)
return app
]]
    local server = host.serve { app = [[
local app = require "perigee".app "starting"
app:get("/", function() return "starting" end)
return app
]], flags = { "--workers", "1" } }
    app = app:gsub("@DIR@", server.dir)
    host.write_file(server.dir .. "/words.lua", 'return { greeting = "one" }')
    server:reload(app)
    wait.till(10, "the first words", function() return server:get("/").body == "one" end)
    host.write_file(server.dir .. "/words.lua", 'return { greeting = "two" }')
    server:signal "sighup"
    wait.till(10, "the second words", function() return server:get("/").body == "two" end)
  end)

  it("keeps what is in shared objects", function()
    local app = [[
local perigee = require "perigee"
local app = perigee.app "counting"
app:main_process_start(function(app) app.shared.hits = perigee.shared.value("hits", "int64") end)
app:get("/", function(req) return "%s " .. tostring(req.app.shared.hits:add(1)) end)
return app
]]
    local server = host.serve { app = app:format "v1", flags = { "--workers", "2" } }
    local count = tonumber(server:get("/").body:match "^v1 (%d+)$")
    for i = 1, 10 do assert.equal("v1 " .. count + i, server:get("/").body) end
    count = count + 10
    server:reload(app:format "v2")
    wait.till(10, "the new code", function()
      count = count + 1
      local version, hits = server:get("/").body:match "^(v%d) (%d+)"
      assert.equal(count, tonumber(hits))
      return version == "v2"
    end)
  end)

  it("leaves as many descriptors and processes after fifty as before", function()
    local server = host.serve { app = host.versioned_app("v1"), flags = { "--workers", "2" },
      binary = host.release_binary }
    local function settled()
      return wait.till(10, "the old generation to go", function()
        local list = server:processes()
        local answering = server:answering(20)
        return next(answering, next(answering)) == nil and list
      end)
    end
    server:reload(host.versioned_app("v2"))
    server:wait_version("v2", 2)
    wait.pause(0.5)
    local before = settled()
    local descriptors = proc.descriptors(server.pid)

    for version = 3, 52 do
      server:reload(host.versioned_app("v" .. version))
      server:wait_version("v" .. version, 2)
    end
    server:wait_processes(#before)
    local after = wait.till(5, function()
      return ("%d descriptors, there are %d"):format(descriptors, proc.descriptors(server.pid))
    end, function() return proc.descriptors(server.pid) <= descriptors and proc.descriptors(server.pid) end)
    assert.equal(descriptors, after)
  end)
end)
