-- What an app declares, end to end: routes of every kind, blueprints, hooks, errors.

local client = require "spec.support.client"
local host = require "spec.support.host"

local source = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "spec"

app:get("/", function() return "hello\n" end)
app:get("/old/", function() return "own form" end, { strict_slashes = "redirect" })
app:get("/strict", function() return "strict" end, { strict_slashes = true })
app:get("/week/<year:(%d%d%d%d)-W[0-5]%d>", function(_, year) return "year " .. year end)
app:get("/doc/<name:ext=txt|md>", function(_, name, ext) return name .. " as " .. ext end)
app:get("/", function() return "api host\n" end, { host = "api.example.com" })
app:get("/role", function(req) return req.route.ctx.role end, { ctx = { role = "admin" } })
app:get("/urls", function()
  return { app:url_for("users.show", { id = 7 }, { query = { page = 2 } }) }
end)
app:get("/own-urls", function(req)
  return { req:url_for("users.show", { id = 7 }), req:url_for("users.show", { id = 7 }, { external = true }),
    req:url_for("users.show", { id = 7 }, { external = true, scheme = "ws" }),
    req:url_for("users.show", { id = 7 }, { host = "other.example.com" }) }
end)

local users = perigee.blueprint("users", { prefix = "/users", version = 1 })
users:on_request(function(req) req.ctx.seen = "blueprint" end)
users:on_response(function(_, response) response.headers = { ["X-Blueprint"] = "users" } end)
users:get("/<id:int>", function(req, id) return "user " .. id .. " " .. req.ctx.seen end, { name = "show" })
local Missing = setmetatable({}, { __tostring = function() return "missing" end })
Missing.__index = Missing
users:get("/broken", function() error(setmetatable({ what = "cup" }, Missing)) end)
users:exception(Missing, function(_, err) return http.text("no " .. err.what, 404) end)
app:register(users)

app:get("/boom", function(req)
  local password, list = "hunter2", { 1, "<two>" }
  local given = req.headers.authorization
  error("it broke: " .. tostring(given))
  return password, list
end)
app:get("/api/boom", function() error "it broke" end, { error_format = "json" })
return app
]]

local server

local function get(path, headers)
  return client.request(server.target, "GET", path, headers or {})
end

local function serve(mode)
  server = host.serve { app = source, flags = { "--workers", "1", "--mode", mode, "--access-log", "off" } }
end

describe("an app", function()
  before_each(function() serve "production" end)
  after_each(host.finish)

  it("has routes of every kind", function()
    assert.equal("year 2026", get("/week/2026-W07").body)
    assert.equal(404, get("/week/2026-W7").status)
    assert.equal("a.b as md", get("/doc/a.b.md").body)
    assert.equal(404, get("/doc/a.exe").status)
    local away = get "/old?x=1"
    assert.equal(308, away.status)
    assert.equal("/old/?x=1", away.headers.location)
    assert.equal("own form", get("/old/").body)
    assert.equal(404, get("/strict/").status)
    local function ask(name, path)
      local connection = client.connect(server.target)
      connection:send("GET " .. path .. " HTTP/1.1\r\nHost: " .. name .. "\r\n\r\n")
      local body = connection:response().body
      connection:close()
      return body
    end
    for name, body in pairs { ["API.example.com:80"] = "api host\n", ["example.com"] = "hello\n" } do
      assert.equal(body, ask(name, "/"))
    end
    assert.equal("admin", get("/role").body)
    assert.truthy(get("/urls").body:gsub("\\/", "/"):find('"/v1/users/7?page=2"', 1, true))
    assert.equal('["/v1/users/7","http://shop.example.com/v1/users/7","ws://shop.example.com/v1/users/7",'
      .. '"http://other.example.com/v1/users/7"]', ask("shop.example.com", "/own-urls"))
  end)

  it("has blueprints with hooks and exception handlers of their own", function()
    local answer = get "/v1/users/7"
    assert.equal("user 7 blueprint", answer.body)
    assert.equal("users", answer.headers["x-blueprint"])
    assert.is_nil(get("/").headers["x-blueprint"])
    local missing = get "/v1/users/broken"
    assert.equal(404, missing.status)
    assert.equal("no cup", missing.body)
  end)

  it("answers errors as the client would have them, and tells nothing in production", function()
    for accept, kind in pairs {
      ["text/html,application/xhtml+xml,*/*;q=0.8"] = "text/html; charset=utf-8",
      ["application/json"] = "application/json",
      ["text/html;q=0.5, application/json;q=0.9"] = "application/json",
      ["*/*"] = "text/plain; charset=utf-8",
    } do
      for path, status in pairs { ["/none"] = 404, ["/boom"] = 500 } do
        local answer = get(path, { Accept = accept, Authorization = "Bearer s3cr3t-token" })
        assert.equal(status, answer.status)
        assert.equal(kind, answer.headers["content-type"])
        assert.equal("Accept", answer.headers.vary)
        for _, leak in ipairs { "it broke", "app.lua", "hunter2", "s3cr3t", "stack" } do
          assert.is_nil(answer.body:find(leak, 1, true), answer.body)
        end
      end
    end
    assert.equal("application/json", get("/api/boom", { Accept = "text/html" }).headers["content-type"])
    assert.is_nil(get("/api/boom").headers.vary)
  end)
end)

describe("an app in development", function()
  before_each(function() serve "development" end)
  after_each(host.finish)

  it("shows source, variables and request, escaped, and masks secrets", function()
    local page = get("/boom?a=<b>", { Accept = "text/html", Authorization = "Bearer s3cr3t-token",
      Cookie = "session=c00kie-value" }).body
    for _, text in ipairs { "it broke", "app.lua:34", "local password", "&lt;two&gt;", "<h2>Locals</h2>",
      "/boom", "Authorization" } do
      assert.truthy(page:find(text, 1, true), text .. " is not in " .. page)
    end
    for _, leak in ipairs { "s3cr3t", "c00kie-value", "<two>", "<b>boom" } do
      assert.is_nil(page:find(leak, 1, true), leak)
    end
    assert.truthy(page:find("<td>password</td><td>••••••</td>", 1, true))
    local json = get("/boom", { Accept = "application/json" }).body
    assert.truthy(json:find("traceback", 1, true))
    assert.truthy(get("/boom").body:find("stack traceback:", 1, true))
  end)
end)
