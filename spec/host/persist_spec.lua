-- Shared objects that are kept in files: over a stop, over kill -9, and what is done with a broken file.

local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local source = [[
local perigee = require "perigee"
local app = perigee.app "persist"
local keep = os.getenv "KEEP"

app:main_process_start(function(app)
  local shared = app.shared
  shared.total = perigee.shared.value("total", "int64", { persist = keep .. "/total" })
  shared.load = perigee.shared.value("load", "double", { persist = keep .. "/load", initial = 0.5 })
  shared.flag = perigee.shared.value("flag", "bool", { persist = keep .. "/flag" })
  shared.array = perigee.shared.array("array", LENGTH, 2000, { persist = keep .. "/array" })
  shared.dict = perigee.shared.dict("dict", { size = "1 MiB", persist = keep .. "/dict" })
  shared.other = perigee.shared.value("other", "int64")
  shared.lock = perigee.shared.lock("lock")
  shared.pool = perigee.shared.semaphore("pool", 3)
  shared.event = perigee.shared.event("event")
  shared.barrier = perigee.shared.barrier("barrier", 2)
  shared.once = perigee.shared.once("once", function() return 1 end)
  shared.hits = perigee.shared.counter("hits", { labels = { "route" } })
end)

app:get("/", function() return "hello\n" end)
app:get("/fill", function()
  local shared, dict = app.shared, app.shared.dict
  shared.total:set(9007199254740993LL)
  shared.load:set(-0.25)
  shared.flag:set(true)
  shared.other:set(7)
  for i = 1, 2000 do shared.array:set(i, i % 256) end
  dict:set("text\0\255", "bytes\0\254\n")
  dict:set("number", 0.1)
  dict:set("large", 9007199254740993LL)
  dict:set("table", { a = { 1, 2 }, b = "c" })
  dict:set("true", true)
  dict:set("soon", "gone", 0.001)
  dict:set("later", "there", 1000)
  for _, value in ipairs { "x", "", 3 } do dict:push("list", value) end
  for i = 1, 500 do dict:set("key " .. i, ("v"):rep(i)) end
  return "filled"
end)
app:get("/add", function()
  app.shared.total:add(1)
  return tostring(app.shared.total:get())
end)
app:get("/show", function()
  local shared, dict = app.shared, app.shared.dict
  local sum, long = 0, 0
  for i = 1, 2000 do sum = sum + shared.array:get(i) * i end
  for i = 1, 500 do long = long + #(dict:get("key " .. i) or "") end
  local found = dict:get "table" or { a = {} }
  local list = dict:list "list" or {}
  local ttl = dict:ttl "later"
  local words = { shared.total:get(), shared.load:get(), shared.flag:get(), sum, shared.other:get(), long,
    dict:get "text\0\255" == "bytes\0\254\n", dict:get "number", dict:get "large", found.a[2], found.b,
    dict:get "true", dict:get "soon", ttl and ttl > 900 and ttl <= 1000, #list, list[1], list[2], list[3] }
  for i = 1, 18 do words[i] = tostring(words[i]) end
  return table.concat(words, " ", 1, 18)
end)
app:get("/stat", function()
  local stat = perigee.shared.stat()
  stat.by = {}
  for _, object in ipairs(stat.objects) do stat.by[object.name] = object end
  return stat
end)
return app
]]

local filled = "9007199254740993LL -0.25 true 256362616 %s 125250 true 0.1 9007199254740993LL 2 c true nil "
  .. "true 3 x  3"
local fresh = "0 0.5 false 0 0 0 false nil nil nil nil nil nil nil 0 nil nil nil"

local keep

local function serve(interval, kind)
  return host.serve { app = (source:gsub("LENGTH", '"' .. (kind or "uint8") .. '"')), env = { KEEP = keep },
    flags = { "--workers", "2", "--persist-interval", tostring(interval or 1000) } }
end

local function start(kind)
  return host.run({ "serve", "app.lua", "--bind", "unix:@DIR@/s", "--workers", "1" },
    { app = (source:gsub("LENGTH", '"' .. (kind or "uint8") .. '"')), env = { KEEP = keep } })
end

local function names()
  local list, scan = {}, uv.fs_scandir(keep)
  for name in function() return (uv.fs_scandir_next(scan)) end do list[#list + 1] = name end
  table.sort(list)
  return table.concat(list, " ")
end

describe("shared objects that are kept", function()
  before_each(function() keep = assert(uv.fs_mkdtemp "/tmp/perigee-keep-XXXXXX") end)

  after_each(function()
    local scan = uv.fs_scandir(keep)
    for name in function() return (uv.fs_scandir_next(scan)) end do uv.fs_unlink(keep .. "/" .. name) end
    uv.fs_rmdir(keep)
    host.finish()
  end)

  it("are there again after a stop, others are not", function()
    local server = serve()
    assert.equal(fresh, server:get("/show").body)
    server:get "/fill"
    assert.equal(filled:format "7", server:get("/show").body)
    assert.equal(0, server:stop())
    assert.equal("array dict flag load total", names())
    server = serve()
    assert.equal(filled:format "0", server:get("/show").body)
  end)

  it("are as the last snapshot says when the manager was killed", function()
    local server = serve(0.05)
    server:get "/fill"
    local began = uv.fs_stat(keep .. "/total")
    wait.till(10, "two snapshots", function()
      local now, last = uv.fs_stat(keep .. "/total"), uv.fs_stat(keep .. "/array")
      if not now or not last then return false end
      began = began or now
      return now.ino ~= began.ino and last.ino ~= now.ino
    end)
    -- the one that is under way may have begun before; the next has all of it
    local inode = uv.fs_stat(keep .. "/dict").ino
    wait.till(10, "one more", function()
      local now = uv.fs_stat(keep .. "/dict")
      return now and now.ino ~= inode
    end)
    server:signal "sigkill"
    assert.equal(137, server:wait_exit())
    server:wait_processes(0)
    server = serve()
    assert.equal(filled:format "0", server:get("/show").body)
  end)

  it("are not restored over what is there: a reload keeps what is newer", function()
    local server = serve(1000)
    server:get "/fill"
    assert.equal(0, server:stop())
    server = serve(1000)
    assert.equal("9007199254740994LL", server:get("/add").body)
    server:reload((source:gsub("LENGTH", '"uint8"')))
    server:expect "generation 2 serves"
    assert.equal("9007199254740995LL", server:get("/add").body)
    assert.equal(0, server:stop())
    server = serve(1000)
    assert.equal("9007199254740996LL", server:get("/add").body)
  end)

  it("say when a file is broken, and keep it", function()
    local server = serve()
    server:get "/fill"
    assert.equal(0, server:stop())
    for name, break_it in pairs {
      dict = function(text) return text:sub(1, #text - 100) end,
      array = function(text) return text:sub(1, 1000) .. "!" .. text:sub(1002) end,
      flag = function() return "nonsense" end,
    } do
      local path = keep .. "/" .. name
      local whole = host.read_file(path)
      host.write_file(path, break_it(whole))
      local ended = start()
      assert.equal(1, ended.status)
      local said = ended:text()
      assert.truthy(said:find(path .. ": the snapshot of the shared ", 1, true), said)
      local aside = said:match("It is kept as (" .. path:gsub("%p", "%%%0") .. ".broken%-%d+)")
      assert.equal(break_it(whole), host.read_file(aside))
      assert.is_nil(host.read_file(path))
      host.write_file(path, whole)
      uv.fs_unlink(aside)
    end
    server = serve()
    assert.equal(filled:format "0", server:get("/show").body)
  end)

  it("are refused where their file is another's, or can have no place", function()
    local server = serve()
    assert.equal(0, server:stop())
    local ended = start "int64"
    assert.equal(1, ended.status)
    assert.truthy(ended:text():find("this is the snapshot of the array 'array' of 2000 uint8, and not of a "
      .. "array of 2000 int64", 1, true), ended:text())
    assert.equal("array dict flag load total", names())
    for option, message in pairs {
      ['"/nowhere/at/all"'] = "persist: there is no folder /nowhere/at/",
      ["7"] = "persist must be the path of a file",
    } do
      local other = host.run({ "serve", "app.lua", "--bind", "unix:@DIR@/s" }, { app = ([[
        local app = require "perigee".app "other"
        app:main_process_start(function() require "perigee".shared.value("v", "int64", { persist = %s }) end)
        return app]]):format(option) })
      assert.equal(1, other.status)
      assert.truthy(other:text():find(message, 1, true), other:text())
    end
  end)

  it("are told of, with all others, by perigee.shared.stat", function()
    local server = serve()
    server:get "/fill"
    local json = require "perigee.json"
    local stat = json.decode(server:get("/stat").body)
    assert.equal(stat.size, stat.used + stat.free)
    local by = stat.by
    assert.equal("uint8", by.array.shape:match "%a+%d")
    assert.same({ length = 2000 }, by.array.figures)
    assert.equal(2064, by.array.size)
    assert.same({ value = 7 }, by.other.figures)
    assert.same({ held = 0, taken = 0, abandoned = 0, waiters = 0 }, by.lock.figures)
    assert.same({ permits = 3, available = 3, revived = 0, waiters = 0 }, by.pool.figures)
    assert.same({ set = 0, times = 0, waiters = 0 }, by.event.figures)
    assert.same({ parties = 2, waiting = 0, passed = 0 }, by.barrier.figures)
    assert.same({ done = 0, waiters = 0 }, by.once.figures)
    assert.same({ series = 0, limit = 256, overflows = 0 }, by.hits.figures)
    assert.is_true(by.dict.figures.entries >= 500 and by.dict.figures.used > 0)
    assert.equal("counter", by.hits.kind)
    assert.is_true(by["perigee.every.perigee.persist"].own)
  end)
end)
