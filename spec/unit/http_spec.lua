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
    local redirect = http.redirect("/there", nil, { ["X-A"] = "1" })
    assert.same({ 302, { Location = "/there", ["X-A"] = "1" } }, { redirect.status, redirect.headers })
    assert.equal("404 Not Found\n", http.plain_error(404).body)
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
      assert.has_error(function() http.header_lines(headers, 1) end)
    end)
  end

  local wrong = {
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
