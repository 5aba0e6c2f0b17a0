local abi = require "spec.support.abi"
local http = require "perigee.http"
local request = require "perigee.request"

local function make(fields)
  local pointer = abi.request(fields)
  return request.new(pointer, tonumber(pointer.serial)), pointer
end

describe("a request", function()
  it("gives its fields", function()
    local req = make { method = "POST", target = "/a%20b?x=1", path = "/a b", body = "text",
      headers = { { "Host", "example.org" }, { "Accept", "a" }, { "accept", "b" } } }
    assert.equal("POST", req.method)
    assert.equal("/a b", req.path)
    assert.equal("x=1", req.query_string)
    assert.equal("1.1", req.version)
    assert.equal("http", req.scheme)
    assert.equal("example.org", req.host)
    assert.equal("127.0.0.1", req.ip)
    assert.equal("text", req.body)
    assert.equal("a, b", req.headers["ACCEPT"])
    assert.is_nil(req.headers["x-none"])
    assert.is_nil(req.no_such_field)
    assert.same({ { name = "Host", value = "example.org" }, { name = "Accept", value = "a" },
      { name = "accept", value = "b" } }, req:all_headers())
  end)

  it("parses the query and forms", function()
    local req = make { target = "/?a=1&b=x+y%21&a=2&=z&c&%zz=%", body = "n%61me=v%2Bw&&q=" }
    assert.equal("1", req.query.a)
    assert.equal("x y!", req.query.b)
    assert.equal("", req.query.c)
    assert.equal("%", req.query["%zz"])
    assert.same({ "1", "2" }, req:query_all("a"))
    assert.same({ name = "v+w", q = "" }, req.form)
  end)

  it("keeps what is no escape, and gives all values of a name", function()
    local req = make { target = "/?a=%4&b=%&c=%e4%00&=x&a&a=%zz%41" }
    assert.same({ a = "%4", b = "%", c = "\228\0", [""] = "x" }, req.query)
    assert.same({ "%4", "", "%zzA" }, req:query_all "a")
    assert.same({}, req:query_all "none")
    local long = ("%41+%zz"):rep(300)
    assert.equal(("A %zz"):rep(300), make({ target = "/?a=" .. long }).query.a)
  end)

  it("reads forms by their type, with limits", function()
    local kind = { { "Content-Type", "application/x-www-form-urlencoded; charset=utf-8" } }
    local req = make { body = "a=1&a=2&b=", headers = kind }
    assert.same({ a = "1", b = "" }, req.form)
    assert.same({ "1", "2" }, req:form_all "a")
    assert.same({}, req:form_all "none")
    assert.same({}, req.files)
    local function status(fields)
      local ok, problem = pcall(function() return make(fields).form end)
      assert.is_false(ok)
      return problem.status
    end
    assert.equal(413, status { body = ("a=1&"):rep(1001), headers = kind })
    assert.equal(413, status { body = "a=" .. ("x"):rep(1048576), headers = kind })
    assert.equal(415, status { body = "{}", headers = { { "Content-Type", "application/json" } } })
    assert.equal(400, status { body = "x", headers = { { "Content-Type", "multipart/form-data" } } })
  end)

  it("gives its body in pieces, or as a whole, but not both", function()
    local req = make { body = "text" }
    assert.equal("text", req:read())
    assert.is_nil(req:read())
    local ok, problem = pcall(function() return req.body end)
    assert.is_false(ok)
    assert.truthy(problem:find("^spec/unit/request_spec.lua:%d+: req.body: "), problem)
    local pieces = {}
    for piece in make({ body = "text" }):stream() do pieces[#pieces + 1] = piece end
    assert.same({ "text" }, pieces)
  end)

  it("raises the answer to a body that fails", function()
    local req, pointer = make {}
    pointer.body_state = 1
    function abi.body_more(request_struct)
      request_struct.body_state, request_struct.body_status = 2, 413
      request_struct.body_reason = "too long"
      return 0
    end
    for _, read in ipairs { function() return req.body end, function() return req:read() end } do
      local ok, problem = pcall(read)
      assert.is_false(ok)
      assert.equal("413 too long", tostring(problem))
    end
    assert.is_nil(req.trailers)
    abi.body_more = nil
  end)

  it("gives its trailers", function()
    assert.same({ sum = "1, 2", x = "" },
      make({ trailers = { { "Sum", "1" }, { "X", "" }, { "sum", "2" } } }).trailers)
    assert.same({}, make({}).trailers)
  end)

  it("parses cookies", function()
    local req = make { headers = { { "Cookie", 'a=1; b="two"; a=3;c=x=y' },
      { "Cookie", "d = %41 ;e=;f;=g" } } }
    assert.same({ a = "1", b = "two", c = "x=y", d = "%41", e = "" }, req.cookies)
    assert.same({ "1", "3" }, req:cookies_all "a")
    assert.same({}, make({}).cookies)
  end)

  it("gives all values of a header", function()
    local req = make { headers = { { "Accept", "a" }, { "X", "y" }, { "accept", "b" } } }
    assert.same({ "a", "b" }, req:header_all "ACCEPT")
    assert.same({}, req:header_all "none")
  end)

  it("has its host, of an absolute target too", function()
    assert.equal("x:80", make({ headers = { { "Host", "x:80" } } }).host)
    assert.equal("y", make({ target = "http://y/a?b", path = "/a" }).host)
    assert.is_nil(make({}).host)
  end)

  it("decodes JSON, and answers 400 to what is none", function()
    assert.same({ a = { 1, 2 } }, make({ body = '{"a":[1,2]}' }).json)
    local ok, problem = pcall(function() return make({ body = '{"a":' }).json end)
    assert.is_false(ok)
    assert.is_true(http.is_error(problem))
    assert.equal(400, problem.status)
    assert.truthy(problem.message:find("character 6", 1, true), problem.message)
  end)

  it("names its parameters", function()
    local req = make {}
    req[request.ROUTE], req[request.VALUES] = { names = { "a", "b" } }, { 1, "x" }
    assert.same({ a = 1, b = "x" }, req.params)
  end)

  it("keeps what a handler puts into it", function()
    local req = make {}
    req.ctx.user = "me"
    assert.equal("me", req.ctx.user)
  end)

  it("takes X-Request-ID, or makes an id", function()
    local function id(given) return make({ headers = { { "X-Request-ID", given } } }).id end
    for _, good in ipairs { "abc", "f47ac10b-58cc-4372-a567-0e02b2c3d479", ("x"):rep(128), "a+b=@c:d._~" }
    do
      assert.equal(good, id(good))
    end
    for _, bad in ipairs { "", "a b", "../a", 'a"', "a\228", ("x"):rep(129), "(x)" } do
      assert.truthy(id(bad):find("^%w+%-%x+$"), bad)
    end
    assert.truthy(make({}).id:find("^%w+%-%x+$"))
  end)

  it("reads nothing after its end", function()
    local req, pointer = make { method = "PUT", body = "gone", headers = { { "Host", "x" } } }
    assert.equal("PUT", req.method)
    assert.is_false(req:is_over())
    pointer.serial = 2
    pointer.body, pointer.path = nil, nil -- a read would crash
    assert.is_true(req:is_over())
    for _, field in ipairs { "path", "body", "query_string", "query", "json", "form", "version", "ip",
      "host" } do
      assert.is_nil(req[field], field)
    end
    assert.equal("PUT", req.method) -- was read before
    assert.is_nil(req.headers.host)
    assert.same({ nil, "request is over", n = 2 }, { n = 2, req:all_headers() })
    assert.same({ nil, "request is over", n = 2 }, { n = 2, req:query_all("a") })
  end)
end)
