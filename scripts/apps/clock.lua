-- Server-sent events: a page whose clock the server drives.
--
--   perigee serve scripts/apps/clock.lua
--
local perigee = require "perigee"
local http = require "perigee.http"

local app = perigee.app "clock"

local page = [[
<!doctype html>
<meta charset="utf-8">
<title>Clock</title>
<h1 id="time">…</h1>
<p>tick <span id="id"></span></p>
<script>
  // The browser comes again by itself, and says which event it has seen last.
  const events = new EventSource("/time")
  events.addEventListener("tick", event => {
    document.getElementById("time").textContent = event.data
    document.getElementById("id").textContent = event.lastEventId
  })
</script>
]]

app:get("/", function() return http.html(page) end)

app:get("/time", function()
  return http.sse(function(stream)
    local tick = tonumber(stream.last_event_id) or 0
    stream:send { retry = 500 }
    repeat
      tick = tick + 1
      local sent = stream:send { event = "tick", id = tostring(tick), data = os.date "%H:%M:%S" }
      perigee.sleep(1)
    until not sent
  end)
end)

return app
