require "spec.support.abi"
local http = require "perigee.http"

describe("perigee.http", function()
  it("makes responses", function()
    local response = http.text("x", 201, { A = "b" })
    assert.is_true(http.is_response(response))
    assert.same({ 201, "x", { A = "b" } }, { response.status, response.body, response.headers })
    assert.equal("5", http.html(5).body)
    assert.equal('{"a":1}', http.json({ a = 1 }).body)
    assert.equal(204, http.empty().status)
    assert.same({ "\0\1", 0 }, { http.raw("\0\1").body, http.raw("").type })
    local redirect = http.redirect("/there", nil, { ["X-A"] = "1" })
    assert.same({ 302, { Location = "/there", ["X-A"] = "1" } }, { redirect.status, redirect.headers })
    assert.equal("404 Not Found\n", http.plain_error(404).body)
  end)

  it("redirects to what is a URL", function()
    local function location(text) return http.redirect(text).headers.Location end
    assert.equal("/a%20b/%C3%BC?q=%221%22&r=%5B#x", location '/a b/ü?q="1"&r=%5B#x')
    assert.equal("https://[::1]:8/(a)~b;c,d=e+f!*'@$", location "https://[::1]:8/(a)~b;c,d=e+f!*'@$")
    assert.is_nil((http.header_lines(http.redirect("/a\r\nX: y").headers, 0)))
  end)

  it("aborts with an error that tells its status", function()
    local ok, problem = pcall(http.abort, 418, "short and stout")
    assert.is_false(ok)
    assert.is_true(http.is_error(problem))
    assert.equal("418 short and stout", tostring(problem))
  end)

  it("writes header lines", function()
    local lines, kind = http.header_lines({ ["Set-Cookie"] = { "a=1", "b=2" } }, 1)
    assert.equal("Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n", lines)
    assert.equal(1, kind)
    lines, kind = http.header_lines({ ["content-TYPE"] = "text/csv" }, 1)
    assert.equal("content-TYPE: text/csv\r\n", lines)
    assert.equal(0, kind)
  end)

  for name, headers in pairs {
    ["a line break"] = { A = "x\r\nB: y" }, ["a NUL"] = { A = "x\0" }, ["a bad name"] = { ["A:"] = "x" },
    ["no text"] = { A = {} , B = true }, ["a length"] = { ["Content-length"] = "1" },
  } do
    it("refuses a header with " .. name, function()
      local lines, problem = http.header_lines(headers, 1)
      assert.is_nil(lines)
      assert.truthy(problem:find "^response header ", problem)
    end)
  end

  local cookies = {
    ["a=1; Path=/; Secure; HttpOnly; SameSite=Lax"] = { "a", "1" },
    ["a=; Path=/; Secure; HttpOnly; SameSite=Lax"] = { "a", "" },
    ['a="x"; Path=/; Secure; HttpOnly; SameSite=Lax'] = { "a", '"x"' },
    ["a=1; Path=/b; Domain=example.org; Max-Age=60; Expires=Sat, 01 Jan 2000 00:00:00 GMT; SameSite=Strict"] =
      { "a", "1", { path = "/b", domain = ".example.org", max_age = 60, expires = 946684800, secure = false,
        httponly = false, samesite = "strict" } },
    ["a=1; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"] =
      { "a", "1", { samesite = "None", partitioned = true } },
    ["__Host-a=1; Path=/; Secure; HttpOnly; SameSite=Lax"] = { "__Host-a", "1" },
    ["__Secure-a=1; Path=/b; Domain=x; Secure; HttpOnly; SameSite=Lax"] =
      { "__Secure-a", "1", { path = "/b", domain = "x" } },
  }
  for line, arguments in pairs(cookies) do
    it("sets " .. line, function()
      local lines = http.header_lines(nil, 1, http.text(""):cookie(unpack(arguments)).cookies)
      assert.equal("Set-Cookie: " .. line .. "\r\n", lines)
    end)
  end

  it("sets several cookies, each once, and deletes them", function()
    local headers = {}
    local response = http.text("", 200, headers):cookie("a", "1"):cookie("b", "2"):cookie("a", "3")
      :cookie("a", "4", { path = "/x" }):delete_cookie("b")
    local lines = http.header_lines(response.headers, 1, response.cookies)
    assert.equal("Set-Cookie: a=3; Path=/; Secure; HttpOnly; SameSite=Lax\r\n"
      .. "Set-Cookie: b=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; "
      .. "SameSite=Lax\r\n"
      .. "Set-Cookie: a=4; Path=/x; Secure; HttpOnly; SameSite=Lax\r\n", lines)
    assert.same({}, headers)
  end)

  local function cookie(...)
    local arguments = { ... }
    return function() http.text(""):cookie(unpack(arguments)) end
  end
  local wrong = {
    ["cannot be a cookie's name"] = cookie("a b", "1"),
    ["response:cookie: the name must be a string"] = cookie(1, "1"),
    ["response:cookie: the value must be a string, not a number"] = cookie("a", 1),
    ["the value of blank has"] = cookie("blank", "a b"), ["the value of comma has"] = cookie("comma", "a,b"),
    ["the value of line has"] = cookie("line", "a\r\nB: c"), ["the value of nul has"] = cookie("nul", "a\0"),
    ["the value of semicolon has"] = cookie("semicolon", "a;b"),
    ["the value of slash has"] = cookie("slash", "\\"),
    ["the value of quote has"] = cookie("quote", 'a"b'), ["the value of half has"] = cookie("half", '"a'),
    ["the value of utf8 has"] = cookie("utf8", "é"),
    ["long has more than 4096 bytes"] = cookie("long", ("x"):rep(4093)),
    ["unknown option 'htponly'; did you mean 'httponly'"] = cookie("a", "", { htponly = true }),
    ["max_age must be a number"] = cookie("a", "", { max_age = "1" }),
    ["max_age must be a whole number"] = cookie("a", "", { max_age = 1.5 }),
    ["expires must be a time"] = cookie("a", "", { expires = -1 }),
    ["domain must be a host name"] = cookie("a", "", { domain = "x;y" }),
    ["path must begin with"] = cookie("a", "", { path = "/;x" }),
    ["samesite must be"] = cookie("a", "", { samesite = "Loose" }),
    ['samesite "None" needs secure'] = cookie("a", "", { samesite = "None", secure = false }),
    ["partitioned needs secure"] = cookie("a", "", { partitioned = true, secure = false }),
    ["__Secure- needs secure"] = cookie("__secure-a", "", { secure = false }),
    ["__Host- needs secure"] = cookie("__Host-a", "", { secure = false }),
    ["__Host- allows no domain"] = cookie("__Host-a", "", { domain = "x" }),
    ['no path but "/"'] = cookie("__Host-b", "", { path = "/x" }),
    ["the body must be a string, not a table"] = function() http.text({}) end,
    ["the body must be a string, not nil"] = function() http.html() end,
    ["the status must be a whole number from 200 to 599, not 99"] = function() http.text("", 99) end,
    ["the status must be from 300 to 399"] = function() http.redirect("/", 200) end,
    ["headers must be a table"] = function() http.empty(204, "x") end,
    ["the status is missing"] = function() http.abort() end,
    ["from 400 to 599"] = function() http.abort(200) end,
    ["http.json: "] = function() http.json(print) end,
    ["the writer must be a function"] = function() http.stream("x") end,
  }
  for message, mistake in pairs(wrong) do
    it("says at the caller's line: " .. message, function()
      local ok, text = pcall(mistake)
      assert.is_false(ok)
      assert.truthy(text:find(message, 1, true), text)
      assert.truthy(text:find("http_spec.lua:%d+: "), text)
    end)
  end
end)
