local strict = require "perigee.strict"

--- Runs code as if it were a file's, with guarded globals.
local function run(source, code)
  local globals = setmetatable({ rawset = rawset, present = 1 }, nil)
  globals._G = globals
  strict.install(globals, "/home/me/app/")
  local chunk = assert(loadstring(code, source))
  return pcall(setfenv(chunk, globals)), globals
end

local function error_of(source, code)
  local chunk = assert(loadstring(code, source))
  local globals = { rawset = rawset, present = 1 }
  globals._G = globals
  strict.install(globals, "/home/me/app/")
  local ok, text = pcall(setfenv(chunk, globals))
  return not ok and text or nil, globals
end

describe("strict globals", function()
  it("refuse to be made by app code, with file and line", function()
    local text = error_of("@app.lua", "local x = 1\nconut = x")
    assert.truthy(text:find("^app.lua:2: write to the undeclared global 'conut'"), text)
    text = error_of("@/home/me/app/lib/x.lua", "function helper() end")
    assert.truthy(text:find("lib/x.lua:1: write to the undeclared global 'helper'", 1, true), text)
  end)

  it("are guarded from the code of every app", function()
    local globals = {}
    strict.install(globals, "/srv/shop/")
    strict.install(globals, "/srv/admin/")
    local function may_write(path)
      local chunk = setfenv(assert(loadstring("leaked = 1", "@" .. path)), globals)
      return (pcall(chunk))
    end
    assert.is_false(may_write "/srv/shop/a.lua")
    assert.is_false(may_write "/srv/admin/b.lua")
    assert.is_true(may_write "/usr/lib/c.lua")
  end)

  it("refuse to be read by app code when there is none", function()
    assert.equal("app.lua:1: no such variable: 'prnt'", error_of("@app.lua", "prnt(1)"))
  end)

  it("can be changed when they exist, and made on purpose", function()
    local text, globals = error_of("@app.lua", "present = 2 rawset(_G, 'made', 3) made = made + 1")
    assert.is_nil(text)
    assert.equal(2, globals.present)
    assert.equal(4, globals.made)
  end)

  for _, source in ipairs { "@/usr/share/lua/5.1/x.lua", "@/home/me/app/lua_modules/share/lua/5.1/x.lua",
    "@/home/you/x.lua", "@perigee/app.lua", "=stdin", "a = 1" } do
    it("are free for " .. source, function()
      local text, globals = error_of(source, "made = 1 return missing")
      assert.is_nil(text)
      assert.equal(1, globals.made)
    end)
  end

  it("leave the real ones alone in this spec", function()
    assert.is_true((run("=x", "return present")))
  end)
end)
