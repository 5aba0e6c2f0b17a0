-- Instructions, by perf, where the (virtual) processor counts them.

local process = require "bench.support.process"

local counters = {}

--- Whether there is a perf, and a processor that counts.
-- @return true; or false and why not
function counters.present()
  local text, status = process.output { "perf", "stat", "-e", "instructions:u,instructions:k", "true" }
  if status ~= 0 and not text:find "Performance counter stats" then
    return false, "perf cannot be run here"
  end
  if status ~= 0 or text:find "not supported" or text:find "not counted" then
    return false, "this machine's processor counts no instructions"
  end
  return true
end

--- `argv` such that what `pid` and its descendants execute meanwhile is counted.
-- @param core that argv runs on, nil for any
function counters.command(argv, pid, core)
  local command = { "perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "-p",
    table.concat(process.tree(pid), ","), "--" }
  local pin = core and { "taskset", "-c", tostring(core) } or {}
  for _, word in ipairs(pin) do command[#command + 1] = word end
  for _, word in ipairs(argv) do command[#command + 1] = word end
  return command
end

--- What such a command said.
-- @return instructions in user mode, in the kernel; nil where perf gave none
function counters.read(text)
  local function of(kind) return tonumber(text:match("([%d.]+),[^,]*,instructions:" .. kind)) end
  return of "u", of "k"
end

return counters
