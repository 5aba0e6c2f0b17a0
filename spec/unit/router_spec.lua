require "spec.support.abi"
local pattern = require "perigee.pattern"
local router = require "perigee.router"

local function make(list)
  local routes = router.new()
  for _, row in ipairs(list) do
    local methods = {}
    for method in row[1]:gmatch("%a+") do methods[#methods + 1] = method end
    routes:add { methods = methods, pattern = row[2], handler = print,
      place = "app.lua:" .. #routes.routes + 1 }
  end
  routes:compile()
  return routes
end

--- The pattern that answers, and the values.
local function match(routes, method, path)
  local route, values = routes:match(method, path)
  return route and route.pattern, values
end

describe("a router", function()
  it("gives a page and a WebSocket the same path", function()
    local routes = router.new()
    local function add(method, path, weak)
      routes:add { methods = { method }, pattern = path, handler = print, weak = weak,
        place = "app.lua:" .. #routes.routes + 1 }
    end
    add(router.WEBSOCKET, "/a")
    add("GET", "/a")
    add(router.WEBSOCKET, "/rooms/<id>")
    add("GET", "/rooms/<name>")
    add(router.WEBSOCKET, "/alone")
    add("GET", "/", true)
    add(router.WEBSOCKET, "/")
    routes:compile()
    for _, path in ipairs { "/a", "/a/", "/rooms/7", "/" } do
      local page = routes:match("GET", path)
      assert.equal("GET", page.methods[1])
      assert.is_true(page.hooked)
      assert.equal(router.WEBSOCKET, page.upgrade.methods[1])
      assert.equal(page, (routes:match("HEAD", path)))
    end
    local alone = routes:match("GET", "/alone")
    assert.equal(router.WEBSOCKET, alone.methods[1])
    assert.is_nil(alone.upgrade)
    assert.same({ nil, "GET, HEAD, OPTIONS" }, { routes:match("POST", "/a") })
    assert.is_nil((routes:match(router.WEBSOCKET, "/a")))
    local ok, text = pcall(add, router.WEBSOCKET, "/a")
    assert.is_false(ok)
    assert.matches("app.lua:8: route websocket /a is there already: websocket /a, made at app.lua:1", text)
  end)

  it("finds paths without parameters, with or without a slash at the end", function()
    local routes = make { { "GET", "/" }, { "GET", "/a/b" } }
    assert.equal("/", match(routes, "GET", "/"))
    assert.equal("/a/b", match(routes, "GET", "/a/b"))
    assert.equal("/a/b", match(routes, "GET", "/a/b/"))
    assert.is_nil(match(routes, "GET", "/a"))
    assert.is_nil(match(routes, "GET", "/a//b"))
  end)

  local accepted = {
    int = { ["7"] = 7, ["-12"] = -12, ["007"] = 7, ["9007199254740991"] = 2 ^ 53 - 1 },
    float = { ["1"] = 1, ["-1.5"] = -1.5, [".5"] = 0.5, ["2."] = 2 },
    str = { ["a b"] = "a b", ["-"] = "-" },
    alpha = { Abc = "Abc" },
    slug = { ["a-1-b"] = "a-1-b", a = "a" },
    uuid = { ["123e4567-e89b-12d3-A456-426614174000"] = "123e4567-e89b-12d3-A456-426614174000" },
    ymd = { ["2024-02-29"] = "2024-02-29", ["1999-12-31"] = "1999-12-31" },
    path = { ["a/b/c"] = "a/b/c", a = "a" },
  }
  local refused = {
    int = { "", "x", "1.0", "0x10", "1e3", "--1", "-", " 1", "9007199254740992" },
    float = { ".", "-", "1e3", "0x1", "1.2.3", "inf", "nan" },
    str = { "" },
    alpha = { "a1", "é" },
    slug = { "A", "-a", "a-", "a--b", "a_b" },
    uuid = { "123e4567-e89b-12d3-a456-42661417400", "123e4567xe89b-12d3-a456-426614174000" },
    ymd = { "2023-02-29", "2024-13-01", "2024-00-10", "2024-1-01", "1900-02-29", "2024-04-31" },
    path = { "" },
  }
  for kind, values in pairs(accepted) do
    it("takes what is " .. kind, function()
      local routes = make { { "GET", "/x/<v:" .. kind .. ">" } }
      for text, value in pairs(values) do
        local found, got = match(routes, "GET", "/x/" .. text)
        assert.equal("/x/<v:" .. kind .. ">", found, text)
        assert.equal(value, got[1])
      end
    end)
    it("refuses what is not " .. kind, function()
      local routes = make { { "GET", "/x/<v:" .. kind .. ">" } }
      for _, text in ipairs(refused[kind]) do
        assert.is_nil(match(routes, "GET", "/x/" .. text), text)
      end
    end)
  end

  it("splits an extension off", function()
    local routes = make { { "GET", "/<file:ext>" } }
    local _, values = match(routes, "GET", "/a.tar.gz")
    assert.same({ "a.tar", "gz" }, values)
    assert.is_nil(match(routes, "GET", "/.gz"))
    assert.is_nil(match(routes, "GET", "/a."))
  end)

  it("prefers the more specific, and goes on when it leads nowhere", function()
    local routes = make {
      { "GET", "/u/<name>" }, { "GET", "/u/<id:int>" }, { "GET", "/u/me" },
      { "GET", "/u/<id:int>/posts" }, { "GET", "/<rest:path>" }, { "GET", "/u/me/friends" },
    }
    assert.equal("/u/me", match(routes, "GET", "/u/me"))
    assert.equal("/u/<id:int>", match(routes, "GET", "/u/5"))
    assert.equal("/u/<name>", match(routes, "GET", "/u/joe"))
    assert.equal("/u/<id:int>/posts", match(routes, "GET", "/u/5/posts"))
    local found, values = match(routes, "GET", "/u/me/posts")
    assert.equal("/<rest:path>", found)
    assert.same({ "u/me/posts" }, values)
  end)

  it("looks on for a route that has the method", function()
    local routes = make { { "GET", "/u/<id:int>" }, { "POST", "/u/<name>" }, { "PUT", "/u/5" } }
    assert.equal("/u/<name>", match(routes, "POST", "/u/5"))
    assert.equal("/u/<id:int>", match(routes, "GET", "/u/5"))
  end)

  it("answers HEAD by GET, and tells the methods a path has", function()
    local routes = make { { "GET", "/a" }, { "PUT PATCH", "/a" }, { "DELETE", "/<x>" } }
    assert.equal("/a", match(routes, "HEAD", "/a"))
    local route, allow = routes:match("POST", "/a")
    assert.is_nil(route)
    assert.equal("DELETE, GET, HEAD, OPTIONS, PATCH, PUT", allow)
    route, allow = routes:match("POST", "/a/b")
    assert.is_nil(route)
    assert.is_nil(allow)
  end)

  it("keeps an encoded slash in its segment", function()
    local routes = make { { "GET", "/f/<name>/end" }, { "GET", "/f/a/b/end" } }
    local found, values = match(routes, "GET", "/f/a\0b/end")
    assert.equal("/f/<name>/end", found)
    assert.same({ "a\0b" }, values)
  end)

  local bad = {
    ["x"] = "a path starts with '/'",
    ["/a b"] = "has no space",
    ["/a?x"] = "has no space, '?'",
    ["//"] = "'//' never matches",
    ["/a//b"] = "'//' never matches",
    ["/a<b>"] = "mixes text and a parameter",
    ["/<b"] = "mixes text and a parameter",
    ["/<1b>"] = "is no parameter",
    ["/<>"] = "is no parameter",
    ["/<b:itn>"] = "there is no parameter type 'itn'; did you mean 'int'?",
    ["/<p:path>/x"] = "takes the rest of the path",
    ["/<a>/<a>"] = "two parameters are called 'a'",
  }
  for text, message in pairs(bad) do
    it(("refuses %q at the line that gave it"):format(text), function()
      local ok, problem = pcall(pattern.parse, text)
      assert.is_false(ok)
      assert.truthy(problem:find(message, 1, true), problem)
      assert.truthy(problem:find("router_spec.lua:%d+: "), problem)
    end)
  end

  it("names both places of two routes that collide", function()
    local ok, text = pcall(make, { { "GET", "/u/<id:int>" }, { "GET", "/u/<number:int>/" } })
    assert.is_false(ok)
    local expected = "GET /u/<number:int>/ is there already: GET /u/<id:int>, made at app.lua:1"
    assert.truthy(text:find(expected, 1, true), text)
  end)
end)

describe("a router's parameters", function()
  it("take an empty segment, if they say so", function()
    local routes = make { { "GET", "/a/<x:strorempty>" } }
    assert.same({ "b" }, select(2, match(routes, "GET", "/a/b")))
    assert.same({ "" }, select(2, match(routes, "GET", "/a/")))
    assert.same({ "" }, select(2, match(routes, "GET", "/a")))
    assert.is_nil(match(routes, "GET", "/"))
  end)

  it("take an extension of a list, and a type before it", function()
    local routes = make { { "GET", "/<f:ext=js|css|tar.gz>" }, { "GET", "/n/<id=int:ext=json>" } }
    assert.same({ "a.b", "js" }, select(2, match(routes, "GET", "/a.b.js")))
    assert.same({ "a", "tar.gz" }, select(2, match(routes, "GET", "/a.tar.gz")))
    assert.is_nil(match(routes, "GET", "/a.gz"))
    assert.is_nil(match(routes, "GET", "/.js"))
    assert.same({ 12, "json" }, select(2, match(routes, "GET", "/n/12.json")))
    assert.is_nil(match(routes, "GET", "/n/x.json"))
  end)

  it("may be Lua patterns, tried before str in the order they were added", function()
    local routes = make {
      { "GET", "/<any>" }, { "GET", "/<word:[a-z]+>" }, { "GET", "/<year:(%d%d%d%d)-Q[1-4]>" },
      { "GET", "/<low:^[a-c?]+$>" },
    }
    assert.equal("/<word:[a-z]+>", match(routes, "GET", "/abc"))
    local found, values = match(routes, "GET", "/2026-Q3")
    assert.equal("/<year:(%d%d%d%d)-Q[1-4]>", found)
    assert.same({ "2026" }, values)
    assert.equal("/<low:^[a-c?]+$>", match(routes, "GET", "/a?"))
    assert.equal("/<any>", match(routes, "GET", "/ABC"))
  end)

  for text, message in pairs {
    ["/<a:[a-z>"] = "malformed pattern",
    ["/<a:ext=>"] = "'' is no extension",
    ["/<a=path:ext>"] = "'path' cannot stand before an extension",
    ["/<a=int:int>"] = "only an extension has something before it",
  } do
    it("refuse " .. text, function()
      local ok, problem = pcall(pattern.parse, text)
      assert.is_false(ok)
      assert.truthy(problem:find(message, 1, true), problem)
    end)
  end
end)

describe("a router with strict slashes", function()
  local function strict(value, list)
    local routes = router.new()
    for i, row in ipairs(list) do
      routes:add { methods = { "GET" }, pattern = row[1], strict = row[2], handler = print,
        place = "app.lua:" .. i }
    end
    routes:compile(value)
    return routes
  end

  it("knows two routes apart", function()
    local routes = strict(true, { { "/a" }, { "/a/" }, { "/b/<x>/" }, { "/c", false } })
    assert.equal("/a", match(routes, "GET", "/a"))
    assert.equal("/a/", match(routes, "GET", "/a/"))
    assert.equal("/b/<x>/", match(routes, "GET", "/b/1/"))
    assert.is_nil(match(routes, "GET", "/b/1"))
    assert.equal("/c", match(routes, "GET", "/c/"))
  end)

  it("sends to a route's own form", function()
    local routes = strict("redirect", { { "/a/<x>/" }, { "/b" } })
    local route, values = routes:match("GET", "/a/x y")
    local response = route.handler { params = { x = values[1] }, query_string = "q=1" }
    assert.equal(308, response.status)
    assert.equal("/a/x%20y/?q=1", response.headers.Location)
    route = routes:match("GET", "/b/")
    assert.equal("/b", route.handler({ params = {}, query_string = "" }).headers.Location)
  end)

  it("does not send to another host", function()
    local routes = strict("redirect", { { "/<a:strorempty>/<b>/" } })
    local route = routes:match("GET", "//evil.example")
    local response = route.handler { params = { a = "", b = "evil.example" }, query_string = "" }
    assert.equal("/evil.example/", response.headers.Location)
  end)

  it("refuses two routes for one path, naming the later one first", function()
    local ok, text = pcall(strict, false, { { "/a" }, { "/a/", true } })
    assert.is_false(ok)
    assert.equal("app.lua:2: route GET /a/ is there already: GET /a, made at app.lua:1", text)
  end)
end)

describe("a router with hosts", function()
  local routes

  setup(function()
    routes = router.new()
    for i, row in ipairs { { "/", nil }, { "/", "api.example.com" }, { "/x", "*.example.com" },
      { "/x", "*.eu.example.com" }, { "/y", nil } } do
      routes:add { methods = { "GET" }, pattern = row[1], host = row[2], handler = print, place = "a:" .. i,
        name = tostring(i) }
    end
    routes:compile()
  end)

  local cases = {
    { "/", nil, "1" }, { "/", "example.com", "1" }, { "/", "API.example.com:8000", "2" },
    { "/x", "a.example.com", "3" }, { "/x", "a.eu.example.com", "4" }, { "/y", "a.eu.example.com", "5" },
    { "/x", "example.com", nil }, { "/x", "evilexample.com", nil }, { "/x", "api.example.com.", "3" },
  }
  for _, case in ipairs(cases) do
    it(("answers %s of %s"):format(case[1], tostring(case[2])), function()
      local route = routes:match_host("GET", case[1], case[2])
      assert.equal(case[3], route and route.name)
    end)
  end

  it("tells the methods that either has", function()
    local _, allow = routes:match_host("POST", "/", "api.example.com")
    assert.equal("GET, HEAD, OPTIONS", allow)
  end)
end)
