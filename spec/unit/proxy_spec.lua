local abi = require "spec.support.abi"
local proxy = require "perigee.proxy"
local request = require "perigee.request"

-- What a request from `ip` with these headers says: ip, scheme and host of the client.
local function seen(ip, headers)
  local list = { { "Host", "own" } }
  for name, value in pairs(headers) do list[#list + 1] = { name, value } end
  local pointer = abi.request { ip = ip, headers = list }
  local req = request.new(pointer, tonumber(pointer.serial))
  assert.equal(ip, req.peer_ip)
  return { req.ip, req.scheme, req.host }
end

describe("trusted_proxies", function()
  before_each(function()
    proxy.configure { "10.0.0.0/8", "192.168.1.1", "fd00::/12", "unix:" }
  end)
  after_each(function() proxy.configure(nil) end)

  it("takes addresses and networks", function()
    for _, good in ipairs { "10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "fd00::/8", "unix:" } do
      assert.is_true(proxy.check(good), good)
    end
    for _, bad in ipairs { "", "10.0.0", "10.0.0.0/33", "::/129", "localhost", "10.0.0.1:80", 10 } do
      assert.is_false((proxy.check(bad)), tostring(bad))
    end
  end)

  it("matches them by the bit", function()
    proxy.configure { "10.1.2.0/23", "fd80::/9" }
    for ip, expected in pairs { ["10.1.2.0"] = true, ["10.1.3.255"] = true, ["10.1.4.0"] = false,
      ["10.1.1.255"] = false, ["::ffff:10.1.2.9"] = true, ["fdff::1"] = true, ["fd7f::1"] = false,
      ["unix:"] = false, [""] = false } do
      assert.equal(expected, proxy.is_trusted(ip), ip)
    end
  end)

  it("believes nobody else", function()
    local headers = { ["X-Forwarded-For"] = "1.2.3.4", ["X-Forwarded-Proto"] = "https",
      ["X-Forwarded-Host"] = "shop" }
    assert.same({ "9.9.9.9", "http", "own" }, seen("9.9.9.9", headers))
    assert.same({ "1.2.3.4", "https", "shop" }, seen("10.0.0.1", headers))
    assert.same({ "1.2.3.4", "https", "shop" }, seen("unix:", headers))
    assert.same({ "1.2.3.4", "https", "shop" }, seen("fd0f::1", headers))
    proxy.configure { "10.0.0.0/8" }
    assert.same({ "unix:", "http", "own" }, seen("unix:", headers))
  end)

  it("walks X-Forwarded-For from the right", function()
    local function ip(list) return seen("10.0.0.1", { ["X-Forwarded-For"] = list })[1] end
    assert.equal("1.2.3.4", ip "6.6.6.6, 1.2.3.4")
    assert.equal("1.2.3.4", ip "6.6.6.6, 1.2.3.4, 10.0.0.2,192.168.1.1")
    assert.equal("10.0.0.9", ip "10.0.0.9")
    assert.equal("10.0.0.2", ip "6.6.6.6, nonsense, 10.0.0.2")
    assert.equal("10.0.0.1", ip "")
    assert.equal("1.2.3.4", ip "1.2.3.4:5678")
    assert.equal("2001:db8::1", ip "[2001:db8::1]:443")
    assert.equal("2001:db8::1", ip "2001:db8::1")
  end)

  it("takes the scheme and host of the hop it takes the address of", function()
    assert.same({ "1.2.3.4", "https", "b" }, seen("10.0.0.1", { ["X-Forwarded-For"] = "6.6.6.6, 1.2.3.4",
      ["X-Forwarded-Proto"] = "http, https", ["X-Forwarded-Host"] = "a, b" }))
    assert.same({ "1.2.3.4", "https", "own" }, seen("10.0.0.1", { ["X-Forwarded-For"] = "1.2.3.4, 10.0.0.2",
      ["X-Forwarded-Proto"] = "https" }))
    assert.same({ "10.0.0.1", "https", "own" }, seen("10.0.0.1", { ["X-Forwarded-Proto"] = "HTTPS" }))
    assert.same({ "10.0.0.1", "http", "own" }, seen("10.0.0.1", { ["X-Forwarded-Proto"] = "javascript",
      ["X-Forwarded-Host"] = "a/b" }))
  end)

  it("reads Forwarded", function()
    local function of(text) return seen("10.0.0.1", { Forwarded = text }) end
    assert.same({ "1.2.3.4", "https", "shop:80" },
      of 'for=6.6.6.6;proto=http, For=1.2.3.4;Proto=https;HOST="shop:80"')
    assert.same({ "2001:db8::1", "http", "own" }, of 'for="[2001:db8::1]:4711"')
    assert.same({ "1.2.3.4", "http", "own" }, of 'for=1.2.3.4;by=10.0.0.1,for=10.0.0.3 ; by=x')
    assert.same({ "10.0.0.3", "http", "own" }, of "for=unknown, for=10.0.0.3")
    assert.same({ "10.0.0.1", "http", "own" }, of "for=_hidden")
    for _, malformed in ipairs { 'for="1.2.3.4', "for=1.2.3.4;for=5.6.7.8", "for", "for=1.2.3.4 x", ";=" } do
      assert.same({ "10.0.0.1", "http", "own" }, of(malformed), malformed)
    end
  end)

  it("believes of both headers what they agree on", function()
    assert.same({ "1.2.3.4", "https", "own" }, seen("10.0.0.1", {
      Forwarded = "for=1.2.3.4;proto=https;host=evil",
      ["X-Forwarded-For"] = "1.2.3.4", ["X-Forwarded-Proto"] = "https" }))
    assert.same({ "10.0.0.1", "http", "own" }, seen("10.0.0.1", { Forwarded = "for=6.6.6.6;proto=https",
      ["X-Forwarded-For"] = "1.2.3.4" }))
  end)
end)
