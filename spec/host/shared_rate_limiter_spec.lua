-- Rate limiters as an app uses them.
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local function app(options, handler)
  return ([[
local perigee = require "perigee"
local app = perigee.app "limits"
app:main_process_start(function(app) app.shared.limiter = perigee.shared.rate_limiter("l", %s) end)
app:get("/", function() return "up" end)
app:get("/run", function(req)
  local limiter = req.app.shared.limiter
  %s
end)
return app
]]):format(options, handler)
end

describe("a rate limiter", function()
  after_each(host.finish)

  it("counts for all workers, and over a reload, which may change the rate", function()
    local handler = [[
      local ok, number = limiter:take "k"
      return ("%s %d"):format(tostring(ok), number) ]]
    local server = host.serve { app = app("{ rate = 1, per = 100, burst = 10 }", handler),
      flags = { "--workers", "3" } }
    for left = 9, 0, -1 do assert.equal("true " .. left, server:get("/run").body) end
    assert.matches("^false %d%d", server:get("/run").body)
    server:reload(app("{ rate = 1, per = 100, burst = 12 }", handler))
    wait.till(10, "two tokens more", function() return server:get("/run").body == "true 1" end)
    assert.equal("true 0", server:get("/run").body)
    assert.matches("^false", server:get("/run").body)
  end)

  it("can be looked at, reset and opened by name, and costs what it is told", function()
    local server = host.serve { app = app("{ rate = 1, per = 1000, burst = 5, keys = 100 }", [[
      local same = perigee.shared.rate_limiter "l"
      assert(same:take("k", 3) and limiter:peek "k" == 2)
      local left, full = limiter:peek "k"
      assert(left == 2 and full > 2990 and full <= 3000)
      local ok, retry = limiter:take("k", 4)
      assert(ok == false and retry > 1990 and retry <= 2000)
      limiter:reset "k"
      assert(limiter:take("k", 5) and limiter:stat().keys == 1 and perigee.shared.is_object(limiter))
      return "fine"
    ]]), flags = { "--workers", "1" } }
    assert.equal("fine", server:get("/run").body)
  end)

  local wrong = {
    ["l:take(7)"] = "the key must be a string, not 7",
    ["l:take('k', 0)"] = "a cost must be above 0 and at most its burst of 5, not 0",
    ["l:take('k', 6)"] = "at most its burst of 5, not 6",
    ["make('x', { rate = 0 })"] = "rate must be a number above 0, not 0",
    ["make('x', { rat = 1 })"] = "unknown option 'rat'; did you mean 'rate'?",
    ["make('x', { rate = 1, per = 'x' })"] = "per must be a number above 0",
    ["make('x', { rate = 1, burst = 0.5 })"] = "burst must be 1 or more",
    ["make('x', { rate = 1, keys = 1.5 })"] = "keys must be a whole number",
    ["make('x', { rate = 1e10 })"] = "cannot be counted",
    ["make('x', { rate = 1 })"] = "make it in main_process_start",
  }

  it("raises at the caller's place for what is the caller's fault", function()
    local server = host.serve { app = app("{ rate = 1, burst = 5 }", [[
      local run = loadstring("local l, make = ... " .. req.query.code, "=there")
      return tostring(select(2, pcall(run, limiter, perigee.shared.rate_limiter)))
    ]]), flags = { "--workers", "1" } }
    for code, text in pairs(wrong) do
      local quoted = code:gsub("[^%w]", function(c) return ("%%%02X"):format(c:byte()) end)
      local body = server:get("/run?code=" .. quoted).body
      assert.matches(text, body, 1, true)
      assert.matches("there:1:", body, 1, true)
    end
  end)

  it("must be told its rate where it is made", function()
    local run = host.run({ "serve", "@DIR@/app.lua", "--bind", "127.0.0.1:0" }, { app = app("nil", "") })
    assert.is_true(run.status ~= 0)
    assert.matches("app.lua:3: perigee.shared.rate_limiter('l'): rate must be a number above 0, not nil",
      run:text(), 1, true)
  end)
end)
