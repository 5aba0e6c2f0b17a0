-- Connections: keep-alive, pipelining, versions, answers, limits, timeouts, slow and lost clients.
local raw = require "spec.support.raw"

local function get(path, headers)
  return "GET " .. path .. " HTTP/1.1\r\nHost: x\r\n" .. (headers or "") .. "\r\n"
end

local function post(path, body, headers)
  return "POST " .. path .. " HTTP/1.1\r\nHost: x\r\nContent-Length: " .. #body .. "\r\n"
    .. (headers or "") .. "\r\n" .. body
end

local with_host = raw.with_host

describe("http: a connection", function()
  it("serves request after request", with_host({}, function(host)
    local client = raw.connect(host.port)
    for _ = 1, 100 do
      local response = client:ask(get "/hello")
      assert.equal(200, response.status)
      assert.equal("hello\n", response.body)
      assert.is_nil(response.headers.connection)
      assert.equal("text/plain; charset=utf-8", response.headers["content-type"])
      assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", response.headers.date)
    end
    client:close()
    host:wait_stat(function(stat)
      return stat.connections == 0
    end)
    assert.same({ requests = 100, connections = 0, accepted = 1, busy = 0, websockets = 0, slow = 0 },
      host:stat())
  end))

  it("closes when the client asks for it", with_host({}, function(host)
    local response, rest = raw.once(host.port, get("/hello", "Connection: close\r\n"))
    assert.equal("close", response.headers.connection)
    assert.equal("", rest)
    response = raw.once(host.port, get("/hello", "Connection: foo, CLOSE\r\n"))
    assert.equal("close", response.headers.connection)
  end))

  it("closes when the handler asks for it", with_host({}, function(host)
    local response = raw.once(host.port, post("/headers", "Connection: close\r\n"))
    assert.equal("close", response.headers.connection)
    local _, count = response.head:gsub("Connection", "")
    assert.equal(1, count)
  end))

  it("follows the rules of HTTP/1.0", with_host({}, function(host)
    local response = raw.once(host.port, "GET /hello HTTP/1.0\r\n\r\n")
    assert.equal("close", response.headers.connection)
    local client = raw.connect(host.port)
    response = client:ask "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert.equal("keep-alive", response.headers.connection)
    response = client:ask "GET /stream?3 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    assert.is_nil(response.headers["transfer-encoding"])
    assert.is_nil(response.headers["content-length"])
    assert.equal("close", response.headers.connection)
    assert.equal("piece\npiece\npiece\n", response.body)
    client:wait_end()
    client:close()
  end))

  it("answers sixteen pipelined requests in order, in one write", function()
    local trace = os.tmpname()
    local host = raw.host({}, nil, { "strace", "-f", "-e", "trace=sendto,sendmsg", "-o", trace })
    local client = raw.connect(host.port)
    client:send(get("/hello"):rep(8) .. get "/echo?9" .. get("/hello"):rep(7))
    for i = 1, 16 do
      assert.matches(i == 9 and "query 9" or "^hello\n$", client:response().body)
    end
    client:close()
    host:tell "stop"
    host:line "^drained"
    pcall(host.wait_exit, host)
    local file = assert(io.open(trace))
    local _, writes = file:read("*a"):gsub('"HTTP/1.1 200', "")
    file:close()
    os.remove(trace)
    assert.equal(1, writes)
  end)

  it("keeps the order when slow handlers stand between", with_host({}, function(host)
    local client = raw.connect(host.port)
    local paths, bytes = { "/hello", "/slow?20", "/hello", "/hello", "/slow?0", "/slow?5" }, ""
    for _, path in ipairs(paths) do
      bytes = bytes .. get(path)
    end
    client:send(bytes:rep(5))
    for _ = 1, 5 do
      for _, path in ipairs(paths) do
        assert.equal(path:match "^/(%a+)" .. "\n", client:response().body)
      end
    end
    client:send(post("/slowecho?1", "abc") .. post("/slowecho?1", ("d"):rep(100000)))
    assert.matches("body 3 abc\n", client:response().body)
    assert.matches("body 100000 dddd", client:response().body)
    client:close()
  end))

  it("keeps a slow request whole while its client sends more", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(post("/slowecho?60", "first", "X-A: b\r\n"))
    host:wait_stat(function(stat)
      return stat.busy == 1
    end)
    client:send(post("/echo", "second", "X-C: d\r\n"))
    local body = client:response().body
    assert.matches("header X%-A=%[b%]", body)
    assert.matches("body 5 first\n", body)
    assert.matches("body 6 second\n", client:response().body)
    client:close()
  end))

  it("sends no body for HEAD, 204 and 304", with_host({}, function(host)
    local client = raw.connect(host.port)
    local response = client:ask("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")
    assert.equal("6", response.headers["content-length"])
    response = client:ask("HEAD /stream?3 HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")
    assert.is_nil(response.headers["transfer-encoding"])
    response = client:ask("HEAD /length HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD")
    assert.equal("10", response.headers["content-length"])
    for _, status in ipairs { 204, 304 } do
      response = client:ask(get("/status?" .. status))
      assert.equal(status, response.status)
      assert.is_nil(response.headers["content-length"])
      assert.is_nil(response.headers["transfer-encoding"])
    end
    response = client:ask(get "/status?205")
    assert.equal("0", response.headers["content-length"])
    assert.equal("hello\n", client:ask(get "/hello").body)
    client:close()
  end))

  it("sends bodies in chunks when their length is unknown", with_host({}, function(host)
    local client = raw.connect(host.port)
    local response = client:ask(get "/stream?3")
    assert.equal("chunked", response.headers["transfer-encoding"])
    assert.equal("piece\npiece\npiece\n", response.body)
    assert.equal("0123456789", client:ask(get "/length").body)
    assert.equal("", client:ask(get "/stream?0").body)
    client:close()
  end))

  it("knows the statuses that have a name, and takes those without", with_host({}, function(host)
    local client = raw.connect(host.port)
    assert.matches("^HTTP/1.1 418 I'm a teapot\r\n", client:ask(get "/status?418").head)
    assert.matches("^HTTP/1.1 599 \r\n", client:ask(get "/status?599").head)
    assert.equal("-2\n", client:ask(get "/status?600").body)
    assert.equal("-2\n", client:ask(get "/status?199").body)
    client:close()
  end))

  it("checks the handler's header lines", with_host({}, function(host)
    local client = raw.connect(host.port)
    local response = client:ask(post("/headers", "X-A: b\r\nSet-Cookie: c=d; Path=/\r\nE:\r\n"))
    assert.equal("b", response.headers["x-a"])
    assert.equal("c=d; Path=/", response.headers["set-cookie"])
    for _, lines in ipairs {
      "X", "X: y", "X: y\n", "X: y\r\n\r\n", "\r\n", "X: a\rb\r\n", "X: a\nb\r\n", "X: a\0b\r\n",
      " X: y\r\n", "X : y\r\n", ": y\r\n", "X(): y\r\n", "Content-Length: 1\r\n",
      "Transfer-Encoding: chunked\r\n", "date: now\r\n", "Connection: keep-alive\r\n",
      "X: y\r\n folded\r\n", "X: y\r\nZ",
    } do
      assert.equal("refused -3\n", client:ask(post("/headers", lines)).body, ("%q"):format(lines))
    end
    client:close()
  end))

  it("ends a response that is not whole such that the client can tell", with_host({}, function(host)
    local client = raw.connect(host.port)
    local data = client:send(get "/short"):wait_end()
    assert.matches("Content%-Length: 10\r\n\r\n01234$", data)
    client:close()
    client = raw.connect(host.port)
    data = client:send(get "/abort?1"):wait_end()
    assert.matches("\r\n\r\n4\r\npart\r\n$", data)
    client:close()
    client = raw.connect(host.port)
    assert.equal("", client:send(get "/abort"):wait_end())
    client:close()
    client = raw.connect(host.port, { paused = true })
    client:send "GET /abort?1 HTTP/1.0\r\n\r\n"
    host:wait_stat(function(stat)
      return stat.requests == 4 and stat.connections == 0
    end)
    assert.is_true(client:was_reset())
    client:close()
  end))
end)

describe("http: Expect: 100-continue", function()
  local EXPECT = "Expect: 100-continue\r\n"

  it("is answered once the head is found fine", with_host({ body_limit = 10 }, function(host)
    local head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" .. EXPECT .. "\r\n"
    local client = raw.connect(host.port)
    assert.equal(100, client:ask(head).status)
    assert.matches("body 5 hello", client:ask("hello").body)
    assert.matches("body 5 hello", client:ask(head .. "hello").body)
    assert.equal("", client.data)
    client:close()
    client = raw.connect(host.port)
    client:drip(head)
    assert.equal(100, client:response().status)
    client:close()
  end))

  it("is refused straight away when the body is too long", with_host({ body_limit = 10 },
    function(host)
      local response = raw.once(host.port,
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n" .. EXPECT .. "\r\n")
      assert.equal(413, response.status)
    end))

  it("is passed over in HTTP/1.0 and without a body", with_host({}, function(host)
    local client = raw.connect(host.port)
    assert.equal(200, client:ask(get("/hello", EXPECT)).status)
    client:send("POST /echo HTTP/1.0\r\nContent-Length: 2\r\n" .. EXPECT .. "\r\n")
    raw.pass(20)
    assert.equal("", client.data)
    assert.equal(200, client:ask("ab").status)
    client:close()
  end))
end)

describe("http: a limit", function()
  it("of the request line is exact", with_host({ request_line_limit = 100 }, function(host)
    local function line(size)
      return "GET /hello?" .. ("a"):rep(size - 20) .. " HTTP/1.1\r\nHost: x\r\n\r\n"
    end
    local client = raw.connect(host.port)
    assert.equal(200, client:ask(line(100)).status)
    assert.equal(200, client:drip(line(100)):response().status)
    client:close()
    assert.equal(414, raw.once(host.port, line(101)).status)
    client = raw.connect(host.port)
    assert.equal(414, client:drip(line(101)):response().status)
    client:wait_end()
    client:close()
    assert.equal(414, raw.once(host.port, "GET /" .. ("a"):rep(70000)).status)
  end))

  it("of the header's size is exact", with_host({ header_limit = 200 }, function(host)
    local function head(size)
      return "GET /hello HTTP/1.1\r\nHost: x\r\nX: " .. ("a"):rep(size - 14) .. "\r\n\r\n"
    end
    local client = raw.connect(host.port)
    assert.equal(200, client:ask(head(200)).status)
    assert.equal(200, client:drip(head(200)):response().status)
    client:close()
    assert.equal(431, raw.once(host.port, head(201)).status)
    client = raw.connect(host.port)
    assert.equal(431, client:drip(head(201)):response().status)
    client:wait_end()
    client:close()
    assert.equal(431, raw.once(host.port, "GET / HTTP/1.1\r\nX: " .. ("a"):rep(70000)).status)
  end))

  it("of the header's fields is exact, trailers included",
    with_host({ header_count_limit = 30 }, function(host)
      local client = raw.connect(host.port)
      assert.equal(200, client:ask(get("/hello", ("A: b\r\n"):rep(29))).status)
      client:close()
      assert.equal(431, raw.once(host.port, get("/hello", ("A: b\r\n"):rep(30))).status)
      local chunked = "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
      client = raw.connect(host.port)
      assert.equal(200, client:ask(chunked .. ("A: b\r\n"):rep(28) .. "\r\n").status)
      client:close()
      assert.equal(431, raw.once(host.port, chunked .. ("A: b\r\n"):rep(29) .. "\r\n").status)
    end))

  it("of the trailers' size holds", with_host({ header_limit = 200 }, function(host)
    local chunked = "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    assert.equal(431, raw.once(host.port, chunked .. "A: " .. ("b"):rep(300) .. "\r\n\r\n").status)
  end))

  it("of the body is exact, with a length and in chunks", with_host({ body_limit = 1000 },
    function(host)
      local client = raw.connect(host.port)
      assert.equal(200, client:ask(post("/hello", ("x"):rep(1000))).status)
      local head = "POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      assert.equal(200, client:ask(head .. "1f4\r\n" .. ("x"):rep(500) .. "\r\n1f4\r\n"
        .. ("x"):rep(500) .. "\r\n0\r\n\r\n").status)
      client:close()
      assert.equal(413, raw.once(host.port, post("/hello", ("x"):rep(1001))).status)
      assert.equal(413, raw.once(host.port, head .. "1f4\r\n" .. ("x"):rep(500) .. "\r\n1f5\r\n").status)
    end))

  it("lets a client that goes on sending read the refusal", with_host({ body_limit = 1000 },
    function(host)
      local client = raw.connect(host.port, { paused = true })
      client:send(post("/hello", ("x"):rep(1000000)))
      client:read()
      assert.equal(413, client:response().status)
      local _, failure = client:wait_end()
      assert.is_nil(failure)
      client:close()
    end))

  it("of connections pauses accepting and resumes", with_host({ connection_limit = 4 },
    function(host)
      local clients = {}
      for i = 1, 6 do
        clients[i] = raw.connect(host.port)
        clients[i]:send(get "/hello")
      end
      for i = 1, 4 do
        assert.equal(200, clients[i]:response().status)
      end
      assert.equal(4, host:stat().accepted)
      assert.equal("", clients[5].data)
      clients[1]:close()
      clients[2]:close()
      assert.equal(200, clients[5]:response().status)
      assert.equal(200, clients[6]:response().status)
      for i = 3, 6 do
        clients[i]:close()
      end
    end))

  it("of descriptors pauses accepting with one warning, and resumes", function()
    local host = raw.host({}, nil, { "sh", "-c", 'ulimit -n 24; exec "$@"', "sh" })
    local clients = {}
    for i = 1, 40 do
      clients[i] = raw.connect(host.port)
      clients[i]:send(get "/hello")
    end
    assert.matches("too many open files", host:line("^warning (.*)"):lower())
    assert.equal("hello\n", clients[1]:ask(get "/hello") and clients[1]:response().body)
    for i = 1, 30 do
      clients[i]:close()
    end
    for i = 31, 40 do
      assert.equal(200, clients[i]:response().status)
      clients[i]:close()
    end
    assert.equal(1, host:count "^warning")
    host:stop()
  end)
end)

describe("http: a timeout", function()
  it("closes an idle connection without a word", with_host({ keep_alive_timeout = 50 },
    function(host)
      local client = raw.connect(host.port)
      assert.equal("", client:wait_end(2000))
      client:close()
      client = raw.connect(host.port)
      client:ask(get "/hello")
      assert.equal("", client:wait_end(2000))
      client:close()
    end))

  it("answers 408 to a head that does not end", with_host({ header_timeout = 60 }, function(host)
    local client = raw.connect(host.port)
    client:send "GET /hello HT"
    raw.pass(30)
    client:send "TP/1.1\r\n"
    assert.equal(408, client:response().status)
    client:wait_end(2000)
    client:close()
  end))

  it("answers 408 to a body that does not end", with_host({ body_timeout = 60 }, function(host)
    local client = raw.connect(host.port)
    client:send "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"
    raw.pass(30)
    client:send "d"
    assert.equal(408, client:response().status)
    client:wait_end(2000)
    client:close()
  end))

  it("answers 503 for a handler that does not, and the connection lives on",
    with_host({ response_timeout = 50 }, function(host)
      local client = raw.connect(host.port)
      client:send(get "/never" .. get "/hello")
      local response = client:response()
      assert.equal(503, response.status)
      assert.is_nil(response.headers.connection)
      assert.equal("hello\n", client:response().body)
      assert.equal("hello\n", client:ask(get "/hello").body)
      client:close()
      host:line "^cancel /never 1$"
      assert.equal(0, host:stat().busy)
    end))

  it("closes on a client that takes nothing", with_host({ write_timeout = 100 }, function(host)
    local client = raw.connect(host.port, { paused = true, receive_buffer = 4096 })
    client:send(get "/flood?8000000")
    host:line "^full"
    host:line "^cancel /flood 2$"
    host:wait_stat(function(stat)
      return stat.connections == 0
    end)
    client:close()
  end))

  it("does not hit a streaming handler that has nothing to say", with_host(
    { response_timeout = 40, keep_alive_timeout = 40, write_timeout = 40 }, function(host)
      local client = raw.connect(host.port)
      client:send(get "/begin")
      raw.pass(150)
      assert.equal(1, host:stat().busy)
      assert.is_false(client.eof)
      client:reset()
      host:line "^cancel /begin 2$"
    end))
end)

describe("http: a client", function()
  it("that reads slowly gets everything, through back-pressure", with_host({}, function(host)
    local client = raw.connect(host.port, { paused = true, receive_buffer = 65536 })
    client:send(get "/flood?8000000" .. get "/hello")
    host:line "^full"
    client:read()
    assert.equal(8000000, #client:response().body)
    assert.equal("hello\n", client:response().body)
    assert(host:count "^writable" > 0)
    client:close()
    client = raw.connect(host.port, { paused = true, receive_buffer = 65536 })
    client:send(get "/big?8000000" .. get "/big?300000" .. get "/hello")
    raw.pass(30)
    client:read()
    assert.equal(8000000, #client:response().body)
    assert.equal(300000, #client:response().body)
    assert.equal("hello\n", client:response().body)
    client:close()
  end))

  it("that closes its sending side still gets its answers", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(get "/slow?30"):half_close()
    assert.equal("slow\n", client:response().body)
    assert.equal("", client:wait_end())
    client:close()
    client = raw.connect(host.port)
    client:send(get "/slow?30" .. get "/hello" .. get "/slow?10" .. get "/hello"):half_close()
    for _, body in ipairs { "slow\n", "hello\n", "slow\n", "hello\n" } do
      assert.equal(body, client:response().body)
    end
    assert.equal("", client:wait_end())
    client:close()
    assert.equal(0, host:count "^cancel")
  end))

  it("that closes its sending side in the middle of a request is let go", with_host({},
    function(host)
      local client = raw.connect(host.port)
      client:send("GET /hello HTTP/1.1\r\n"):half_close()
      assert.equal("", client:wait_end())
      client:close()
    end))

  it("that goes away cancels its handler", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(get "/never")
    host:wait_stat(function(stat)
      return stat.busy == 1
    end)
    client:reset()
    host:line "^cancel /never 2$"
    assert.same({ requests = 1, connections = 0, accepted = 1, busy = 0, websockets = 0, slow = 0 },
      host:stat())
  end))

  it("that pipelines and goes away cancels its handler", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(get "/never" .. get "/hello")
    host:wait_stat(function(stat)
      return stat.busy == 1
    end)
    client:send(get "/hello")
    raw.pass(20)
    client:reset()
    host:line "^cancel /never 2$"
  end))

  it("that is cut off by the server's stop is cancelled", function()
    local host = raw.host()
    local client = raw.connect(host.port)
    client:send(get "/never")
    host:wait_stat(function(stat)
      return stat.busy == 1
    end)
    host:stop()
    host:line "^cancel /never 3$"
    client:close()
  end)
end)
