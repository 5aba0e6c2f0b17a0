--- The app: routes, hooks and listeners, as the user's file declares them.
local background = require "perigee.background"
local caller = require "perigee.caller"
local health = require "perigee.health"
local hooks = require "perigee.hooks"
local main_process = require "perigee.main_process"
local phase = require "perigee.phase"
local router = require "perigee.router"
local scope = require "perigee.scope"
local shared = require "perigee.shared"
local static = require "perigee.static"
local url = require "perigee.url"
local websocket = require "perigee.websocket"

---@class perigee.App: perigee.Scope
---@field name string
---@field folder string of its file, absolute; relative paths start there
---@field background perigee.Background what runs beside requests in this process
---@field ctx table yours; each process has its own copy
---@field shared table shared objects: assigned in the main process, read everywhere
---@field config table the settings in use, read-only
---@field m perigee.Member|nil in a worker: name, pid, slot, generation, and control
---@field manager perigee.Manager in the main process: control
local methods = setmetatable({}, { __index = scope.methods })

local app_mt = { __name = "perigee.app", __index = methods }

local app = {}

function app_mt.__newindex(self, key)
  caller.fail("app.%s cannot be set; keep what is yours in app.ctx (or app.shared)%s", tostring(key),
    rawget(self, key) == nil and "" or ": it is Perigee's")
end

--- A table that refuses some writes.
local function guarded(store, refuse)
  return setmetatable({}, { __index = store, __newindex = refuse })
end

local function shared_table()
  local store = {}
  return guarded(store, function(_, key, value)
    if phase.current ~= "check" and not phase.can_share() then
      caller.fail("app.shared.%s cannot be set here: the processes are forked already. Set it in a "
        .. "main_process_start listener", tostring(key))
    end
    if value ~= nil and not shared.is_object(value) then
      caller.fail("app.shared.%s must be an object of perigee.shared, not a %s, of which every process "
        .. "would have its own copy (app.ctx is for those)", tostring(key), type(value))
    end
    store[key] = value
  end)
end

--- Makes a table's present fields read-only for users.
---@param values table
---@return table
function app.read_only(values)
  return guarded(values, function(_, key)
    caller.fail("app.config.%s cannot be set; give it to perigee.app(name, { … }), to perigee.conf.lua, "
      .. "or as a flag", tostring(key))
  end)
end

--- Makes an app. Raises at the caller's place. Does not yield.
---@param name string shown in banners and logs
---@param settings table|nil see perigee.settings
---@return perigee.App
function app.new(name, settings)
  caller.check(name, "string", "perigee.app: the name")
  if name == "" or name:find("%c") then
    caller.fail("perigee.app: the name is empty or has control characters")
  end
  if settings ~= nil then caller.check(settings, "table", "perigee.app: the settings") end
  local self = scope.fields("app", name, {})
  self.shared = shared_table()
  self.config = app.read_only({})
  self.given_settings = settings or {}
  self.router = router.new()
  self.background = background.new()
  self.inspector_commands = {} -- name → what inspector_command was given
  self.gathered = {} -- listeners of blueprints that are among the app's
  self.around_none = nil -- what is around the answer when no route fits; set by freeze
  self.manager = main_process.new()
  self.m = nil
  return setmetatable(self, app_mt)
end

---@return boolean
function app.is_app(value)
  return getmetatable(value) == app_mt
end

--- Sets a field that users must not.
function app.set(self, key, value)
  rawset(self, key, value)
end

local strictness = { ["true"] = true, ["false"] = false, redirect = "redirect" }

--- The route of the setting metrics_path, which gives way to any other of that path.
local function add_metrics(self, path)
  local metrics, http = require "perigee.metrics", require "perigee.http"
  if not path:find("^/[^<>]*$") then
    error(("the setting metrics_path must be a path as \"/metrics\", not %q"):format(path), 0)
  end
  local declared = scope.add_route(self, "metrics_path", { "GET" }, path, function()
    return http.raw(metrics.text(), 200, { ["Content-Type"] = metrics.TYPE, ["Cache-Control"] = "no-store" })
  end, {})
  declared.weak, declared.place = "metrics", "the setting metrics_path"
end

--- No route or hook from now on: the tables that serve are made of what is there. Raises, naming
--- both places, when two routes collide.
function app.freeze(self)
  if self.config.metrics_path then add_metrics(self, self.config.metrics_path) end
  scope.expand(self)
  health.add(self)
  self.router:compile(strictness[self.config.strict_slashes])
  rawset(self, "around_none", {
    request_hooks = hooks.order { self.request_hooks },
    response_hooks = hooks.order { self.response_hooks },
    exceptions = { self.exceptions },
  })
end

--- Gives the inspector a command of the app's own. It runs in the inspector's process, which has the
--- app's code, app.shared and app.m, but not what before_server_start opens in workers. Raises at the
--- caller's place; does not yield.
---@param name string as in `perigee inspect NAME`
---@param fn fun(args: table): any what it returns, JSON, is shown; what it raises is the answer too
---@param options { help: string|nil, args: table<string, { type: "string"|"number"|"boolean",
---   required: boolean|nil, default: any, help: string|nil }>|nil }|nil
function methods:inspector_command(name, fn, options)
  require("perigee.inspector.commands").add(self.inspector_commands, name, fn, options)
end

--- The URL of a route. Raises at the caller's place when there is no such route, or when a
--- parameter is missing or does not fit. Does not yield.
---@param name string as given to the route, after its blueprints' names: "users.show"
---@param params table|nil of the path, by name
---@param options table|nil query = { name = value or list }, anchor, external, scheme, host
---@return string # "/users/7?page=2", or with external or host "http://host/users/7"
function methods:url_for(name, params, options)
  return url.build(self, name, params, options)
end

--- Adds a WebSocket (RFC 6455): `handler(req, ws, …)` runs once a client's upgrade is answered, and
--- the WebSocket is closed when it returns, with 1000, or raises, with 1011. What refuses a client
--- (426, 400, 403) goes through app:exception as for any route. A page (app:get) may have the same
--- path: it gets what does not ask for an upgrade. Raises at the caller's place; does not yield.
---@param path string "/rooms/<name>"
---@param handler fun(req: perigee.Request, ws: perigee.WebSocket, ...) may yield
---@param options { protocols: string[]|nil, origins: string[]|"*"|nil }|nil and those of app:route;
---   protocols: subprotocols, the one liked best first; origins: of pages that may connect
---   ("https://example.com"), "*" for all; default only the app's own
---@return function handler
function scope.methods:websocket(path, handler, options) -- of blueprints too
  options = options or {}
  local route_options = websocket.check_options(options, scope.websocket_options)
  caller.check(handler, "function", "app:websocket: the handler")
  scope.add_route(self, "app:websocket", { router.WEBSOCKET }, path, websocket.handler(handler, options),
    route_options)
  return handler
end

--- Sends a message to every WebSocket that has subscribed to `topic`, in all workers, also in those
--- that are being replaced. The messages of one worker keep their order. Does not wait: a client that
--- has more than websocket_buffer_limit waiting is closed with 1013, and a worker that falls behind by
--- half a megabyte loses messages, which its log counts. Does not yield; raises at the caller's place,
--- among others in a process that is no worker.
---@param topic string any bytes
---@param message string
---@param kind "text"|"binary"|nil "text", which must be UTF-8
---@return true|nil
---@return string|nil reason nil: more than publish_limit
---@return string|nil code "EMSGSIZE"
function methods:publish(topic, message, kind) -- luacheck: no self
  return websocket.publish(topic, message, kind)
end

--- Serves the files of a directory under a path: GET and HEAD. A route of the same path goes first.
--- Relative directories start at the folder of the app's file. Raises at the caller's place when there
--- is no such directory; does not yield.
---@param prefix string "/assets"
---@param directory string
---@param options perigee.StaticOptions|nil
function scope.methods:static(prefix, directory, options) -- of blueprints too
  for _, route in ipairs(static.routes(prefix, directory, options)) do
    local declared = scope.add_route(self, "app:static", { "GET" }, route.pattern, route.handler,
      { strict_slashes = false }) -- it sends to a folder's own form itself
    declared.site, declared.weak = route.site, true
  end
end

--- Runs a function beside the requests of each worker, once it accepts; in a worker, at once in
--- this one. Raises at the caller's place. Does not yield.
---@param task fun(app: perigee.App)|thread its errors are logged
---@param options { name: string }|nil
---@return perigee.Background.Task|nil # in a worker
function methods:add_task(task, options)
  return self.background:add_task(self, task, options)
end

--- Calls a function again and again, in each worker or in one of all. It never overlaps itself,
--- ticks that are missed are skipped, and its errors are logged. Raises at the caller's place.
---@param seconds number between two starts
---@param fn fun(app: perigee.App)
---@param options { once: "worker"|"app", immediately: boolean, name: string }|nil
---@return perigee.Background.Task|nil # in a worker
function methods:every(seconds, fn, options)
  return self.background:every(self, seconds, fn, options)
end

return app
