-- The hot path stays compiled: what LuaJIT says while a handler serves (-jv). JSON is not among the
-- paths: its encoder is a C function, at which every trace ends.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"

local app = [[
local perigee = require "perigee"
local app = perigee.app "hot"
app:main_process_start(function(app)
  app.shared.total = perigee.shared.value("total", "int64")
  app.shared.counts = perigee.shared.array("counts", "double", 10)
  app.shared.hits = perigee.shared.counter("hits", { labels = { "route", "status" } })
  app.shared.time = perigee.shared.histogram("time")
end)
app:get("/cells", function()
  local total, counts = app.shared.total, app.shared.counts
  local number = total:add(1)
  app.shared.hits:add(1, { route = "/cells", status = 200 })
  app.shared.time:observe(0.25)
  if total:cas(-1, 0) or counts:max(2, 1.5) > 2 then return "never" end
  return counts:add(number % 10 + 1, 0.5) > 0 and "more\n" or "less\n"
end)
app:get("/", function() return "hello\n" end)
app:get("/users/<id:int>", function(_, id) return id > 5 and "big\n" or "small\n" end)
app:static("/files", ".")
app:main_process_start(function()
  local shared = require "perigee".shared
  app.shared.dict = shared.dict("d", { eviction = "lru" })
  app.shared.limiter = shared.rate_limiter("l", { rate = 1e9 })
end)
app:get("/dict", function()
  local dict = app.shared.dict
  dict:set("text", "moon", 60)
  dict:incr("count")
  if not app.shared.limiter:take("client") then return "slow down" end
  return dict:get("count") > 0 and dict:get("text")
end)
app:get("/header", function(req) return req.headers["x-word"] end)
app:get("/query", function(req) return req.query.word end)
app:post("/body", function(req) return req.body end)
return app
]]

-- The same, beside another app.
local beside = app:gsub("return app\n$", "return app, perigee.app('other', { bind = '127.0.0.1:0' })\n")

local function ask(server, path, count)
  local connection = client.connect(server.target)
  local method, body = "GET", "\r\n"
  if path == "/body" then method, body = "POST", "Content-Length: 4\r\n\r\nbody" end
  local head = method .. " " .. path .. " HTTP/1.1\r\nHost: localhost\r\nX-Word: moon\r\n"
  local batch = (head .. body):rep(100)
  for _ = 1, count / 100 do
    connection:send(batch)
    for _ = 1, 100 do assert.equal(200, assert(connection:response()).status) end
  end
  connection:close()
end

describe("the hot path", function()
  after_each(host.finish)

  local function compiles(what, path, source)
    it("compiles for " .. what, function()
      local server = host.serve { app = source, flags = { "--workers", "1" }, binary = host.release_binary,
        env = { PERIGEE_JIT_LOG = "@DIR@/jit" } }
      ask(server, path, 20000)
      assert.equal(0, server:stop())

      local text
      local scan = uv.fs_scandir(server.dir)
      for name in function() return (uv.fs_scandir_next(scan)) end do
        if name:find "^jit%." then text = host.read_file(server.dir .. "/" .. name) end
      end
      assert.truthy(text, "no worker wrote what its compiler did")
      -- A recording that begins in the middle may fall out of its first function ("return to lower
      -- frame"); it is tried again from elsewhere. Anything else would fail each time. What starts a
      -- listener (entry.lua) is no part of the path, but may be counted as hot with it.
      local compiled, bad = 0, {}
      for line in text:gmatch "[^\n]+" do
        if line:find "^%[TRACE +%d+" then compiled = compiled + 1 end
        local abort = line:find("NYI", 1, true) and not line:find("return to lower frame", 1, true)
          and not line:find("^%[TRACE %-%-%- entry%.lua")
        if abort or line:find("blacklisted", 1, true) then bad[#bad + 1] = line end
      end
      assert.is_true(compiled > 0, "nothing was compiled:\n" .. text)
      assert.same({}, bad)
    end)
  end

  for _, path in ipairs { "/", "/users/42", "/header", "/query?word=moon&a=b", "/body", "/files/app.lua",
      "/cells", "/dict" } do
    compiles(path, path, app)
  end
  compiles("one of several apps", "/users/42", beside)
end)
