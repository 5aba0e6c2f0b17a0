--- What the inspector reads: of processes from /proc, of requests and objects from shared memory.
local ffi = require "ffi"

local abi = require "perigee.abi"
local json = require "perigee.json"
local shared = require "perigee.shared"

local C = abi.C

ffi.cdef [[
int getppid(void);
long sysconf(int name);
struct timeval { long tv_sec; long tv_usec; };
int gettimeofday(struct timeval *now, void *zone);
]]

local SC_PAGESIZE, SC_CLK_TCK = 30, 2 -- sysconf(3) on Linux
local page = tonumber(ffi.C.sysconf(SC_PAGESIZE))
local ticks = tonumber(ffi.C.sysconf(SC_CLK_TCK))

local measures = {}

--- Seconds since 1970, with a fraction.
function measures.now()
  local now = ffi.new "struct timeval"
  ffi.C.gettimeofday(now, nil)
  return tonumber(now.tv_sec) + tonumber(now.tv_usec) / 1e6
end

--- The manager, whose child every process of the app is.
function measures.manager_pid()
  return ffi.C.getppid()
end

local function read_file(path)
  local file = io.open(path, "r")
  local text = file and file:read("*a")
  if file then file:close() end
  return text
end

--- Adds to a process's row what the kernel knows: cpu_seconds and memory (resident bytes).
---@param row perigee.ProcessRow
---@return perigee.ProcessRow
function measures.of_process(row)
  if not row.pid then return row end
  local stat = read_file(("/proc/%d/stat"):format(row.pid))
  -- proc(5): behind the name in parentheses, which may hold anything, utime and stime are the 12th and 13th
  local user, system = (stat or ""):match("^.*%)%s+%S+" .. ("%s+%S+"):rep(10) .. "%s+(%d+)%s+(%d+)")
  local resident = (read_file(("/proc/%d/statm"):format(row.pid)) or ""):match("^%d+%s+(%d+)")
  row.cpu_seconds = user and (tonumber(user) + tonumber(system)) / ticks or nil
  row.memory = resident and tonumber(resident) * page or nil
  return row
end

--- The requests in flight that have taken a while, the oldest first: of which process, what, for how
--- long, and where a process that is stalled stands.
---@return table[]
function measures.requests()
  local list, stall = ffi.new "struct shm_activity_list", ffi.new "struct shm_activity_stall"
  local row, found = ffi.new "struct shm_row", {}
  local now = tonumber(C.script_now())
  for seat = 0, C.shm_state_seats() - 1 do
    local is_other = seat ~= C.shm_state_own()
    if is_other and C.shm_state_read(seat, row) == 1 and C.shm_activity_requests(seat, list) == 0 then
      local is_stalled = C.shm_activity_stall(seat, stall) == 0 and stall.since ~= 0
      for i = 0, list.count - 1 do
        local request = list.requests[i]
        found[#found + 1] = {
          process = ffi.string(row.process.name), pid = row.process.pid,
          method = ffi.string(request.method), target = ffi.string(request.target),
          id = ffi.string(request.id), ip = ffi.string(request.ip),
          seconds = math.max(0, (now - tonumber(request.since)) / 1000),
          stalled = is_stalled and stall.serving == request.serial or nil,
          where = is_stalled and stall.serving == request.serial and ffi.string(stall.where)
            or request.where[0] ~= 0 and ffi.string(request.where) or nil,
        }
      end
    end
  end
  table.sort(found, function(a, b) return a.seconds > b.seconds end)
  return json.array(found)
end

--- perigee.shared.stat(), or nothing where there is no shared memory.
function measures.shared()
  local ok, stat = pcall(shared.stat)
  return ok and stat or nil
end

return measures
