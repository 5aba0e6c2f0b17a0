-- What shared objects hold over a hundred reloads under load: contents of every kind, and metrics, which
-- never go back. RELOADS (100): how many.
local cjson = require "cjson"
local host = require "spec.support.host"
local load = require "spec.support.load"

local RELOADS = tonumber(os.getenv "RELOADS") or 100
local CLIENTS, ROUND = 4, 10 -- of each sort; seconds of one load

local app = [[
local perigee = require "perigee"
local ffi = require "ffi"
ffi.cdef "int getpid(void);"
local app = perigee.app "kept"
local shared = perigee.shared
local o, once

app:main_process_start(function()
  o = {
    long = shared.value("long", "int64", { initial = 9007199254740993LL }),
    double = shared.value("double", "double", { initial = 0.1 }),
    bool = shared.value("bool", "bool"),
    array = shared.array("array", "int32", 1000),
    dict = shared.dict("dict", { size = "1 MiB" }),
    queue = shared.queue("queue", { capacity = 10 }),
    pipe = shared.pipe("pipe", { size = 100 }),
    lock = shared.lock "lock", semaphore = shared.semaphore("semaphore", 3), event = shared.event "event",
    barrier = shared.barrier("barrier", 2),
    limiter = shared.rate_limiter("limiter", { rate = 1, per = 86400, burst = 10 }),
    gauge = shared.gauge("kept_gauge", { labels = { "room" } }),
    kept = shared.counter "kept_total",
    -- what the load changes
    hits = shared.value("hits", "int64"), counter = shared.counter("hits_total", { labels = { "by" } }),
    times = shared.histogram("times", { buckets = { 1, 2 } }),
    ring = shared.queue("ring", { encoding = "bytes" }), cells = shared.array("cells", "int64", 4),
  }
  once = shared.once("once", function() return { pid = ffi.C.getpid() } end)
  if o.bool:get() then return end
  o.bool:set(true)
  for i = 1, 1000 do o.array:set(i, i * 7) end
  o.dict:set("text", ("text"):rep(1000))
  o.dict:set("number", 1.5)
  o.dict:set("table", { list = { 1, 2 }, deep = { yes = true } })
  for i = 1, 50 do o.dict:push("list", "element " .. i) end
  o.dict:set("later", "gone in a day", 86400)
  for i = 1, 7 do o.queue:try_put { number = i } end
  assert(o.pipe:write "bytes")
  o.event:set()
  for _ = 1, 4 do o.limiter:take "key" end
  o.gauge:set(42, { room = "hall" })
  o.kept:add(17)
  for i = 1, 5 do o.ring:try_put("token " .. i) end
end)

app:main_process_ready(function()
  if o.lock:stat().taken == 0 then
    o.lock:acquire()
    o.lock:release()
  end
end)

app:get("/", function()
  o.hits:add(1)
  o.counter:add(1, { by = "load" })
  o.times:observe(1.5)
  o.cells:add(1, 1)
  o.dict:incr "hits"
  local token, receipt = o.ring:get_ack(5)
  assert(o.ring:put(token))
  assert(receipt:ack())
  o.lock:with(function() o.cells:set(2, o.cells:get(2) + 1) end)
  o.semaphore:with(function() o.cells:add(3, 1) end)
  return "VERSION " .. ffi.C.getpid() .. "\n"
end)

app:get("/kept", function()
  local array, dict, sum = o.array:read(), o.dict, 0
  for i = 1, 1000 do sum = sum + array[i] end
  return {
    long = tostring(o.long:get()), double = o.double:get(), bool = o.bool:get(), sum = sum,
    last = array[1000], text = dict:get "text", number = dict:get "number", table = dict:get "table",
    list = dict:list "list",
    later = dict:get "later", queue = o.queue:stat().size, event = o.event:is_set(),
    left = math.floor(o.limiter:peek "key"),
    gauge = o.gauge:get { room = "hall" }, kept = o.kept:get(), once = once(),
    permits = o.semaphore:stat().permits, pipe = { o.pipe:stat().used_bytes, o.pipe:stat().written },
  }
end)

app:get("/counted", function()
  local text = perigee.metrics.text()
  return { hits = o.hits:get(), counter = o.counter:get { by = "load" }, cells = o.cells:get(1),
    incr = o.dict:get "hits" or 0, locked = o.cells:get(2), permitted = o.cells:get(3),
    times = tonumber(text:match "\ntimes_count (%d+)"),
    bucket = tonumber(text:match '\ntimes_bucket{le="2"} (%d+)'),
    taken = o.lock:stat().taken }
end)

app:get("/rest", function()
  local list, ring = {}, {}
  while o.queue:size() > 0 do list[#list + 1] = o.queue:get().number end
  while o.ring:size() > 0 do ring[#ring + 1] = o.ring:get() end
  table.sort(ring)
  return { queue = list, ring = ring, pipe = o.pipe:read(100, 1) }
end)
return app
]]

local function version(number) return (app:gsub("VERSION", "v" .. number)) end

local function ask(server, path) return cjson.decode(server:get(path).body) end

describe("shared objects under load", function()
  after_each(host.finish)

  it("keep contents and metrics over " .. RELOADS .. " reloads", function()
    local server = host.serve { app = version(1), binary = host.release_binary, flags = { "--workers", "2" } }
    local kept, before = ask(server, "/kept"), ask(server, "/counted")
    assert.equal("9007199254740993", kept.long:match "%d+")
    assert.equal(50, #kept.list)
    local counted, reloads, answers, rounds = before, 0, 0, 0
    while reloads < RELOADS do
      local run = load.start { target = server.target, keep_alive = CLIENTS, one_shot = CLIENTS,
        seconds = ROUND }
      rounds = rounds + 1
      while reloads < RELOADS and run:is_going(1) do
        reloads = reloads + 1
        server:reload(version(reloads + 1))
        server:expect(("generation %d serves on 2 workers"):format(reloads + 1), 20)
        assert.same(kept, ask(server, "/kept"))
        local now = ask(server, "/counted")
        for name, count in pairs(now) do
          assert.is_true(count >= counted[name], ("%s went from %s to %s"):format(name, counted[name], count))
        end
        counted = now
      end
      local result = run:result()
      assert.equal(0, result.failures, table.concat(result.examples, "\n"))
      answers = answers + result.ok
    end
    counted = ask(server, "/counted")
    for name, count in pairs(counted) do -- answers that no client waited for any more count as well
      local grown = count - before[name]
      assert.is_true(grown >= answers and grown <= answers + rounds * CLIENTS * 2,
        ("%s: %d for %d answers"):format(name, grown, answers))
    end
    assert.same({ queue = { 1, 2, 3, 4, 5, 6, 7 }, pipe = "bytes",
      ring = { "token 1", "token 2", "token 3", "token 4", "token 5" } }, ask(server, "/rest"))
    print(("    %d reloads, %d requests"):format(reloads, answers))
  end)
end)
