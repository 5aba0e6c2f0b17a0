-- A chat: a page, a WebSocket, and rooms that work across all workers.
--
--   perigee serve scripts/apps/chat.lua --workers 4
--
-- Open http://localhost:8000/ in two windows. Each connection may be in another worker: what one
-- publishes reaches the subscribers of all.
local perigee = require "perigee"
local http = require "perigee.http"

local app = perigee.app "chat"

local NAME_LIMIT, LINE_LIMIT = 32, 500 -- bytes

local page = [[
<!doctype html>
<meta charset="utf-8">
<title>Chat</title>
<style>
  body { font: 16px/1.4 sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em }
  #lines { height: 20em; overflow-y: auto; border: 1px solid #999; padding: .5em; white-space: pre-wrap }
  #line { width: 100%; box-sizing: border-box; font: inherit; padding: .5em; margin-top: .5em }
</style>
<h1>Chat</h1>
<div id="lines"></div>
<input id="line" placeholder="Say something" autofocus>
<script>
  const lines = document.getElementById("lines"), line = document.getElementById("line")
  const room = location.hash.slice(1) || "lobby"
  const name = (prompt("Your name?") || "somebody").slice(0, 30)
  let socket
  function show(text) {
    lines.append(text + "\n")
    lines.scrollTop = lines.scrollHeight
  }
  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:"
    const path = `/rooms/${encodeURIComponent(room)}?name=${encodeURIComponent(name)}`
    socket = new WebSocket(`${scheme}//${location.host}${path}`)
    socket.onmessage = event => show(event.data)
    // A worker that is replaced says 1012: come again, to its successor.
    socket.onclose = event => setTimeout(connect, event.code === 1012 ? 50 : 2000)
  }
  line.onkeydown = event => {
    if (event.key !== "Enter" || line.value === "") return
    socket.send(line.value)
    line.value = ""
  }
  connect()
</script>
]]

app:get("/", function() return http.html(page) end)

-- A room is a topic. The WebSocket is closed when this function returns.
app:websocket("/rooms/<room>", function(req, ws, room)
  local name = (req.query.name or "somebody"):sub(1, NAME_LIMIT):gsub("%c", "")
  local topic = "room:" .. room
  ws:subscribe(topic)
  app:publish(topic, "* " .. name .. " comes in")
  for line, kind in ws:messages() do
    if kind == "text" and #line <= LINE_LIMIT then
      app:publish(topic, name .. ": " .. line)
    else
      ws:send(("* at most %d bytes of text, please"):format(LINE_LIMIT))
    end
  end
  app:publish(topic, "* " .. name .. " leaves")
end)

return app
