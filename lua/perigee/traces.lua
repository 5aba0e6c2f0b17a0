--- Where the code of compiled traces begins, told to the C side as each is compiled: what a stuck
--- worker's traceback needs, and what nothing else keeps. Costs nothing once a trace is compiled.
---
--- LuaJIT has one such listener; whoever attaches another (jit.v, jit.p) has it instead.
local abi = require "perigee.abi"
local jit_util = require "jit.util"

local traces = {}

local begun = {} -- number → place, of traces that are being recorded

local function listen(what, number, fn, pc)
  if what == "start" then
    local info = fn and jit_util.funcinfo(fn, pc)
    begun[number] = info and info.loc
  elseif what == "stop" then
    abi.C.script_trace_note(number, begun[number] or "")
    begun[number] = nil
  elseif what == "abort" then
    begun[number] = nil
  end
end

--- Listens from now on.
function traces.watch()
  jit.off(listen)
  jit.attach(listen, "trace")
end

return traces
