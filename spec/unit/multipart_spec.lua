local abi = require "spec.support.abi" -- luacheck: ignore 211
local http = require "perigee.http"
local multipart = require "perigee.multipart"

local CRLF = "\r\n"

-- A sink that keeps what it is told.
local function collector()
  local sink = { parts = {} }
  function sink:part(part)
    self.current = { name = part.name, filename = part.filename, type = part.type, data = {} }
  end
  function sink:data(data) table.insert(self.current.data, data) end
  function sink:part_end()
    self.current.data = table.concat(self.current.data)
    table.insert(self.parts, self.current)
  end
  return sink
end

-- Parses `text` in pieces of `size` bytes. Returns the parts, or nil and the error.
local function parse(text, size, limits)
  local sink = collector()
  local parser = multipart.new("B", limits or { parts = 10, header = 200 }, sink)
  local ok, problem = pcall(function()
    for at = 1, #text, size or #text do parser:feed(text:sub(at, at + (size or #text) - 1)) end
    parser:finish()
  end)
  if ok then return sink.parts end
  assert(http.is_error(problem), tostring(problem))
  return nil, problem
end

local function part(disposition, data, more)
  return "--B" .. CRLF .. "Content-Disposition: " .. disposition .. CRLF .. (more or "") .. CRLF
    .. data .. CRLF
end

describe("multipart", function()
  local text = "preamble" .. CRLF .. part('form-data; name="a"', "1")
    .. part('form-data; name="f"; filename="x.txt"', "line\r\n--\r\n--A\r\n",
      "Content-Type: text/plain" .. CRLF)
    .. part("form-data; name=a", "") .. "--B--" .. CRLF .. "epilogue"
  local expected = {
    { name = "a", data = "1" },
    { name = "f", filename = "x.txt", type = "text/plain", data = "line\r\n--\r\n--A\r\n" },
    { name = "a", data = "" },
  }

  it("gives the parts, however the body is cut", function()
    for size = 1, #text do assert.same(expected, parse(text, size), "in pieces of " .. size) end
  end)

  it("may begin with the delimiter and have no part", function()
    assert.same({}, parse "--B--")
    assert.same({}, parse("--B--" .. CRLF))
    assert.same(3, #parse(text:sub(11)))
    local padded = "--B \t" .. part('form-data; name="a"', "x"):sub(4) .. "--B--"
    assert.same({ { name = "a", data = "x" } }, parse(padded))
  end)

  it("reads names as browsers write them", function()
    local function names(disposition)
      local parts = assert(parse(part(disposition, "") .. "--B--"))
      return { parts[1].name, parts[1].filename }
    end
    assert.same({ 'a"b' }, names 'form-data; name="a\\"b"')
    assert.same({ 'a"b\r\n' }, names 'form-data; name="a%22b%0D%0A"')
    assert.same({ "ä%41" }, names 'FORM-DATA; NAME="ä%41"')
    assert.same({ "a", "c.txt" }, names [[form-data; name="a"; filename="C:\b\c.txt"]])
    assert.same({ "a", "passwd" }, names 'form-data; name="a"; filename="../../etc/passwd"')
    assert.same({ "a", "" }, names 'form-data; name="a"; filename=".."')
    assert.same({ "a", "b;c" }, names 'form-data; filename="b;c"; name="a"')
  end)

  for what, case in pairs {
    ["no end"] = { 400, part('form-data; name="a"', "x") },
    ["nothing"] = { 400, "" },
    ["half a delimiter at the end"] = { 400, part('form-data; name="a"', "x") .. "--B-" },
    ["no Content-Disposition"] = { 400, "--B\r\nX: y\r\n\r\nx\r\n--B--" },
    ["no header"] = { 400, "--B\r\n\r\nx\r\n--B--" },
    ["no name"] = { 400, part("form-data", "x") .. "--B--" },
    ["two names"] = { 400, part('form-data; name="a"; name="b"', "x") .. "--B--" },
    ["another disposition"] = { 400, part('attachment; name="a"', "x") .. "--B--" },
    ["an open quote"] = { 400, part('form-data; name="a', "x") .. "--B--" },
    ["text behind a quote"] = { 400, part('form-data; name="a"b', "x") .. "--B--" },
    ["two dispositions"] = { 400, part("form-data; name=a", "x", "content-disposition: form-data; name=b\r\n")
      .. "--B--" },
    ["a folded line"] = { 400, part("form-data; name=a", "x", "X: y\r\n z\r\n") .. "--B--" },
    ["a bare LF"] = { 400, part("form-data; name=a", "x", "X: y\nZ: z\r\n") .. "--B--" },
    ["a blank before the colon"] = { 400, part("form-data; name=a", "x", "X : y\r\n") .. "--B--" },
    ["something behind a delimiter"] = { 400,
      "--Bx\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n--B--" },
    ["a long header"] = { 413, part("form-data; name=a", "x", "X: " .. ("y"):rep(200) .. "\r\n") .. "--B--" },
    ["an endless header"] = { 413, "--B\r\nX: " .. ("y"):rep(300) },
    ["too many parts"] = { 413, part("form-data; name=a", "x"):rep(11) .. "--B--" },
  } do
    it(("refuses %s with %d, whole and byte by byte"):format(what, case[1]), function()
      for _, size in ipairs { #case[2] + 1, 1 } do
        local parts, problem = parse(case[2], size)
        assert.is_nil(parts)
        assert.equal(case[1], problem.status, problem.message)
      end
    end)
  end

  it("knows a boundary", function()
    for _, good in ipairs { "x", "----WebKitFormBoundary7MA4", ("x"):rep(70), "a b" } do
      assert.is_true(multipart.is_boundary(good), good)
    end
    for _, bad in ipairs { "", ("x"):rep(71), "a ", "a\r\n", "a\"" } do
      assert.is_false(multipart.is_boundary(bad), bad)
    end
    assert.is_false(multipart.is_boundary(nil))
  end)
end)
