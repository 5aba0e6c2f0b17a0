-- Bodies as they come: read when the handler asks, dropped when it does not, and clients that go away.
local raw = require "spec.support.raw"

local CHUNKED = "Transfer-Encoding: chunked\r\n"
local EXPECT = "Expect: 100-continue\r\n"

local function get(path)
  return "GET " .. path .. " HTTP/1.1\r\nHost: x\r\n\r\n"
end

-- The head of a POST: `length` in bytes, or nil for a chunked body.
local function head(path, length, headers)
  return "POST " .. path .. " HTTP/1.1\r\nHost: x\r\n" .. (headers or "")
    .. (length and "Content-Length: " .. length .. "\r\n" or CHUNKED) .. "\r\n"
end

local function chunk(data)
  return ("%x\r\n%s\r\n"):format(#data, data)
end

local with_host = raw.with_host

describe("http: a body", function()
  it("is read piece by piece while it comes", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(head("/pieces", 9))
    host:wait_stat(function(stat) return stat.busy == 1 end)
    client:send "abc"
    raw.pass(10)
    client:send "def"
    raw.pass(10)
    assert.equal("3 pieces 9 bytes\n", client:ask("ghi" .. get "/hello").body)
    assert.equal("hello\n", client:response().body)
    assert.equal("1 pieces 3 bytes\n", client:ask(head("/pieces", 3) .. "abc").body)
    assert.equal("0 pieces 0 bytes\n", client:ask(head("/pieces", 0)).body)
    client:close()
  end))

  it("is the same byte by byte, in chunks too, with what follows it", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:drip(head("/pieces", 5) .. "hello" .. get "/hello")
    assert.equal("5 bytes\n", client:response().body:match " pieces (.*)")
    assert.equal("hello\n", client:response().body)
    client:drip(head("/pieces") .. chunk "abc" .. chunk "de" .. "0\r\n\r\n" .. get "/hello")
    assert.equal("5 bytes\n", client:response().body:match " pieces (.*)")
    assert.equal("hello\n", client:response().body)
    client:close()
  end))

  it("waits in the client while the handler does not take it", with_host({}, function(host)
    local client = raw.connect(host.port)
    local sent
    client.tcp:write(head("/late?150", 50000000) .. ("x"):rep(50000000), function() sent = true end)
    host:line "^begun"
    raw.pass(100)
    assert.is_nil(sent)
    host:line "^late"
    local pieces, bytes = client:response().body:match "^(%d+) pieces (%d+) bytes\n$"
    assert.equal(50000000, tonumber(bytes))
    assert(tonumber(pieces) >= 50000000 / 65536)
    client:close()
  end))

  it("has its trailers behind it, split or not", with_host({}, function(host)
    local bytes = head("/pieces") .. chunk "abc" .. "0\r\nFirst: 1 \r\nEmpty:\r\nfirst:\t2\r\n\r\n"
    local expected = "3 bytes\ntrailer First=[1]\ntrailer Empty=[]\ntrailer first=[2]\n"
    local client = raw.connect(host.port)
    assert.equal(expected, client:ask(bytes).body:match " pieces (.*)")
    client:drip(bytes)
    assert.equal(expected, client:response().body:match " pieces (.*)")
    assert.equal("1 pieces 3 bytes\n", client:ask(head("/pieces", 3) .. "abc").body)
    client:close()
  end))

  it("that fails is the handler's to answer, and ends the connection", with_host({ body_limit = 100 },
    function(host)
      for status, bytes in pairs { [400] = "3\r\nabcd\r\n0\r\n\r\n", [413] = "65\r\n",
        [431] = "0\r\n" .. ("A: b\r\n"):rep(100) .. "\r\n" } do
        for _, path in ipairs { "/pieces", "/echo" } do
          local client = raw.connect(host.port)
          client:send(head(path))
          host:wait_stat(function(stat) return stat.busy == 1 end)
          local response = client:ask(bytes .. get "/hello")
          assert.equal(status, response.status)
          assert.equal("close", response.headers.connection)
          assert.same({ "", nil }, { client:wait_end() })
          client:close()
        end
      end
    end))

  it("has body_timeout for what the handler waits for", with_host({ body_timeout = 120 },
    function(host)
      local client = raw.connect(host.port)
      client:send(head("/pieces", 9))
      for _ = 1, 4 do
        raw.pass(60)
        client:send "a"
      end
      assert.equal("", client.data)
      assert.equal(408, client:response().status)
      assert.equal("", client:wait_end())
      client:close()
      client = raw.connect(host.port)
      client:send(head("/echo", 9))
      for _ = 1, 4 do
        raw.pass(60)
        if client.data ~= "" then break end
        client:send "a"
      end
      assert.equal(408, client:response().status)
      client:close()
    end))
end)

describe("http: a body that comes slowly", function()
  it("may take longer than body_timeout in all", with_host({ body_timeout = 150, body_rate_minimum = 1 },
    function(host)
      local client = raw.connect(host.port)
      client:send(head("/echo", 9))
      for i = 1, 9 do
        raw.pass(40)
        client:send(tostring(i))
      end
      assert.matches("body 9 123456789", client:response().body)
      client:close()
    end))

  it("has to come at body_rate_minimum", with_host({ body_timeout = 500, body_rate_minimum = 1000 },
    function(host)
      for _, path in ipairs { "/echo", "/pieces" } do
        local client = raw.connect(host.port)
        client:send(head(path, 1000))
        raw.wait(function()
          client:start_send "a"
          raw.pass(20)
          return client.data ~= ""
        end, "the refusal")
        local response = client:response()
        assert.same({ 408, "the body comes too slowly" }, { response.status, response.body })
        assert.equal("close", response.headers.connection)
        client:close()
      end
    end))
end)

describe("http: a body nobody reads", function()
  it("is dropped when it is short, and the connection lives on", with_host({}, function(host)
    local client = raw.connect(host.port)
    local response = client:ask(head("/hello", 5000))
    assert.equal(200, response.status)
    assert.is_nil(response.headers.connection)
    client:send(("x"):rep(4000))
    client:send(("x"):rep(1000) .. get "/hello")
    assert.equal("hello\n", client:response().body)
    assert.equal(200, client:ask(head("/hello")).status)
    client:drip(chunk "GET / HTTP/1.1" .. "0\r\nA: b\r\n\r\n" .. get "/echo?1")
    assert.matches("query 1", client:response().body)
    client:send(head("/hello", 3))
    assert.equal(200, client:response().status)
    client:send("abc" .. head("/hello", 3) .. "abc" .. head("/pieces", 3) .. "abc" .. get "/hello")
    assert.equal(200, client:response().status)
    assert.equal("1 pieces 3 bytes\n", client:response().body)
    assert.equal("hello\n", client:response().body)
    client:close()
    assert.equal(0, host:stat().busy)
  end))

  it("ends the connection when it is announced as too long, and the answer arrives",
    with_host({ unread_body_limit = 1000 }, function(host)
      local client = raw.connect(host.port)
      client:start_send(head("/hello", 1000000) .. ("x"):rep(1000000))
      local response = client:response()
      assert.equal(200, response.status)
      assert.equal("close", response.headers.connection)
      local rest, failure = client:wait_end()
      assert.same({ "", nil }, { rest, failure })
      client:close()
    end))

  it("ends the connection when it turns out to be too long", with_host({ unread_body_limit = 1000 },
    function(host)
      local client = raw.connect(host.port)
      assert.is_nil(client:ask(head("/hello")).headers.connection)
      client:send(chunk(("x"):rep(1000)))
      client:send(chunk "x")
      assert.same({ "", nil }, { client:wait_end() })
      client:close()
    end))

  it("ends the connection when it is malformed or does not come", with_host({ body_timeout = 60 },
    function(host)
      local client = raw.connect(host.port)
      assert.equal(200, client:ask(head("/hello")).status)
      client:send("x\r\n" .. get "/hello")
      assert.same({ "", nil }, { client:wait_end() })
      client:close()
      client = raw.connect(host.port)
      assert.equal(200, client:ask(head("/hello", 10) .. "abc").status)
      assert.same({ "", nil }, { client:wait_end() })
      client:close()
      assert.equal(2, host:stat().requests)
    end))

  it("does not hold up a server that ends", function()
    local host = raw.host()
    local client = raw.connect(host.port)
    assert.equal(200, client:ask(head("/hello", 10) .. "abc").status)
    host:tell "drain retired"
    client:send "defghij"
    host:line "^drained"
    host:wait_exit()
    client:close()
  end)
end)

describe("http: a server that ends", function()
  it("lets a body come that its handler reads, and says so with the answer", function()
    for _, how in ipairs { "replaced", "shutdown" } do
      local host = raw.host()
      local client = raw.connect(host.port)
      client:send(head("/pieces", 6) .. "abc")
      host:wait_stat(function(stat) return stat.busy == 1 end)
      host:tell("drain " .. how)
      raw.pass(20)
      local response = client:ask "def"
      assert.equal("6 bytes\n", response.body:match " pieces (.*)")
      assert.equal("close", response.headers.connection)
      host:line "^drained"
      host:wait_exit()
      client:close()
    end
  end)

  it("passes a connection on once what nobody reads has come", function()
    local socket = raw.listen()
    local from, to = raw.packet_pair()
    local old = raw.host({ listen = 3 }, { socket.fd, from })
    local client = raw.connect(socket.port)
    assert.equal(200, client:ask(head("/hello", 6) .. "abc").status)
    local heir = raw.host({ listen = -1 }, { to })
    heir:tell "adopt 3"
    old:tell "drain replaced 4"
    raw.pass(20)
    assert.equal(0, heir:stat().connections)
    client:send "def"
    old:line "^drained"
    old:wait_exit()
    local pid = tonumber(client:ask(get "/pid").body)
    assert.equal(heir.process:get_pid(), pid)
    client:close()
    heir:stop()
    raw.close_fd(from)
    raw.close_fd(to)
    socket.close()
  end)
end)

describe("http: Expect: 100-continue", function()
  it("is answered when the handler asks, and not before", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(head("/late?60", 3, EXPECT))
    host:line "^begun"
    raw.pass(10)
    assert.equal("", client.data)
    assert.equal(100, client:response().status)
    assert.equal(1, host:count "^late")
    assert.equal("1 pieces 3 bytes\n", client:ask("abc").body)
    client:close()
  end))

  it("is not answered when the handler does not ask: the connection ends", with_host({}, function(host)
    local response, rest = raw.once(host.port, head("/hello", 3, EXPECT))
    assert.equal(200, response.status)
    assert.equal("close", response.headers.connection)
    assert.equal("", rest)
    local client = raw.connect(host.port)
    assert.is_nil(client:ask(head("/hello", 3, EXPECT) .. "abc").headers.connection)
    assert.equal("hello\n", client:ask(get "/hello").body)
    client:close()
  end))
end)

describe("http: a client that leaves", function()
  local function waits(host)
    host:wait_stat(function(stat) return stat.busy == 1 end)
  end

  it("in the middle of a body cancels the handler that waits for it", with_host({}, function(host)
    for i, leave in ipairs { "close", "reset", "half_close" } do
      local client = raw.connect(host.port)
      client:send(head("/echo", 10) .. "abc")
      waits(host)
      client[leave](client)
      host:line("^cancel /echo 2$", i)
      client:close()
    end
    assert.equal(0, host:stat().connections)
  end))

  it("with a plain close cancels its handler", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(get "/never")
    waits(host)
    client:close()
    host:line "^cancel /never 2$"
    client = raw.connect(host.port)
    client:send(get "/never" .. get "/hello")
    waits(host)
    client:close()
    host:line("^cancel /never 2$", 2)
  end))

  it("in the middle of a stream cancels its handler", with_host({}, function(host)
    for i, leave in ipairs { "close", "reset" } do
      local client = raw.connect(host.port)
      client:send(get "/begin")
      raw.wait(function() return client.data:find "begun" end, "the stream")
      client[leave](client)
      host:line("^cancel /begin 2$", i)
    end
  end))

  it("with a reset after it has ended sending cancels its handler at once", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(get "/never"):half_close()
    waits(host)
    raw.pass(20)
    client:reset()
    host:line "^cancel /never 2$"
  end))

  it("is told from one that has ended sending and waits for its answer", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(get "/slow?1200"):half_close()
    local response = client:response()
    if response.status == 100 then response = client:response() end
    assert.equal("slow\n", response.body)
    assert.equal("", client:wait_end())
    client:close()
    client = raw.connect(host.port)
    client:send("GET /slow?1200 HTTP/1.0\r\n\r\n"):half_close()
    assert.equal("slow\n", client:response().body)
    client:close()
    assert.equal(0, host:count "^cancel")
  end))
end)
