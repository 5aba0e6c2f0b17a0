--- What probes ask: health_path, whether a worker serves, and ready_path, whether requests are to be
--- sent here. Routes like any other, without hooks, which give way to an app's own of the same path.
local http = require "perigee.http"

local health = {}

local ready = true

local NO_STORE = { ["Cache-Control"] = "no-store" }

local function answer(text, status)
  return http.text(text, status, NO_STORE)
end

local function is_healthy()
  return answer("ok\n", 200)
end

local function is_ready()
  if ready then return answer("ready\n", 200) end
  return answer("the host stops\n", 503)
end

--- The host stops: not ready from now on, before the first socket is closed.
function health.end_ready()
  ready = false
end

local function add(app, setting, handler)
  local path = app.config[setting]
  if not path then return end
  if path:sub(1, 1) ~= "/" then
    error(("setting '%s' cannot be \"%s\"; it must begin with '/'"):format(setting, path), 0)
  end
  app.router:add({
    methods = { "GET" }, pattern = path, handler = handler, place = "setting " .. setting, weak = true,
    hooked = false, request_hooks = {}, response_hooks = {}, exceptions = {},
  })
end

--- Adds the routes that the settings name. Raises when they cannot be.
---@param app perigee.App
function health.add(app)
  add(app, "health_path", is_healthy)
  add(app, "ready_path", is_ready)
end

return health
