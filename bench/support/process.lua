-- The processes of a measurement: starting one pinned to a core, what its whole tree has used, and
-- its end. Blocking code on luv: whatever waits runs the loop meanwhile.

local uv = require "luv"

local process = {}

local started = {} -- by pid, so that nothing outlives the script, however it ends

--- Seconds on the monotonic clock.
function process.now()
  return uv.hrtime() / 1e9
end

--- Runs the loop until `done()` is true, which is asked every `step` seconds (0.001) and after each event.
-- @return true, or false when `seconds` have passed
function process.wait(seconds, done, step)
  local deadline = process.now() + seconds
  local timer = uv.new_timer()
  local ms = math.max(1, math.floor((step or 0.001) * 1000))
  timer:start(ms, ms, function() end)
  local result = done()
  while not result and process.now() < deadline do
    uv.run "once"
    result = done()
  end
  timer:close()
  uv.run "nowait"
  return result and true or false
end

function process.sleep(seconds)
  process.wait(seconds, function() return false end)
end

local function pinned(argv, core, redirection)
  local command = { "sh", "-c", 'ulimit -n "$(ulimit -Hn)"; exec "$@" ' .. (redirection or ""), "sh" }
  if core then
    for _, word in ipairs { "taskset", "-c", tostring(core) } do command[#command + 1] = word end
  end
  for _, word in ipairs(argv) do command[#command + 1] = word end
  return command
end

--- Starts `argv`, silent, with as many open files as permitted.
-- @tparam table options core: the core it may run on; cwd
-- @return { pid, exited = nil | status }
function process.start(argv, options)
  options = options or {}
  local command = pinned(argv, options.core)
  local child = {}
  local handle, pid = uv.spawn(command[1], {
    args = { unpack(command, 2) }, cwd = options.cwd, stdio = { nil, nil, options.verbose and 2 or nil },
  }, function(code, signal)
    child.exited = signal ~= 0 and 128 + signal or code
    started[child.pid] = nil
    child.handle:close()
  end)
  if not handle then error("cannot start " .. argv[1] .. ": " .. tostring(pid)) end
  child.pid, child.handle = pid, handle
  started[pid] = child
  return child
end

--- Ends a child: SIGTERM, and SIGKILL after five seconds.
function process.stop(child)
  if child.exited then return end
  uv.kill(child.pid, "sigterm")
  if process.wait(5, function() return child.exited end) then return end
  for _, pid in ipairs(process.tree(child.pid)) do uv.kill(pid, "sigkill") end
  process.wait(5, function() return child.exited end)
end

--- Runs `argv` to its end, for `seconds` (300) at most.
-- @return what it wrote on stdout and stderr; its status; the nanoseconds of CPU it had used when
-- last seen, a moment before its end
function process.output(argv, core, seconds)
  local pipe = uv.new_pipe(false)
  local command, chunks, ended, exited = pinned(argv, core, "2>&1"), {}, false, nil
  local handle, pid
  handle, pid = uv.spawn(command[1], { args = { unpack(command, 2) }, stdio = { nil, pipe } },
    function(code) exited = code handle:close() end)
  if not handle then error("cannot start " .. argv[1] .. ": " .. tostring(pid)) end
  pipe:read_start(function(_, chunk)
    if chunk then chunks[#chunks + 1] = chunk else ended = true end
  end)
  local began, cpu, family = process.now(), 0, { pid }
  local over = process.wait(seconds or 300, function()
    -- Once: a look at all of /proc is dear, and what is run here has its children by then.
    if #family == 1 and process.now() - began > 0.2 then family = process.tree(pid) end
    local used = 0
    for _, id in ipairs(family) do used = used + process.cpu_of(id) end
    cpu = math.max(cpu, used)
    return ended and exited
  end, 0.03)
  assert(over, argv[1] .. " does not end")
  pipe:close()
  return table.concat(chunks), exited, cpu
end

local function read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end
process.read = read

local function pids()
  local list = {}
  local scan = uv.fs_scandir "/proc"
  while true do
    local name = uv.fs_scandir_next(scan)
    if not name then return list end
    if name:find "^%d+$" then list[#list + 1] = tonumber(name) end
  end
end

--- `pid` and all its descendants.
function process.tree(pid)
  local parent = {}
  for _, id in ipairs(pids()) do
    local stat = read("/proc/" .. id .. "/stat")
    if stat then parent[id] = tonumber(stat:match "^.*%) %S (%d+)") end
  end
  local list = { pid }
  for id in pairs(parent) do
    local at = parent[id]
    while at and at > 1 and at ~= pid do at = parent[at] end
    if at == pid then list[#list + 1] = id end
  end
  table.sort(list)
  return list
end

--- Nanoseconds of CPU that the threads of `pid` have used.
function process.cpu_of(pid)
  local sum = 0
  local scan = uv.fs_scandir("/proc/" .. pid .. "/task")
  while scan do
    local thread = uv.fs_scandir_next(scan)
    if not thread then break end
    local stat = read("/proc/" .. pid .. "/task/" .. thread .. "/schedstat")
    sum = sum + (stat and tonumber(stat:match "^(%d+)") or 0)
  end
  return sum
end

--- … that `pid` and its descendants have used.
function process.cpu(pid)
  local sum = 0
  for _, id in ipairs(process.tree(pid)) do sum = sum + process.cpu_of(id) end
  return sum
end

--- Bytes of a field of smaps_rollup ("Pss", "Private_Dirty") over a list of processes.
function process.memory(list, field)
  local sum = 0
  for _, pid in ipairs(list) do
    local rollup = read("/proc/" .. pid .. "/smaps_rollup")
    sum = sum + (rollup and tonumber(rollup:match(field .. ":%s+(%d+) kB")) or 0) * 1024
  end
  return sum
end

--- Nanoseconds that `core` was not idle, whoever used it.
function process.core_busy(core)
  local line = read("/proc/stat"):match("\ncpu" .. core .. " ([^\n]*)")
  local fields = {}
  for number in line:gmatch "%d+" do fields[#fields + 1] = tonumber(number) end
  local busy = fields[1] + fields[2] + fields[3] + fields[6] + fields[7] + (fields[8] or 0)
  return busy * 1e7 -- ticks of 10 ms
end

--- A port on 127.0.0.1 that nobody has bound.
function process.free_port()
  local socket = uv.new_tcp()
  assert(socket:bind("127.0.0.1", 0))
  local port = socket:getsockname().port
  socket:close()
  uv.run "nowait"
  return port
end

--- Calls main(dir) with a directory of its own, ends whatever it started and removes the directory,
-- also after an error, and exits.
function process.guard(main)
  local dir = assert(uv.fs_mkdtemp "/tmp/perigee-bench-XXXXXX")
  local ok, message = xpcall(function() main(dir) end, debug.traceback)
  for _, child in pairs(started) do process.stop(child) end
  process.output { "rm", "-r", dir }
  if not ok then io.stderr:write(message, "\n") end
  os.exit(ok and 0 or 1)
end

return process
