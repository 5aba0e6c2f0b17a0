--- The functions C calls, and nothing else; script.c keeps them as references.
local abi = require "perigee.abi"
local caller = require "perigee.caller"
local handles = require "perigee.handles"
local scheduler = require "perigee.scheduler"
local traceback = require "perigee.traceback"

local entry = {}

local websocket -- perigee.websocket, once one has something to say

local function websocket_event(serial)
  websocket = websocket or require("perigee.websocket")
  websocket.event(serial)
end

--- Runs `require(module)[name](argument)` in a task; calls finish(ok, text) at its end.
local function start(module, name, argument, finish)
  scheduler.spawn(function()
    local ok, result = xpcall(function()
      return require(module)[name](argument)
    end, traceback.handler)
    if ok then
      finish(true, result == nil and "" or tostring(result))
    else
      finish(false, traceback.text(result))
    end
  end)
end

--- Connects Lua to the C side.
---@param address lightuserdata of the struct script_state
---@param release fun(slot: number)
---@return table<string, function>
function entry.open(address, release)
  abi.open(address)
  local C, state = abi.C, abi.state
  scheduler.open({
    now = function()
      local now = C.script_now()
      return now -- and not as a tail call, which LuaJIT would not record
    end,
    timer_set = function(delay) C.script_timer_set(state, delay) end,
    wake_soon = function() state.ready = 1 end,
    serving = function(serial) state.serving = serial end,
  })
  scheduler.install()
  handles.protect_loop()
  -- dispatch is loaded with the app: the command line needs none of it
  return {
    start = start,
    serve = function(slot) return require("perigee.dispatch").body(slot, release) end,
    failed = function(slot, value) require("perigee.dispatch").failed(slot, value, release) end,
    body = function(serial) require("perigee.body").arrived(serial) end,
    cancel = function(serial, why) require("perigee.dispatch").cancel(serial, why) end,
    writable = function(serial) require("perigee.dispatch").writable(serial) end,
    websocket = websocket_event,
    answer = function(id, block) require("perigee.control").answer(id, block) end,
    tick = scheduler.tick,
    ready = scheduler.ready,
    where = function(serial)
      local task = scheduler.of_request(serial)
      return task and caller.place_in(task.coroutine) or ""
    end,
    changed = function() require("perigee.waiting").changed() end,
    leaks = handles.leaks,
    trace = function(value) return traceback.text(traceback.handler(value)) end,
  }
end

return entry
