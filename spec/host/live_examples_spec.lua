-- The examples with answers that last: scripts/apps/chat.lua and scripts/apps/clock.lua.
local client = require "spec.support.client"
local host = require "spec.support.host"
local wait = require "spec.support.wait"
local websocket = require "spec.support.websocket"

describe("the example", function()
  after_each(host.finish)

  it("chat carries what one says to all in the room, over a reload", function()
    local server = host.serve { app = host.example "chat", flags = { "--workers", "2" } }
    assert.matches("<title>Chat</title>", server:get("/").body)
    local ann = websocket.open(server.port, "/rooms/lobby?name=Ann")
    assert.equal("* Ann comes in", ann:message().payload)
    local others = {}
    for i = 1, 6 do
      others[i] = websocket.open(server.port, "/rooms/lobby?name=Bob" .. i)
      assert.equal(("* Bob%d comes in"):format(i), others[i]:message().payload)
      assert.equal(("* Bob%d comes in"):format(i), ann:message().payload)
    end
    local outsider = websocket.open(server.port, "/rooms/attic?name=Eve")
    assert.equal("* Eve comes in", outsider:message().payload)
    ann:text "hello"
    for i = 1, 6 do
      local said
      repeat said = others[i]:message().payload until said:find "^Ann"
      assert.equal("Ann: hello", said)
    end
    assert.same({ nil, "timeout" }, { outsider:frame(0.05) })
    assert.equal("* at most 500 bytes of text, please", (function()
      outsider:text(("x"):rep(501))
      return outsider:message().payload
    end)())
    for i = 1, 6 do others[i]:close() end
    server:reload(host.example "chat")
    assert.equal(1012, (outsider:closed()))
    assert.equal(1012, (ann:closed()))
  end)

  it("clock ticks, and goes on from the last event", function()
    local server = host.serve { app = host.example "clock", flags = { "--workers", "1" } }
    assert.matches("<title>Clock</title>", server:get("/").body)
    local connection = client.connect(server.port)
    connection:request("GET", "/time", { ["Last-Event-ID"] = "41" })
    wait.till(5, "two ticks", function()
      return connection.input:find("event: tick\nid: 42\ndata: %d%d:%d%d:%d%d\n\n")
        and connection.input:find("id: 43\n", 1, true)
    end)
    connection:close()
  end)
end)
