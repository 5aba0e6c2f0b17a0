-- Shared dicts as an app uses them: in several workers, over reloads, and what they say when misused.
local cjson = require "cjson"
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local function app(setup, handler)
  return ([[
local perigee = require "perigee"
local app = perigee.app "dicts"
app:main_process_start(function(app) %s end)
app:get("/", function() return "up" end)
app:get("/run", function(req)
  local d = req.app.shared.d
  %s
end)
return app
]]):format(setup or [[app.shared.d = perigee.shared.dict("d", { size = "1 MiB" })]], handler)
end

describe("a shared dict", function()
  after_each(host.finish)

  local function answer(handler, setup, workers)
    local server = host.serve { app = app(setup, handler), flags = { "--workers", workers or "1" } }
    local response = server:get("/run")
    assert.equal(200, response.status, response.body)
    return response.body, server
  end

  it("holds values of all types, and gives back what was put in", function()
    local body = answer [[
      assert(d:set("s", "text\0more") and d:set("n", 1.5) and d:set("t", { a = { 1, 2 }, b = "x" }))
      assert(d:set("true", true) and d:set("false", false) and d:set("i", 9007199254740993LL))
      assert(d:get("s") == "text\0more" and d:get("n") == 1.5 and d:get("t").a[2] == 2)
      assert(d:get("true") == true and d:get("false") == false)
      assert(d:get("i") == 9007199254740993LL and type(d:get("i")) == "cdata")
      assert(d:get("nobody") == nil and select("#", d:get("nobody")) == 1)
      assert(d:size() == 6 and #d:keys() == 6 and #d:keys(2) == 2 and select(2, d:keys(2)) == true)
      assert(d:delete("s") == true and d:delete("s") == false)
      d:flush()
      assert(d:size() == 0 and d:stat().used == 0)
      return "fine"
    ]]
    assert.equal("fine", body)
  end)

  it("adds, replaces, counts, compares and updates", function()
    local body = answer [[
      assert(d:add("k", 1) == true and d:add("k", 2) == false and d:get("k") == 1)
      assert(d:replace("k", 2) == true and d:replace("other", 2) == false and d:get("other") == nil)
      assert(d:incr("k") == 3 and d:incr("k", -5) == -2 and d:incr("new", 2, 10) == 12)
      assert(d:incr("i", 1LL, 9007199254740992LL) == 9007199254740993LL)
      assert(d:incr("i", 1) == 9007199254740994LL)
      assert(d:cas("k", -2, "two") == true and d:get("k") == "two")
      local done, present = d:cas("k", "three", 3)
      assert(done == false and present == "two")
      assert(d:cas("fresh", nil, { x = { 1 } }) == true and d:cas("fresh", nil, 1) == false)
      assert(d:cas("fresh", { x = { 1 } }, nil) == true and d:get("fresh") == nil)
      local calls = 0
      assert(d:update("u", function(value)
        calls = calls + 1
        if calls == 1 then d:set("u", 41) end -- another one comes between
        return (value or 0) + 1
      end) == 42 and calls == 2 and d:get("u") == 42)
      assert(d:update("u", function() return nil end) == nil and d:get("u") == nil)
      return "fine"
    ]]
    assert.equal("fine", body)
  end)

  it("has times to live", function()
    local body = answer [[
      d:set("k", "v", 0.02)
      assert(d:ttl("k") <= 0.02 and d:ttl("nobody") == nil)
      d:set("ever", 1)
      assert(d:ttl("ever") == math.huge and d:expire("ever", 100) and d:ttl("ever") > 99)
      d:update("ever", function(n) return n + 1 end)
      assert(d:ttl("ever") > 99 and d:expire("ever") and d:ttl("ever") == math.huge)
      assert(not d:expire("nobody", 1))
      assert(d:incr("window", 1, 0, 0.02) == 1 and d:touch("window"))
      perigee.sleep(0.05)
      assert(d:get("k") == nil and not d:touch("k") and d:incr("window", 1, 0, 100) == 1)
      return "fine"
    ]]
    assert.equal("fine", body)
  end)

  it("has lists", function()
    local body = answer [[
      assert(d:push("l", 1) == 1 and d:push("l", "two") == 2 and d:push_front("l", { 0 }) == 3)
      assert(d:push("l", false) == 4 and d:push("l", 5LL) == 5 and d:length("l") == 5)
      local list = d:list("l")
      assert(#list == 5 and list[1][1] == 0 and list[2] == 1 and list[3] == "two" and list[4] == false)
      local value, problem, code = d:get("l")
      assert(value == nil and code == "WRONG_TYPE" and problem:find("wrong type", 1, true))
      assert(d:pop("l") == 5LL and d:pop("l") == false and d:pop_front("l")[1] == 0)
      assert(d:pop("l") == "two" and d:pop("l") == 1 and d:pop("l") == nil and d:length("l") == 0)
      d:set("s", "x")
      assert(select(3, d:push("s", 1)) == "WRONG_TYPE" and select(3, d:incr("s")) == "WRONG_TYPE")
      return "fine"
    ]]
    assert.equal("fine", body)
  end)

  it("is gone over, and can be stored as it was", function()
    local body = answer [[
      for i = 1, 500 do d:set("k" .. i, i, i % 2 == 0 and 1000 or nil) end
      d:set("t", { 1, { a = 2 } })
      for i = 1, 300 do d:push("l", { i }) end
      local entries, cursor, all = nil, nil, {}
      repeat
        entries, cursor = d:scan(cursor, 10)
        for _, entry in ipairs(entries) do all[#all + 1] = entry end
      until not cursor
      assert(#all == 502)
      d:flush()
      for _, entry in ipairs(all) do assert(d:restore(entry)) end
      local seen, sum = 0, 0
      for key, value, ttl in d:pairs() do
        seen = seen + 1
        if type(value) == "number" then
          sum = sum + value
          assert((ttl == math.huge) == (value % 2 == 1))
        end
      end
      assert(seen == 502 and sum == 125250 and d:get("t")[2].a == 2 and d:length("l") == 300)
      assert(d:pop("l")[1] == 300 and d:pop_front("l")[1] == 1)
      return "fine"
    ]]
    assert.equal("fine", body)
  end)

  it("says when it is full and when a value is too big, and makes room when it may", function()
    local body = answer([[
      local done, problem, code
      local i = 0
      repeat
        i = i + 1
        done, problem, code = d:set("k" .. i, ("x"):rep(1000))
      until not done
      assert(code == "FULL" and problem:find("shared dict 'd' is full", 1, true), problem)
      assert(d:stat().used / d:stat().size > 0.97 and d:get("k1") == ("x"):rep(1000))
      done, problem, code = d:set("k", ("x"):rep(300000))
      assert(done == nil and code == "TOO_BIG" and problem:find("too big", 1, true))
      local cache = perigee.shared.dict "cache"
      for n = 1, i * 3 do assert(cache:set("k" .. n, ("x"):rep(1000))) end
      assert(cache:stat().evicted > i and perigee.shared.dict "cache":get("k" .. i * 3))
      return "fine"
    ]], [[app.shared.d = perigee.shared.dict("d", { size = "256 KiB" })
      perigee.shared.dict("cache", { size = "256 KiB", eviction = "lru" })]])
    assert.equal("fine", body)
  end)

  it("is one for all workers, atomic, and outlives reloads and killed workers", function()
    local handler = [[
      local word = req.query.word
      if word == "version" then return "1" end
      if word == "pid" then return tostring(require("luv").os_getpid()) end
      if word == "get" then return { n = d:get "n" or 0, list = d:length "l" } end
      for _ = 1, 100 do
        d:update("n", function(n) return (n or 0) + 1 end)
        d:push("l", "x")
      end
      return "done"
    ]]
    local server = host.serve { app = app(nil, handler), flags = { "--workers", "3" } }
    for _ = 1, 30 do assert.equal("done", server:get("/run").body) end
    assert.same({ n = 3000, list = 3000 }, cjson.decode(server:get("/run?word=get").body))
    server:reload(app(nil, [[if req.query.word == "version" then return "2" end ]] .. handler))
    wait.till(10, "the new code", function() return server:get("/run?word=version").body == "2" end)
    assert.same({ n = 3000, list = 3000 }, cjson.decode(server:get("/run?word=get").body))
    local pid = tonumber(server:get("/run?word=pid").body)
    require("luv").kill(pid, "sigkill")
    server:allow "killed"
    wait.till(10, "another worker", function()
      return tonumber(server:get("/run?word=pid").body) ~= pid
    end)
    assert.equal("done", server:get("/run").body)
    assert.same({ n = 3100, list = 3100 }, cjson.decode(server:get("/run?word=get").body))
  end)

  local wrong = {
    ["d:set(7, 1)"] = "the key must be a string, not 7",
    ["d:set('', 1)"] = "a key has 1 to 4096 bytes, not 0",
    ["d:get(('k'):rep(5000))"] = "a key has 1 to 4096 bytes, not 5000",
    ["d:set('k', nil)"] = "the value is nil; delete removes a key",
    ["d:set('k', print)"] = "it takes strings, numbers, booleans and tables, not a function",
    ["d:set('k', { print })"] = "value[1]",
    ["d:set('k', 1, 0)"] = "a time to live is a number of seconds above 0, not 0",
    ["d:set('k', 1, 'x')"] = "a time to live is a number of seconds above 0, not x",
    ["d:incr('k', 'x')"] = "it takes numbers, or int64_t, not x",
    ["d:update('k', 1)"] = "must be a function",
    ["d:scan('x')"] = "a cursor is nil or what scan returned",
    ["perigee.shared.dict('e')"] = 'there is no shared object "e": make it in main_process_start',
    ["perigee.shared.dict('d', { sise = 1 })"] = "unknown option 'sise'; did you mean 'size'?",
    ["perigee.shared.dict('d', { size = 'x' })"] = "size must be a size",
    ["perigee.shared.dict('d', { size = 10 })"] = "size must be a size",
    ["perigee.shared.dict('d', { eviction = 'lro' })"] = "eviction must be one of none, lru, not lro; did",
  }

  it("raises at the caller's place for what is the caller's fault", function()
    local server = host.serve { app = app(nil, [[
      local ok, problem = pcall(loadstring("local d, perigee = ... " .. req.query.code, "=there"), d, perigee)
      return tostring(problem)
    ]]), flags = { "--workers", "1" } }
    for code, text in pairs(wrong) do
      local quoted = code:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)
      local body = server:get("/run?code=" .. quoted).body
      assert.matches(text, body, 1, true)
      assert.matches("there:1:", body, 1, true)
    end
  end)

  it("of another size is refused at the start, saying both", function()
    local run = host.run({ "serve", "@DIR@/app.lua", "--bind", "127.0.0.1:0" }, { app = app([[
      perigee.shared.dict("d", { size = "1 MiB" })
      perigee.shared.dict("d", { size = "2 MiB" })]], "") })
    assert.is_true(run.status ~= 0)
    assert.matches("1048576 bytes.*2097152 bytes", run:text())
  end)

  it("works in a check", function()
    assert.equal(0, host.run({ "check", "@DIR@/app.lua" }, { app = app(nil, "") }).status)
  end)
end)
