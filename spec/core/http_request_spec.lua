-- What the parser takes, and what it refuses: raw bytes in, one interpretation or none.
local raw = require "spec.support.raw"
local refusals = require "spec.support.refusals"

local CRLF2 = "\r\n\r\n"

describe("http: a request", function()
  local host

  setup(function()
    host = raw.host()
  end)
  teardown(function()
    host:stop()
  end)

  -- Sends bytes on a connection of their own and returns the echo.
  local function echo(bytes)
    local client = raw.connect(host.port)
    local response = client:ask(bytes)
    client:close()
    assert.equal(200, response.status, response.body)
    return response.body
  end

  local function has(text, line)
    assert(("\n" .. text .. "\n"):find("\n" .. line .. "\n", 1, true),
      ("%q is not a line of\n%s"):format(line, text))
  end

  it("reaches the handler in its parts", function()
    local body = echo "GET /echo?a=1&b=%20 HTTP/1.1\r\nHost: x:80\r\nX-One:  1 \r\nEmpty:\r\n\r\n"
    has(body, "method GET")
    has(body, "target /echo?a=1&b=%20")
    has(body, "path /echo")
    has(body, "query a=1&b=%20")
    has(body, "version 1.1")
    has(body, "ip 127.0.0.1")
    has(body, "header Host=[x:80]")
    has(body, "header X-One=[1]")
    has(body, "header Empty=[]")
    has(body, "body 0 ")
  end)

  it("is the same when it comes byte by byte", function()
    local bytes = "POST /echo?q HTTP/1.1\r\nHost: x\r\nX-Long: a b\tc \r\nEmpty: \r\n"
      .. "Content-Length: 11\r\n\r\nhello world"
    local client = raw.connect(host.port)
    local dripped = client:drip(bytes):response().body
    client:close()
    assert.equal(echo(bytes), dripped)
    has(dripped, "body 11 hello world")
    has(dripped, "header Empty=[]")
    has(dripped, "header X-Long=[a b\tc]")
  end)

  it("may have a chunked body, with extensions and trailers, however it is split", function()
    local bytes = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      .. "3\r\nabc\r\n00A;name=value\r\n0123456789\r\n0\r\nTrailer: dropped\r\n\r\n"
    has(echo(bytes), "body 13 abc0123456789")
    local client = raw.connect(host.port)
    has(client:drip(bytes):response().body, "body 13 abc0123456789")
    has(client:ask(bytes).body, "body 13 abc0123456789")
    client:close()
  end)

  it("has its body in order when it spans many reads", function()
    local body = ("0123456789abcdef"):rep(20000)
    local client = raw.connect(host.port)
    local response = client:ask("POST /headers HTTP/1.1\r\nHost: x\r\nContent-Length: "
      .. #body .. CRLF2 .. body)
    assert.equal("refused -3\n", response.body)
    local text = client:ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " .. #body .. CRLF2
      .. body).body
    has(text, "body 320000 " .. body:sub(1, 4096))
    client:close()
  end)

  it("may name its target in absolute form, and all of the server with *", function()
    local body = echo "GET http://other:8080/echo?x HTTP/1.1\r\nHost: x\r\n\r\n"
    has(body, "path /echo")
    has(body, "query x")
    has(body, "header Host=[other:8080]") -- RFC 9112, 3.2.2
    local client = raw.connect(host.port)
    assert.equal(404, client:ask("OPTIONS * HTTP/1.1\r\nHost: x" .. CRLF2).status)
    assert.equal(404, client:ask("GET http://other HTTP/1.1\r\nHost: x" .. CRLF2).status)
    assert.equal(404, client:ask("GET http://other?q HTTP/1.1\r\nHost: x" .. CRLF2).status)
    client:close()
  end)

  it("has its path percent-decoded exactly once", function()
    has(echo("GET /%65cho HTTP/1.1\r\nHost: x" .. CRLF2), "path /echo")
    local client = raw.connect(host.port)
    assert.equal(404, client:ask("GET /%2565cho HTTP/1.1\r\nHost: x" .. CRLF2).status)
    client:close()
  end)

  it("may be preceded by one empty line", function()
    has(echo("\r\nGET /echo HTTP/1.1\r\nHost: x" .. CRLF2), "method GET")
  end)

  it("may have a hundred header fields", function()
    local fields = ("X: y\r\n"):rep(99)
    local body = echo("GET /echo HTTP/1.1\r\nHost: x\r\n" .. fields .. "\r\n")
    local _, count = body:gsub("header X=%[y%]", "")
    assert.equal(99, count)
  end)

  it("may ask for an upgrade, which is not given", function()
    local client = raw.connect(host.port)
    local upgrade = "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
      .. "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    assert.equal("hello\n", client:ask(upgrade).body)
    assert.equal("hello\n", client:ask(upgrade).body)
    client:close()
  end)

  it("is over for good when it is answered", function()
    local client = raw.connect(host.port)
    assert.equal("hello\n", client:ask("GET /keep HTTP/1.1\r\nHost: x" .. CRLF2).body)
    assert.equal("over\n", client:ask("GET /kept HTTP/1.1\r\nHost: x" .. CRLF2).body)
    client:close()
  end)

  for _, case in ipairs(refusals) do
    local status, what, bytes = case[1], case[2], case[3]
    it(("with %s is refused with %d, whole and byte by byte"):format(what, status), function()
      local before = host:stat().requests
      local response, rest = raw.once(host.port, bytes .. "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
      assert.equal(status, response.status, response.body)
      assert.equal("close", response.headers.connection)
      assert.equal("", rest)
      assert.equal(before, host:stat().requests)
      if #bytes < 1000 then
        local client = raw.connect(host.port)
        assert.equal(status, client:drip(bytes):response().status)
        client:wait_end()
        client:close()
      end
    end)
  end
end)
