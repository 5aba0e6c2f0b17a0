-- What /proc tells about processes, so that specs need no cooperation from those they watch.

local uv = require "luv"

local proc = {}

local function read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read "*a" -- nil when the process has just ended
  file:close()
  return text
end

--- One process: { pid, parent, state, group, session, name, command }, or nil when there is none.
function proc.get(pid)
  local stat = read("/proc/" .. pid .. "/stat")
  if not stat then return nil end
  local name, state, parent, group, session = stat:match "^%d+ %((.*)%) (%S) (%-?%d+) (%-?%d+) (%-?%d+)"
  if not name then return nil end
  local command = (read("/proc/" .. pid .. "/cmdline") or ""):gsub("%z", " ")
  return { pid = pid, parent = tonumber(parent), state = state, group = tonumber(group),
    session = tonumber(session), name = name, command = command }
end

--- All processes for which `wanted(process)` is true, by pid.
function proc.list(wanted)
  local list = {}
  local scan = uv.fs_scandir "/proc"
  while true do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    local process = name:find "^%d+$" and proc.get(tonumber(name))
    if process and wanted(process) then list[#list + 1] = process end
  end
  table.sort(list, function(a, b) return a.pid < b.pid end)
  return list
end

--- Whether the process's environment, as it was at exec, holds `text`.
function proc.environment_has(pid, text)
  local environment = read("/proc/" .. pid .. "/environ")
  return environment ~= nil and environment:find(text, 1, true) ~= nil
end

--- Number of open descriptors; nil when the process is gone.
function proc.descriptors(pid)
  local scan = uv.fs_scandir("/proc/" .. pid .. "/fd")
  if not scan then return nil end
  local count = 0
  while uv.fs_scandir_next(scan) do count = count + 1 end
  return count
end

--- Bytes of a field of smaps_rollup: "Pss", "Private_Dirty"; nil when the process is gone.
function proc.memory(pid, field)
  local rollup = read("/proc/" .. pid .. "/smaps_rollup")
  local kib = rollup and rollup:match("\n" .. field .. ":%s+(%d+) kB")
  return kib and tonumber(kib) * 1024
end

--- A list of processes as a person reads it in a failed spec.
function proc.describe(list)
  local lines = {}
  for _, process in ipairs(list) do
    lines[#lines + 1] = ("%d (parent %d, state %s) %s %s"):format(process.pid, process.parent,
      process.state, process.name, process.command)
  end
  return #lines > 0 and table.concat(lines, "\n") or "none"
end

return proc
