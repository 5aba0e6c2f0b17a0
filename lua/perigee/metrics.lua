--- The metrics of an application and of its host, as Prometheus and OpenMetrics' readers take them (text
--- format 0.0.4). Every process gives the same: they are in shared memory.
local ffi = require "ffi"

local abi = require "perigee.abi"
local metric = require "perigee.shared.metric"
local state = require "perigee.state"

local C = abi.C
local concat, tonumber = table.concat, tonumber

local metrics = {
  --- The Content-Type of the text.
  TYPE = "text/plain; version=0.0.4; charset=utf-8",
}

local escapes = { ["\\"] = "\\\\", ["\n"] = "\\n", ["\""] = "\\\"" }

local function figure(number)
  if number ~= number then return "NaN" end
  if number == math.huge then return "+Inf" end
  if number == -math.huge then return "-Inf" end
  local short = ("%.15g"):format(number)
  return tonumber(short) == number and short or ("%.17g"):format(number)
end

--- {a="1",b="2"}, or "" for none.
local function label_text(names, values, more)
  local parts = {}
  for i, name in ipairs(names) do
    parts[i] = ("%s=\"%s\""):format(name, (values[i]:gsub("[\\\n\"]", escapes)))
  end
  parts[#parts + 1] = more
  return #parts > 0 and "{" .. concat(parts, ",") .. "}" or ""
end

local function head(out, name, kind, help)
  if help ~= "" then
    out[#out + 1] = ("# HELP %s %s"):format(name, (help:gsub("[\\\n]", escapes)))
  end
  out[#out + 1] = ("# TYPE %s %s"):format(name, kind)
end

local function line(out, name, labels, number)
  out[#out + 1] = name .. labels .. " " .. figure(number)
end

local function add_histogram(out, one, values, cell)
  local total = 0
  for i, bound in ipairs(one.buckets) do
    total = total + tonumber(C.shm_value_get_int64(cell(i)))
    local more = ("le=\"%s\""):format(figure(bound))
    line(out, one.name .. "_bucket", label_text(one.labels, values, more), total)
  end
  total = total + tonumber(C.shm_value_get_int64(cell(#one.buckets + 1)))
  line(out, one.name .. "_bucket", label_text(one.labels, values, "le=\"+Inf\""), total)
  local labels = label_text(one.labels, values)
  line(out, one.name .. "_sum", labels, C.shm_value_get_double(cell(0)))
  line(out, one.name .. "_count", labels, total)
end

local function add_metric(out, one)
  head(out, one.name, one.kind, one.help)
  metric.each(one, function(values, cell)
    if one.kind == "histogram" then return add_histogram(out, one, values, cell) end
    line(out, one.name, label_text(one.labels, values), C.shm_value_get_double(cell(0)))
  end)
end

local function sorted(all)
  local list = {}
  for _, one in pairs(all) do list[#list + 1] = one end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- ── Perigee's own ────────────────────────────────────────────────────────────────────────────

local PROCESS_LABELS = { "process", "role", "generation", "pid" }

--- A figure of each process that has one.
local function add_processes(out, rows, name, kind, help, get)
  head(out, name, kind, help)
  for _, row in ipairs(rows) do
    local number = get(row)
    if number and row.pid then
      line(out, name, label_text(PROCESS_LABELS, { row.name, row.role, tostring(row.generation),
        tostring(row.pid) }), number)
    end
  end
end

local function add_one(out, name, kind, help, number)
  head(out, name, kind, help)
  line(out, name, "", number)
end

local function add_region(out)
  local stat = ffi.new "struct shm_region_stat"
  if C.shm_region_stat(stat) ~= 0 then return end
  add_one(out, "perigee_shared_memory_bytes", "gauge", "Size of the shared memory.", tonumber(stat.size))
  add_one(out, "perigee_shared_memory_used_bytes", "gauge", "Of the shared memory, what objects take.",
    tonumber(stat.used))
end

local function add_overflows(out, list)
  local any = false
  for _, one in ipairs(list) do
    local overflows = one:stat().overflows
    if overflows > 0 then
      if not any then
        head(out, "perigee_metric_overflows_total", "counter",
          "Look-ups that ended in the series \"other\", as there were too many.")
      end
      any = true
      line(out, "perigee_metric_overflows_total", label_text({ "metric" }, { one.name }), overflows)
    end
  end
end

local function add_own(out, list)
  local rows, totals = state.rows(), state.totals()
  local workers, connections = 0, 0
  for _, row in ipairs(rows) do
    if row.role == "worker" and row.serving then workers = workers + 1 end
    connections = connections + row.connections
  end
  add_one(out, "perigee_requests_total", "counter", "Requests that handlers were given.", totals.requests)
  add_one(out, "perigee_connections_accepted_total", "counter", "Connections accepted, or taken over.",
    totals.connections_accepted)
  add_one(out, "perigee_connections", "gauge", "Connections open now.", connections)
  add_one(out, "perigee_workers", "gauge", "Workers that serve.", workers)
  add_processes(out, rows, "perigee_process_requests_total", "counter", "Requests, by process.",
    function(row) return row.server and row.requests or nil end)
  add_processes(out, rows, "perigee_process_connections", "gauge", "Connections open now, by process.",
    function(row) return row.server and row.connections or nil end)
  add_processes(out, rows, "perigee_process_start_time_seconds", "gauge", "When a process was started.",
    function(row) return row.start_at end)
  add_processes(out, rows, "perigee_process_starts_total", "counter",
    "Processes started in a process's place.", function(row) return row.starts end)
  add_region(out)
  add_overflows(out, list)
end

--- All metrics there are: the application's by name, then the host's. Does not yield.
---@return string # with a line break at its end
function metrics.text()
  local out, list = {}, sorted(metric.all)
  local function add(own) -- the app's first
    for _, one in ipairs(list) do
      if (one.name:find("^perigee_") ~= nil) == own then add_metric(out, one) end
    end
  end
  add(false)
  add_own(out, list)
  add(true)
  out[#out + 1] = ""
  return concat(out, "\n")
end

return metrics
