-- Files as an app serves them: app:static and http.file in the real binary.
local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "files"
app:get("/", function() return "the app's own page\n" end)
app:static("/assets", "www", { max_age = 60, immutable = true })
app:static("/list", "www", { listing = true, index = { "none.html", "start.html" } })
app:static("/quiet", "www", { index = false, headers = { ["X-Frame-Options"] = "DENY" } })
app:static("/", "spa", { fallback = "index.html", max_age = 9 })
local docs = perigee.blueprint("docs", { prefix = "/docs", version = 1 })
docs:static("/files", "www", { index = "none.html", listing = true })
docs:on_response(function(req, response)
  response.headers["X-Part"] = req.path
end)
app:register(docs)
app:get("/download", function()
  return http.file("www/a.txt", { filename = "naïve \"n\".txt", max_age = 5 })
end)
app:get("/inline", function()
  return http.file("www/a.txt", { filename = "a.txt", inline = true, type = "x/y" })
end)
app:get("/gone", function() return http.file("www/nowhere") end)
app:get("/instead", function() return http.file("nowhere", { missing = http.text("instead\n", 410) }) end)
app:get("/error-page", function() return http.file("www/a.txt", { status = 503 }) end)
app:get("/below/<name:path>", function(_, name) return http.file(name, { root = "www" }) end)
app:post("/posted", function() return http.file("www/a.txt") end)
app:get("/slept", function() perigee.sleep(0.01) return http.file("www/big.bin") end)
-- HOOKS
app:exception(404, function(req, err) return http.text("no " .. req.path .. "\n", 404) end)
return app
]]


local files = {
  ["www/a.txt"] = "0123456789", ["www/sub/index.html"] = "page", ["www/sub/deep/b.txt"] = "deep",
  ["www/sub/deep/x & <y>.txt"] = "odd", ["www/.hidden"] = "secret", ["www/style.css"] = ".a{}",
  ["www/style.css.gz"] = "gz", ["www/big.bin"] = ("0123456789abcdef"):rep(200000),
  ["spa/index.html"] = "application", ["spa/app.js"] = "script",
}

local server

local function serve(hooks, flags)
  server = host.serve { app = app:gsub("%-%- HOOKS", hooks or ""), files = files,
    flags = flags or { "--workers", "1" } }
end

local function get(path, headers) return client.get(server.target, path, headers) end

describe("app:static", function()
  after_each(host.finish)

  it("serves files, folders by their index, and says how long they keep", function()
    serve()
    local response = get "/assets/a.txt"
    assert.equal("0123456789", response.body)
    assert.equal("text/plain; charset=utf-8", response.headers["content-type"])
    assert.equal("public, max-age=60, immutable", response.headers["cache-control"])
    assert.equal(304, get("/assets/a.txt?v=1", { ["If-None-Match"] = response.headers.etag }).status)
    assert.equal("23", get("/assets/a.txt?v=1", { Range = "bytes=2-3" }).body)
    assert.equal("gz", get("/assets/style.css", { ["Accept-Encoding"] = "gzip" }).body)
    assert.equal(files["www/big.bin"], get("/assets/big.bin").body)
    assert.equal("page", get("/assets/sub/").body)
    local moved = get "/assets/sub?x=1"
    assert.same({ 301, "/assets/sub/?x=1" }, { moved.status, moved.headers.location })
    assert.equal("/assets/", get("/assets").headers.location)
    assert.equal("DENY", get("/quiet/a.txt").headers["x-frame-options"])
    assert.equal(404, get("/quiet/sub/").status)
  end)

  it("is there in a blueprint, below its prefix and with its hooks", function()
    serve()
    local response = get "/v1/docs/files/a.txt"
    assert.same({ "0123456789", "/v1/docs/files/a.txt" }, { response.body, response.headers["x-part"] })
    assert.equal("/v1/docs/files/", get("/v1/docs/files").headers.location)
    assert.equal("/v1/docs/files/sub/?x=1", get("/v1/docs/files/sub?x=1").headers.location)
    assert.matches("/v1/docs/files/sub/", get("/v1/docs/files/sub/").body)
    assert.matches("deep/", get("/v1/docs/files/sub/").body)
  end)

  it("takes GET and HEAD only", function()
    serve()
    local head = client.request(server.target, "HEAD", "/assets/a.txt")
    assert.same({ 200, "10", "" }, { head.status, head.headers["content-length"], head.body })
    for _, method in ipairs { "POST", "PUT", "DELETE" } do
      local response = client.request(server.target, method, "/assets/a.txt", {}, "x")
      assert.same({ 405, "GET, HEAD, OPTIONS" }, { response.status, response.headers.allow })
    end
    assert.equal(204, client.request(server.target, "OPTIONS", "/assets/a.txt").status)
  end)

  it("refuses what is none of its files with the app's own 404", function()
    serve()
    for _, path in ipairs { "/assets/none", "/assets/.hidden", "/assets/../app.lua", "/assets/..%2fapp.lua",
      "/assets/%2e%2e/app.lua", "/assets/sub%2findex.html", "/assets/sub%5cindex.html", "/assets//a.txt",
      "/assets/sub/deep/", "/assets/a.txt/" } do
      local response = get(path)
      assert.equal(404, response.status, path)
      assert.truthy(response.body:find "^no /assets/", response.body)
    end
    assert.equal(400, get("/assets/a%00.txt").status)
  end)

  it("gives way to a route of the same path", function()
    serve()
    assert.equal("the app's own page\n", get("/").body)
    assert.equal("script", get("/app.js").body)
  end)

  it("answers pages that do not exist with the fallback, and missing files with 404", function()
    serve()
    local response = get "/some/page"
    assert.same({ 200, "application", "no-cache" },
      { response.status, response.body, response.headers["cache-control"] })
    assert.equal("public, max-age=9", get("/app.js").headers["cache-control"])
    assert.equal("application", get("/user/a.b", { Accept = "text/html,*/*" }).body)
    assert.equal(404, get("/missing.js", { Accept = "*/*" }).status)
    assert.equal(404, get("/assets/some/page").status)
  end)

  it("lists folders as a page and as JSON", function()
    serve()
    local page = get "/list/sub/deep/"
    assert.equal("text/html; charset=utf-8", page.headers["content-type"])
    assert.equal("Accept", page.headers.vary)
    local link = '<a href="./x%20%26%20%3Cy%3E.txt">x &amp; &lt;y&gt;.txt</a>'
    assert.truthy(page.body:find(link, 1, true), page.body)
    assert.is_nil(page.body:find("<y>", 1, true))
    local top = get("/list/", { Accept = "application/json" })
    assert.equal("application/json", top.headers["content-type"])
    assert.truthy(top.body:find('"name":"a.txt"', 1, true), top.body)
    assert.truthy(top.body:find '"type":"directory"')
    assert.is_nil(top.body:find("hidden", 1, true))
    assert.equal(404, get("/list/none/").status)
  end)

  it("has the app's hooks run, before and after", function()
    serve [[
app:on_request(function(req) if req.path == "/assets/secret.txt" then return http.text("no\\n", 403) end end)
app:on_response(function(req, response)
  response.headers["X-Status"] = response.status
  response.headers["X-Cache"] = response.headers["Cache-Control"]
end)]]
    local response = get "/assets/a.txt"
    assert.same({ "0123456789", "200", "public, max-age=60, immutable" },
      { response.body, response.headers["x-status"], response.headers["x-cache"] })
    assert.equal(files["www/big.bin"], get("/assets/big.bin").body)
    assert.equal("404", get("/assets/none").headers["x-status"])
    assert.equal("301", get("/assets/sub").headers["x-status"])
    assert.equal("page", get("/assets/sub/").body)
    assert.equal("application", get("/some/page").body)
    assert.equal(403, get("/assets/secret.txt").status)
  end)

  it("serves what is saved at once in development", function()
    serve(nil, { "--workers", "1", "--mode", "development" })
    assert.equal("0123456789", get("/assets/a.txt").body)
    host.write_file(server.dir .. "/www/a.txt", "saved")
    assert.equal("saved", get("/assets/a.txt").body)
  end)

  it("says where it is used wrongly", function()
    for source, expected in pairs {
      ['app:static("/a", "nowhere")'] = "app.lua:2: app:static: the directory '.*/nowhere' cannot be served: "
        .. "No such file",
      ['app:static("/a", "app.lua")'] = "app.lua:2: app:static: .*Not a directory",
      ['app:static("/a", ".", { max_aeg = 1 })'] = "app.lua:2: .*'max_aeg'; did you mean 'max_age'",
      ['app:static("a", ".")'] = "app.lua:2: .*starts with '/'",
      ['app:static("/a/<b>", ".")'] = "app.lua:2: .*cannot have parameters",
      ['app:static("/a", ".", { listing = 1 })'] = "app.lua:2: .*listing must be a boolean",
      ['app:static("/a", ".", { immutable = true })'] = "app.lua:2: .*immutable needs a max_age",
      ['app:static("/a", ".") app:static("/a", ".")'] = "app.lua:2: .*is there already",
    } do
      local run = host.run({ "check", "app.lua" }, { app = 'local app = require "perigee".app "a"\n' .. source
        .. "\nreturn app\n" })
      assert.not_equal(0, run.status)
      assert.truthy(run:text():find(expected), run:text())
    end
  end)
end)

describe("http.file", function()
  before_each(function() serve() end)
  after_each(host.finish)

  it("sends a file as a download, under any name", function()
    local response = get "/download"
    assert.equal("0123456789", response.body)
    assert.equal('attachment; filename="na_ve _n_.txt"; '
      .. "filename*=UTF-8''na%C3%AFve%20%22n%22.txt", response.headers["content-disposition"])
    assert.equal("public, max-age=5", response.headers["cache-control"])
    response = get "/inline"
    assert.same({ 'inline; filename="a.txt"', "x/y" },
      { response.headers["content-disposition"], response.headers["content-type"] })
  end)

  it("answers 404 for a missing one, or what it is told to", function()
    assert.equal("no /gone\n", get("/gone").body)
    local instead = get "/instead"
    assert.same({ 410, "instead\n" }, { instead.status, instead.body })
    local page = get("/error-page", { Range = "bytes=0-1" })
    assert.same({ 503, "0123456789" }, { page.status, page.body })
  end)

  it("keeps a client's path below its root", function()
    assert.equal("deep", get("/below/sub/deep/b.txt").body)
    for _, path in ipairs { "/below/..%2fapp.lua", "/below/.hidden", "/below/%2fetc%2fpasswd",
      "/below/sub" } do
      assert.equal(404, get(path).status, path)
    end
  end)

  it("comes from any handler, also a late one and of a POST", function()
    local posted = client.request(server.target, "POST", "/posted", { Range = "bytes=0-1" }, "")
    assert.equal("0123456789", posted.body)
    local connection = client.connect(server.target)
    for _ = 1, 3 do
      connection:request("GET", "/slept")
      assert.equal(files["www/big.bin"], connection:response().body)
    end
    connection:request("GET", "/slept")
    connection:request("GET", "/assets/a.txt")
    assert.equal(#files["www/big.bin"], #connection:response().body)
    assert.equal("0123456789", connection:response().body)
    connection:close()
  end)
end)

describe("a file on its way", function()
  after_each(host.finish)

  it("survives a reload", function()
    serve()
    local big = server.dir .. "/www/huge.bin"
    local fd = assert(uv.fs_open(big, "w", 420))
    assert(uv.fs_ftruncate(fd, 64 * 2 ^ 20))
    uv.fs_close(fd)
    local socket, total, head, done = uv.new_tcp(), 0, nil, false
    socket:connect("127.0.0.1", server.port, function()
      socket:write("GET /assets/huge.bin HTTP/1.1\r\nHost: x\r\n\r\n", function() done = true end)
    end)
    wait.till(5, "the request", function() return done end)
    server:signal "sighup"
    server:expect "generation 2 serves"
    socket:read_start(function(_, chunk)
      if not chunk then done = "ended" return end
      if not head then head, chunk = chunk:match "^(.-\r\n\r\n)(.*)$" end
      total = total + #chunk
    end)
    wait.till(20, "the file", function() return total >= 64 * 2 ^ 20 or done == "ended" end)
    assert.equal(64 * 2 ^ 20, total)
    socket:close()
  end)

end)

describe("the example site", function()
  after_each(host.finish)

  it("has pages, assets, a folder and a download", function()
    local port = host.free_port()
    server = host.start({ "serve", uv.cwd() .. "/scripts/apps/site.lua", "--bind", "127.0.0.1:" .. port,
      "--workers", "1" })
    server.port, server.target = port, port
    server:wait_answering()
    assert.truthy(get("/").body:find("A small site", 1, true))
    assert.truthy(get("/any/page").body:find("A small site", 1, true))
    assert.equal("public, max-age=31536000, immutable", get("/assets/site.css?v=3").headers["cache-control"])
    assert.truthy(get("/files/").body:find("report.csv", 1, true))
    assert.truthy(get("/report").headers["content-disposition"]:find("%C3%9Cbersicht", 1, true))
    assert.equal(200, get("/show/readme.txt").status)
    assert.equal("there is no such file\n", get("/show/..%2f..%2fsite.lua").body)
  end)
end)
