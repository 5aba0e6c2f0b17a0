--- Objects that every process of the app sees, in shared memory; they outlive workers and reloads.
---
---     app:main_process_start(function(app)
---       app.shared.hits = perigee.shared.value("hits", "int64")
---     end)
---     app:get("/", function(req) return "hit " .. app.shared.hits:add(1) end)
---
--- One is made in the main process, with its contents when it was there before a reload; in a worker
--- one that exists is opened. One of the same name with another shape is an error that says both.
local object = require "perigee.shared.object"

local shared = {}

--- A number or boolean. Does not yield; raises at the caller's place.
---@param name string 1 to 63 bytes
---@param kind "int64"|"double"|"bool"
---@param options { initial: number|boolean }|nil for a new one; default 0 or false
---@return perigee.SharedValue # with get, set, cas, exchange, and for numbers add, max, min; all atomic
function shared.value(name, kind, options)
  return require("perigee.shared.value").new(name, kind, options)
end

--- Numbers or booleans by index, from 1. Does not yield; raises at the caller's place.
---@param name string 1 to 63 bytes
---@param kind "int64"|"double"|"int32"|"uint8"|"bool"|nil nil: of one that exists
---@param count number|nil how many; all begin as 0 or false
---@return perigee.SharedArray # with what a value has, after an index; read, write, fill and length
function shared.array(name, kind, count, options)
  return require("perigee.shared.array").new(name, kind, count, options)
end

--- Whether a value is a shared object.
---@return boolean
shared.is_object = object.is

return shared
