--- Asking the manager, and waiting for what became of it.
---
--- A request is answered once, when what it asked for has happened or has failed (host/manager/control.h).
local abi = require "perigee.abi"
local caller = require "perigee.caller"
local latch = require "perigee.latch"
local nearest = require "perigee.nearest"
local record = require "perigee.record"
local scheduler = require "perigee.scheduler"

local control = {}

-- Requests of this process that wait at once. Their answers share a socket with what the manager says
-- unasked, which must always find room there.
local WAITING_MOST = 64

local last_id = 0
local waiting = {} -- id → { done = latch, block = the answer }
local waiting_count = 0

--- The answer to a request has come. Called from C.
---@param id number
---@param block string
function control.answer(id, block)
  local entry = waiting[id]
  if not entry then return end
  waiting[id] = nil
  waiting_count = waiting_count - 1
  entry.block = block
  entry.done:open()
end

local function send(id, block)
  local result = abi.C.script_request(abi.state, id, block, #block)
  if result == abi.NOT_HERE then return nil, "there is no manager to be asked", "ENOTSUP" end
  if result ~= 0 then return nil, "the manager cannot be asked", "EPIPE" end
  return true
end

--- What was answered, as our functions return it.
local function read(block)
  local values = record.parse(block)
  local function first(key) return values[key] and values[key][1] end
  local message = first "message"
  if first "ok" == "1" then return true, message end
  local code = first "code"
  if values.name then -- the names there are; the one that is meant was the message's
    local wrong = message:match "'(.*)'"
    if wrong then message = message .. nearest.hint(wrong, values.name) end
  end
  return nil, message, code
end

--- Asks the manager. Yields until it is done, or cannot be.
---@param what string for messages: "app.m:scale"
---@param op string
---@param fields table<string, string|number|string[]>|nil what the operation needs; of a list, each
---@return true|nil # done
---@return string|nil # a note on how; or nil's reason
---@return string|nil # and its code
function control.ask(what, op, fields)
  local pieces = {}
  record.add(pieces, "op", op)
  for key, value in pairs(fields or {}) do
    for _, element in ipairs(type(value) == "table" and value or { value }) do
      if tostring(element):find("%z") then caller.fail("%s: %q has a NUL", what, tostring(element)) end
    end
    record.add_all(pieces, key, value)
  end
  if not scheduler.current then scheduler.park() end -- which says what is wrong
  if waiting_count >= WAITING_MOST then
    return nil, ("%d requests of this process wait for their answers already"):format(WAITING_MOST), "busy"
  end
  last_id = last_id % 2 ^ 30 + 1
  local id, entry = last_id, { done = latch.new() }
  waiting[id], waiting_count = entry, waiting_count + 1
  local ok, message, code = send(id, record.block(pieces))
  if not ok then
    waiting[id], waiting_count = nil, waiting_count - 1
    return nil, message, code
  end
  entry.done:wait(nil, what)
  return read(entry.block)
end

-- ── What both halves offer ───────────────────────────────────────────────────────────────────

local orders = { "startup_first", "shutdown_first" }

--- Raises at the caller's place unless all keys are known and of their types.
---@param what string
---@param options table|nil
---@param types table<string, string> name → Lua type, or "any"
---@return table
function control.check_options(what, options, types)
  if options == nil then return {} end
  caller.check(options, "table", what .. ": the options")
  for key, value in pairs(options) do
    if not types[key] then
      local names = {}
      for name in pairs(types) do names[#names + 1] = name end
      caller.fail("%s: unknown option '%s'%s", what, tostring(key), nearest.hint(tostring(key), names))
    end
    if types[key] ~= "any" then
      caller.check(value, types[key], ("%s: the option '%s'"):format(what, key))
    end
  end
  return options
end

local function check_names(what, names)
  if names == nil then return nil end
  if type(names) == "string" then names = { names } end
  caller.check(names, "table", what .. ": the name")
  if #names == 0 then caller.fail("%s: there is no name in the list", what) end
  for _, name in ipairs(names) do caller.check(name, "string", what .. ": a name") end
  return names
end

--- restart, for app.m and app.manager.
---@param what string
---@param names string|string[]|nil
---@param options { order: string|nil }|nil
function control.restart(what, names, options)
  options = control.check_options(what, options, { order = "string" })
  local order = options.order
  if order and order ~= orders[1] and order ~= orders[2] then
    caller.fail("%s: the order must be \"startup_first\" or \"shutdown_first\", not %q%s", what, order,
      nearest.hint(order, orders))
  end
  return control.ask(what, "restart", { name = check_names(what, names), order = order })
end

--- stop, for app.m.
function control.stop(what, names)
  return control.ask(what, "stop", { name = check_names(what, names) })
end

--- scale, for app.m and app.manager.
function control.scale(what, count)
  caller.check(count, "number", what .. ": the number of workers")
  if count % 1 ~= 0 or count < 0 or count > 2 ^ 31 then -- the manager knows the real limits
    return nil, ("there can be no %s workers"):format(tostring(count)), "EINVAL"
  end
  return control.ask(what, "scale", { workers = ("%d"):format(count) })
end

return control
