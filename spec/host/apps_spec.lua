-- Several apps, each at addresses of its own, served by the same workers under one manager.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local run = require "spec.support.run"
local uv = require "luv"
local wait = require "spec.support.wait"

local hook_names = { "main_process_start", "before_server_start", "after_server_start",
  "main_process_ready", "before_server_stop", "after_server_stop", "main_process_stop" }

--- An app that says who it is. `@…@` is replaced.
local template = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app("@NAME@", { @SETTINGS@ })
for _, name in ipairs { "main_process_start", "before_server_start", "after_server_start",
  "main_process_ready", "before_server_stop", "after_server_stop", "main_process_stop" } do
  app[name](app, function(given) print(("hook %s of @NAME@ with %s"):format(name, given.name)) end)
end
app:get("/", function() return "@NAME@ @VERSION@ " .. require "luv".os_getpid() .. "\n" end)
app:get("/which", function(req) return req.app.name .. " " .. req:url_for("only") end)
app:get("/@NAME@/only", function() return "only" end, { name = "only" })
app:get("/error", function() error "as asked" end)
app:get("/file", function() return http.file("@NAME@.txt") end)
app:get("/rows", function() return app.m.workers end)
app:post("/body", function(req) return tostring(#req.body) end)
app:exception(418, function(req) return http.text(req.app.name .. " is a teapot", 418) end)
app:get("/teapot", function() http.abort(418) end)
app:on_response(function(req, response) response.headers["X-App"] = app.name .. "=" .. req.app.name end)
]]

local function declare(name, settings, more, version)
  local values = { NAME = name, SETTINGS = settings or "", VERSION = version or "v1" }
  return template:gsub("@(%u+)@", values) .. (more or "")
end

local function source(...)
  return declare(...) .. "\nreturn app\n"
end

local function bind_at(port)
  return ("bind = '127.0.0.1:%d'"):format(port)
end

--- Serves app.lua, at a free port, and other.lua in a folder of its own, at another.
local function serve_two(options)
  options = options or {}
  local port = host.free_port()
  local settings = bind_at(port) .. (options.settings or "")
  local files = { ["other/other.lua"] = source("admin", settings, options.more), ["shop.txt"] = "the shop's",
    ["other/admin.txt"] = "the admin's" }
  for name, text in pairs(options.files or {}) do files[name] = text end
  local server = host.serve { app = source("shop", options.first, options.more), files = files,
    flags = { "other/other.lua", "--workers", "2", unpack(options.flags or {}) } }
  server.other = port
  return server
end

local function ask(target, path, ...)
  return assert(client.try(target, "GET", path, ...))
end

--- What `perigee serve` of these files says before it gives up.
local function refusal(files, flags)
  local arguments = { "serve", "a.lua", "b.lua", unpack(flags or {}) }
  local server = host.run(arguments, { files = files })
  assert.equal(1, server.status)
  return table.concat(server.stderr, "\n")
end

local function mentions(text, ...)
  for _, part in ipairs { ... } do
    assert.truthy(text:find(part, 1, true), ("%q is not in:\n%s"):format(part, text))
  end
end

--- Waits until a server has said all of these.
local function told(server, ...)
  for _, part in ipairs { ... } do
    wait.till(10, function() return ("%q in what it says:\n%s"):format(part, server:text()) end, function()
      return server:text():find(part, 1, true)
    end)
  end
end

describe("several apps", function()
  after_each(host.finish)

  it("have routes, errors, handlers, files and names of their own, at their own addresses", function()
    local server = serve_two { first = "error_format = 'json'", settings = ", error_format = 'text'" }
    for _ = 1, 4 do
      assert.equal("shop /shop/only", ask(server.port, "/which").body)
      assert.equal("admin /admin/only", ask(server.other, "/which").body)
    end
    assert.equal(404, ask(server.port, "/admin/only").status)
    assert.equal("only", ask(server.other, "/admin/only").body)
    assert.equal("Internal Server Error", json.decode(ask(server.port, "/error").body).error)
    assert.truthy(ask(server.other, "/error").body:find "^500 ")
    assert.equal("shop is a teapot", ask(server.port, "/teapot").body)
    assert.equal("admin is a teapot", ask(server.other, "/teapot").body)
    assert.equal("shop=shop", ask(server.port, "/nothing").headers["x-app"])
    assert.equal("admin=admin", ask(server.other, "/nothing").headers["x-app"])
    assert.equal("the shop's", ask(server.port, "/file").body)
    assert.equal("the admin's", ask(server.other, "/file").body)
  end)

  it("are told of in the log, and in the rows of workers", function()
    local server = serve_two()
    told(server, ('serves "shop" (app.lua) at http://127.0.0.1:%d'):format(server.port),
      ('serves "admin" (other/other.lua) at http://127.0.0.1:%d'):format(server.other))
    local served = {
      { name = "shop", file = "app.lua", bind = { "tcp:127.0.0.1:" .. server.port } },
      { name = "admin", file = "other/other.lua", bind = { "tcp:127.0.0.1:" .. server.other } },
    }
    for _, target in ipairs { server.port, server.other } do
      local count = 0
      for _, row in ipairs(json.decode(ask(target, "/rows").body)) do
        if row.role == "worker" then
          count = count + 1
          assert.same(served, row.apps)
        else
          assert.is_nil(row.apps)
        end
      end
      assert.equal(2, count)
    end
  end)

  it("run their hooks in the order they were given, and those of the end in the opposite one", function()
    local server = serve_two { flags = { "--workers", "1" } }
    server:expect "hook main_process_ready of admin"
    assert.equal(0, server:stop())
    local expected, said = {}, {}
    for _, name in ipairs(hook_names) do
      local order = name:find "stop" and { "admin", "shop" } or { "shop", "admin" }
      for _, app in ipairs(order) do expected[#expected + 1] = ("%s of %s with %s"):format(name, app, app) end
    end
    for _, line in ipairs(server.lines) do said[#said + 1] = line:match "hook (.*)$" end
    assert.same(expected, said)
  end)

  it("end all of them, also when one's hook fails", function()
    local server = serve_two { flags = { "--workers", "1" },
      files = { ["other/other.lua"] = source("admin", "bind = '127.0.0.1:0'",
        "app:before_server_stop(function() error 'it will not' end)") } }
    assert.equal(0, server:stop())
    mentions(server:text(), "it will not", "hook before_server_stop of shop",
      "hook after_server_stop of admin", "hook main_process_stop of shop")
  end)

  it("have background tasks and owners of their own, though of one name", function()
    local server = serve_two { more = [[
app:every(60, function(given) print("tick of " .. given.name) end,
  { name = "tick", once = "app", immediately = true })
app:add_task(function(given) print("task of " .. given.name) end, { name = "once" })
]] }
    for _, name in ipairs { "shop", "admin" } do
      wait.till(10, "what runs beside " .. name, function()
        return #server:matching("tick of " .. name) == 1 and #server:matching("task of " .. name) == 2
      end)
    end
  end)

  it("may come from one file, and be at a unix socket", function()
    local both = declare("shop") .. "\nlocal shop = app\n" .. declare("admin", "bind = 'unix:admin.sock'")
      .. "\nreturn shop, app\n"
    local server = host.serve { app = both }
    assert.equal("shop /shop/only", ask(server.port, "/which").body)
    assert.equal("admin /admin/only", ask(server.dir .. "/admin.sock", "/which").body)
    assert.equal(0, server:stop())
    assert.is_nil(uv.fs_stat(server.dir .. "/admin.sock"))
  end)

  it("have one inspector, which knows the commands of all", function()
    local command = "app:inspector_command('%s', function() return app.name end)"
    local server = serve_two { flags = { "--inspector", "unix:inspector.sock" },
      first = "", files = { ["other/other.lua"] = source("admin", "bind = '127.0.0.1:0'",
        command:format "who") } }
    local socket = server.dir .. "/inspector.sock"
    wait.till(10, "the inspector", function() return uv.fs_stat(socket) end)
    assert.equal("admin", host.run { "inspect", "--address", "unix:" .. socket, "who" }.stdout[1])
    mentions(refusal { ["a.lua"] = source("shop", "", command:format "who"),
      ["b.lua"] = source("admin", "bind = 0", command:format "who") },
      "b.lua:18: app:inspector_command('who'): there is such a command already, at a.lua:18")
  end)

  it("hold bodies to each one's limit", function()
    local server = serve_two { settings = ", body_limit = 10" }
    local function post(target, size)
      return assert(client.try(target, "POST", "/body", {}, ("x"):rep(size)))
    end
    assert.equal("20", post(server.port, 20).body)
    assert.equal("10", post(server.other, 10).body)
    assert.equal(413, post(server.other, 20).status)
  end)

  it("can be served by a single process", function()
    local server = serve_two { flags = { "--workers", "1", "--single-process" } }
    assert.equal("shop /shop/only", ask(server.port, "/which").body)
    assert.equal("admin /admin/only", ask(server.other, "/which").body)
    told(server, ('"admin" at http://127.0.0.1:%d'):format(server.other))
    assert.equal(0, server:stop())
  end)

  it("get the sockets that they name, of those that systemd passes", function()
    local sockets, ports = {}, {}
    for i = 1, 2 do
      sockets[i] = uv.new_tcp()
      sockets[i]:bind("127.0.0.1", 0)
      sockets[i]:listen(16, function() end)
      ports[i] = sockets[i]:getsockname().port
    end
    local server = host.start({ "serve", "a.lua", "b.lua", "--workers", "1" }, {
      files = { ["a.lua"] = source("shop", "bind = 'fd:web'"),
        ["b.lua"] = source("admin", "bind = 'fd:back'") },
      wrapper = { "sh", "-c", 'LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=web:back exec "$@"', "sh" },
      stdio = { [3] = sockets[1], [4] = sockets[2] },
    })
    for _, socket in ipairs(sockets) do socket:close() end
    server.target = ports[1]
    server:wait_answering()
    assert.equal("shop /shop/only", ask(ports[1], "/which").body)
    assert.equal("admin /admin/only", ask(ports[2], "/which").body)
    assert.equal(0, server:stop())
  end)
end)

describe("the settings of several apps", function()
  after_each(host.finish)

  it("are the process's, whoever of them says it, or each one's own", function()
    local out = host.run({ "check", "a.lua", "b.lua", "--bind", "127.0.0.1:7001" }, { files = {
      ["a.lua"] = source "shop", ["b.lua"] = source("admin", "bind = '127.0.0.1:7002', workers = 3"),
    } })
    assert.equal(0, out.status)
    assert.same({ "a.lua: ok: app 'shop', 8 routes, bind tcp:127.0.0.1:7001, 3 workers",
      "b.lua: ok: app 'admin', 8 routes, bind tcp:127.0.0.1:7002, 3 workers" }, out.stdout)
  end)

  it("come from the config script too, where bind is the first one's", function()
    local files = { ["a.lua"] = source "shop", ["b.lua"] = source("admin", "bind = '127.0.0.1:7002'"),
      ["perigee.conf.lua"] = "bind = '127.0.0.1:7001'\nworkers = 2\nmetrics_path = '/metrics'\n"
        .. "app:get('/a', function() end)\napps.admin:get('/b', function() end)\n" }
    local out = host.run({ "check", "a.lua", "b.lua" }, { files = files })
    assert.same({ "a.lua: ok: app 'shop', 10 routes, bind tcp:127.0.0.1:7001, 2 workers",
      "b.lua: ok: app 'admin', 10 routes, bind tcp:127.0.0.1:7002, 2 workers" }, out.stdout)
  end)

  it("come from the config script of each one's folder", function()
    local files = { ["a/app.lua"] = source "shop",
      ["b/app.lua"] = source("admin", "bind = '127.0.0.1:7002'"),
      ["a/perigee.conf.lua"] = "workers = 2\n", ["b/perigee.conf.lua"] = "metrics_path = '/metrics'\n" }
    local out = host.run({ "check", "a", "b" }, { files = files })
    assert.same({ "a/app.lua: ok: app 'shop', 8 routes, bind tcp:127.0.0.1:8000, 2 workers",
      "b/app.lua: ok: app 'admin', 9 routes, bind tcp:127.0.0.1:7002, 2 workers" }, out.stdout)
    files["b/perigee.conf.lua"] = "\nworkers = 3\n"
    out = host.run({ "check", "a", "b" }, { files = files })
    assert.equal("perigee: b/perigee.conf.lua:2: the setting 'workers' is not what a/perigee.conf.lua:1 "
      .. "says; one process serves both apps, so they have to agree", out.stderr[1])
  end)

  it("must agree on what the process has once", function()
    mentions(refusal { ["a.lua"] = source("shop", "worker_timeout = 10"),
      ["b.lua"] = source("admin", "bind = 7002, worker_timeout = 20") },
      "b.lua:3: the setting 'worker_timeout' is not what a.lua:3 says")
    local port = host.free_port()
    local agreed = host.run({ "check", "a.lua", "b.lua" }, { files = {
      ["a.lua"] = source("shop", "worker_timeout = 10"),
      ["b.lua"] = source("admin", "worker_timeout = '10s', " .. bind_at(port)) } })
    assert.equal(0, agreed.status, agreed:text())
  end)

  it("may not put two at one address, or two of one name", function()
    mentions(refusal { ["a.lua"] = source "shop", ["b.lua"] = source "admin" },
      "default: the app 'admin' (b.lua:3) cannot be served at 127.0.0.1:8000, where 'shop' (a.lua:3) is")
    mentions(refusal { ["a.lua"] = source("shop", "bind = 7001"),
      ["b.lua"] = source("admin", "bind = ':7001'") },
      "b.lua:3: the app 'admin' (b.lua:3) cannot be served at 0.0.0.0:7001, where 'shop' (a.lua:3) is")
    mentions(refusal { ["a.lua"] = source "shop", ["b.lua"] = source("shop", "bind = 7002") },
      "b.lua:3: there is an app called 'shop' already, made at a.lua:3")
    local other = source("b", "bind = 7002")
    mentions(refusal { ["a.lua"] = declare "shop" .. "return app, app", ["b.lua"] = other },
      "a.lua:3: the app 'shop' is returned twice")
    mentions(refusal { ["a.lua"] = declare "shop" .. "return app, 7", ["b.lua"] = other },
      "a.lua:18: the file must end with `return app`", "it returned a number")
  end)

  it("are shown with the routes", function()
    local out = host.run({ "routes", "a.lua", "b.lua" }, { files = {
      ["a.lua"] = source "shop", ["b.lua"] = source("admin", "bind = 7002") } })
    assert.equal(0, out.status)
    mentions(out.stdout[1], "METHODS", "HANDLER", "APP")
    local text = table.concat(out.stdout, "\n")
    assert.truthy(text:find "GET +/shop/only +only +a%.lua:10 +shop\n")
    assert.truthy(text:find "GET +/admin/only +only +b%.lua:10 +admin\n")
  end)
end)

describe("a reload of several apps", function()
  after_each(host.finish)

  --- Waits until both answer with these versions, on both workers.
  local function wait_both(server, first, second)
    local function what() return first .. " and " .. second .. "; it said:\n" .. server:text() end
    wait.till(15, what, function()
      for _ = 1, 10 do
        if ask(server.port, "/").body:match "^shop (%S+)" ~= first then return false end
        if ask(server.other, "/").body:match "^admin (%S+)" ~= second then return false end
      end
      return true
    end)
  end

  local function write_other(server, text)
    host.write_file(server.dir .. "/other/other.lua", text)
  end

  --- Idle connections to both; calls `change`, and has them all used again.
  local function keeps_connections(server, change)
    local kept = {}
    for i = 1, 20 do
      kept[i] = { connection = client.connect(i % 2 == 0 and server.port or server.other),
        who = i % 2 == 0 and "shop" or "admin" }
      assert.equal(kept[i].who, kept[i].connection:get("/").body:match "^%a+")
    end
    change()
    for i, one in ipairs(kept) do
      local answer, why = one.connection:get("/")
      assert.truthy(answer, ("connection %d: %s"):format(i, tostring(why)))
      assert.equal(one.who, answer.body:match "^%a+")
      one.connection:close()
    end
  end

  it("loads all anew, and connections stay with their app", function()
    local server = serve_two()
    keeps_connections(server, function()
      write_other(server, source("admin", bind_at(server.other), nil, "v2"))
      server:reload(source("shop", nil, nil, "v2"))
      wait_both(server, "v2", "v2")
    end)
  end)

  it("is what an upgrade ends with, and connections stay with their app", function()
    local server = serve_two()
    keeps_connections(server, function()
      server:signal "sigusr2"
      server:expect("generation 2 serves on 2 workers", 20)
    end)
  end)

  it("keeps both old ones when one does not load", function()
    local server = serve_two()
    write_other(server, "error 'not today'")
    server:reload(source("shop", nil, nil, "v2"))
    server:expect "other/other%.lua:1: not today"
    wait_both(server, "v1", "v1")
    write_other(server, source("admin", bind_at(server.other), nil, "v3"))
    server:signal "sighup"
    wait_both(server, "v2", "v3")
  end)

  it("is refused when it changes who is served where", function()
    local server = serve_two()
    local function refused(first, second)
      write_other(server, second)
      server:reload(first)
      server:expect "reload failed, generation 1 goes on serving"
      server:expect "the apps, or the addresses they are served at, have changed: that takes a restart"
      wait_both(server, "v1", "v1")
    end
    local shop, bound = source("shop", nil, nil, "v2"), bind_at(server.other)
    refused(shop, source("admin", bind_at(host.free_port())))
    refused(shop, source("manager", bound))
    refused(shop, declare("admin", bound) .. "return app, perigee.app('third', { bind = '127.0.0.1:0' })")
    write_other(server, source("admin", bound, nil, "v2"))
    server:reload(shop)
    wait_both(server, "v2", "v2")
  end)
end)

describe("TLS for one of several apps", function()
  after_each(host.finish)

  it("is told by the address", function()
    if not run { "openssl", "version" }:find "^OpenSSL 3" then
      pending "OpenSSL 3 is not installed"
      return
    end
    local dir = assert(uv.fs_mkdtemp "/tmp/perigee-apps-XXXXXX")
    local text, status = run { "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
      "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
      "-keyout", dir .. "/key.pem", "-out", dir .. "/certificate.pem" }
    assert.equal(0, status, text)
    local port = host.free_port()
    local settings = ("bind = 'tls:127.0.0.1:%d', tls_certificate = '%s', tls_key = '%s'"):format(port,
      dir .. "/certificate.pem", dir .. "/key.pem")
    local both = declare("shop") .. "app:get('/scheme', function(req) return req.scheme end)\n"
      .. "local shop = app\n" .. declare("admin", settings)
      .. "app:get('/scheme', function(req) return req.app.name .. ' ' .. req.scheme end)\nreturn shop, app\n"
    local server = host.serve { app = both }
    assert.equal("http", ask(server.port, "/scheme").body)
    assert.equal("admin https", (run { "curl", "-s", "--cacert", dir .. "/certificate.pem",
      ("https://127.0.0.1:%d/scheme"):format(port) }))
    told(server, ('serves "admin" (app.lua) at https://127.0.0.1:%d'):format(port))
    run { "rm", "-r", dir }
  end)
end)
