--- The app: routes, hooks and listeners, as the user's file declares them.
local caller = require "perigee.caller"
local listeners = require "perigee.listeners"
local nearest = require "perigee.nearest"
local phase = require "perigee.phase"
local router = require "perigee.router"
local shared = require "perigee.shared"
local static = require "perigee.static"

---@class perigee.App
---@field name string
---@field ctx table yours; each process has its own copy
---@field shared table shared objects: assigned in the main process, read everywhere
---@field config table the settings in use, read-only
---@field m table|nil in a worker: name, pid, slot, generation
local methods = {}

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
  return setmetatable({
    name = name,
    place = caller.place(),
    ctx = {},
    shared = shared_table(),
    config = app.read_only({}),
    given_settings = settings or {},
    router = router.new(),
    listeners = listeners.new(),
    request_hooks = {},
    response_hooks = {},
    exception_handlers = {},
    m = nil,
  }, app_mt)
end

---@return boolean
function app.is_app(value)
  return getmetatable(value) == app_mt
end

--- Sets a field that users must not.
function app.set(self, key, value)
  rawset(self, key, value)
end

--- No route or hook from now on: the tables that serve are made of what is there.
function app.freeze(self)
  self.router:compile()
  rawset(self, "frozen", true)
end

local function check_open(self, what)
  if self.frozen then
    caller.fail("%s: too late, the app is being served; do it while the file is loaded or in a "
      .. "main_process_start listener", what)
  end
end

-- ── Routes ───────────────────────────────────────────────────────────────────────────────────

local function check_options(what, options)
  if options == nil then return {} end
  caller.check(options, "table", what .. ": the options")
  for key, value in pairs(options) do
    if key ~= "name" then
      caller.fail("%s: unknown option '%s'%s", what, tostring(key), nearest.hint(tostring(key), { "name" }))
    end
    caller.check(value, "string", what .. ": the name")
  end
  return options
end

local function check_methods(list)
  if type(list) == "string" then list = { list } end
  if type(list) ~= "table" or #list == 0 then
    caller.fail("app:route: methods must be a name (\"GET\") or a list of them")
  end
  local upper = {}
  for i, method in ipairs(list) do
    caller.check(method, "string", "app:route: a method")
    if not method:find("^%a[%a-]*$") then caller.fail("app:route: %q is no method", method) end
    upper[i] = method:upper()
  end
  return upper
end

local function add_route(self, what, list, path, handler, options)
  check_open(self, what)
  caller.check(path, "string", what .. ": the path")
  caller.check(handler, "function", what .. ": the handler")
  options = check_options(what, options)
  self.router:add({ methods = list, pattern = path, handler = handler, place = caller.place(),
    name = options.name })
  return handler
end

--- Adds a route for several methods. Raises at the caller's place; does not yield.
---@param list string|string[] methods
---@param path string "/users/<id:int>"
---@param handler fun(req: perigee.Request, ...): string|table|perigee.Response may yield
---@param options { name: string }|nil
---@return function handler
function methods:route(list, path, handler, options)
  return add_route(self, "app:route", check_methods(list), path, handler, options)
end

--- app:get(path, handler, options) and so on: as app:route for one method.
for _, method in ipairs { "get", "post", "put", "patch", "delete", "head", "options" } do
  local list = { method:upper() }
  methods[method] = function(self, path, handler, options)
    return add_route(self, "app:" .. method, list, path, handler, options)
  end
end

--- Serves the files of a directory under a path: GET and HEAD. A route of the same path goes first.
--- Relative directories start at the folder of the app's file. Raises at the caller's place when there
--- is no such directory; does not yield.
---@param prefix string "/assets"
---@param directory string
---@param options perigee.StaticOptions|nil
function methods:static(prefix, directory, options)
  check_open(self, "app:static")
  for _, route in ipairs(static.routes(prefix, directory, options)) do
    self.router:add({ methods = { "GET" }, pattern = route.pattern, handler = route.handler,
      site = route.site, place = caller.place(), weak = true })
  end
end

-- ── Hooks ────────────────────────────────────────────────────────────────────────────────────

--- Calls `fn(req)` before each handler, in the order given. What it returns, if not nil, is the
--- answer and ends the search for one. May yield.
---@param fn fun(req: perigee.Request): any
function methods:on_request(fn)
  check_open(self, "app:on_request")
  caller.check(fn, "function", "app:on_request: the hook")
  table.insert(self.request_hooks, fn)
end

--- Calls `fn(req, response)` with each answer, the last hook first. It may change the response, or
--- return another. May yield.
---@param fn fun(req: perigee.Request, response: perigee.Response): any
function methods:on_response(fn)
  check_open(self, "app:on_response")
  caller.check(fn, "function", "app:on_response: the hook")
  table.insert(self.response_hooks, fn)
end

--- app:exception(fn) or app:exception(status, fn): calls `fn(req, err)` when a handler raised, or
--- when there is no route (404, 405). It returns an answer, or nil for the usual one. May yield.
---@param status number|function
---@param fn fun(req: perigee.Request, err: any): any
function methods:exception(status, fn)
  check_open(self, "app:exception")
  local key = status
  if fn == nil then key, fn = "any", status end
  caller.check(fn, "function", "app:exception: the handler")
  if key ~= "any" and (type(key) ~= "number" or key % 1 ~= 0 or key < 400 or key > 599) then
    caller.fail("app:exception: the status must be a number from 400 to 599, not %s", tostring(key))
  end
  if self.exception_handlers[key] then
    caller.fail("app:exception: there is a handler for %s already", tostring(key))
  end
  self.exception_handlers[key] = fn
end

-- ── Listeners ────────────────────────────────────────────────────────────────────────────────

--- app:main_process_start(fn) and so on; see perigee.listeners for the order.
for _, name in ipairs(listeners.names) do
  methods[name] = function(self, fn)
    check_open(self, "app:" .. name)
    listeners.add(self.listeners, name, fn)
    return fn
  end
end

--- The same by name.
---@param fn fun(app: perigee.App)
---@param name string
function methods:listener(fn, name)
  if not self.listeners[name] then
    caller.fail("app:listener: there is no listener '%s'%s (they are: %s)", tostring(name),
      nearest.hint(tostring(name), listeners.names), table.concat(listeners.names, ", "))
  end
  return methods[name](self, fn)
end

return app
