-- Requests end to end: bodies as they come, forms and files, proxies, clients that go away.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "requests"
local left = {}
app:get("/", function() return "hello\n" end)
app:post("/body", function(req) return req.body end)
app:post("/ignore", function() return "ignored" end)
app:post("/json", function(req) return { twice = req.json.number * 2 } end)
app:post("/count", function(req)
  local pieces, size = 0, 0
  for piece in req:stream() do
    pieces, size = pieces + 1, size + #piece
  end
  return { pieces = pieces, size = size, trailers = req.trailers }
end)
app:post("/echo", function(req)
  return http.stream(function(write)
    for piece in req:stream() do write(piece) end
  end)
end)
app:post("/slowly", function(req)
  perigee.sleep(0.3)
  local size = 0
  for piece in req:stream() do size = size + #piece end
  return tostring(size)
end)
app:post("/form", function(req)
  local files = {}
  for name, file in pairs(req.files) do
    local pieces = {}
    for piece in file.read, file do pieces[#pieces + 1] = piece end
    files[name] = { filename = file.filename, type = file.type, size = file.size,
      on_disk = file.file and true or false, sum = #file.body, same = table.concat(pieces) == file.body }
  end
  return { form = req.form, all = req:form_all "a", files = files, count = #req:files_all "f" }
end)
app:post("/save", function(req)
  local ok, message, code = req.files.f:save(req.query.path)
  return { ok = ok, message = message, code = code }
end)
app:get("/who", function(req)
  return { ip = req.ip, scheme = req.scheme, host = req.host, peer = req.peer_ip, id = req.id }
end)
local json = require "perigee.json"
local kept
app:get("/headers", function(req)
  kept = req.headers
  return { headers = req.headers, same = json.encode(req.headers) == json.encode(kept) }
end)
app:get("/kept", function() return { select(2, pcall(json.encode, { kept })) } end)
app:get("/wait", function(req)
  req:on_disconnect(function(again) print("gone " .. again.path) end)
  local ok, problem = pcall(perigee.sleep, 30)
  print("handler: " .. tostring(problem))
  error(problem, 0)
end)
app:get("/raise", function() error "it broke" end)
app:exception(413, function(_, problem) return "too much: " .. problem.message end)
return app
]]

local server

local function serve(...)
  server = host.serve { app = app, flags = { "--workers", "1", ... } }
  return server
end

local function post(path, headers, body)
  return client.request(server.target, "POST", path, headers, body)
end

local MULTIPART = { ["Content-Type"] = "multipart/form-data; boundary=B" }

local function part(disposition, data)
  return "--B\r\nContent-Disposition: form-data; " .. disposition .. "\r\n\r\n" .. data .. "\r\n"
end

describe("headers", function()
  after_each(host.finish)

  it("are a JSON object of all of them, each name once", function()
    serve()
    local connection = client.connect(server.target)
    local lines = { "Host: a", "X-One: 1", "COOKIE: a=1", 'x-one: "2"', "Accept: */*", "X-ONE: ",
      "Cookie: b=2" }
    local expected = { host = "a", ["x-one"] = '1, "2", ', cookie = "a=1; b=2", accept = "*/*" }
    for i = 1, 60 do -- more names than there are bits to tell them apart
      lines[#lines + 1] = ("X-%d: %d"):format(i, i)
      expected["x-" .. i] = tostring(i)
    end
    connection:send("GET /headers HTTP/1.1\r\n" .. table.concat(lines, "\r\n") .. "\r\n\r\n")
    local body = connection:response().body
    assert.same({ headers = expected, same = true }, json.decode(body))
    assert.equal(1, select(2, body:gsub('"x%-one"', "")))
    connection:close()
  end)

  it("cannot be JSON when they are no UTF-8, or when their request is over", function()
    serve()
    local connection = client.connect(server.target)
    connection:send("GET /headers HTTP/1.1\r\nHost: a\r\nX-Name: J\252rgen\r\n\r\n")
    assert.equal(500, connection:response().status)
    server:expect "value are headers with a value that is no UTF%-8"
    connection:send("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n")
    local problem = connection:response().body
    assert.truthy(problem:find("value[1] are the headers of a request that is over", 1, true))
    connection:close()
  end)
end)

describe("a body", function()
  after_each(host.finish)

  it("is there as a whole when the handler asks, however it comes", function()
    serve()
    local connection = client.connect(server.target)
    for byte in ("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"):gmatch "." do
      connection:send(byte)
      wait.pause(0.001)
    end
    assert.equal("hello", connection:response().body)
    connection:send("POST /json HTTP/1.1\r\nHost: a\r\nContent-Length: 13\r\n\r\n")
    wait.pause(0.02)
    connection:send '{"number":21}'
    assert.equal('{"twice":42}', connection:response().body)
    local big = ("0123456789"):rep(300000)
    connection:request("POST", "/body", {}, big)
    assert.equal(big, connection:response().body)
    connection:close()
  end)

  it("is read in pieces, with its trailers behind it", function()
    serve()
    local connection = client.connect(server.target)
    connection:request("POST", "/count", {}, ("x"):rep(3000000))
    local counted = connection:response().body
    assert.equal("3000000", counted:match '"size":(%d+)')
    assert.is_true(tonumber(counted:match '"pieces":(%d+)') > 40)
    connection:request("POST", "/count", { ["Transfer-Encoding"] = "chunked" },
      "3\r\nabc\r\n0\r\nSum: 7\r\n\r\n")
    assert.truthy(connection:response().body:find('"trailers":{"sum":"7"}', 1, true))
    connection:request("POST", "/echo", {}, ("abcdefghij"):rep(50000))
    assert.equal(("abcdefghij"):rep(50000), connection:response().body)
    connection:close()
  end)

  it("waits in the client until it is read", function()
    serve()
    local connection = client.connect(server.target)
    local sent
    connection.socket:write("POST /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n"
      .. ("x"):rep(30000000), function() sent = true end)
    wait.pause(0.15)
    assert.is_nil(sent)
    assert.equal("30000000", connection:response().body)
    connection:close()
  end)

  it("gets 100 Continue only when it is asked for", function()
    serve()
    local connection = client.connect(server.target)
    local expect = { Expect = "100-continue", ["Content-Length"] = "5" }
    connection:request("POST", "/body", expect)
    assert.equal(100, connection:response().status)
    connection:send "hello"
    assert.equal("hello", connection:response().body)
    connection:request("POST", "/ignore", expect)
    local response = connection:response()
    assert.equal(200, response.status)
    assert.equal("close", response.headers.connection)
    assert.is_true(connection:wait_closed())
    connection:close()
  end)

  it("that nobody reads costs the connection only when it is long", function()
    serve("--unread-body-limit", "10000")
    local connection = client.connect(server.target)
    connection:request("POST", "/ignore", {}, ("x"):rep(10000))
    assert.equal("ignored", connection:response().body)
    assert.equal("hello\n", connection:get("/").body)
    connection:request("POST", "/ignore", {}, ("x"):rep(1000000))
    assert.equal("close", connection:response().headers.connection)
    assert.is_true(connection:wait_closed())
    connection:close()
  end)

  it("that fails is the app's to answer", function()
    serve("--body-limit", "1000", "--body-timeout", "0.2")
    local connection = client.connect(server.target)
    connection:send("POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    wait.pause(0.02)
    connection:send "3e9\r\n"
    local response = connection:response()
    assert.equal(413, response.status)
    assert.equal("too much: the body is too long", response.body)
    assert.is_true(connection:wait_closed())
    connection:close()
    connection = client.connect(server.target)
    connection:send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    assert.equal(408, connection:response().status)
    connection:close()
  end)
end)

describe("a form", function()
  after_each(host.finish)

  it("is read from both encodings", function()
    serve()
    local answer = post("/form", { ["Content-Type"] = "application/x-www-form-urlencoded" },
      "a=1&a=%C3%A4&b=x+y")
    assert.truthy(answer.body:find('"all":["1","ä"]', 1, true), answer.body)
    assert.truthy(answer.body:find('"b":"x y"', 1, true), answer.body)
    answer = post("/form", MULTIPART, part('name="a"', "1") .. part('name="a"', "2")
      .. part('name="f"; filename="x.txt"', "content") .. part('name="f"; filename="y"', "") .. "--B--\r\n")
    assert.truthy(answer.body:find('"all":["1","2"]', 1, true), answer.body)
    assert.truthy(answer.body:find('"size":7', 1, true), answer.body)
    assert.truthy(answer.body:find('"on_disk":false', 1, true), answer.body)
    assert.truthy(answer.body:find('"count":2', 1, true), answer.body)
    assert.equal(400, post("/form", MULTIPART, "--B\r\n").status)
    assert.equal(415, post("/form", { ["Content-Type"] = "text/plain" }, "a=1").status)
  end)

  it("keeps long files on the disk, without a name", function()
    serve("--form-memory-limit", "100000", "--form-directory", "@DIR@")
    local data = ("0123456789"):rep(500000)
    local answer = post("/form", MULTIPART, part('name="f"; filename="big"', data) .. "--B--\r\n")
    assert.equal(200, answer.status)
    for _, said in ipairs { '"on_disk":true', '"size":5000000', '"sum":5000000', '"same":true' } do
      assert.truthy(answer.body:find(said, 1, true), answer.body)
    end
    answer = post("/form", MULTIPART, part('name="f"', data) .. "--B--\r\n")
    assert.equal(413, answer.status)
    local worker = server:processes()
    for _, process in ipairs(worker) do
      local listing = io.popen(("ls -l /proc/%d/fd 2>/dev/null"):format(process.pid)):read "*a"
      assert.is_nil(listing:find(server.dir .. "/#", 1, true), listing) -- a file without a name
    end
  end)

  it("saves files, from memory and from the disk", function()
    serve("--form-memory-limit", "1000")
    for _, data in ipairs { "short", ("long"):rep(100000), "" } do
      local path = server.dir .. "/saved"
      local answer = post("/save?path=" .. path, MULTIPART,
        part('name="f"; filename="x"', data) .. "--B--\r\n")
      assert.truthy(answer.body:find('"ok":true', 1, true), answer.body)
      assert.equal(data, host.read_file(path))
    end
    local answer = post("/save?path=/nowhere/x", MULTIPART,
      part('name="f"; filename="x"', "y") .. "--B--\r\n")
    assert.truthy(answer.body:find('"code":"ENOENT"', 1, true), answer.body)
  end)
end)

describe("a client", function()
  after_each(host.finish)

  it("that goes away cancels its handler, which is told", function()
    serve()
    for _, path in ipairs { "/wait", "/wait?again" } do
      local connection = client.connect(server.target)
      connection:request("GET", path)
      wait.pause(0.05)
      connection:close()
      server:expect "gone /wait"
    end
    server:expect "handler: cancelled: the client went away"
    assert.equal("hello\n", client.get(server.target, "/").body)
  end)

  it("of a unix socket that goes away cancels its handler at once", function()
    server = host.serve { app = app, flags = { "--workers", "1", "--bind", "unix:@DIR@/socket" } }
    local connection = client.connect(server.dir .. "/socket")
    connection:request("GET", "/wait")
    wait.pause(0.1)
    local began = wait.now()
    connection:close()
    server:expect "gone /wait"
    assert.is_true(wait.now() - began < 0.9, "as late as over TCP")
  end)

  it("that has ended sending gets its answer all the same", function()
    serve()
    local connection = client.connect(server.target)
    connection:send "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /who HTTP/1.1\r\nHost: a\r\n\r\n"
    connection.socket:shutdown()
    assert.equal("hello\n", connection:response().body)
    assert.equal(200, connection:response().status)
    assert.is_true(connection:wait_closed())
    connection:close()
  end)

  it("is who a trusted proxy says", function()
    serve("--trusted-proxies", "127.0.0.0/8", "--trusted-proxies", "10.0.0.0/8")
    local who = client.get(server.target, "/who", { ["X-Forwarded-For"] = "1.2.3.4, 10.1.1.1",
      ["X-Forwarded-Proto"] = "https", ["X-Forwarded-Host"] = "shop.example" }).body
    for _, said in ipairs { '"ip":"1.2.3.4"', '"scheme":"https"', '"host":"shop.example"',
      '"peer":"127.0.0.1"' } do
      assert.truthy(who:find(said, 1, true), who)
    end
    who = client.get(server.target, "/who", { Forwarded = 'for="[2001:db8::1]";proto=https' }).body
    assert.truthy(who:find('"ip":"2001:db8::1"', 1, true), who)
    assert.equal(0, server:stop(5))
    serve()
    who = client.get(server.target, "/who", { ["X-Forwarded-For"] = "1.2.3.4" }).body
    assert.truthy(who:find('"ip":"127.0.0.1"', 1, true), who)
  end)

  it("finds its request's id in the log of an error", function()
    serve()
    assert.equal(500, client.get(server.target, "/raise", { ["X-Request-ID"] = "my-id.7" }).status)
    assert.truthy(server:expect("GET /raise %(id my%-id%.7%): .*it broke"))
    local first = client.get(server.target, "/who").body:match '"id":"([^"]+)"'
    assert.truthy(first:find "^%x+%-%x+$")
    assert.not_equal(first, client.get(server.target, "/who").body:match '"id":"([^"]+)"')
  end)
end)

describe("a route's body_limit", function()
  before_each(function()
    server = host.serve { flags = { "--workers", "1", "--body-limit", "100" }, app = [[
      local perigee = require "perigee"
      local app = perigee.app "limits"
      app:get("/", function() return "hello\n" end)
      local function size(req) return tostring(#req.body) end
      app:post("/usual", size)
      app:post("/small", size, { body_limit = 10 })
      app:post("/small/ignored", function() return "ignored" end, { body_limit = 10 })
      app:post("/small/stream", function(req)
        for piece in req:stream() do print("piece " .. #piece) end
        return "done"
      end, { body_limit = 10 })
      local uploads = perigee.blueprint("uploads", { prefix = "/uploads", body_limit = "1 KiB" })
      uploads:post("/", size)
      uploads:post("/form", function(req) return tostring(#req.form.a) end, { body_limit = 20 })
      app:register(uploads)
      return app
    ]] }
  end)
  after_each(host.finish)

  local function ask(path, size, headers)
    local chunked = ("%x\r\n%s\r\n0\r\n\r\n"):format(size, ("x"):rep(size))
    local answer = client.request(server.target, "POST", path, headers or {}, ("x"):rep(size))
    local other = client.request(server.target, "POST", path, { ["Transfer-Encoding"] = "chunked" }, chunked)
    assert.equal(answer.status, other.status)
    assert.equal(answer.body, other.body)
    return answer.status, answer.body
  end

  it("may be less than the setting, and more", function()
    assert.same({ 200, "100" }, { ask("/usual", 100) })
    assert.equal(413, (ask("/usual", 101)))
    assert.same({ 200, "10" }, { ask("/small", 10) })
    assert.equal(413, (ask("/small", 11)))
    assert.equal(413, (ask("/small", 101)))
    assert.same({ 200, "1024" }, { ask("/uploads/", 1024) })
    assert.equal(413, (ask("/uploads/", 1025)))
    assert.same({ 200, "ignored" }, { ask("/small/ignored", 50) })
  end)

  it("holds for bodies that are read as they come, and for forms", function()
    assert.equal(200, (ask("/small/stream", 10)))
    assert.equal(413, (ask("/small/stream", 11)))
    assert.is_nil(server:text():find "piece 11")
    local kind = { ["Content-Type"] = "application/x-www-form-urlencoded" }
    local function send_form(size)
      return client.request(server.target, "POST", "/uploads/form", kind, "a=" .. ("x"):rep(size))
    end
    assert.equal("18", send_form(18).body)
    assert.equal(413, send_form(19).status)
  end)

  it("is known before a client that asks first has sent anything", function()
    local connection = client.connect(server.target)
    connection:send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n"
      .. "Expect: 100-continue\r\n\r\n")
    assert.equal(413, connection:response().status)
    assert.is_true(connection:wait_closed())
    connection:close()
  end)
end)
