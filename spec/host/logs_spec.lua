-- What the children print: whole lines, each under the name the manager knows it by.

local host = require "spec.support.host"
local wait = require "spec.support.wait"

local stamp = "^%d%d%d%d%-%d%d%-%d%d %d%d:%d%d:%d%d%.%d%d%d "

describe("logs", function()
  after_each(host.finish)

  it("carry time, role, slot and generation from the manager's own records", function()
    local server = host.serve { app = [[
local app = require "perigee".app "talking"
app:get("/", function()
  print "from print"
  io.stderr:write("from stderr\n")
  io.stderr:write("2020-01-01 00:00:00.000 worker 7 gen 9 | a lie\n")
  return "hello\n"
end)
return app
]], flags = { "--workers", "1" } }
    server:get "/"
    assert.truthy(server:expect("from print"):find(stamp .. "worker 0 gen 1 | from print$"))
    assert.truthy(server:expect("from stderr"):find(stamp .. "worker 0 gen 1 | from stderr$"))
    assert.truthy(server:expect("a lie"):find(stamp .. "worker 0 gen 1 | 2020%-01%-01 .*a lie$"))
  end)

  it("are whole lines, however many write at once and however long", function()
    local server = host.serve { app = [[
local perigee = require "perigee"
local app = perigee.app "loud"
local ffi = require "ffi"
ffi.cdef "int getpid(void); long write(int, const void *, unsigned long);"
local function write(text) assert(ffi.C.write(2, text, #text) == #text) end
app:get("/many", function()
  for i = 1, 500 do write(("many %d %d %s\n"):format(ffi.C.getpid(), i, ("m"):rep(100))) end
  return "done\n"
end)
app:get("/long", function()
  write("long " .. ("x"):rep(60 * 1024) .. " end\n")
  return "done\n"
end)
app:get("/pieces", function()
  write "begin " perigee.sleep(0.05) write "middle " perigee.sleep(0.05) write "end\n"
  return "done\n"
end)
app:get("/", function() return "v1 " .. ffi.C.getpid() .. "\n" end)
return app
]], flags = { "--workers", "2" } }
    server:wait_version("v1", 2)
    for _ = 1, 10 do
      for _, path in ipairs { "/many", "/long", "/pieces" } do
        assert.equal(200, server:get(path).status)
      end
    end
    wait.till(10, "all lines", function() return #server:matching "| many " == 5000 end)
    wait.till(10, "the long lines", function() return #server:matching " end$" >= 20 end)
    for _, line in ipairs(server:matching " many ") do
      assert.truthy(line:find(stamp .. "worker %d gen 1 | many %d+ %d+ m+$"), line)
    end
    for _, line in ipairs(server:matching "long x") do
      assert.truthy(line:find(stamp .. "worker %d gen 1 | long x+ end$"), line:sub(1, 200))
      assert.is_true(#line > 60 * 1024)
    end
    assert.equal(10, #server:matching "| begin middle end$")
  end)

  it("cut a line that never ends, and lose nothing of it", function()
    local server = host.serve { app = [[
local app = require "perigee".app "endless"
local ffi = require "ffi"
ffi.cdef "long write(int, const void *, unsigned long);"
app:get("/cut", function()
  for _ = 1, 8 do
    local text = ("y"):rep(64 * 1024)
    local at = 0
    while at < #text do
      local n = tonumber(ffi.C.write(2, text:sub(at + 1), #text - at))
      if n > 0 then at = at + n end
    end
  end
  io.stderr:write "\n"
  return "done\n"
end)
return app
]], flags = { "--workers", "1" } }
    assert.equal(200, server:get("/cut").status)
    local count
    wait.till(10, function() return "half a megabyte; there are " .. count .. " bytes" end, function()
      count = 0
      for _, line in ipairs(server:matching "| y") do count = count + #line:match "| (y+)$" end
      return count == 2 ^ 19
    end)
  end)

  it("never block a worker, even when nobody reads them", function()
    local server = host.serve { app = [[
local app = require "perigee".app "flooding"
app:get("/", function() for _ = 1, 200 do print(("z"):rep(1000)) end return "hello\n" end)
return app
]], flags = { "--workers", "1" }, deaf = true }
    local began = wait.now()
    for _ = 1, 20 do assert.equal("hello\n", server:get("/").body) end
    assert.is_true(wait.now() - began < 5, "the worker waited for a reader")
    server.hear()
    server:expect "zzz"
  end)

  it("go to --log-file, which SIGUSR1 opens anew", function()
    local server = host.serve { app = [[
local app = require "perigee".app "rotating"
app:get("/<word>", function(_, word) print("said " .. word) return word end)
return app
]], flags = { "--workers", "1", "--log-file", "perigee.log" } }
    local path = server.dir .. "/perigee.log"
    local function said(file, word)
      return ((host.read_file(file) or ""):find("| said " .. word, 1, true)) ~= nil
    end
    server:get "/one"
    wait.till(5, "the first word", function() return said(path, "one") end)
    assert(os.rename(path, path .. ".1"))
    server:get "/two"
    wait.till(5, "the second word in the renamed file", function() return said(path .. ".1", "two") end)
    server:signal "sigusr1"
    wait.till(5, "a new file", function() return host.read_file(path) ~= nil end)
    server:get "/three"
    wait.till(5, "the third word", function() return said(path, "three") end)
    assert.is_false(said(path .. ".1", "three"))
  end)
end)
