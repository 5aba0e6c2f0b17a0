require "spec.support.abi"
local app_module = require "perigee.app"
local listeners = require "perigee.listeners"
local phase = require "perigee.phase"
local shared = require "perigee.shared"

local function error_of(fn, ...)
  local ok, text = pcall(fn, ...)
  assert.is_false(ok)
  return text
end

describe("an app", function()
  local app

  before_each(function()
    phase.current = "none"
    app = app_module.new("spec", { workers = 2 })
  end)

  after_each(function() phase.current = "none" end)

  local wrong = {
    ["the path must be a string, not nil"] = function(a) a:get(nil, print) end,
    ["the handler must be a function, not a string"] = function(a) a:get("/", "x") end,
    ["unknown option 'nam'; did you mean 'name'?"] = function(a) a:post("/", print, { nam = "x" }) end,
    ["methods must be a name"] = function(a) a:route({}, "/", print) end,
    ["is no method"] = function(a) a:route("G T", "/", print) end,
    ["the listener must be a function"] = function(a) a:main_process_start(1) end,
    ["there is no listener 'before_start'"] = function(a) a:listener(print, "before_start") end,
    ["the status must be a number from 400 to 599"] = function(a) a:exception(200, print) end,
    ["cannot be set; keep what is yours in app.ctx"] = function(a) a.thing = 1 end,
    ["app.config.workers cannot be set"] = function(a) a.config.workers = 1 end,
    ["the name must be a string, not nil"] = function() app_module.new() end,
    ["the settings must be a table"] = function() app_module.new("x", 1) end,
  }
  for message, mistake in pairs(wrong) do
    it("says at the caller's line: " .. message, function()
      local text = error_of(mistake, app)
      assert.truthy(text:find(message, 1, true), text)
      assert.truthy(text:find("app_spec.lua:%d+: "), text)
    end)
  end

  it("takes routes for every method", function()
    for _, method in ipairs { "get", "post", "put", "patch", "delete", "head", "options" } do
      app[method](app, "/" .. method, print)
    end
    app:route({ "get", "PURGE" }, "/both", print, { name = "both" })
    app_module.freeze(app)
    assert.equal(8, #app.router.routes)
    assert.same({ "GET", "PURGE" }, app.router.routes[8].methods)
  end)

  it("refuses routes once it is served", function()
    app_module.freeze(app)
    assert.truthy(error_of(app.get, app, "/", print):find("too late", 1, true))
  end)

  it("runs start listeners in order, stop listeners backwards, and names the one that fails", function()
    local order = {}
    for i = 1, 2 do
      app:before_server_start(function(given) order[#order + 1] = "start " .. i .. given.name end)
      app:listener(function() order[#order + 1] = "stop " .. i end, "before_server_stop")
    end
    listeners.run(app.listeners, "before_server_start", app)
    listeners.run(app.listeners, "before_server_stop", app)
    assert.same({ "start 1spec", "start 2spec", "stop 2", "stop 1" }, order)

    app:main_process_ready(function() error("boom") end)
    local text = error_of(listeners.run, app.listeners, "main_process_ready", app)
    assert.truthy(text:find("^[^\n]*app_spec.lua:%d+: boom %(in the main_process_ready listener of "
      .. "[^\n]*app_spec.lua:%d+%)"), text)
    app:main_process_stop(function() error({}) end)
    text = error_of(listeners.run, app.listeners, "main_process_stop", app)
    assert.truthy(text:find("^[^\n]*app_spec.lua:%d+: "), text)
  end)

  it("shares only shared objects, and only before the fork", function()
    app.shared.hits = shared.value("app.hits", "int64")
    assert.equal(1, app.shared.hits:add(1))
    local text = error_of(function() app.shared.x = {} end)
    assert.truthy(text:find("must be an object of perigee.shared", 1, true))
    phase.current = "worker"
    assert.truthy(error_of(function() app.shared.y = app.shared.hits end):find("main_process_start", 1, true))
  end)
end)

describe("a shared value", function()
  after_each(function() phase.current = "none" end)

  it("counts, in numbers as long as they are exact", function()
    local value = shared.value("v1", "int64", { initial = 5 })
    assert.equal(5, value:get())
    assert.equal(7, value:add(2))
    value:set(2 ^ 53)
    assert.equal(2 ^ 53, value:get())
    assert.equal(9007199254740993LL, value:add(1))
    value:set(-3)
    assert.equal(-3, value:get())
  end)

  it("holds doubles and booleans", function()
    local value = shared.value("v2", "double", { initial = 0.5 })
    assert.equal(1.75, value:add(1.25))
    value:set(-2)
    assert.equal(-2, value:get())
    local flag = shared.value("v3", "bool", { initial = true })
    assert.is_true(flag:get())
    flag:set(false)
    assert.is_false(flag:get())
  end)

  it("is opened, not made, in a worker", function()
    shared.value("v4", "int64"):set(9)
    phase.current = "worker"
    assert.equal(9, shared.value("v4", "int64"):get())
    assert.truthy(error_of(shared.value, "v5", "int64"):find("make it in main_process_start", 1, true))
  end)

  it("works in a check, where there is no shared memory", function()
    phase.current = "check"
    local value = shared.value("only here", "int64", { initial = 3 })
    assert.equal(4, value:add(1))
    assert.equal(4, value:get())
  end)

  local wrong = {
    ["a name has 1 to 63 bytes"] = function() shared.value("", "int64") end,
    ["the kind must be one of int64, double, bool, not int46; did you mean 'int64'?"] = function()
      shared.value("w", "int46")
    end,
    ["unknown option 'inital'; did you mean 'initial'?"] = function()
      shared.value("w", "int64", { inital = 1 })
    end,
    ["initial must be a whole number, not 0.5"] = function()
      shared.value("w", "int64", { initial = 0.5 })
    end,
    ["add of the shared value 'w1': it takes a whole number, not 0.5"] = function()
      shared.value("w1", "int64"):add(0.5)
    end,
    ["set of the shared value 'w2': it takes true or false, not 1"] = function()
      shared.value("w2", "bool"):set(1)
    end,
  }
  for message, mistake in pairs(wrong) do
    it("says at the caller's line: " .. message, function()
      local text = error_of(mistake)
      assert.truthy(text:find(message, 1, true), text)
      assert.truthy(text:find("app_spec.lua:%d+: "), text)
    end)
  end
end)
