--- Which route answers a method and a path.
---
--- Routes without parameters are one table lookup; the others are a trie, one level for each
--- segment, tried from the most to the least specific: literal text, then parameters by the order
--- of `kinds`. A value that does not fit its type is no match, so the search goes on and may end
--- in 404. A "/" at the end of the path is ignored.
---
--- Nothing here uses Lua patterns or makes closures while matching: it is part of the hot path
--- and must compile.
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"

local find, sub, byte = string.find, string.sub, string.byte
local concat, sort = table.concat, table.sort

local router = {}

---@class perigee.Route
---@field methods string[] as given, upper case
---@field pattern string as given
---@field handler function
---@field place string where it was made: "app.lua:12"
---@field name string|nil
---@field names string[] of its parameters, in order
---@field count number of its parameters
---@field site perigee.Site|nil of app:static
---@field weak boolean|nil gives way to another route of the same shape

-- ── Parameter types: (segment) → value, or nil when it does not fit; `ext` gives two ──────────

local EXACT = 2 ^ 53 -- below it a number is one integer only

--- Whether every byte from `first` on is a digit, and there is one.
local function digits(text, first, last)
  if first > last then return false end
  for i = first, last do
    local c = byte(text, i)
    if c < 48 or c > 57 then return false end
  end
  return true
end

local function match_int(text)
  if not digits(text, byte(text) == 45 and 2 or 1, #text) then return nil end -- 45: "-"
  local value = tonumber(text)
  if value >= EXACT or value <= -EXACT then return nil end
  return value
end

local function match_float(text)
  local first = byte(text) == 45 and 2 or 1
  local dot = find(text, ".", first, true)
  if dot then
    local whole, part = dot > first, dot < #text
    if not whole and not part then return nil end
    if whole and not digits(text, first, dot - 1) then return nil end
    if part and not digits(text, dot + 1, #text) then return nil end
  elseif not digits(text, first, #text) then
    return nil
  end
  return tonumber(text)
end

local function match_str(text)
  if text == "" then return nil end
  return text
end

local function match_alpha(text)
  if text == "" then return nil end
  for i = 1, #text do
    local c = byte(text, i)
    if not (c >= 65 and c <= 90 or c >= 97 and c <= 122) then return nil end
  end
  return text
end

--- Lower-case letters and digits, joined by single hyphens.
local function match_slug(text)
  local hyphen = true -- none at the start
  for i = 1, #text do
    local c = byte(text, i)
    if c == 45 then
      if hyphen then return nil end
      hyphen = true
    elseif c >= 97 and c <= 122 or c >= 48 and c <= 57 then
      hyphen = false
    else
      return nil
    end
  end
  if hyphen then return nil end
  return text
end

local function match_uuid(text)
  if #text ~= 36 then return nil end
  for i = 1, 36 do
    local c = byte(text, i)
    if i == 9 or i == 14 or i == 19 or i == 24 then
      if c ~= 45 then return nil end
    elseif not (c >= 48 and c <= 57 or c >= 97 and c <= 102 or c >= 65 and c <= 70) then
      return nil
    end
  end
  return text
end

local month_days = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- A day that exists: "2026-02-28".
local function match_ymd(text)
  if #text ~= 10 or byte(text, 5) ~= 45 or byte(text, 8) ~= 45 then return nil end
  if not (digits(text, 1, 4) and digits(text, 6, 7) and digits(text, 9, 10)) then return nil end
  local year, month, day = tonumber(sub(text, 1, 4)), tonumber(sub(text, 6, 7)), tonumber(sub(text, 9))
  if month < 1 or month > 12 or day < 1 or day > month_days[month] then return nil end
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  if month == 2 and day == 29 and not leap then return nil end
  return text
end

--- "report.tar" → "report", "tar": split at the last dot.
local function match_ext(text)
  for i = #text - 1, 2, -1 do
    if byte(text, i) == 46 then return sub(text, 1, i - 1), sub(text, i + 1) end
  end
  return nil
end

--- By name; `rank` orders siblings, `width` is the number of values.
local kinds = {
  uuid = { match = match_uuid, rank = 1, width = 1 },
  ymd = { match = match_ymd, rank = 2, width = 1 },
  int = { match = match_int, rank = 3, width = 1 },
  float = { match = match_float, rank = 4, width = 1 },
  alpha = { match = match_alpha, rank = 5, width = 1 },
  slug = { match = match_slug, rank = 6, width = 1 },
  ext = { match = match_ext, rank = 7, width = 2 },
  str = { match = match_str, rank = 8, width = 1 },
  path = { match = match_str, rank = 9, width = 1, rest = true },
}
local kind_names = { "str", "int", "float", "path", "alpha", "slug", "uuid", "ymd", "ext" }

-- ── Patterns ─────────────────────────────────────────────────────────────────────────────────

--- One segment of a pattern: its text, or its parameter's kind and name.
local function parse_segment(segment, pattern)
  if not segment:find("[<>]") then return { text = segment } end
  local inner = segment:match("^<([^<>]*)>$")
  if not inner then
    caller.fail("route '%s': '%s' mixes text and a parameter; a parameter is a whole segment: "
      .. "/text/<name>", pattern, segment)
  end
  local name, kind = inner:match("^([%a_][%w_]*)$"), "str"
  if not name then name, kind = inner:match("^([%a_][%w_]*):([%w_]+)$") end
  if not name then
    caller.fail("route '%s': '<%s>' is no parameter; write <name> or <name:type> with one of the types %s",
      pattern, inner, concat(kind_names, " "))
  end
  if not kinds[kind] then
    caller.fail("route '%s': there is no parameter type '%s'%s (types: %s)", pattern, kind,
      nearest.hint(kind, kind_names), concat(kind_names, " "))
  end
  return { name = name, kind = kind }
end

--- Takes a pattern apart. Raises at the caller's place when it is none.
---@param pattern string
---@return table[] segments # { text= } or { name=, kind= }
---@return string[] names # of the values a match gives
function router.parse(pattern)
  caller.check(pattern, "string", "a route's path")
  if byte(pattern) ~= 47 then
    caller.fail("route '%s': a path starts with '/'", pattern)
  end
  if pattern:find("[%z\1-\32?#\127]") then
    caller.fail("route '%s': a path has no space, '?' or '#'; it is matched without the query", pattern)
  end
  local segments, names, seen = {}, {}, {}
  local trimmed = #pattern > 1 and pattern:gsub("/$", "") or ""
  for text in trimmed:gmatch("/([^/]*)") do
    if text == "" then caller.fail("route '%s': '//' never matches", pattern) end
    local segment = parse_segment(text, pattern)
    local last = segments[#segments]
    if last and last.kind == "path" then
      caller.fail("route '%s': <%s:path> takes the rest of the path, so nothing can follow it",
        pattern, last.name)
    end
    segments[#segments + 1] = segment
    if segment.name then
      names[#names + 1] = segment.name
      if segment.kind == "ext" then names[#names + 1] = "ext" end
    end
  end
  for _, name in ipairs(names) do
    if seen[name] then caller.fail("route '%s': two parameters are called '%s'", pattern, name) end
    seen[name] = true
  end
  return segments, names
end

--- The pattern with its parameters' names left out: two routes with the same shape collide.
local function shape_of(segments)
  local parts = {}
  for i, segment in ipairs(segments) do
    parts[i] = segment.text or "<" .. segment.kind .. ">"
  end
  return "/" .. concat(parts, "/")
end

-- ── The router ───────────────────────────────────────────────────────────────────────────────

---@class perigee.Router
local methods = {}
local router_mt = { __index = methods }

---@return perigee.Router
function router.new()
  return setmetatable({
    routes = {},  -- in the order they were added
    shapes = {},  -- shape → method → route
    static = {},  -- path → method → route; filled by compile
    root = nil,   -- trie; made by compile
  }, router_mt)
end

--- Adds a route. Raises at the caller's place when there is one like it.
---@param route perigee.Route names and count are filled in
function methods:add(route)
  local segments, names = router.parse(route.pattern)
  local shape = shape_of(segments)
  local by_method = self.shapes[shape] or {}
  for _, method in ipairs(route.methods) do
    local other = by_method[method]
    if other and other.weak and not route.weak then
      self:remove(other)
    elseif other and route.weak and not other.weak then
      return
    elseif other then
      caller.fail("route %s %s is there already: %s %s, made at %s", method, route.pattern, method,
        other.pattern, other.place)
    end
  end
  for _, method in ipairs(route.methods) do by_method[method] = route end
  self.shapes[shape] = by_method
  route.segments, route.names, route.count = segments, names, #names
  self.routes[#self.routes + 1] = route
end

--- Takes a route out of the list; whoever calls puts another in its place.
function methods:remove(route)
  for i, other in ipairs(self.routes) do
    if other == route then
      table.remove(self.routes, i)
      return
    end
  end
end

local function new_node()
  return { static = {}, params = {}, leaf = nil }
end

local function param_node(node, kind)
  for _, param in ipairs(node.params) do
    if param.kind == kind then return param.node end
  end
  local param = { kind = kind, match = kinds[kind].match, rank = kinds[kind].rank,
    width = kinds[kind].width, rest = kinds[kind].rest or false, node = new_node() }
  table.insert(node.params, param)
  sort(node.params, function(a, b) return a.rank < b.rank end)
  return param.node
end

--- Method → route with HEAD from GET, and the names for Allow.
local function make_leaf(by_method)
  local leaf = {}
  for method, route in pairs(by_method) do leaf[method] = route end
  leaf.HEAD = leaf.HEAD or leaf.GET
  return leaf
end

--- Makes the tables that match uses. Routes added later are not seen.
function methods:compile()
  self.static, self.root = {}, new_node()
  for shape, by_method in pairs(self.shapes) do
    local _, any = next(by_method)
    local leaf, node = make_leaf(by_method), self.root
    for _, segment in ipairs(any.segments) do
      if segment.text then
        node.static[segment.text] = node.static[segment.text] or new_node()
        node = node.static[segment.text]
      else
        node = param_node(node, segment.kind)
      end
    end
    node.leaf = leaf
    if any.count == 0 then
      self.static[shape] = leaf
      if shape ~= "/" then self.static[shape .. "/"] = leaf end
    end
  end
end

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

--- Finds the route below `node` for what follows `position`; fills `values` from `count` + 1 on.
local function walk(node, path, position, method, values, count)
  if position > #path then return leaf_route(node.leaf, method) end
  local slash = find(path, "/", position, true) or #path + 1
  local segment = sub(path, position, slash - 1)
  local child = node.static[segment]
  if child then
    local route = walk(child, path, slash + 1, method, values, count)
    if route then return route end
  end
  local params = node.params
  for i = 1, #params do
    local param = params[i]
    if param.rest then
      values[count + 1] = sub(path, position)
      local route = leaf_route(param.node.leaf, method)
      if route then return route end
    else
      local value, extra = param.match(segment)
      if value ~= nil then
        values[count + 1] = value
        if extra ~= nil then values[count + 2] = extra end
        local route = walk(param.node, path, slash + 1, method, values, count + param.width)
        if route then return route end
      end
    end
  end
  return nil
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

--- The route for a method and a path. Does not yield.
---@param method string
---@param path string percent-decoded; an encoded slash is a NUL byte, see perigee.dispatch
---@return perigee.Route|nil
---@return any[]|string|nil # the parameters' values; without a route the methods for Allow when
---   the path is known, else nil
function methods:match(method, path)
  local leaf = self.static[path]
  if leaf then
    local route = leaf[method]
    if route then return route, nil end
  end
  missed_count = 0
  local values = { false } -- with room for one, as most have: a table that grows costs as much again
  local route = walk(self.root, path, 2, method, values, 0)
  if route then return route, values end
  if missed_count > 0 then return nil, allow_header() end
  return nil, nil
end

return router
