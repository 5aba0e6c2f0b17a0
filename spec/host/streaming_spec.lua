-- scripts/apps/streaming.lua, as a person would try it.

local client = require "spec.support.client"
local host = require "spec.support.host"

describe("the streaming example", function()
  local server

  before_each(function()
    server = host.serve { app = host.read_file "scripts/apps/streaming.lua", flags = { "--workers", "1" } }
  end)
  after_each(host.finish)

  it("sends its answers in pieces", function()
    local answer = client.get(server.target, "/count/3")
    assert.equal("chunked", answer.headers["transfer-encoding"])
    assert.equal("1\n2\n3\n", answer.body)
    assert.equal(400, client.get(server.target, "/count/101").status)
    assert.equal("line 1\nline 2\nline 3\n", client.get(server.target, "/log").body)
    local primes = client.get(server.target, "/primes").body
    assert.equal("2\n3\n5\n7\n", primes:sub(1, 8))
    assert.equal(2262, select(2, primes:gsub("\n", "")))
  end)
end)
