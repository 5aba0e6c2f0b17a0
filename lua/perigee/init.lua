--- Perigee: what apps require.
---
---     local perigee = require "perigee"
---     local app = perigee.app "shop"
local app = require "perigee.app"
local json = require "perigee.json"
local log = require "perigee.log"
local scheduler = require "perigee.scheduler"
local shared = require "perigee.shared"
local version = require "perigee.version"

local perigee = {
  --- Makes an app: perigee.app(name, settings).
  app = app.new,
  --- Waits: perigee.sleep(seconds). Yields.
  sleep = scheduler.sleep,
  shared = shared,
  json = json,
  log = log,
  version = version,
}

return perigee
