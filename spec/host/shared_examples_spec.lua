-- The examples that share memory between workers: scripts/apps/cache.lua and scripts/apps/rate_limit.lua.
local cjson = require "cjson"
local client = require "spec.support.client"
local host = require "spec.support.host"

local function example(name)
  return assert(host.read_file("scripts/apps/" .. name .. ".lua"))
end

describe("the example", function()
  after_each(host.finish)

  it("cache makes a thing once for all workers, and again when it was removed", function()
    local server = host.serve { app = example "cache", flags = { "--workers", "3" } }
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
end)
