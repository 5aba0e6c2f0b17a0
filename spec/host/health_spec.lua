-- health_path and ready_path: what load balancers and orchestrators ask.

local client = require "spec.support.client"
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local app = perigee.app "probed"
app:on_request(function() return "the hook\n" end)
app:get("/", function() return "hello\n" end)
app:before_server_stop(function() perigee.sleep(1) print "hook done" end)
return app
]]

local both = { "--workers", "1", "--health-path", "/healthz", "--ready-path", "/readyz" }

describe("health_path and ready_path", function()
  after_each(host.finish)

  it("answer 200 while a worker serves, past the app's hooks, in both modes", function()
    for _, mode in ipairs { "production", "development" } do
      local server = host.serve { app = app, flags = { "--mode", mode, unpack(both) } }
      for path, text in pairs { ["/healthz"] = "ok\n", ["/readyz"] = "ready\n" } do
        local response = server:get(path)
        assert.equal(200, response.status)
        assert.equal(text, response.body)
        assert.equal("no-store", response.headers["cache-control"])
      end
      assert.equal("the hook\n", server:get("/").body)
      assert.equal(0, server:stop())
    end
  end)

  it("are not there unless they are set", function()
    local server = host.serve { app = host.versioned_app "v1", flags = { "--workers", "1" } }
    assert.equal(404, server:get("/healthz").status)
    assert.equal(404, server:get("/readyz").status)
  end)

  it("give way to a route of the app's", function()
    local server = host.serve { app = host.versioned_app("v1", [[
app:get("/healthz", function() return "mine\n" end)]]), flags = both }
    assert.equal("mine\n", server:get("/healthz").body)
    assert.equal("ready\n", server:get("/readyz").body)
  end)

  it("must be paths", function()
    local run = host.run({ "serve", "app.lua", "--ready-path", "readyz" }, { app = app })
    assert.equal(1, run.status)
    assert.truthy(run:text():find("setting 'ready_path' cannot be \"readyz\"; it must begin", 1, true))
  end)

  it("is not ready from the moment the host stops, before and after its sockets close", function()
    local server = host.serve { app = app, flags = both }
    local kept = client.connect(server.target)
    assert.equal(200, kept:get("/readyz").status)
    server:signal "sigterm"
    server:expect "SIGTERM: stopping"
    -- before_server_stop takes a second, in which new connections are still taken
    wait.till(5, "a new connection to be told", function()
      local response = client.try(server.target, "GET", "/readyz")
      return response and response.status == 503
    end)
    assert.equal(0, #server:matching "hook done")
    assert.equal(200, server:get("/healthz").status)
    server:expect "hook done"
    local last = kept:get("/readyz")
    assert.equal(503, last.status)
    assert.equal("close", last.headers.connection)
    assert.equal(0, server:wait_exit())
  end)

  it("stays ready while workers are replaced", function()
    local server = host.serve { app = app, flags = both }
    server:signal "sighup"
    local red = 0
    wait.till(10, "the reload", function()
      if server:get("/readyz").status ~= 200 then red = red + 1 end
      return server:matching("worker 0 gen 1 .*exited")[1]
    end)
    assert.equal(0, red)
  end)
end)
