-- Requests counted by client over all workers: ten at once, then two a second; search costs five.
--
--   perigee serve scripts/apps/rate_limit.lua
--   for i in $(seq 12); do curl -s localhost:8000/; done
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "rate-limit"

local costs = { ["/search"] = 5 }

app:main_process_start(function()
  app.shared.limiter = perigee.shared.rate_limiter("requests", { rate = 2, burst = 10, keys = 50000 })
end)

--- Who asks: a key of their own, or where they come from.
local function client_of(req)
  return req.headers["x-api-key"] or req.ip
end

app:on_request(function(req)
  local limiter = app.shared.limiter
  local ok, number = limiter:take(client_of(req), costs[req.path])
  if not ok then
    return http.text("too many requests\n", 429, { ["Retry-After"] = tostring(math.ceil(number)) })
  end
  req.ctx.left = number
end)

app:get("/", function(req) return ("fine, %d left\n"):format(req.ctx.left) end)
app:get("/search", function(req) return ("found, %d left\n"):format(req.ctx.left) end)

return app
