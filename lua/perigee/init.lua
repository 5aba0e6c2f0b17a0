--- Perigee: what apps require.
---
---     local perigee = require "perigee"
---     local app = perigee.app "shop"
local app = require "perigee.app"
local blueprint = require "perigee.blueprint"
local json = require "perigee.json"
local log = require "perigee.log"
local metrics = require "perigee.metrics"
local process = require "perigee.process"
local scheduler = require "perigee.scheduler"
local shared = require "perigee.shared"
local task = require "perigee.task"
local version = require "perigee.version"

local perigee = {
  --- Makes an app: perigee.app(name, settings).
  app = app.new,
  --- Makes a part of an app: perigee.blueprint(name, options).
  blueprint = blueprint.new,
  --- Runs a function beside the caller: perigee.spawn(fn, ...).
  spawn = task.spawn,
  --- Gives a function a time: perigee.timeout(seconds, fn, ...). Yields.
  timeout = task.timeout,
  --- Waits: perigee.sleep(seconds). Yields.
  sleep = scheduler.sleep,
  --- Child processes: perigee.process.start(argv, options), perigee.process.run(argv, options).
  process = process,
  shared = shared,
  --- Figures for monitoring: perigee.metrics.text().
  metrics = metrics,
  json = json,
  log = log,
  version = version,
}

return perigee
