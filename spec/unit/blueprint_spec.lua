require "spec.support.abi"
local app_module = require "perigee.app"
local blueprint = require "perigee.blueprint"
local exceptions = require "perigee.exceptions"
local http = require "perigee.http"

local function answer() return "" end

local function error_of(fn, ...)
  local ok, text = pcall(fn, ...)
  assert.is_false(ok)
  return text
end

--- Pattern, name and host of each route.
local function table_of(app)
  app_module.freeze(app)
  local list = {}
  for i, route in ipairs(app.router.routes) do
    list[i] = table.concat({ route.pattern, route.name or "-", route.host or "-" }, " ")
  end
  return list
end

describe("a blueprint", function()
  local app

  before_each(function() app = app_module.new "spec" end)

  it("puts prefix, version, host and name before its routes", function()
    local users = blueprint.new("users", { prefix = "/users/", version = 1, host = "API.example.com" })
    users:get("/<id:int>", answer, { name = "show" })
    users:get("", answer, { version = "2-beta", version_prefix = "/api/v" })
    users:get("/", answer, { host = "other.example.com" })
    app:register(users)
    app:get("/plain", answer, { name = "plain", version = 3 })
    assert.same({
      "/v3/plain plain -", "/v1/users/<id:int> users.show api.example.com",
      "/api/v2-beta/users - api.example.com", "/v1/users/ - other.example.com",
    }, table_of(app))
  end)

  it("nests, is registered twice and copied", function()
    local inner = blueprint.new("inner", { prefix = "/inner", version = 2 })
    inner:get("/a", answer, { name = "a" })
    local outer = app:blueprint("outer", { prefix = "/outer", version = 1 })
    outer:register(inner)
    outer:get("/o", answer)
    app:register(inner, { prefix = "/again" })
    local copy = inner:copy("copy", { version = 9 })
    copy:get("/own", answer)
    app:register(copy)
    assert.same({
      "/v1/outer/o - -", "/v2/outer/inner/a outer.inner.a -", "/v2/again/a inner.a -",
      "/v9/inner/a copy.a -", "/v9/inner/own - -",
    }, table_of(app))
  end)

  it("has hooks of its own between the app's, by priority", function()
    local order = {}
    local function hook(name) return function() order[#order + 1] = name end end
    app:on_request(hook "app")
    app:on_request(hook "app late", { priority = -1 })
    app:on_response(hook "app out")
    local bp = app:blueprint "bp"
    bp:on_request(hook "bp")
    bp:on_request(hook "bp first", { priority = 5 })
    bp:on_response(hook "bp out")
    bp:on_response(hook "bp out last", { priority = 5 })
    bp:get("/b", answer)
    app:get("/a", answer)
    app_module.freeze(app)
    local function run(route)
      order = {}
      for _, fn in ipairs(route.request_hooks) do fn() end
      for i = #route.response_hooks, 1, -1 do route.response_hooks[i]() end
      return order
    end
    assert.same({ "app", "app late", "app out" }, run(app.router.routes[1]))
    assert.same({ "bp first", "app", "bp", "app late", "bp out", "app out", "bp out last" },
      run(app.router.routes[2]))
    assert.same({ "app", "app late", "app out" }, run(app.around_none))
  end)

  it("adds its listeners to the app's, once", function()
    local bp = blueprint.new "bp"
    bp:before_server_start(answer)
    app:before_server_start(answer)
    app:register(bp)
    app:blueprint("outer"):register(bp)
    app_module.freeze(app)
    assert.equal(2, #app.listeners.before_server_start)
  end)

  it("keeps the route's own ctx and options", function()
    local bp = app:blueprint("bp", { strict_slashes = true, error_format = "json" })
    bp:get("/a", answer, { ctx = { role = "admin" } })
    bp:get("/b", answer, { strict_slashes = false, error_format = "html" })
    app_module.freeze(app)
    local a, b = app.router.routes[1], app.router.routes[2]
    assert.equal("admin", a.ctx.role)
    assert.is_true(a.strict)
    assert.equal("json", a.error_format)
    assert.is_false(b.strict)
    assert.equal("html", b.error_format)
  end)

  local wrong = {
    ["the name must be a string"] = function() blueprint.new() end,
    ["has no dots or blanks"] = function() blueprint.new "a.b" end,
    ["unknown option 'prefx'; did you mean 'prefix'?"] = function() blueprint.new("a", { prefx = "/" }) end,
    ["a path starts with '/'"] = function() blueprint.new("a", { prefix = "x" }) end,
    ["is no host"] = function() blueprint.new("a", { host = "http://x/" }) end,
    ["is no version"] = function() blueprint.new("a", { version = "1/2" }) end,
    ["must be one of true, false, \"redirect\""] = function() blueprint.new("a", { strict_slashes = 1 }) end,
    ["this is no blueprint"] = function(a) a:register {} end,
    ["there is a blueprint called 'x' here already"] = function(a) a:blueprint "x" a:blueprint "x" end,
  }
  for message, mistake in pairs(wrong) do
    it("says at the caller's line: " .. message, function()
      local text = error_of(mistake, app)
      assert.truthy(text:find(message, 1, true), text)
      assert.truthy(text:find("blueprint_spec.lua:%d+: "), text)
    end)
  end

  it("cannot be inside itself", function()
    local bp = app:blueprint "bp"
    bp:register(bp)
    assert.truthy(error_of(app_module.freeze, app):find("registered inside itself", 1, true))
  end)

  it("has no name twice", function()
    app:get("/a", answer, { name = "same" })
    app:post("/b", answer, { name = "same" })
    local text = error_of(app_module.freeze, app)
    assert.truthy(text:find("blueprint_spec.lua:%d+: there is a route called 'same' already: /a, made at "
      .. ".-blueprint_spec.lua:%d+"), text)
  end)
end)

describe("a blueprint's body_limit", function()
  it("goes for its routes, unless they say another", function()
    local app, uploads = app_module.new "spec", blueprint.new("uploads", { body_limit = "2 KiB" })
    app:post("/", answer)
    uploads:post("/a", answer)
    uploads:post("/b", answer, { body_limit = 10 })
    app:register(uploads)
    app_module.freeze(app)
    local routes = app.router.routes
    assert.same({ nil, 2048, 10 }, { routes[1].body_limit, routes[2].body_limit, routes[3].body_limit })
    assert.same({ 4096, true }, { app.router:body_limit_most(4096) })
    assert.same({ 2048, true }, { app.router:body_limit_most(5) })
    assert.matches("blueprint_spec.lua:%d+: app:post: the option 'body_limit': .* must be a size",
      error_of(app.post, app_module.new "other", "/", answer, { body_limit = "much" }))
  end)
end)

describe("a blueprint's files", function()
  it("are where the blueprint is, each time", function()
    local app, docs = app_module.new "spec", blueprint.new("docs", { prefix = "/docs", version = 2 })
    docs:static("/files/", "/tmp")
    app:register(docs)
    app:register(docs:copy "more", { prefix = "/more" })
    app_module.freeze(app)
    local prefixes = {}
    for i, route in ipairs(app.router.routes) do
      prefixes[i] = route.pattern .. " " .. route.site.prefix
    end
    assert.same({ "/v2/docs/files/ /v2/docs/files/", "/v2/docs/files/<path:path> /v2/docs/files/",
      "/v2/more/files/ /v2/more/files/", "/v2/more/files/<path:path> /v2/more/files/" }, prefixes)
  end)

  it("cannot be below a parameter", function()
    local app, docs = app_module.new "spec", blueprint.new("docs", { prefix = "/<tenant>" })
    docs:static("/files", "/tmp")
    app:register(docs)
    assert.matches("blueprint_spec.lua:%d+: app:static: the path '/<tenant>/files/' cannot have parameters",
      error_of(app_module.freeze, app))
  end)
end)

describe("url_for", function()
  local app

  setup(function()
    app = app_module.new "spec"
    app:get("/users/<id:int>/<name>", answer, { name = "user" })
    app:get("/files/<path:path>", answer, { name = "file", host = "files.example.com" })
    app:get("/<doc:ext=pdf|txt>", answer, { name = "doc" })
    app:get("/end/", answer, { name = "slash" })
    app_module.freeze(app)
  end)

  local made = {
    { "/users/7/a%20b%2Fc%3F%C3%A9", "user", { id = 7, name = "a b/c?é" } },
    { "/files/a%20b/c", "file", { path = "a b/c" } },
    { "/report.pdf", "doc", { doc = "report", ext = "pdf" } },
    { "/end/?a%26=1%2B1&b=x&b=y#top%20x", "slash", nil,
      { query = { ["a&"] = "1+1", b = { "x", "y" } }, anchor = "top x" } },
    { "http://files.example.com/files/a", "file", { path = "a" }, { external = true } },
    { "https://h:8/end/", "slash", {}, { host = "h:8", scheme = "https" } },
  }
  for _, case in ipairs(made) do
    it("makes " .. case[1], function()
      assert.equal(case[1], app:url_for(case[2], case[3], case[4]))
    end)
  end

  local wrong = {
    ["no route called 'usr'; did you mean 'user'?"] = { "usr" },
    ["the parameter 'id' must be a string or a number, not nil"] = { "user", { name = "x" } },
    ["the parameter 'id' is <int>, which \"x\" is not"] = { "user", { id = "x", name = "y" } },
    ["the parameter 'name' is <str>, which \"\" is not"] = { "user", { id = 1, name = "" } },
    ["the parameter 'name' cannot be \"..\" in a URL"] = { "user", { id = 1, name = ".." } },
    ["has no parameter 'page'"] = { "slash", { page = 1 } },
    ["give the option 'host'"] = { "slash", {}, { external = true } },
    ["unknown option 'querry'; did you mean 'query'?"] = { "slash", {}, { querry = {} } },
    ["is no host"] = { "slash", {}, { host = "a/b" } },
  }
  for message, arguments in pairs(wrong) do
    it("says at the caller's line: " .. message, function()
      local text = error_of(app.url_for, app, unpack(arguments))
      assert.truthy(text:find(message, 1, true), text)
      assert.truthy(text:find("blueprint_spec.lua:%d+: "), text)
    end)
  end
end)

describe("exception handlers", function()
  local Base = setmetatable({}, { __name = "Base" })
  Base.__index = Base
  local Derived = setmetatable({}, { __index = Base })
  Derived.__index = Derived

  it("are found by class, test, status, then for all; the innermost scope first", function()
    local inner, outer = exceptions.new(), exceptions.new()
    local function named(name) return function() return name end end
    exceptions.add(outer, "x", nil, named "any")
    exceptions.add(outer, "x", Base, named "base")
    exceptions.add(outer, "x", 404, named "outer 404")
    exceptions.add(inner, "x", 404, named "inner 404")
    exceptions.add(inner, "x", function(err) return err == "special" end, named "test")
    local function find(err)
      local fn, status = exceptions.find({ inner, outer }, err)
      return fn and fn(), status
    end
    assert.equal("inner 404", find(http.error(404)))
    assert.equal("any", find(http.error(410)))
    assert.equal("base", find(setmetatable({}, Base)))
    assert.equal("base", find(setmetatable({}, Derived)))
    assert.equal("test", find "special")
    assert.equal("any", find "other")
    exceptions.add(inner, "x", Derived, named "derived")
    assert.equal("derived", find(setmetatable({}, Derived)))
    assert.equal("base", find(setmetatable({}, Base)))
    assert.is_nil((exceptions.find({ exceptions.new() }, "x")))
  end)

  it("are one for each", function()
    local set = exceptions.new()
    exceptions.add(set, "app:exception", Base, answer)
    local text = error_of(exceptions.add, set, "app:exception", Base, answer)
    assert.truthy(text:find("a handler for this class already, made at .-blueprint_spec.lua"), text)
  end)
end)
