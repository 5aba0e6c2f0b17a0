local bind = require "perigee.bind"
local phase = require "perigee.phase"
local uv = require "luv"

describe("an address", function()
  local normal = {
    ["127.0.0.1:80"] = "tcp:127.0.0.1:80", [":80"] = "tcp:0.0.0.0:80", ["80"] = "tcp:0.0.0.0:80",
    ["*:80"] = "tcp:0.0.0.0:80", ["[::1]:80"] = "tcp:[::1]:80", ["[0:0:0:0:0:0:0:1]:80"] = "tcp:[::1]:80",
    ["localhost:0"] = "tcp:127.0.0.1:0", ["unix:/run/x"] = "unix:0666:/run/x",
    ["unix:/run/x?mode=0660"] = "unix:0660:/run/x", ["unix:/run/x?mode=600"] = "unix:0600:/run/x",
    ["unix:x"] = "unix:0666:" .. uv.cwd() .. "/x", ["fd:3"] = "fd:3",
  }
  for written, expected in pairs(normal) do
    it(written .. " becomes " .. expected, function()
      assert.is_true(bind.check(written))
      assert.equal(expected, bind.resolve(written, "flag --bind"))
    end)
  end

  for _, written in ipairs { "", "x", "host:", "host:99999", "::1:80", "unix:", "unix:/x?mode=9", "fd:",
    "fd:a b", "http://x:80", "a/b:80" } do
    it(("is not %q"):format(written), function()
      local ok, allowed = bind.check(written)
      assert.is_nil(ok)
      assert.truthy(allowed:find("host:port", 1, true))
    end)
  end

  it("is refused when it is no IP address, or too long, or given twice", function()
    local function error_of(list)
      local ok, text = pcall(bind.resolve_all, list, "flag --bind")
      assert.is_false(ok)
      return text
    end
    assert.truthy(error_of({ "300.1.1.1:80" }):find("is no IP address", 1, true))
    assert.truthy(error_of({ "unix:/" .. ("x"):rep(107) }):find("a unix socket's may have 107", 1, true))
    assert.truthy(error_of({ ":80", "0.0.0.0:80" }):find("are the same address", 1, true))
  end)

  it("by the name of a socket becomes its number, or all of them", function()
    bind.passed = { web = { 3, 5 }, admin = { 4 } }
    assert.same({ "fd:3", "fd:5", "fd:4" }, (bind.resolve_all({ "fd:web", "fd:admin" }, "flag --bind")))
    local ok, text = pcall(bind.resolve_all, { "fd:wbe" }, "flag --bind")
    assert.is_false(ok)
    assert.truthy(text:find("LISTEN_FDNAMES; there are admin, web", 1, true), text)
    bind.passed = {}
    phase.current = "check" -- where none can have been passed
    assert.same({ "fd:web" }, (bind.resolve_all({ "fd:web" }, "flag --bind")))
    phase.current = "none"
  end)
end)
