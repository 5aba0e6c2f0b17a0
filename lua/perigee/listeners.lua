--- The hooks of an app's life, and their order.
---
---     main_process_start    main process, before anything is forked; shared objects are made here
---     before_server_start   each worker, before it accepts
---     after_server_start    each worker, once it accepts
---     main_process_ready    main process, once every worker serves
---     before_server_stop    each worker, when it is told to drain
---     after_server_stop     each worker, when its last connection is gone
---     main_process_stop     main process, when no process of its generation is left
---
--- Start hooks run in the order they were given, stop hooks in the opposite one. All may yield.
local caller = require "perigee.caller"
local traceback = require "perigee.traceback"

local listeners = {}

listeners.names = {
  "main_process_start", "before_server_start", "after_server_start", "main_process_ready",
  "before_server_stop", "after_server_stop", "main_process_stop",
}

local backwards = { before_server_stop = true, after_server_stop = true, main_process_stop = true }

--- Whether hooks of this name run in the opposite order.
---@param name string
---@return boolean
function listeners.is_backwards(name)
  return backwards[name] or false
end

---@return table # name → list of { fn=, place= }
function listeners.new()
  local set = {}
  for _, name in ipairs(listeners.names) do set[name] = {} end
  return set
end

--- Adds a hook. Raises at the caller's place.
function listeners.add(set, name, fn)
  caller.check(fn, "function", "app:" .. name .. ": the listener")
  table.insert(set[name], { fn = fn, place = caller.place() })
end

--- What went wrong in a hook, with its name.
local function describe(name, listener, fault)
  local raised = traceback.unwrap(fault)
  local text = traceback.message(raised)
  if not text:find("^[^\n]-:%d+: ") then text = listener.place .. ": " .. text end
  local first, rest = text:match("^([^\n]*)(.*)$")
  text = ("%s (in the %s listener of %s)%s"):format(first, name, listener.place, rest)
  return text .. (fault ~= raised and fault.traceback ~= "" and "\n" .. fault.traceback or "")
end

-- What one of them could not undo is no reason to leave the rest undone.
local function run_backwards(list, name, app)
  local problems = {}
  for i = #list, 1, -1 do
    local ok, fault = xpcall(list[i].fn, traceback.handler, app)
    if not ok then problems[#problems + 1] = describe(name, list[i], fault) end
  end
  if #problems > 0 then error(table.concat(problems, "\n"), 0) end
end

--- Runs the hooks of one name. Yields when they do. Raises the first error, with the hook's name; of stop
--- hooks all run, and all their errors are raised as one.
---@param set table of listeners.new
---@param name string
---@param app perigee.App
function listeners.run(set, name, app)
  local list = set[name]
  if backwards[name] then return run_backwards(list, name, app) end
  for i = 1, #list do
    local ok, fault = xpcall(list[i].fn, traceback.handler, app)
    if not ok then error(describe(name, list[i], fault), 0) end
  end
end

return listeners
