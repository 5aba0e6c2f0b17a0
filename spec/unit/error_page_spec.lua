local abi = require "spec.support.abi"
local error_page = require "perigee.error_page"
local frames = require "perigee.frames"
local request = require "perigee.request"

local serial = 5000

local function request_with(headers)
  serial = serial + 1
  return request.new(abi.request { serial = serial, headers = headers, target = "/x" }, serial)
end

local function answer(headers, config, fault)
  return error_page.answer(request_with(headers or {}), config or {}, 500, nil, nil, fault)
end

describe("an error page", function()
  it("is what the client prefers, JSON for one that sent JSON, else text", function()
    assert.equal(1, answer().type)
    assert.equal(2, answer({ { "Accept", "text/html" } }).type)
    assert.equal(3, answer({ { "Content-Type", "application/json; charset=utf-8" } }).type)
    assert.equal(3, answer({ { "Content-Type", "application/problem+json" }, { "Accept", "*/*" } }).type)
    assert.equal(2, answer({ { "Accept", "application/json" } }, { error_format = "html" }).type)
  end)

  it("escapes what it was given to say", function()
    local req = request_with { { "Accept", "text/html" } }
    local page = error_page.answer(req, {}, 404, "<script>'\"&")
    assert.truthy(page.body:find("&lt;script&gt;&#39;&quot;&amp;", 1, true), page.body)
  end)

  it("tells a fault in development only", function()
    local ok, fault = xpcall(function()
      error "broken here"
    end, frames.handler)
    assert.is_false(ok)
    for _, accept in ipairs { "text/html", "application/json", "text/plain" } do
      local headers = { { "Accept", accept } }
      assert.is_nil(answer(headers, { mode = "production" }, fault).body:find("broken", 1, true))
      local body = answer(headers, { mode = "development" }, fault).body
      assert.truthy(body:find("broken here", 1, true), body)
    end
  end)
end)

describe("a frame", function()
  it("has variables as text, with secrets and depth masked", function()
    local api_key, deep = "k", { { { {} } } }
    local _, fault = xpcall(function()
      local password, text, own = "p", "a\nb", { token = "t", [1] = true }
      error(tostring(api_key) .. tostring(deep) .. password .. text .. tostring(own))
    end, frames.handler)
    local list, seen = fault.frames, {}
    for _, variable in ipairs(list[1].locals) do seen[variable.name] = variable.text end
    for _, variable in ipairs(list[1].upvalues) do seen[variable.name] = variable.text end
    assert.equal(frames.MASK, seen.password)
    assert.equal(frames.MASK, seen.api_key)
    assert.equal('"a\\nb"', seen.text)
    assert.truthy(seen.own:find("token = " .. frames.MASK, 1, true), seen.own)
    assert.equal("{ [1] = { [1] = {…} } }", seen.deep)
    assert.truthy(#list[1].source > 0)
  end)

  it("knows what is a secret by its name", function()
    for _, name in ipairs { "Authorization", "X-Api-Key", "apikey", "api_key", "userPassword",
      "Set-Cookie" } do
      assert.is_true(frames.is_secret(name), name)
    end
    for _, name in ipairs { "author", "path", "key", "Accept" } do
      assert.is_false(frames.is_secret(name), name)
    end
  end)
end)
