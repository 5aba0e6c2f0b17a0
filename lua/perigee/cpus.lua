--- How many CPUs this process may use: its affinity, and its cgroup's quota.
local uv = require "luv"

local cpus = {}

local function read(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

--- CPUs' worth of a quota, or nil when there is none.
local function quota(allowed, period)
  allowed, period = tonumber(allowed), tonumber(period)
  if not allowed or not period or allowed <= 0 or period <= 0 then return nil end
  return allowed / period
end

--- The smallest quota of a cgroup and those above it. `at(path)` tells one group's.
local function smallest(path, at)
  local least
  while true do
    local here = at(path)
    if here and (not least or here < least) then least = here end
    if path == "" or path == "/" then return least end
    path = path:match("^(.*)/[^/]*$") or ""
  end
end

--- The quota in CPUs of the cgroup, v2 or v1.
---@param root string|nil for specs: what stands for "/"
---@return number|nil
function cpus.quota(root)
  root = root or ""
  local groups = read(root .. "/proc/self/cgroup") or ""
  local v2 = groups:match("0::([^\n]*)")
  if v2 then
    local found = smallest(v2, function(path)
      local text = read(("%s/sys/fs/cgroup%s/cpu.max"):format(root, path)) or ""
      return quota(text:match("^(%d+) (%d+)"))
    end)
    if found then return found end
  end
  local v1 = groups:match("%d+:[^:\n]*cpu,?[^:\n]*:([^\n]*)")
  if not v1 then return nil end
  return smallest(v1, function(path)
    local folder = ("%s/sys/fs/cgroup/cpu%s/"):format(root, path)
    return quota(read(folder .. "cpu.cfs_quota_us"), read(folder .. "cpu.cfs_period_us"))
  end)
end

--- CPUs to use: at least 1; part of a CPU counts as one.
---@return number
function cpus.count()
  local count = uv.available_parallelism and uv.available_parallelism() or #uv.cpu_info()
  local limit = cpus.quota()
  if limit then count = math.min(count, math.ceil(limit)) end
  return math.max(1, count)
end

return cpus
