--- URLs of an app's own routes.
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"
local pattern = require "perigee.pattern"

local url = {}

local option_types = { query = "table", anchor = "string", external = "boolean", scheme = "string",
  host = "string" }
local option_names = { "query", "anchor", "external", "scheme", "host" }

local function check_options(options)
  if options == nil then return {} end
  caller.check(options, "table", "url_for: the options")
  for key, value in pairs(options) do
    if not option_types[key] then
      caller.fail("url_for: unknown option '%s'%s", tostring(key), nearest.hint(tostring(key), option_names))
    end
    caller.check(value, option_types[key], ("url_for: the option '%s'"):format(key))
  end
  if options.host and options.host:find("[^%w%-._:%[%]]") then
    caller.fail("url_for: %q is no host", options.host)
  end
  if options.scheme and not options.scheme:find("^%a[%w+.-]*$") then
    caller.fail("url_for: %q is no scheme", options.scheme)
  end
  return options
end

local function find_route(app, name)
  caller.check(name, "string", "url_for: the name")
  local route = app.router.named[name]
  if route then return route end
  if not app.frozen then
    caller.fail("url_for('%s'): the routes are not known while the app is being loaded", name)
  end
  local names = {}
  for known in pairs(app.router.named) do names[#names + 1] = known end
  table.sort(names)
  caller.fail("url_for: there is no route called '%s'%s", name, nearest.hint(name, names))
end

local function check_params(route, params)
  if params == nil then return {} end
  caller.check(params, "table", "url_for: the parameters")
  for key in pairs(params) do
    local known = false
    for _, name in ipairs(route.names) do known = known or name == key end
    if not known then
      caller.fail("url_for('%s'): %s has no parameter '%s'%s; options come third, as in { query = … }",
        route.name, route.pattern, tostring(key), nearest.hint(tostring(key), route.names))
    end
  end
  return params
end

local function query_value(name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    caller.fail("url_for: the query's '%s' must be a string, a number, a boolean or a list of them, not a %s",
      tostring(name), kind)
  end
  return pattern.escape(tostring(name)) .. "=" .. pattern.escape(tostring(value))
end

--- "a=1&b=2", the names in order, so that one table always gives one URL.
local function query_text(query)
  local names, parts = {}, {}
  for name in pairs(query) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    local value = query[name]
    for _, each in ipairs(type(value) == "table" and value or { value }) do
      parts[#parts + 1] = query_value(name, each)
    end
  end
  return table.concat(parts, "&")
end

--- "http://host", or nothing for a URL that is to stay within the host.
local function origin(route, options, req)
  if options.external == false or not (options.external or options.host) then return "" end
  local host = options.host or route.host
  if req and (not host or host:find("*", 1, true)) then host = req.host end
  if not host or host:find("*", 1, true) then
    caller.fail("url_for('%s'): give the option 'host'; an external URL cannot be made without", route.name)
  end
  return (options.scheme or req and req.scheme or "http") .. "://" .. host
end

--- See app:url_for, and req:url_for. Raises at the caller's place.
---@param app perigee.App
---@param name string
---@param params table|nil
---@param options table|nil
---@param req perigee.Request|nil whose scheme and host an external URL has
---@return string
function url.build(app, name, params, options, req)
  local route = find_route(app, name)
  params, options = check_params(route, params), check_options(options)
  local path, problem = pattern.fill(route.parsed, params)
  if not path then caller.fail("url_for('%s'): %s", name, problem) end
  local text = origin(route, options, req) .. path:gsub("^/+", "/")
  local query = options.query and query_text(options.query) or ""
  if query ~= "" then text = text .. "?" .. query end
  if options.anchor then text = text .. "#" .. pattern.escape(options.anchor) end
  return text
end

return url
