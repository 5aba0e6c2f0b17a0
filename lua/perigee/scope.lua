--- What an app and its blueprints have in common: declaring routes, hooks and exception handlers.
---
--- A scope only keeps what it is given, with the place it came from. At the end of loading
--- `scope.expand` makes the router's routes of it: every blueprint in every place it was
--- registered, each route with its hooks and exception handlers around it.
local caller = require "perigee.caller"
local exceptions = require "perigee.exceptions"
local hooks = require "perigee.hooks"
local listeners = require "perigee.listeners"
local nearest = require "perigee.nearest"
local pattern = require "perigee.pattern"
local settings = require "perigee.settings"
local static = require "perigee.static"

local scope = { methods = {} }

local methods = scope.methods

---@class perigee.Scope
---@field kind "app"|"blueprint" for messages
---@field name string
---@field given table its options: prefix, host, version, version_prefix, strict_slashes, error_format,
---   body_limit
---@field routes table[] as declared
---@field request_hooks perigee.Hook[]
---@field response_hooks perigee.Hook[]
---@field exceptions perigee.Exceptions
---@field listeners table of perigee.listeners
---@field children perigee.Scope[] registered blueprints, with place and options of their own

--- The fields of a new scope.
---@param kind "app"|"blueprint"
---@param name string
---@param options table checked
function scope.fields(kind, name, options)
  return {
    kind = kind,
    name = name,
    place = caller.place(),
    ctx = {},
    given = options,
    routes = {},
    request_hooks = {},
    response_hooks = {},
    exceptions = exceptions.new(),
    listeners = listeners.new(),
    children = {},
    frozen = false,
  }
end

local function check_open(self, what)
  if self.frozen then
    caller.fail("%s: too late, the app is being served; do it while the file is loaded or in a "
      .. "main_process_start listener", what)
  end
end

local function what_of(self, method)
  return self.kind .. ":" .. method
end

-- ── Options ──────────────────────────────────────────────────────────────────────────────────

local check = {}

local function one_of(...)
  local allowed, list = {}, {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    allowed[value], list[i] = true, type(value) == "string" and ("%q"):format(value) or tostring(value)
  end
  return function(value, what)
    if not allowed[value] then
      caller.fail("%s must be one of %s, not %s", what, table.concat(list, ", "), tostring(value))
    end
    return value
  end
end

local function of_type(kind)
  return function(value, what)
    caller.check(value, kind, what)
    return value
  end
end

check.name = function(value, what)
  caller.check(value, "string", what)
  if value == "" or value:find("[%c%s]") then caller.fail("%s is empty or has blanks", what) end
  return value
end
check.ctx = of_type "table"
check.exception = of_type "function"
check.strict_slashes = one_of(true, false, "redirect")
check.error_format = one_of("auto", "html", "json", "text")

--- A host to compare with: lower case.
function check.host(value, what)
  caller.check(value, "string", what)
  local lower = value:lower()
  if not lower:gsub("^%*%.", ""):find("^%[?[%w%-._:]+%]?$") then
    caller.fail("%s: %q is no host; write \"api.example.com\", or \"*.example.com\" for what is below it",
      what, value)
  end
  return lower
end

function check.version(value, what)
  if type(value) == "number" then return tostring(value) end
  caller.check(value, "string", what)
  if not value:find("^[%w._-]+$") then caller.fail("%s: %q is no version: 1, 2, \"2-beta\"", what, value) end
  return value
end

function check.prefix(value, what)
  caller.check(value, "string", what)
  local trimmed = value:gsub("/+$", "")
  if trimmed ~= "" then pattern.parse(trimmed) end
  return trimmed
end

--- Bytes, written as the setting is.
function check.body_limit(value, what)
  local ok, normal = pcall(settings.normal, "body_limit", value, what)
  if not ok then caller.fail("%s", normal) end
  return tonumber(normal)
end

--- What stands before the number: "/v" by default, so it may end in the middle of a segment.
function check.version_prefix(value, what)
  caller.check(value, "string", what)
  pattern.parse(value .. "1")
  return value
end

local route_options = { "name", "ctx", "host", "version", "version_prefix", "strict_slashes",
  "error_format", "exception", "body_limit" }
scope.websocket_options = { "name", "ctx", "host", "version", "version_prefix", "strict_slashes",
  "error_format", "exception" }
scope.blueprint_options = { "prefix", "host", "version", "version_prefix", "strict_slashes", "error_format",
  "body_limit" }

--- Options as they are kept. Raises at the caller's place.
---@param what string
---@param options table|nil
---@param allowed string[]
---@return table
function scope.check_options(what, options, allowed)
  if options == nil then return {} end
  caller.check(options, "table", what .. ": the options")
  local known, kept = {}, {}
  for _, name in ipairs(allowed) do known[name] = true end
  for key, value in pairs(options) do
    if not known[key] then
      caller.fail("%s: unknown option '%s'%s", what, tostring(key), nearest.hint(tostring(key), allowed))
    end
    kept[key] = check[key](value, ("%s: the option '%s'"):format(what, key))
  end
  return kept
end

-- ── Routes ───────────────────────────────────────────────────────────────────────────────────

local function check_methods(what, list)
  if type(list) == "string" then list = { list } end
  if type(list) ~= "table" or #list == 0 then
    caller.fail("%s: methods must be a name (\"GET\") or a list of them", what)
  end
  local upper = {}
  for i, method in ipairs(list) do
    caller.check(method, "string", what .. ": a method")
    if not method:find("^%a[%a-]*$") then caller.fail("%s: %q is no method", what, method) end
    upper[i] = method:upper()
  end
  return upper
end

--- Declares a route. Raises at the caller's place.
---@param self perigee.Scope
---@param what string for messages: "app:get"
---@param list string[] methods
---@param path string
---@param handler function
---@param options table|nil
---@return table # the declaration; its fields go to the route
function scope.add_route(self, what, list, path, handler, options)
  check_open(self, what)
  caller.check(path, "string", what .. ": the path")
  caller.check(handler, "function", what .. ": the handler")
  options = scope.check_options(what, options, route_options)
  if path ~= "" or self.kind == "app" then pattern.parse(path) end
  local route = { methods = list, path = path, handler = handler, place = caller.place(), options = options }
  self.routes[#self.routes + 1] = route
  return route
end

--- Adds a route for several methods. Raises at the caller's place; does not yield.
---@param list string|string[] methods
---@param path string "/users/<id:int>"
---@param handler fun(req: perigee.Request, ...): string|table|perigee.Response may yield
---@param options table|nil name, ctx, host, version, version_prefix, strict_slashes, error_format,
---   exception, body_limit
---@return function handler
function methods:route(list, path, handler, options)
  local what = what_of(self, "route")
  scope.add_route(self, what, check_methods(what, list), path, handler, options)
  return handler
end

--- app:get(path, handler, options) and so on: as app:route for one method.
for _, method in ipairs { "get", "post", "put", "patch", "delete", "head", "options" } do
  local list = { method:upper() }
  methods[method] = function(self, path, handler, options)
    scope.add_route(self, what_of(self, method), list, path, handler, options)
    return handler
  end
end

-- ── Hooks ────────────────────────────────────────────────────────────────────────────────────

--- Calls `fn(req)` before each handler, also when there is none (404, 405; the app's hooks only).
--- What it returns, if not nil, is the answer and ends the search for one. May yield.
---@param fn fun(req: perigee.Request): any
---@param options { priority: number }|nil higher runs earlier; default 0
function methods:on_request(fn, options)
  check_open(self, what_of(self, "on_request"))
  hooks.add(self.request_hooks, what_of(self, "on_request"), fn, options)
end

--- Calls `fn(req, response)` with each answer, in the opposite order. It may change the response,
--- whose `headers` are always there, or return another. May yield.
---@param fn fun(req: perigee.Request, response: perigee.Response): any
---@param options { priority: number }|nil higher runs later; default 0
function methods:on_response(fn, options)
  check_open(self, what_of(self, "on_response"))
  hooks.add(self.response_hooks, what_of(self, "on_response"), fn, options)
end

--- app:exception(fn) or app:exception(what, fn): calls `fn(req, err)` when a handler raised, or
--- when there is no route (404, 405; the app's handlers only). `what` is a status, a class (the
--- metatable of errors, or a table they inherit from) or a test `function(err)`. It returns an
--- answer, or nil for the usual one. May yield.
---@param what number|table|function
---@param fn fun(req: perigee.Request, err: any): any
function methods:exception(what, fn)
  check_open(self, what_of(self, "exception"))
  if fn == nil then what, fn = nil, what end
  exceptions.add(self.exceptions, what_of(self, "exception"), what, fn)
end

-- ── Listeners ────────────────────────────────────────────────────────────────────────────────

--- app:main_process_start(fn) and so on; see perigee.listeners for the order.
for _, name in ipairs(listeners.names) do
  methods[name] = function(self, fn)
    check_open(self, what_of(self, name))
    listeners.add(self.listeners, name, fn)
    return fn
  end
end

--- The same by name.
---@param fn fun(app: perigee.App)
---@param name string
function methods:listener(fn, name)
  if not self.listeners[name] then
    caller.fail("%s:listener: there is no listener '%s'%s (they are: %s)", self.kind, tostring(name),
      nearest.hint(tostring(name), listeners.names), table.concat(listeners.names, ", "))
  end
  return methods[name](self, fn)
end

--- Registers a blueprint, also one that is registered elsewhere already. Raises at the caller's
--- place. Does not yield.
---@param blueprint perigee.Blueprint
---@param options table|nil in place of the blueprint's own: prefix, host, version, …
---@return perigee.Blueprint
function methods:register(blueprint, options)
  local what = what_of(self, "register")
  check_open(self, what)
  if type(blueprint) ~= "table" or blueprint.kind ~= "blueprint" then
    caller.fail("%s: this is no blueprint; make one by perigee.blueprint(name)", what)
  end
  options = scope.check_options(what, options, scope.blueprint_options)
  for _, child in ipairs(self.children) do
    if child.blueprint.name == blueprint.name then
      caller.fail("%s: there is a blueprint called '%s' here already, registered at %s", what,
        blueprint.name, child.place)
    end
  end
  self.children[#self.children + 1] = { blueprint = blueprint, options = options, place = caller.place() }
  return blueprint
end

-- ── Expanding ────────────────────────────────────────────────────────────────────────────────

--- What is around the routes of a scope: the chain from the app to it.
local function enter(outer, self, given)
  local function inherited(key)
    if given[key] ~= nil then return given[key] end
    if self.given[key] ~= nil then return self.given[key] end
    return outer and outer[key]
  end
  local prefix = given.prefix or self.given.prefix or ""
  local inner = {
    host = inherited "host", version = inherited "version", version_prefix = inherited "version_prefix",
    strict_slashes = inherited "strict_slashes", error_format = inherited "error_format",
    body_limit = inherited "body_limit",
    prefix = (outer and outer.prefix or "") .. prefix,
    name = outer and outer.name .. self.name .. "." or "",
    request_hooks = {}, response_hooks = {}, exceptions = { self.exceptions },
  }
  for _, list in ipairs { "request_hooks", "response_hooks" } do
    for _, each in ipairs(outer and outer[list] or {}) do table.insert(inner[list], each) end
    table.insert(inner[list], self[list])
  end
  for _, set in ipairs(outer and outer.exceptions or {}) do table.insert(inner.exceptions, set) end
  return inner
end

local function full_path(around, declared)
  local version = declared.options.version or around.version
  local before = ""
  if version then
    before = (declared.options.version_prefix or around.version_prefix or "/v") .. version
  end
  local path = before .. around.prefix .. declared.path
  return path == "" and "/" or path
end

local function own_exceptions(around, declared)
  if not declared.options.exception then return around.exceptions end
  local own = exceptions.new()
  own.any = { fn = declared.options.exception, place = declared.place }
  return { own, unpack(around.exceptions) }
end

--- A declaration's own option, or the one around it.
local function option(around, declared, name)
  local own = declared.options[name]
  if own ~= nil then return own end
  return around[name]
end

local function make_route(around, declared)
  local route = {}
  for key, value in pairs(declared) do route[key] = value end
  local name = declared.options.name
  route.options, route.path = nil, nil
  route.pattern = full_path(around, declared)
  route.name = name and around.name .. name
  route.ctx = declared.options.ctx
  route.host = option(around, declared, "host")
  route.strict = option(around, declared, "strict_slashes")
  route.error_format = option(around, declared, "error_format")
  route.body_limit = option(around, declared, "body_limit")
  route.request_hooks = hooks.order(around.request_hooks)
  route.response_hooks = hooks.order(around.response_hooks)
  route.hooked = #route.request_hooks > 0 or #route.response_hooks > 0
  route.exceptions = own_exceptions(around, declared)
  route.site = declared.site and static.place(declared.site, route.pattern, declared.place)
  return route
end

--- Puts the listeners of registered blueprints behind the app's own; each once, however often its
--- blueprint is registered. To be called before the first of them is run, and again for later ones.
---@param app perigee.App
function scope.gather_listeners(app)
  local seen = {}
  local function gather(self)
    if seen[self] then return end
    seen[self] = true
    for name, list in pairs(self ~= app and self.listeners or {}) do
      for _, listener in ipairs(list) do
        if not app.gathered[listener] then table.insert(app.listeners[name], listener) end
        app.gathered[listener] = true
      end
    end
    for _, child in ipairs(self.children) do gather(child.blueprint) end
  end
  gather(app)
end

local function expand(app, self, given, outer, path)
  if path[self] then
    error(("%s: the blueprint '%s' is registered inside itself"):format(self.place, self.name), 0)
  end
  path[self] = true
  local around = enter(outer, self, given)
  for _, declared in ipairs(self.routes) do app.router:add(make_route(around, declared)) end
  for _, child in ipairs(self.children) do
    expand(app, child.blueprint, child.options, around, path)
  end
  rawset(self, "frozen", true)
  path[self] = nil
end

--- Makes the app's routes out of all that was declared, and closes it: nothing can be added from
--- now on. Raises, naming both places, when two routes collide.
---@param app perigee.App
function scope.expand(app)
  scope.gather_listeners(app)
  expand(app, app, {}, nil, {})
end

return scope
