-- scripts/apps/streaming.lua, as a person would try it.

local client = require "spec.support.client"
local host = require "spec.support.host"

describe("a stream", function()
  after_each(host.finish)

  it("goes on to a client that has ended sending, looked after in its middle", function()
    local server = host.serve { flags = { "--workers", "1" }, app = [[
      local perigee = require "perigee"
      local http = require "perigee.http"
      local app = perigee.app "spec"
      app:get("/", function()
        return http.stream(function(write)
          write "one "
          perigee.sleep(1.3) -- longer than it takes until the client is looked after
          write "two "
          perigee.sleep(1.3)
        end)
      end)
      return app ]] }
    local connection = client.connect(server.target)
    connection:request("GET", "/")
    connection.socket:shutdown()
    assert.is_true(connection:wait_closed(10))
    assert.matches("\r\n\r\n4\r\none \r\n04\r\ntwo \r\n0+\r\n\r\n$", connection.input)
    connection:close()
  end)
end)

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
