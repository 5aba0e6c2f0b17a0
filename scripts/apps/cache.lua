-- A cache that all workers share: what is slow to make is made once, and kept for a while.
--
--   perigee serve scripts/apps/cache.lua
--   curl localhost:8000/squares/12
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "cache"

local FRESH = 60 -- seconds

app:main_process_start(function()
  app.shared.pages = perigee.shared.dict("pages", { size = "16 MiB", eviction = "lru" })
end)

local function slow_square(n)
  perigee.sleep(0.2) -- a database, say
  return { n = n, square = n * n, made = os.date "%H:%M:%S" }
end

--- What the cache has for a key, or else what `make` returns; and "hit" or "miss".
local function cached(key, make, ...)
  local value = app.shared.pages:get(key)
  if value ~= nil then return value, "hit" end
  value = make(...)
  app.shared.pages:set(key, value, FRESH)
  return value, "miss"
end

app:get("/squares/<n:int>", function(_, n)
  local value, how = cached("square:" .. n, slow_square, n)
  app.shared.pages:incr("count:" .. how)
  return http.json(value, 200, { ["X-Cache"] = how })
end)

app:delete("/squares/<n:int>", function(_, n)
  return { removed = app.shared.pages:delete("square:" .. n) }
end)

app:get("/", function()
  local pages = app.shared.pages
  return { hits = pages:get "count:hit" or 0, misses = pages:get "count:miss" or 0, cache = pages:stat() }
end)

return app
