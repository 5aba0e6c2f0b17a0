-- The answers' side of the real binary: JSON, cookies, refused headers, compression, broken streams.

local client = require "spec.support.client"
local decode = require "spec.support.decode"
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local json = require "perigee.json"
local app = perigee.app "answers"
local text = ("A line of text that repeats itself.\n"):rep(100)
app:post("/echo", function(req) return http.json(req.json) end)
app:get("/nan", function() return { items = { 1, { price = 0/0 } } } end)
app:get("/cookies", function()
  return http.text("x"):cookie("a", "1"):cookie("__Host-b", "2", { samesite = "Strict" }):delete_cookie("c")
end)
app:get("/split", function() return http.text("x", 200, { ["X-A"] = "1\r\nX-B: 2" }) end)
app:get("/raw", function() return http.raw("\0\1\2", 201, { ["X-Kind"] = "raw" }) end)
app:get("/text", function() return text end)
app:get("/small", function() return text:sub(1, 500) end)
app:get("/table", function() local list = {} for i = 1, 500 do list[i] = i end return list end)
app:get("/etag", function() return http.text(text, 200, { ETag = '"v1"', Vary = "Cookie" }) end)
app:get("/weak", function() return http.text(text, 200, { ETag = 'W/"v1"', Vary = "accept-encoding" }) end)
app:get("/svg", function() return http.raw(text, 200, { ["Content-Type"] = "image/svg+xml" }) end)
app:get("/png", function() return http.raw(text, 200, { ["Content-Type"] = "image/png" }) end)
app:get("/untyped", function() return http.raw(text) end)
app:get("/encoded", function() return http.text(text, 200, { ["Content-Encoding"] = "x-own" }) end)
app:get("/fixed", function() return http.text(text, 200, { ["Cache-Control"] = "public, No-Transform" }) end)
app:get("/part", function() return http.text(text, 206, { ["Content-Range"] = "bytes 0-1/2" }) end)
app:get("/missing", function() return http.text(text, 404) end)
app:post("/text", function() return text end)
local go = {}
app:get("/stream", function()
  return http.stream(function(write)
    for i = 1, 3 do
      write("piece " .. i .. "\n")
      while not go[i] do perigee.sleep(0.002) end
    end
    go = {}
  end)
end)
app:post("/go/<n:int>", function(_, n) go[n] = true return http.empty() end)
app:get("/events", function()
  return http.stream(function(write) write("data: x\n\n") end, 200,
    { ["Content-Type"] = "text/event-stream" })
end)
app:get("/cjson", function()
  local cjson = require "cjson"
  return cjson.encode { cjson.decode '{"a":[1,null]}'.a[2] == cjson.null }
end)
app:get("/login", function()
  http.abort(http.redirect("/in", 303):cookie("session", "new"):delete_cookie("old"))
end)
app:get("/large/<n:int>", function(_, n) return ("x"):rep(n) end)
local turns = 0
app:get("/large-piece", function()
  return http.stream(function(write)
    local done = false
    perigee.spawn(function()
      while not done do turns = turns + 1 perigee.sleep(0) end
    end)
    write(("x"):rep(1000000) .. "\n")
    done = true
  end)
end)
app:get("/turns", function() return tostring(turns) end)
app:get("/broken", function() return http.stream(function(write) write("half") error "in the middle" end) end)
return app
]]

local server

local function serve(flags)
  server = host.serve { app = app, flags = { "--workers", "1", unpack(flags or {}) } }
end

local function ask(path, accept, method)
  return client.request(server.target, method or "GET", path, { ["Accept-Encoding"] = accept })
end

local plain = ("A line of text that repeats itself.\n"):rep(100)

describe("an answer", function()
  before_each(function() serve() end)
  after_each(host.finish)

  it("is JSON there and back, unchanged", function()
    local text = '{"big":9007199254740993,"list":[],"map":{},"nothing":null,"pi":3.141592653589793}'
    local answer = client.request(server.target, "POST", "/echo", nil, text)
    assert.equal(200, answer.status)
    for part in text:gmatch '"[%w]+":[^,}]+' do
      assert.truthy(answer.body:find(part, 1, true), answer.body)
    end
    assert.equal(#text, #answer.body)
    local bad = client.request(server.target, "POST", "/echo", nil, '{"a":\n  01}')
    assert.equal(400, bad.status)
    assert.truthy(bad.body:find("line 2, column 3: a number must not begin with 0", 1, true), bad.body)
  end)

  it("that JSON cannot say is an error that names the handler and the way", function()
    server:allow "NaN"
    assert.equal(500, ask("/nan").status)
    server:expect("the handler of GET /nan %(app.lua:%d+%) returned a table that JSON cannot say: "
      .. "value.items%[2%].price is NaN or infinite")
  end)

  it("sets several cookies", function()
    local head = ask("/cookies").head
    local cookies = {}
    for line in head:gmatch "\r\nSet%-Cookie: ([^\r]*)" do cookies[#cookies + 1] = line end
    assert.same({ "a=1; Path=/; Secure; HttpOnly; SameSite=Lax",
      "__Host-b=2; Path=/; Secure; HttpOnly; SameSite=Strict",
      "c=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax",
    }, cookies)
  end)

  it("may be given to http.abort, with its headers and cookies", function()
    local answer = ask "/login"
    assert.same({ 303, "/in" }, { answer.status, answer.headers.location })
    assert.matches("session=new; Path=/; Secure; HttpOnly; SameSite=Lax, old=; ",
      answer.headers["set-cookie"])
  end)

  it("may be made with lua-cjson, which is there under its own name", function()
    assert.equal("[true]", ask("/cjson").body)
  end)

  it("with a line break in a header is refused, and the log names header and handler", function()
    server:allow "cannot be sent"
    local answer = ask "/split"
    assert.equal(500, answer.status)
    assert.is_nil(answer.headers["x-b"])
    server:expect 'the handler of GET /split %(app.lua:%d+%) returned response header "X%-A": .+ cannot'
  end)

  it("may be raw, without a type of ours", function()
    local answer = ask "/raw"
    assert.same({ 201, "\0\1\2", "raw" }, { answer.status, answer.body, answer.headers["x-kind"] })
    assert.is_nil(answer.headers["content-type"])
  end)

  it("that breaks in its middle ends with the connection, unterminated", function()
    server:allow "in the middle"
    for _, accept in ipairs { "identity", "gzip" } do
      local connection = client.connect(server.target)
      connection:request("GET", "/broken", { ["Accept-Encoding"] = accept })
      assert.is_true(connection:wait_closed())
      assert.truthy(connection.input:find "^HTTP/1.1 200 OK\r\n", connection.input)
      assert.is_nil(connection.input:find("\r\n0\r\n", 1, true))
      connection:close()
    end
    server:expect "in the middle"
  end)
end)

describe("compression", function()
  after_each(host.finish)

  local wishes = { -- Accept-Encoding → Content-Encoding
    { "gzip", "gzip" }, { "br", "br" }, { "gzip, deflate, br", "br" }, { "gzip, deflate, br, zstd", "br" },
    { "x-gzip", "gzip" }, { "GZIP", "gzip" }, { "*", "br" }, { "br;q=0, *", "gzip" },
    { "gzip;q=1, br;q=0.9", "gzip" },
    { "gzip;q=0.001", "gzip" }, { "gzip ; q=0.5 , br ; Q=0.25", "gzip" },
    { "identity;q=0.5, gzip;q=0.4" },
    { "identity" }, { "deflate" }, { "gzip;q=0" }, { "gzip;q=2" }, { "gzip;q=" }, { "gzip;q=0.1234" },
    { "gzip;x=1" },
    { "identity;q=0, gzip", "gzip" }, { "*;q=0, br", "br" }, { "" }, { "," }, { "gzi" }, { "gzipp, brr" },
  }

  it("follows Accept-Encoding", function()
    serve()
    local none = client.get(server.target, "/text")
    assert.same({ plain, "Accept-Encoding" }, { none.body, none.headers.vary })
    for _, wish in ipairs(wishes) do
      local answer = ask("/text", wish[1])
      assert.equal(200, answer.status)
      assert.equal(wish[2], answer.headers["content-encoding"], wish[1])
      assert.equal("Accept-Encoding", answer.headers.vary)
      assert.equal(tostring(#answer.body), answer.headers["content-length"])
      assert.equal(plain, decode.text(wish[2], answer.body), wish[1])
    end
    for _, wish in ipairs { "identity;q=0", "*;q=0", "identity;q=0, gzip;q=0, br;q=0" } do
      assert.equal(406, ask("/text", wish).status, wish)
      assert.equal(200, ask("/text", wish, "POST").status, "what a POST has done is told")
      assert.equal(200, ask("/small", wish).status, "a small answer is not negotiated")
    end
  end)

  it("is for texts of some size, and no others", function()
    serve()
    for _, path in ipairs { "/text", "/table", "/svg", "/missing" } do
      assert.equal("br", ask(path, "br").headers["content-encoding"], path)
    end
    for _, path in ipairs { "/small", "/png", "/untyped", "/fixed", "/part", "/events" } do
      local answer = ask(path, "br")
      assert.is_nil(answer.headers["content-encoding"], path)
      assert.is_nil(answer.headers.vary, path)
    end
    assert.equal("x-own", ask("/encoded", "br").headers["content-encoding"])
  end)

  it("leaves a large answer as it is, and gives others turns while it compresses a large piece", function()
    serve { "--compress-maximum", "64 KiB" }
    local large = ask("/large/65537", "br")
    assert.is_nil(large.headers["content-encoding"])
    assert.equal(65537, #large.body)
    assert.equal("br", ask("/large/65536", "br").headers["content-encoding"])
    local streamed = ask("/large-piece", "gzip")
    assert.equal("gzip", streamed.headers["content-encoding"])
    local text = decode.text("gzip", streamed.body)
    assert.equal(1000001, #text)
    assert.matches("^x+\n", text)
    assert.is_true(tonumber(ask("/turns").body) >= 3)
  end)

  it("makes a strong ETag weak, and adds to Vary", function()
    serve()
    local answer = ask("/etag", "gzip")
    assert.same({ 'W/"v1"', "Cookie, Accept-Encoding" }, { answer.headers.etag, answer.headers.vary })
    assert.equal('"v1"', ask("/etag").headers.etag)
    answer = ask("/weak", "gzip")
    assert.same({ 'W/"v1"', "accept-encoding" }, { answer.headers.etag, answer.headers.vary })
  end)

  it("answers HEAD as GET, but for a length that is not known", function()
    serve()
    local coded, uncoded = ask("/text", "gzip", "HEAD"), ask("/text", nil, "HEAD")
    assert.same({ "gzip", "Accept-Encoding" }, { coded.headers["content-encoding"], coded.headers.vary })
    assert.is_nil(coded.headers["content-length"])
    assert.equal(tostring(#plain), uncoded.headers["content-length"])
  end)

  for _, coding in ipairs { "gzip", "br" } do
    it("lets a stream's client read each write, in " .. coding, function()
      serve()
      local connection = client.connect(server.target)
      connection:request("GET", "/stream", { ["Accept-Encoding"] = coding })
      local expected = ""
      for piece = 1, 3 do
        expected = expected .. "piece " .. piece .. "\n"
        wait.till(10, "piece " .. piece, function()
          local body = connection.input:match "\r\n\r\n(.*)$"
          return body and decode.text(coding, decode.chunks(body)) == expected
        end)
        if piece < 3 then client.request(server.target, "POST", "/go/" .. piece) end
      end
      client.request(server.target, "POST", "/go/3")
      local answer = assert(connection:response())
      assert.equal(coding, answer.headers["content-encoding"])
      assert.equal(expected, decode.text(coding, answer.body))
      connection:close()
    end)
  end

  it("can be switched off, and its limit be moved", function()
    serve { "--no-compress" }
    local answer = ask("/text", "br")
    assert.same({ plain }, { answer.body, answer.headers["content-encoding"], answer.headers.vary })
    assert.equal(0, server:stop())
    serve { "--compress-minimum", "100", "--compress-level", "9" }
    assert.equal("br", ask("/small", "br").headers["content-encoding"])
  end)
end)
