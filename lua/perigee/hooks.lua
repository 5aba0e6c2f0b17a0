--- Functions around handlers: in which order they run.
---
--- Request hooks run by priority, the highest first; those of one priority in the order they were
--- added, the app's before its blueprints'. Response hooks run in exactly the opposite order, so
--- that what is innermost going in is innermost coming out.
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"

local hooks = {}

---@class perigee.Hook
---@field fn function
---@field priority number
---@field place string

--- Adds a hook to a list. Raises at the caller's place.
---@param list perigee.Hook[]
---@param what string for messages: "app:on_request"
---@param fn function
---@param options { priority: number }|nil default 0
function hooks.add(list, what, fn, options)
  caller.check(fn, "function", what .. ": the hook")
  if options ~= nil then caller.check(options, "table", what .. ": the options") end
  for key in pairs(options or {}) do
    if key ~= "priority" then
      caller.fail("%s: unknown option '%s'%s", what, tostring(key),
        nearest.hint(tostring(key), { "priority" }))
    end
  end
  local priority = options and options.priority or 0
  caller.check(priority, "number", what .. ": the priority")
  list[#list + 1] = { fn = fn, priority = priority, place = caller.place() }
end

--- The functions of several lists, in the order of requests.
---@param lists perigee.Hook[][] outermost first
---@return function[]
function hooks.order(lists)
  local all, count = {}, 0
  for _, list in ipairs(lists) do
    for _, hook in ipairs(list) do
      count = count + 1
      all[count] = { fn = hook.fn, priority = hook.priority, order = count }
    end
  end
  table.sort(all, function(a, b)
    return a.priority > b.priority or a.priority == b.priority and a.order < b.order
  end)
  for i, hook in ipairs(all) do all[i] = hook.fn end
  return all
end

return hooks
