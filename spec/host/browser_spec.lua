-- What a real browser makes of our event streams, WebSockets and forms: Chromium without a window. Where
-- there is none the specs are pending, and say so.
local chromium = require "spec.support.chromium"
local host = require "spec.support.host"
local uv = require "luv"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "browser"
app:get("/", function() return http.html "<!doctype html><title>empty</title>" end)

app:get("/events", function()
  return http.sse(function(stream)
    local last = tonumber(stream.last_event_id) or 0
    print("connects after " .. tostring(stream.last_event_id))
    stream:send { retry = 50 }
    stream:send { event = "number", id = tostring(last + 1), data = { n = last + 1 } }
    stream:send { data = "first line\nsecond € line" }
    if last < 2 then return end -- it comes again, with what it saw last
    perigee.sleep(30)
  end)
end)
app:get("/none", function() return http.empty(204) end)

app:websocket("/echo", function(req, ws)
  print("extensions " .. tostring(req.headers["sec-websocket-extensions"]))
  for message, kind in ws:messages() do ws:send(message, kind) end
  print("closed " .. ws.close_code .. " " .. ws.close_reason)
end, { protocols = { "v2", "v1" } })
app:websocket("/close", function(_, ws) ws:close(4001, "enough €") end)
app:websocket("/raise", function() error "my own fault" end)
app:websocket("/wait", function(_, ws) ws:receive() end)
return app
]]

describe("in a browser,", function()
  local browser, server

  setup(function()
    if not chromium.missing() then browser = assert(chromium.start()) end
  end)
  teardown(function() if browser then browser:stop() end end)
  after_each(host.finish)

  local function it_with_browser(name, body)
    it(name, function()
      if not browser then
        pending("no browser here: " .. chromium.missing())
        return
      end
      body()
    end)
  end

  local function open(path, options)
    return browser:open("http://127.0.0.1:" .. server.port .. (path or "/"), options)
  end

  it_with_browser("an EventSource gets events, and comes again where it was", function()
    server = host.serve { app = app, flags = { "--workers", "1" } }
    local page = open()
    local seen = page:evaluate [[new Promise((yes, no) => {
      const seen = [], source = new EventSource("/events")
      source.addEventListener("number", event => seen.push(event.lastEventId + " " + event.data))
      source.onmessage = event => {
        seen.push(event.lastEventId + " " + event.data)
        if (seen.length === 6) { source.close(); yes(seen) }
      }
    })]]
    assert.same({ '1 {"n":1}', "1 first line\nsecond € line", '2 {"n":2}', "2 first line\nsecond € line",
      '3 {"n":3}', "3 first line\nsecond € line" }, seen)
    for _, id in ipairs { "nil", "1", "2" } do server:expect("connects after " .. id .. "$") end
    assert.equal(2, page:evaluate [[new Promise(yes => {
      const source = new EventSource("/none")
      source.onerror = () => yes(source.readyState) // 204: told not to come again
    })]])
    page:close()
  end)

  it_with_browser("an EventSource comes again after a reload", function()
    server = host.serve { app = app, flags = { "--workers", "1" } }
    local page = open()
    page:evaluate [[ids = []; source = new EventSource("/events");
      source.addEventListener("number", event => ids.push(event.lastEventId))]]
    page:wait "ids.length === 3"
    server:reload(app)
    page:wait "ids.length === 4"
    assert.equal("4", page:evaluate "ids[3]")
    page:close()
  end)

  it_with_browser("a WebSocket echoes text and binary, compressed, and tells how it was closed", function()
    server = host.serve { app = app, flags = { "--workers", "1" } }
    local page = open()
    local result = page:evaluate [[(async () => {
      const ws = new WebSocket("ws://" + location.host + "/echo", ["v1", "v2"])
      ws.binaryType = "arraybuffer"
      await new Promise((yes, no) => { ws.onopen = yes; ws.onerror = no })
      const echo = data => new Promise(yes => { ws.onmessage = event => yes(event.data); ws.send(data) })
      const same = []
      for (const text of ["", "hällo € \u{1f680}", "x".repeat(126), "y".repeat(70000), "z".repeat(1000000)])
        same.push(await echo(text) === text)
      for (const size of [0, 1, 65536, 1000000]) {
        const bytes = new Uint8Array(size).map((_, i) => i * 7)
        const back = new Uint8Array(await echo(bytes.buffer))
        same.push(back.length === size && back.every((byte, i) => byte === bytes[i]))
      }
      const closed = new Promise(yes => { ws.onclose = yes })
      ws.close(3001, "done €")
      const event = await closed
      return { same, protocol: ws.protocol, extensions: ws.extensions,
        close: [event.code, event.reason, event.wasClean] }
    })()]]
    assert.same({ true, true, true, true, true, true, true, true, true }, result.same)
    assert.equal("v2", result.protocol)
    assert.matches("^permessage%-deflate", result.extensions)
    assert.same({ 3001, "", true }, result.close) -- the code is given back, not the reason
    server:expect "closed 3001 done €"
    page:close()
  end)

  it_with_browser("a WebSocket is told why it ends: by the handler, an error, a reload, the stop", function()
    server = host.serve { app = app, flags = { "--workers", "1" } }
    server:allow "my own fault"
    local page = open()
    page:evaluate [[closing = (path, then) => new Promise(yes => {
      const ws = new WebSocket("ws://" + location.host + path)
      ws.onopen = () => opened = path
      ws.onclose = event => yes([event.code, event.reason, event.wasClean])
    }); opened = ""]]
    assert.same({ 4001, "enough €", true }, page:evaluate [[closing("/close")]])
    assert.same({ 1011, "", true }, page:evaluate [[closing("/raise")]])
    page:evaluate [[end = closing("/wait"); 0]]
    page:wait [[opened === "/wait"]]
    server:reload(app)
    assert.same({ 1012, "the server restarts", true }, page:evaluate "end")
    page:evaluate [[opened = ""; end = closing("/wait"); 0]]
    page:wait [[opened === "/wait"]]
    server:signal "sigterm"
    assert.same({ 1001, "the server stops", true }, page:evaluate "end")
    page:close()
    assert.equal(0, server:wait_exit())
  end)

  it_with_browser("a page of another origin cannot open a WebSocket", function()
    server = host.serve { app = app, flags = { "--workers", "1" } }
    local page = browser:open("http://localhost:" .. server.port .. "/")
    assert.equal(1006, page:evaluate(([[new Promise(yes => {
      new WebSocket("ws://127.0.0.1:%d/echo").onclose = event => yes(event.code)
    })]]):format(server.port)))
    assert.equal("open", page:evaluate [[new Promise(yes => {
      new WebSocket("ws://" + location.host + "/echo").onopen = () => yes("open")
    })]])
    page:close()
  end)

  it_with_browser("the examples work: the chat, the clock, and the upload form", function()
    server = host.serve { app = host.example "chat", flags = { "--workers", "2" } }
    local ann, bob = open("/", { prompt = "Ann" }), open("/", { prompt = "Bob" })
    ann:wait "lines.textContent.includes('Bob comes in')"
    bob:wait "lines.textContent.includes('Bob comes in')"
    ann:fill("#line", "hello Bob")
    ann:call("Input.dispatchKeyEvent", { type = "keyDown", key = "Enter", windowsVirtualKeyCode = 13 })
    bob:wait "lines.textContent.includes('Ann: hello Bob')"
    ann:close()
    bob:wait "lines.textContent.includes('Ann leaves')"
    assert.same({}, bob.errors)
    bob:close()

    server = host.serve { app = host.example "clock", flags = { "--workers", "1" } }
    local page = open()
    page:wait [[/^\d\d:\d\d:\d\d$/.test(document.getElementById("time").textContent)
      && +document.getElementById("id").textContent >= 2]]
    page:close()
  end)

  it_with_browser("the upload example takes the files of its form, and gives them back", function()
    server = host.serve { app = host.example "upload", flags = { "--workers", "1" },
      env = { UPLOADS = "@DIR@/kept" } }
    local large = ("0123456789abcdef"):rep(60000) -- more than is kept in memory
    host.write_file(server.dir .. "/large file.bin", large)
    host.write_file(server.dir .. "/<b>.html", "<script>alert(1)</script>")
    local page = open()
    page:fill("input[name=title]", "Two files")
    page:choose("input[name=file]", { server.dir .. "/large file.bin", server.dir .. "/<b>.html" })
    page:click "button"
    page:wait "document.querySelectorAll('li a').length === 2"
    local kept = {}
    for name in function(scan) return uv.fs_scandir_next(scan) end, uv.fs_scandir(server.dir .. "/kept") do
      kept[name:match "%-(.*)$"] = host.read_file(server.dir .. "/kept/" .. name)
    end
    assert.same({ ["large_file.bin"] = large, ["_b_.html"] = "<script>alert(1)</script>" }, kept)
    assert.same({ "attachment", 25 }, page:evaluate [[(async () => {
      const link = [...document.querySelectorAll("li a")].find(a => a.textContent.endsWith("_b_.html"))
      const response = await fetch(link.href)
      return [response.headers.get("content-disposition").split(";")[0], (await response.text()).length]
    })()]])
    assert.same({}, page.errors)
    page:close()
  end)
end)
