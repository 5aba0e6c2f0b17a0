-- What the parser takes, and what it refuses: raw bytes in, one interpretation or none.
local raw = require "spec.support.raw"

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

  local GET = "GET /hello HTTP/1.1\r\n"
  local POST = "POST /echo HTTP/1.1\r\nHost: x\r\n"
  local CHUNKED = POST .. "Transfer-Encoding: chunked\r\n\r\n"
  local refusals = {
    { 400, "no Host", GET .. "\r\n" },
    { 400, "two Hosts", GET .. "Host: a\r\nHost: a\r\n\r\n" },
    { 400, "a Host with a blank", GET .. "Host: a b\r\n\r\n" },
    { 400, "a Host with a path", GET .. "Host: a/b\r\n\r\n" },
    { 400, "Content-Length and Transfer-Encoding",
      POST .. "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { 400, "Transfer-Encoding and Content-Length",
      POST .. "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n" },
    { 400, "two lengths", POST .. "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" },
    { 400, "two equal lengths", POST .. "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" },
    { 400, "a list of lengths", POST .. "Content-Length: 3, 3\r\n\r\nabc" },
    { 400, "a signed length", POST .. "Content-Length: +3\r\n\r\nabc" },
    { 400, "a negative length", POST .. "Content-Length: -3\r\n\r\nabc" },
    { 400, "a hexadecimal length", POST .. "Content-Length: 0x3\r\n\r\nabc" },
    { 400, "a length with a blank inside", POST .. "Content-Length: 1 2\r\n\r\nabc" },
    { 400, "an empty length", POST .. "Content-Length:\r\n\r\n" },
    { 400, "a length past 64 bits", POST .. "Content-Length: 99999999999999999999\r\n\r\n" },
    { 413, "a length past the limit", POST .. "Content-Length: 104857601\r\n\r\n" },
    { 501, "an unknown transfer coding", POST .. "Transfer-Encoding: gzip\r\n\r\n" },
    { 501, "another coding under chunked", POST .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
    { 400, "chunked not last", POST .. "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" },
    { 400, "chunked twice",
      POST .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { 501, "a coding that looks like chunked", POST .. "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" },
    { 400, "chunked in HTTP/1.0",
      "POST /hello HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
    { 417, "an unknown expectation", POST .. "Expect: miracles\r\n\r\n" },
    { 400, "a folded header", GET .. "Host: a\r\nX: b\r\n c\r\n\r\n" },
    { 400, "a folded header with a tab", GET .. "Host: a\r\nX: b\r\n\tc\r\n\r\n" },
    { 400, "an empty header that is folded", GET .. "Host: a\r\nX:\r\n b\r\n\r\n" },
    { 400, "a folded first line", GET .. " Host: a\r\n\r\n" },
    { 400, "a blank before the colon", GET .. "Host : a\r\n\r\n" },
    { 400, "a header without colon", GET .. "Host\r\n\r\n" },
    { 400, "a header without name", GET .. "Host: a\r\n: b\r\n\r\n" },
    { 400, "a name that is no token", GET .. "Host: a\r\nX(y): b\r\n\r\n" },
    { 400, "a bare LF after the request line", "GET /hello HTTP/1.1\nHost: a\r\n\r\n" },
    { 400, "a bare LF after a header", GET .. "Host: a\n\r\n" },
    { 400, "a bare LF before the end of the head", GET .. "Host: a\r\n\n" },
    { 400, "bare LFs only", "GET /hello HTTP/1.1\nHost: a\n\n" },
    { 400, "a bare CR in a header", GET .. "Host: a\r\nX: b\rc\r\n\r\n" },
    { 400, "a bare CR as a line's end", GET .. "Host: a\rX: b\r\n\r\n" },
    { 400, "CR CR LF", GET .. "Host: a\r\r\n\r\n" },
    { 400, "NUL in a value", GET .. "Host: a\r\nX: b\0c\r\n\r\n" },
    { 400, "NUL in a name", GET .. "Host: a\r\nX\0: b\r\n\r\n" },
    { 400, "a control in a value", GET .. "Host: a\r\nX: b\1c\r\n\r\n" },
    { 400, "NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a raw 8-bit byte in the target", "GET /\255 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "two blanks before the target", "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "two blanks after the target", "GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a tab in the request line", "GET\t/hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a blank after the version", "GET /hello HTTP/1.1 \r\nHost: a\r\n\r\n" },
    { 400, "no version", "GET /hello\r\n\r\n" },
    { 400, "a lower-case protocol", "GET /hello http/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a lower-case method", "get /hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a blank first", " GET /hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "two empty lines first", "\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a bare LF first", "\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a TLS hello", "\22\3\1\2\0\1\0\1\252\3\3" },
    { 501, "an unknown method", "BREW /hello HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 501, "CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 505, "HTTP/2 as text", "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n" },
    { 505, "HTTP/0.9 by name", "GET /hello HTTP/0.9\r\nHost: a\r\n\r\n" },
    { 505, "HTTP/1.2", "GET /hello HTTP/1.2\r\nHost: a\r\n\r\n" },
    { 505, "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" },
    { 400, "another protocol", "GET /hello RTSP/1.0\r\nHost: a\r\n\r\n" },
    { 400, "a target in authority form", "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "* for GET", "GET * HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "another scheme", "GET ftp://a/b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "user information", "GET http://user@a/b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "a fragment", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "an escape cut short", "GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "an escape that is none", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "an escaped NUL", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n" },
    { 400, "an empty chunk size", CHUNKED .. "\r\nabc\r\n0\r\n\r\n" },
    { 400, "a chunk size that is none", CHUNKED .. "g\r\nabc\r\n0\r\n\r\n" },
    { 400, "a chunk size with 0x", CHUNKED .. "0x3\r\nabc\r\n0\r\n\r\n" },
    { 400, "a signed chunk size", CHUNKED .. "+3\r\nabc\r\n0\r\n\r\n" },
    { 400, "a blank before a chunk size", CHUNKED .. " 3\r\nabc\r\n0\r\n\r\n" },
    { 400, "a blank behind a chunk size", CHUNKED .. "3 \r\nabc\r\n0\r\n\r\n" },
    { 400, "a chunk size past 64 bits", CHUNKED .. "fffffffffffffffff\r\nabc" },
    { 413, "a chunk size past the limit", CHUNKED .. "ffffffff\r\nabc" },
    { 400, "a chunk longer than it says", CHUNKED .. "3\r\nabcd\r\n0\r\n\r\n" },
    { 400, "a chunk shorter than it says", CHUNKED .. "3\r\nab\r\n0\r\n\r\n" },
    { 400, "a bare LF after a chunk size", CHUNKED .. "3\nabc\r\n0\r\n\r\n" },
    { 400, "a bare LF after a chunk", CHUNKED .. "3\r\nabc\n0\r\n\r\n" },
    { 400, "a bare CR after a chunk", CHUNKED .. "3\r\nabc\r0\r\n\r\n" },
    { 400, "a bare LF after the last chunk", CHUNKED .. "0\n\r\n" },
    { 400, "a bare LF at the body's end", CHUNKED .. "0\r\n\n" },
    { 400, "a bare LF after a trailer", CHUNKED .. "0\r\nX: y\n\r\n" },
    { 400, "a bare CR in a trailer", CHUNKED .. "0\r\nX: y\rZ: w\r\n\r\n" },
    { 400, "a trailer without name", CHUNKED .. "0\r\n: y\r\n\r\n" },
    { 400, "a second trailer without name", CHUNKED .. "0\r\nA: b\r\n: y\r\n\r\n" },
    { 400, "a trailer without colon", CHUNKED .. "0\r\nX\r\n\r\n" },
    { 400, "a blank before a trailer's colon", CHUNKED .. "0\r\nX : y\r\n\r\n" },
    { 400, "a blank before a trailer", CHUNKED .. "0\r\n X: y\r\n\r\n" },
    { 400, "NUL in a trailer", CHUNKED .. "0\r\nX: y\0z\r\n\r\n" },
    { 400, "NUL in a trailer's name", CHUNKED .. "0\r\nX\0: y\r\n\r\n" },
    { 400, "a folded trailer", CHUNKED .. "0\r\nX: y\r\n z\r\n\r\n" },
    { 400, "a control in a chunk extension", CHUNKED .. "3;\1\r\nabc\r\n0\r\n\r\n" },
    { 400, "endless chunk extensions", CHUNKED .. "3;" .. ("a"):rep(17000) .. "\r\nabc\r\n" },
    { 400, "many chunk extensions", CHUNKED .. ("1;" .. ("a"):rep(200) .. "\r\nx\r\n"):rep(100) },
    { 400, "an endless chunk size", CHUNKED .. ("0"):rep(17000) },
  }

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
