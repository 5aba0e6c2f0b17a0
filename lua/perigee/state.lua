--- What every process of an app can read about all of them, and tell about itself.
---
--- The manager and each process write it into the slots table (host/shm/slots.h); reading asks nobody.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local record = require "perigee.record"

local state = {
  ---@type { name: string, file: string, bind: string[] }[]|nil the apps that workers serve; set by boot
  serves = nil,
}

---@class perigee.ProcessRow
---@field name string "main", "worker-0", the name of a managed process
---@field role string "main", "worker", "managed", "command"
---@field server boolean whether it is to serve clients
---@field serving boolean whether it does
---@field state string as Sanic's: NONE, IDLE, RESTARTING, STARTING, STARTED, ACKED, JOINED, TERMINATED,
---  FAILED, COMPLETED
---@field pid number|nil nil before it runs
---@field generation number
---@field start_at number|nil seconds since 1970, with a fraction
---@field starts number how many processes were started in its place
---@field restart_at number|nil of the last start but the first
---@field requests number it was given
---@field connections number open now
---@field last_error string|nil why a process in its place failed
---@field apps { name: string, file: string, bind: string[] }[]|nil of a worker: whom it serves, where
---@field [string] any what the process told itself

-- enum shm_state of host/shm/state_abi.h
local names = { "NONE", "IDLE", "RESTARTING", "STARTING", "STARTED", "ACKED", "JOINED", "TERMINATED",
  "FAILED", "COMPLETED" }

local restricted = { "name", "role", "server", "serving", "state", "pid", "generation", "start_at", "starts",
  "restart_at", "requests", "connections", "last_error", "apps" }
local is_restricted = {}
for _, key in ipairs(restricted) do is_restricted[key] = true end

-- Places of counters in a worker's seat: struct http_counters, checked in host/worker/worker.c.
local REQUESTS, CONNECTIONS, ACCEPTED = 0, 1, 2

local row -- struct shm_row, made when first needed

-- ── What processes tell of themselves ────────────────────────────────────────────────────────

local encode = {
  string = function(value) return "s" .. value end,
  number = function(value) return ("n%.17g"):format(value) end,
  boolean = function(value) return value and "b1" or "b0" end,
}

local decode = {
  s = function(text) return text end,
  n = tonumber,
  b = function(text) return text == "1" end,
}

local told = {} -- key → value, of this process

local function check_key(key, value)
  if type(key) ~= "string" or key == "" or key:find("%z") then
    caller.fail("app.m.state: a key must be a string that is not empty and has no NUL, not %s", tostring(key))
  end
  if is_restricted[key] then caller.fail("app.m.state.%s cannot be set: it is Perigee's", key) end
  if value ~= nil and not encode[type(value)] then
    caller.fail("app.m.state.%s must be a string, a number or a boolean, not a %s", key, type(value))
  end
  if type(value) == "string" and value:find("%z") then caller.fail("app.m.state.%s has a NUL", key) end
end

--- Writes what this process tells, with one key changed.
local function tell(key, value)
  check_key(key, value)
  local before = told[key]
  told[key] = value
  local pieces = {}
  for name, known in pairs(told) do record.add(pieces, name, encode[type(known)](known)) end
  local block = record.block(pieces)
  if abi.C.shm_state_set_keys(block, #block) == 0 then return end
  told[key] = before
  caller.fail("app.m.state.%s: there is room for %d bytes of keys and values", key, abi.C.SHM_KEYS_SIZE)
end

-- ── Reading ──────────────────────────────────────────────────────────────────────────────────

local function seconds(milliseconds)
  local number = tonumber(milliseconds)
  return number ~= 0 and number / 1000 or nil
end

local function optional(text)
  return text ~= "" and text or nil
end

--- The row that was read last, as a table.
local function describe()
  local process = row.process
  local result = {
    name = ffi.string(process.name),
    role = ffi.string(process.role),
    server = process.server ~= 0,
    serving = process.serving ~= 0,
    state = names[process.state] or "NONE",
    pid = process.pid ~= 0 and process.pid or nil,
    generation = process.generation,
    start_at = seconds(process.start_at),
    starts = process.starts,
    restart_at = seconds(process.restart_at),
    requests = tonumber(row.counters[REQUESTS]),
    connections = tonumber(row.counters[CONNECTIONS]),
    last_error = optional(ffi.string(process.last_error)),
  }
  if result.role == "worker" then result.apps = state.serves end
  for key, values in pairs(record.parse(ffi.string(row.keys, row.keys_size))) do
    local kind, text = values[1]:match("^(%l)(.*)$")
    if not is_restricted[key] and decode[kind] then result[key] = decode[kind](text) end
  end
  return result
end

local function read(seat)
  row = row or ffi.new("struct shm_row")
  if abi.C.shm_state_read(seat, row) == 0 then return nil end
  return describe(), tonumber(row.process.number)
end

local ranks = { main = 1, worker = 2 }

--- worker-2 before worker-10, and of one name the one that serves, or the latest, first.
local function before(a, b)
  local one, other = a.row, b.row
  local rank, other_rank = ranks[one.role] or 3, ranks[other.role] or 3
  if rank ~= other_rank then return rank < other_rank end
  if one.name ~= other.name then
    local stem, number = one.name:match("^(.-)(%d*)$")
    local other_stem, other_number = other.name:match("^(.-)(%d*)$")
    if stem ~= other_stem then return stem < other_stem end
    return (tonumber(number) or -1) < (tonumber(other_number) or -1)
  end
  if one.serving ~= other.serving then return one.serving end
  return a.number > b.number
end

local by_name_mt = {
  --- rows["worker-0"]: the process that is in that place.
  __index = function(rows, name)
    for _, found in ipairs(rows) do
      if found.name == name then return found end
    end
    return nil
  end,
}

--- All processes of the app: a list, in which `rows["worker-0"]` is found too. While a process is
--- being replaced there are two of its name, the one that serves first. Does not yield.
---@return perigee.ProcessRow[]
function state.rows()
  local found = {}
  for seat = 0, abi.C.shm_state_seats() - 1 do
    local described, number = read(seat)
    if described then found[#found + 1] = { row = described, number = number } end
  end
  table.sort(found, before)
  local rows = {}
  for i, entry in ipairs(found) do rows[i] = entry.row end
  return setmetatable(rows, by_name_mt)
end

--- What all processes that are and that ever were have counted: never less than before, exact also
--- across deaths. Does not yield.
---@return { requests: number, connections_accepted: number }
function state.totals()
  local totals = ffi.new("uint64_t[?]", abi.C.SHM_COUNTERS)
  abi.C.shm_state_totals(totals)
  return { requests = tonumber(totals[REQUESTS]), connections_accepted = tonumber(totals[ACCEPTED]) }
end

--- app.m.state: this process's own row, to which keys can be added.
---@return table
function state.own()
  return setmetatable({}, {
    __name = "perigee.state",
    __index = function(_, key)
      if not is_restricted[key] then return told[key] end
      local seat = abi.C.shm_state_own()
      local found = seat >= 0 and read(seat)
      return found and found[key]
    end,
    __newindex = function(_, key, value) tell(key, value) end,
  })
end

return state
