--- Which handler answers an error: by what was raised, by where.
---
--- Asked are the route, then its blueprint and those around it, then the app. In each, a handler of
--- the error's class comes first, then the first one whose test says yes, then one of the status,
--- then one for all.
local caller = require "perigee.caller"
local http = require "perigee.http"

local exceptions = {}

local CLASS_DEPTH = 16 -- classes above an error's own that are looked at

---@class perigee.Exceptions
---@field status table<number, table>
---@field classes table<table, table> class → { fn=, place= }
---@field tests table[] { test=, fn=, place= }
---@field any table|nil

---@return perigee.Exceptions
function exceptions.new()
  return { status = {}, classes = {}, tests = {}, any = nil }
end

local function refuse_second(what, key, other)
  if other then caller.fail("%s: there is a handler for %s already, made at %s", what, key, other.place) end
end

--- Adds a handler. Raises at the caller's place.
---@param set perigee.Exceptions
---@param what string for messages: "app:exception"
---@param key number|table|function|nil a status, a class, a test; nil for all errors
---@param fn fun(req: perigee.Request, err: any): any
function exceptions.add(set, what, key, fn)
  caller.check(fn, "function", what .. ": the handler")
  local entry = { fn = fn, place = caller.place() }
  if key == nil then
    refuse_second(what, "any error", set.any)
    set.any = entry
  elseif type(key) == "function" then
    entry.test = key
    set.tests[#set.tests + 1] = entry
  elseif type(key) == "table" then
    refuse_second(what, "this class", set.classes[key])
    set.classes[key] = entry
  elseif type(key) == "number" and key % 1 == 0 and key >= 400 and key <= 599 then
    refuse_second(what, tostring(key), set.status[key])
    set.status[key] = entry
  else
    caller.fail("%s: the status must be a number from 400 to 599, not %s (or give a class, or a test)", what,
      tostring(key))
  end
end

--- What a value's class is in terms of the one below: `__index` of its metatable.
local function parent_of(class)
  local mt = getmetatable(class)
  if type(mt) ~= "table" then return nil end
  local index = rawget(mt, "__index")
  return type(index) == "table" and index or mt
end

--- The handler for the class an error is made of: its metatable, that one's `__index`, and what
--- these inherit from.
local function by_class(set, err)
  if type(err) ~= "table" or next(set.classes) == nil then return nil end
  local class = getmetatable(err)
  for _ = 1, CLASS_DEPTH do
    if type(class) ~= "table" then return nil end
    if set.classes[class] then return set.classes[class] end
    local index = rawget(class, "__index")
    if type(index) == "table" and set.classes[index] then return set.classes[index] end
    class = parent_of(type(index) == "table" and index or class)
  end
  return nil
end

local function by_test(set, err)
  for _, entry in ipairs(set.tests) do
    if entry.test(err) then return entry end
  end
  return nil
end

--- The handler for an error, or nil. Calls the app's tests.
---@param chain perigee.Exceptions[] innermost first
---@param err any what was raised
---@return function|nil
---@return number # the status of the usual answer
function exceptions.find(chain, err)
  local status = http.is_error(err) and err.status or 500
  for _, set in ipairs(chain) do
    local entry = by_class(set, err) or by_test(set, err) or set.status[status] or set.any
    if entry then return entry.fn, status end
  end
  return nil, status
end

return exceptions
