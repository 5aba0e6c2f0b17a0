-- Real clients against the real binary: Node's ws, and websockets of Python. Where one cannot be
-- had the spec is pending and says so.
local host = require "spec.support.host"
local run = require "spec.support.run"
local uv = require "luv"

local app = [[
local perigee = require "perigee"
local app = perigee.app "echo"
app:get("/", function() return "x" end)
app:websocket("/echo", function(_, ws)
  for message, kind in ws:messages() do ws:send(message, kind) end
end, { protocols = { "chat" } })
app:websocket("/close", function(_, ws) ws:close(4000, "enough") end)
return app
]]

local node = [[
const WebSocket = require(process.argv[3] + "/node_modules/ws")
const url = "ws://127.0.0.1:" + process.argv[2]
const cases = ["", "hällo €", "x".repeat(126), "y".repeat(70000), "z".repeat(1000000)]
async function echo(options) {
  const ws = new WebSocket(url + "/echo", "chat", options)
  await new Promise((yes, no) => { ws.on("open", yes); ws.on("error", no) })
  for (const text of cases) for (const binary of [false, true]) {
    ws.send(binary ? Buffer.from(text) : text)
    const [data, isBinary] = await new Promise(yes => ws.once("message", (...all) => yes(all)))
    if (data.toString() !== text || isBinary !== binary) throw new Error("another echo")
  }
  const pong = new Promise(yes => ws.once("pong", yes))
  ws.ping("are you there")
  if ((await pong).toString() !== "are you there") throw new Error("another pong")
  const closed = new Promise(yes => ws.once("close", yes))
  ws.close(3001, "done")
  return [ws.protocol, ws.extensions, await closed]
}
async function main() {
  const plain = await echo({ perMessageDeflate: false })
  const small = await echo({ perMessageDeflate: { threshold: 0 } })
  const narrow = await echo({ perMessageDeflate: { threshold: 0, serverMaxWindowBits: 10 } })
  const ws = new WebSocket(url + "/close")
  const closed = await new Promise(yes => ws.on("close", (code, reason) => yes([code, reason.toString()])))
  console.log(JSON.stringify([plain, small, narrow, closed]))
}
main().catch(error => { console.log(error.stack); process.exit(1) })
]]

local python = [[
import asyncio, sys, websockets

async def echo(url, **options):
    async with websockets.connect(url + "/echo", subprotocols=["chat"], **options) as ws:
        for data in ["", "hällo €", "x" * 126, "y" * 70000, "z" * 1000000, b"", b"\0\xff" * 40000]:
            await ws.send(data)
            assert await ws.recv() == data
        await ws.send(["in ", "three ", "fragments"])
        assert await ws.recv() == "in three fragments"
        await asyncio.wait_for(await ws.ping(), 5)
        return ws.subprotocol

async def main():
    url = "ws://127.0.0.1:" + sys.argv[1]
    print(await echo(url, compression=None), await echo(url, compression="deflate"))
    async with websockets.connect(url + "/close") as ws:
        try:
            await ws.recv()
        except websockets.ConnectionClosed as end:
            print(end.rcvd.code, end.rcvd.reason)

asyncio.run(main())
]]

describe("real clients:", function()
  local dir

  setup(function() dir = assert(uv.fs_mkdtemp "/tmp/perigee-npm-XXXXXX") end)
  teardown(function() run { "rm", "-r", dir } end)
  after_each(host.finish)

  it("Node's ws", function()
    local text, status = run { "npm", "install", "--silent", "--prefix", dir, "ws" }
    if status ~= 0 then
      pending("npm cannot install ws here: " .. text:sub(1, 200))
      return
    end
    host.write_file(dir .. "/client.js", node)
    local server = host.serve { app = app, flags = { "--workers", "1" } }
    text, status = run { "node", dir .. "/client.js", tostring(server.port), dir }
    assert.equal(0, status, text)
    assert.equal('[["chat","",3001],["chat","permessage-deflate",3001],["chat","permessage-deflate",3001],'
      .. '[4000,"enough"]]\n', text)
  end)

  it("Python's websockets", function()
    local text, status = run { "/usr/bin/python3", "-c", "import websockets" }
    if status ~= 0 then
      pending("python3-websockets is not installed: " .. text:sub(1, 200))
      return
    end
    host.write_file(dir .. "/client.py", python)
    local server = host.serve { app = app, flags = { "--workers", "1" } }
    text, status = run { "/usr/bin/python3", dir .. "/client.py", tostring(server.port) }
    assert.equal(0, status, text)
    assert.equal("chat chat\n4000 enough\n", text)
  end)
end)
