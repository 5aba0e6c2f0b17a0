-- The examples that share memory between workers: cache.lua, rate_limit.lua and jobs.lua of scripts/apps.
local cjson = require "cjson"
local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

describe("the example", function()
  after_each(host.finish)

  it("cache makes a thing once for all workers, and again when it was removed", function()
    local server = host.serve { app = host.example "cache", flags = { "--workers", "3" } }
    local first = server:get "/squares/12"
    assert.equal("miss", first.headers["x-cache"])
    assert.equal(144, cjson.decode(first.body).square)
    for _ = 1, 20 do
      local response = server:get "/squares/12"
      assert.equal("hit", response.headers["x-cache"])
      assert.same(cjson.decode(first.body), cjson.decode(response.body))
    end
    local figures = cjson.decode(server:get("/").body)
    assert.equal(20, figures.hits)
    assert.equal(1, figures.misses)
    assert.equal(3, figures.cache.entries)
    local connection = client.connect(server.port)
    connection:request("DELETE", "/squares/12")
    assert.same({ removed = true }, cjson.decode(connection:response().body))
    connection:close()
    assert.equal("miss", server:get("/squares/12").headers["x-cache"])
  end)

  it("rate_limit lets each client have its share, whichever workers it meets", function()
    local server = host.serve { app = host.example "rate_limit", flags = { "--workers", "3" } }
    local ann, bob = { ["X-Api-Key"] = "ann" }, { ["X-Api-Key"] = "bob" }
    assert.equal("found, 5 left\n", server:get("/search", ann).body)
    local refused
    for _ = 1, 50 do -- a token comes back every half second
      local response = server:get("/search", ann)
      if response.status == 429 then refused = response end
    end
    assert.truthy(refused)
    assert.matches("^[123]$", refused.headers["retry-after"])
    assert.equal("fine, 9 left\n", server:get("/", bob).body)
  end)

  it("jobs does every job, also those of a consumer that is killed", function()
    local server = host.serve { app = host.example "jobs", flags = { "--workers", "2" } }
    local connection = client.connect(server.port)
    local function post(body)
      connection:request("POST", "/jobs", { ["Content-Type"] = "application/json" }, body)
      return connection:response()
    end
    local function stat() return cjson.decode(server:get("/").body) end
    for i = 1, 6 do
      local answer = post('{"text":"one two' .. (" three"):rep(i) .. '"}')
      assert.equal(202, answer.status)
      assert.same({ id = i }, cjson.decode(answer.body))
    end
    assert.equal(400, post("{}").status)
    assert.equal(413, post('{"text":"' .. ("x"):rep(9000) .. '"}').status)
    wait.till(5, "two jobs under way", function() return stat().taken == 2 end)
    local victim
    for _, process in ipairs(server:processes()) do
      if process.command:find "consumer%-%d" then victim = process.pid end
    end
    connection:close()
    uv.kill(victim, "sigkill")
    server:expect "consumer%-%d .*was killed by SIGKILL"
    wait.till(15, "the end of all jobs", function() return stat().done == 6 end)
    local attempts = 0
    for i = 1, 6 do
      local job = cjson.decode(server:get("/jobs/" .. i).body)
      assert.equal("done", job.state)
      assert.equal(2 + i, job.words)
      attempts = attempts + job.attempts
    end
    assert.equal(7, attempts)
    assert.equal(404, server:get("/jobs/99").status)
  end)
end)
