--- What the inspector tells, as text for a terminal.
local tables = {}

local function age(seconds)
  if seconds < 120 then return ("%d s"):format(seconds) end
  if seconds < 7200 then return ("%d min"):format(seconds / 60) end
  if seconds < 172800 then return ("%d h"):format(seconds / 3600) end
  return ("%d d"):format(seconds / 86400)
end

--- Lines of columns as wide as what is in them. Columns of numbers are to the right.
---@param heads string[]
---@param rows string[][]
---@param right table<number, boolean> by column
local function layout(heads, rows, right)
  local widths = {}
  for i, head in ipairs(heads) do widths[i] = #head end
  for _, row in ipairs(rows) do
    for i in ipairs(heads) do widths[i] = math.max(widths[i], #(row[i] or "")) end
  end
  local out = {}
  for number = 0, #rows do
    local row, cells = number == 0 and heads or rows[number], {}
    for i, width in ipairs(widths) do
      local text = row[i] or ""
      local blank = (" "):rep(width - #text)
      cells[i] = right[i] and blank .. text or text .. blank
    end
    out[#out + 1] = (table.concat(cells, "  "):gsub(" +$", ""))
  end
  return table.concat(out, "\n") .. "\n"
end

local function number(value, format)
  return type(value) == "number" and format:format(value) or ""
end

local function mebibytes(bytes)
  return type(bytes) == "number" and ("%.1f"):format(bytes / 2 ^ 20) or ""
end

local function summary(state)
  local shared = state.shared
  local memory = ""
  if type(shared) == "table" then
    memory = ("; shared memory %.1f of %.0f MiB"):format(shared.used / 2 ^ 20, shared.size / 2 ^ 20)
  end
  return ("%s, Perigee %s, %s mode, manager %d; %d requests%s\n\n"):format(state.name, state.version,
    state.mode, state.pid, state.totals.requests, memory)
end

--- The processes.
---@param state table of /api/state
---@return string
function tables.state(state)
  local rows = {}
  for i, row in ipairs(state.processes) do
    rows[i] = { row.name, row.state, number(row.pid, "%d"), number(row.generation, "%d"),
      type(row.start_at) == "number" and age(state.now - row.start_at) or "", number(row.starts, "%d"),
      number(row.requests, "%d"), number(row.connections, "%d"),
      mebibytes(row.memory),
      type(row.last_error) == "string" and row.last_error:gsub("\n.*", "") or "" }
  end
  return summary(state) .. layout({ "NAME", "STATE", "PID", "GEN", "AGE", "STARTS", "REQUESTS", "CONNECTIONS",
    "MIB", "LAST ERROR" }, rows, { false, false, true, true, true, true, true, true, true })
end

--- Adds to each process of `now` what it did per second since `before`: rate and cpu (percent of one).
function tables.rates(now, before)
  local seconds, old = now.now - before.now, {}
  for _, row in ipairs(before.processes) do
    if row.pid then old[row.pid] = row end
  end
  for _, row in ipairs(now.processes) do
    local last = row.pid and old[row.pid]
    if last and seconds > 0 then
      row.rate = (row.requests - last.requests) / seconds
      if row.cpu_seconds and last.cpu_seconds then
        row.cpu = math.max(0, (row.cpu_seconds - last.cpu_seconds) / seconds * 100)
      end
    end
  end
end

--- The processes by what they do.
function tables.top(state)
  local rows = {}
  table.sort(state.processes, function(a, b) return (a.cpu or 0) > (b.cpu or 0) end)
  for i, row in ipairs(state.processes) do
    rows[i] = { row.name, row.state, number(row.pid, "%d"), number(row.cpu, "%.0f"),
      number(row.rate, "%.0f"), number(row.connections, "%d"), mebibytes(row.memory) }
  end
  return summary(state) .. layout({ "NAME", "STATE", "PID", "CPU %", "REQ/S", "CONNECTIONS", "MIB" }, rows,
    { false, false, true, true, true, true, true })
end

--- The requests in flight.
function tables.requests(list)
  if #list == 0 then return "no request has been in flight for long\n" end
  local rows = {}
  for i, row in ipairs(list) do
    rows[i] = { row.process, ("%.1f"):format(row.seconds), row.method .. " " .. row.target, row.ip, row.id,
      (row.stalled and "stalled " or "") .. (row.where or "") }
  end
  return layout({ "PROCESS", "SECONDS", "REQUEST", "CLIENT", "ID", "AT" }, rows, { false, true })
end

return tables
