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

  it("parses cookies", function()
    local req = make { headers = { { "Cookie", 'a=1; b="two"; a=3;c=x=y' } } }
    assert.same({ a = "1", b = "two", c = "x=y" }, req.cookies)
  end)

  it("decodes JSON, and answers 400 to what is none", function()
    assert.same({ a = { 1, 2 } }, make({ body = '{"a":[1,2]}' }).json)
    local ok, problem = pcall(function() return make({ body = '{"a":' }).json end)
    assert.is_false(ok)
    assert.is_true(http.is_error(problem))
    assert.equal(400, problem.status)
    assert.truthy(problem.message:find("line 1, column 6", 1, true), problem.message)
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
    assert.equal("abc", make({ headers = { { "X-Request-ID", "abc" } } }).id)
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
