--- Which route answers a method, a host and a path.
---
--- Routes without parameters are one table lookup; the others are a trie, one level for each
--- segment, tried from the most to the least specific: literal text, then parameters by their
--- rank, those of one rank in the order they were added. A value that does not fit its type is no
--- match, so the search goes on and may end in 404.
---
--- A "/" at the end of the path is ignored, unless a route is strict about it: a leaf of the trie
--- has a table for either form.
---
--- Nothing here makes closures while matching, and nothing but a user's own Lua pattern is an
--- interpreted one: it is part of the hot path and must compile.
local http = require "perigee.http"
local pattern = require "perigee.pattern"

--- A WebSocket's route has the pseudo-method router.WEBSOCKET, so that a page may have its path.

local find, sub, byte = string.find, string.sub, string.byte
local concat, sort = table.concat, table.sort

local router = {
  WEBSOCKET = "websocket", -- in lower case, which no client can send
}

---@class perigee.Route
---@field methods string[] as given, upper case
---@field pattern string with what a blueprint put before it
---@field handler function
---@field place string where it was made: "app.lua:12"
---@field name string|nil
---@field ctx table the route's own, for its hooks and handlers
---@field host string|nil the only host it answers for, in lower case: "api.example.com", "*.example.com"
---@field strict boolean|"redirect"|nil about a "/" at the end; nil: as the app is
---@field names string[] of its parameters, in order
---@field count number of its parameters
---@field order number among the routes of the app
---@field body_limit number|nil bytes; nil: as the app's
---@field site perigee.Site|nil of app:static
---@field weak boolean|nil gives way to another route of the same shape
---@field parsed perigee.Pattern
---@field hooked boolean whether hooks run around it, or it takes the long way for another reason
---@field upgrade perigee.Route|nil the WebSocket's route at the path of this page

---@class perigee.Router
local methods = {}
local router_mt = { __index = methods }

---@return perigee.Router
function router.new()
  return setmetatable({
    routes = {}, -- in the order they were added
    claims = {}, -- host, shape and slash → method → route
    named = {},  -- name → route
    plain = nil, -- table of the routes for any host; made by compile
    hosts = nil, -- list of tables of those for one; nil when there are none
  }, router_mt)
end

-- ── Adding ───────────────────────────────────────────────────────────────────────────────────

--- Raises: two routes answer the same. The later one is at fault.
local function collide(route, other, method)
  if other.order > route.order then route, other = other, route end
  error(("%s: route %s %s is there already: %s %s, made at %s"):format(route.place, method, route.pattern,
    method, other.pattern, other.place), 0)
end

--- Enters a route for its methods; a weak one gives way.
local function put(leaf, route)
  leaf = leaf or {}
  for _, method in ipairs(route.methods) do
    if not leaf[method] or not route.weak then leaf[method] = route end
  end
  return leaf
end

--- Takes one form of a route's path for its methods. Raises when another route has it.
local function claim(self, route, slash)
  local key = concat({ route.host or "", route.parsed.shape, slash and "/" or "" }, "\0")
  local by_method = self.claims[key] or {}
  for _, method in ipairs(route.methods) do
    local other = by_method[method]
    if other and other ~= route and other.weak == route.weak then collide(route, other, method) end
  end
  put(by_method, route)
  self.claims[key] = by_method
end

--- Adds a route. Raises, naming both places, when there is one like it, or one of its name.
---@param route perigee.Route the fields from `names` on are filled in
function methods:add(route)
  local parsed = pattern.parse(route.pattern)
  route.parsed, route.names, route.count = parsed, parsed.names, #parsed.names
  route.ctx = route.ctx or {}
  route.order = #self.routes + 1
  claim(self, route, parsed.slash)
  local same = route.name and self.named[route.name]
  if same then
    error(("%s: there is a route called '%s' already: %s, made at %s"):format(route.place, route.name,
      same.pattern, same.place), 0)
  end
  if route.name then self.named[route.name] = route end
  self.routes[route.order] = route
end

-- ── Compiling ────────────────────────────────────────────────────────────────────────────────

--- `leaf` and `slashed`: method → route, for a path that ends here without and with a "/".
local function new_node()
  return { static = {}, params = {}, leaf = nil, slashed = nil, empty = nil }
end

local function param_node(node, segment)
  for _, param in ipairs(node.params) do
    if param.kind == segment.kind then return param.node end
  end
  local param = { kind = segment.kind, match = segment.match, rank = segment.rank, width = segment.width,
    rest = segment.rest, order = #node.params, node = new_node() }
  table.insert(node.params, param)
  sort(node.params, function(a, b)
    return a.rank < b.rank or a.rank == b.rank and a.order < b.order
  end)
  if segment.empty then node.empty = param.node end
  return param.node
end

local function put_static(tables, path, route)
  tables.static[path] = put(tables.static[path], route)
end

--- Enters a route for one form of its path.
local function enter(tables, route, slash)
  local node = tables.root
  for _, segment in ipairs(route.parsed.segments) do
    if type(segment) == "string" then
      node.static[segment] = node.static[segment] or new_node()
      node = node.static[segment]
    else
      node = param_node(node, segment)
    end
  end
  if slash then node.slashed = put(node.slashed, route) else node.leaf = put(node.leaf, route) end
  if route.count == 0 then
    local shape = route.parsed.shape
    if shape == "/" then
      put_static(tables, "/", route)
    else
      put_static(tables, slash and shape .. "/" or shape, route)
    end
  end
end

--- What answers for the form of the path that a route is not: a redirect to the one that it is.
local function redirection(route)
  local function redirect(req)
    local path = pattern.fill(route.parsed, req.params)
    if not path then http.abort(404) end
    path = path:gsub("^/+", "/") -- two of them would name another host
    local query = req.query_string
    return http.redirect(query ~= "" and path .. "?" .. query or path, 308)
  end
  local copy = {}
  for key, value in pairs(route) do copy[key] = value end
  copy.handler, copy.name, copy.hooked = redirect, nil, route.hooked
  return copy
end

--- A WebSocket answers GET, to refuse what is none; beside a page it gets what asks for an upgrade.
local function add_websocket(leaf)
  local socket, page = leaf[router.WEBSOCKET], leaf.GET
  leaf[router.WEBSOCKET] = nil
  if not socket then return end
  if not page then
    leaf.GET = socket
    return
  end
  local copy = {}
  for key, value in pairs(page) do copy[key] = value end
  copy.upgrade, copy.hooked = socket, true
  leaf.GET = copy
end

--- HEAD is answered by GET.
local function finish_leaf(leaf)
  if not leaf then return end
  add_websocket(leaf)
  leaf.HEAD = leaf.HEAD or leaf.GET
end

local function finish_node(node)
  finish_leaf(node.leaf)
  finish_leaf(node.slashed)
  for _, child in pairs(node.static) do finish_node(child) end
  for _, param in ipairs(node.params) do finish_node(param.node) end
end

local function new_tables(host)
  return { host = host, static = {}, root = new_node(),
    suffix = host and host:find("^%*%.") and host:sub(2) or nil }
end

--- Exact hosts first, then the longer of the others.
local function host_order(a, b)
  if (a.suffix == nil) ~= (b.suffix == nil) then return a.suffix == nil end
  return #a.host > #b.host or #a.host == #b.host and a.host < b.host
end

--- Enters both forms of a route's path, or the one it is strict about.
local function enter_route(self, tables, route, strict)
  local slash = route.parsed.slash
  enter(tables, route, slash)
  if strict == true then return end
  if route.parsed.shape ~= "/" then claim(self, route, not slash) end
  enter(tables, strict == "redirect" and redirection(route) or route, not slash)
end

--- The most that any route allows a body to have.
---@param default number bytes, of routes that do not say
---@return number
---@return boolean # whether there are routes that say
function methods:body_limit_most(default)
  local most, own = default, false
  for _, route in ipairs(self.routes) do
    most, own = math.max(most, route.body_limit or 0), own or route.body_limit ~= nil
  end
  return most, own
end

--- Makes the tables that match uses. Routes added later are not seen. Raises when two routes
--- answer the same path, one with and one without a "/" at its end.
---@param strict boolean|"redirect"|nil about a "/" at the end, of routes that do not say
function methods:compile(strict)
  local by_host = {}
  self.plain, self.hosts = new_tables(nil), nil
  for _, route in ipairs(self.routes) do
    local tables = self.plain
    if route.host then
      self.hosts = self.hosts or {}
      tables = by_host[route.host]
      if not tables then
        tables = new_tables(route.host)
        by_host[route.host] = tables
        table.insert(self.hosts, tables)
      end
    end
    local own = route.strict
    if own == nil then own = strict or false end
    enter_route(self, tables, route, own)
  end
  for _, tables in ipairs(self.hosts or {}) do finish_node(tables.root) end
  finish_node(self.plain.root)
  for _, tables in ipairs { self.plain, unpack(self.hosts or {}) } do
    for _, leaf in pairs(tables.static) do finish_leaf(leaf) end
  end
  if self.hosts then sort(self.hosts, host_order) end
end

-- ── Matching ─────────────────────────────────────────────────────────────────────────────────

-- What the last walk met that has the path but not the method. Used within one match only.
local missed, missed_count = {}, 0

local function leaf_route(leaf, method)
  if not leaf then return nil end
  local route = leaf[method]
  if not route then
    missed_count = missed_count + 1
    missed[missed_count] = leaf
  end
  return route
end

--- The route that ends at a node.
local function end_route(node, path, method, values, count)
  local slash = byte(path, #path) == 47
  local leaf = node.leaf
  if slash then leaf = node.slashed end
  local route = leaf_route(leaf, method)
  if route or not node.empty then return route end
  values[count + 1] = ""
  leaf = node.empty.leaf or node.empty.slashed
  return leaf_route(leaf, method)
end

local walk

--- Finds the route behind the parameters of a node, from the nth on. Calls itself where a loop would
--- end the trace: most nodes have one parameter.
local function walk_params(node, n, path, position, slash, method, values, count)
  local param = node.params[n]
  if not param then return nil end
  if param.rest then
    values[count + 1] = sub(path, position)
    local route = leaf_route(param.node.leaf or param.node.slashed, method)
    if route then return route end
  else
    local value, extra = param.match(sub(path, position, slash - 1))
    if value ~= nil then
      values[count + 1] = value
      if extra ~= nil then values[count + 2] = extra end
      local route = walk(param.node, path, slash + 1, method, values, count + param.width)
      if route then return route end
    end
  end
  return walk_params(node, n + 1, path, position, slash, method, values, count)
end

--- Finds the route below `node` for what follows `position`; fills `values` from `count` + 1 on.
function walk(node, path, position, method, values, count)
  if position > #path then return end_route(node, path, method, values, count) end
  local slash = find(path, "/", position, true) or #path + 1
  local child = node.static[sub(path, position, slash - 1)]
  if child then
    local route = walk(child, path, slash + 1, method, values, count)
    if route then return route end
  end
  local route = walk_params(node, 1, path, position, slash, method, values, count)
  return route -- and not as a tail call, which LuaJIT would not record
end

local function allow_header()
  local seen, list = { OPTIONS = true }, { "OPTIONS" }
  for i = 1, missed_count do
    for method in pairs(missed[i]) do
      if not seen[method] then
        seen[method] = true
        list[#list + 1] = method
      end
    end
  end
  sort(list)
  return concat(list, ", ")
end

local function match_tables(tables, method, path)
  local values = { false } -- with room for one, as most have: a table that grows costs as much again
  local route = walk(tables.root, path, 2, method, values, 0)
  if route then return route, values end
  return nil, nil
end

--- Whether a host is the one of a table, or below it. Both are in lower case.
local function is_host(tables, host)
  if tables.suffix then
    return #host > #tables.suffix and sub(host, -#tables.suffix) == tables.suffix
  end
  return host == tables.host
end

--- As match, asking the routes of the host first.
---@param method string
---@param path string
---@param host string|nil the Host header
---@return perigee.Route|nil
---@return any[]|string|nil
function methods:match_host(method, path, host)
  missed_count = 0
  local name = host and host:lower():gsub(":%d+$", ""):gsub("%.$", "")
  for _, tables in ipairs(name and self.hosts or {}) do
    if is_host(tables, name) then
      local route, values = match_tables(tables, method, path)
      if route then return route, route.count > 0 and values or nil end
    end
  end
  local route, values = match_tables(self.plain, method, path)
  if route then return route, route.count > 0 and values or nil end
  if missed_count > 0 then return nil, allow_header() end
  return nil, nil
end

--- The route for a method and a path, when no route is bound to a host. Does not yield.
---@param method string
---@param path string percent-decoded; an encoded slash is a NUL byte, see perigee.dispatch
---@return perigee.Route|nil
---@return any[]|string|nil # the parameters' values; without a route the methods for Allow when
---   the path is known, else nil
function methods:match(method, path)
  local leaf = self.plain.static[path]
  if leaf then
    local route = leaf[method]
    if route then return route, nil end
  end
  missed_count = 0
  local route, values = match_tables(self.plain, method, path)
  if route then return route, values end
  if missed_count > 0 then return nil, allow_header() end
  return nil, nil
end

return router
