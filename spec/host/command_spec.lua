-- The command line around serve: what it prints, where, and with which status.

local host = require "spec.support.host"

local app = [[
local app = require "perigee".app "shop"
app:get("/", function() return "hello\n" end)
app:get("/users/<id:int>", function(_, id) return tostring(id) end)
app:post("/orders", function() return "taken\n" end)
return app
]]

local function run(arguments, options)
  local result = host.run(arguments, options)
  return result.status, table.concat(result.stdout, "\n"), table.concat(result.stderr, "\n")
end

describe("the command line", function()
  after_each(host.finish)

  it("tells its version", function()
    local status, out, err = run { "--version" }
    assert.equal(0, status)
    assert.truthy(out:find "%d+%.%d+%.%d+")
    assert.equal("", err)
  end)

  it("helps, in general and with each command", function()
    local status, out = run { "--help" }
    assert.equal(0, status)
    for _, command in ipairs { "serve", "check", "routes" } do
      assert.truthy(out:find(command, 1, true), command .. " is not in --help")
      local each, text = run { command, "--help" }
      assert.equal(0, each)
      assert.truthy(text:find(command, 1, true))
    end
  end)

  it("says how to go on when nothing is asked", function()
    local status, out, err = run {}
    assert.are_not.equal(0, status)
    assert.truthy((out .. err):find("serve", 1, true))
  end)

  it("suggests the command that was meant", function()
    local status, _, err = run { "srve", "app.lua" }
    assert.are_not.equal(0, status)
    assert.truthy(err:find("serve", 1, true), err)
  end)

  it("suggests the flag that was meant", function()
    local status, _, err = run({ "serve", "app.lua", "--wrokers", "2" }, { app = app })
    assert.are_not.equal(0, status)
    assert.truthy(err:find("--workers", 1, true), err)
  end)

  it("suggests the setting that was meant, wherever it stands", function()
    local status, _, err = run({ "serve", "app.lua", "--config", "perigee.conf.lua" },
      { app = app, files = { ["perigee.conf.lua"] = "wrokers = 2\n" } })
    assert.are_not.equal(0, status)
    assert.truthy(err:find("wrokers", 1, true), err)
    assert.truthy(err:find("workers", 1, true), err)
    status, _, err = run({ "serve", "app.lua" }, { app = app, env = { PERIGEE_WROKERS = "2" } })
    assert.are_not.equal(0, status)
    assert.truthy(err:find("PERIGEE_WORKERS", 1, true) or err:find("workers", 1, true), err)
  end)

  it("refuses a value that is none", function()
    local status, _, err = run({ "serve", "app.lua", "--workers", "many" }, { app = app })
    assert.are_not.equal(0, status)
    assert.truthy(err:find("many", 1, true), err)
  end)

  it("checks an app", function()
    assert.equal(0, (run({ "check", "app.lua" }, { app = app })))
    local status, _, err = run({ "check", "app.lua" }, { app = "local x = = 1" })
    assert.are_not.equal(0, status)
    assert.truthy(err:find("app.lua:1:", 1, true), err)
  end)

  it("lists an app's routes", function()
    local status, out = run({ "routes", "app.lua" }, { app = app })
    assert.equal(0, status)
    for _, text in ipairs { "GET", "/users/<id:int>", "POST", "/orders", "app.lua:3" } do
      assert.truthy(out:find(text, 1, true), text .. " is not in: " .. out)
    end
  end)

  it("takes as many workers as it may use CPUs when told auto", function()
    local port = host.free_port()
    local server = host.start({ "serve", "app.lua", "--bind", "127.0.0.1:" .. port, "--workers", "auto" },
      { app = host.versioned_app "v1", wrapper = { "taskset", "-c", "0" } })
    server.target = port
    server:wait_answering()
    server:expect "1 worker,"
    server:wait_version("v1", 1)
  end)

  it("takes settings from flags before environment before config script before defaults", function()
    local files = { ["perigee.conf.lua"] = "workers = 3\n" }
    local versioned = host.versioned_app "v1"
    local port = host.free_port()
    local function serve(flags, env)
      local arguments = { "serve", "app.lua", "--bind", "127.0.0.1:" .. port, "--config", "perigee.conf.lua" }
      for _, flag in ipairs(flags) do arguments[#arguments + 1] = flag end
      local server = host.start(arguments, { app = versioned, files = files, env = env })
      server.target = port
      server:wait_answering()
      return server
    end
    local server = serve({}, {})
    server:wait_version("v1", 3)
    server:stop()
    server = serve({}, { PERIGEE_WORKERS = "1" })
    server:wait_version("v1", 1)
    server:stop()
    server = serve({ "--workers", "2" }, { PERIGEE_WORKERS = "1" })
    server:wait_version("v1", 2)
    server:stop()
  end)
end)
