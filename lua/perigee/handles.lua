--- libuv handles made in the main process: where each was made, and which are still open.
---
--- A handle cannot cross a fork, so the main process must have closed its own before the first
--- one. luv does not say who made a handle; while the app loads, its constructors are wrapped.
local uv = require "luv"

local caller = require "perigee.caller"

local handles = {}

local constructors = {
  "new_timer", "new_prepare", "new_check", "new_idle", "new_async", "new_poll", "new_socket_poll",
  "new_signal", "spawn", "new_tcp", "new_pipe", "new_tty", "new_udp", "new_fs_event", "new_fs_poll",
}

local originals = {}
local places = setmetatable({}, { __mode = "k" }) -- handle → where it was made

local function noted(place, handle, ...)
  if handle ~= nil then places[handle] = place end
  return handle, ...
end

--- Notes from now on where handles are made.
function handles.watch()
  for _, name in ipairs(constructors) do
    local make = uv[name]
    if make and not originals[name] then
      originals[name] = make
      uv[name] = function(...) return noted(caller.place(), make(...)) end
    end
  end
end

--- Stops that, for a process that will not fork.
function handles.unwatch()
  for name, make in pairs(originals) do
    uv[name] = make
    originals[name] = nil
  end
end

--- The open handles, as an error for a person.
---@return string|nil # nil when there are none
function handles.leaks()
  local list = {}
  for handle, place in pairs(places) do
    if not uv.is_closing(handle) then
      list[#list + 1] = ("%s: a %s is still open"):format(place, uv.handle_get_type and
        uv.handle_get_type(handle) or tostring(handle):match("^uv_(%w+)_t") or tostring(handle))
    end
  end
  if #list == 0 then return nil end
  table.sort(list)
  list[1] = list[1] .. " in the main process; close it in the hook that made it, or make it in a "
    .. "worker (before_server_start): it cannot cross a fork"
  return table.concat(list, "\n")
end

--- Keeps app code from running or ending the loop that Perigee runs.
function handles.protect_loop()
  local run = uv.run
  --- Runs the loop for one turn: for the command line, whose loop is nobody else's.
  function handles.run_once() return run("once") end
  for _, name in ipairs { "run", "stop", "loop_close" } do
    uv[name] = function()
      caller.fail("uv.%s: Perigee runs the event loop; wait with perigee.sleep, or in callbacks", name)
    end
  end
end

return handles
