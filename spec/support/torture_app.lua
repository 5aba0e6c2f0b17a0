-- The app of torture_spec.lua. Eight managed processes use shared objects as fast as they can; one more
-- kills one of them every 50 ms, and says at the end what is left and whether it may be.
--
-- Everything is journalled in shared arrays: `begun` before an operation, `done` after it. The successor of
-- a killed process finds one operation begun and not done at most, checks that it happened or did not, and
-- goes on from there. What only one process changes is known exactly at any time; of what all change, the
-- sum is known but for the operations that were cut short.
local perigee = require "perigee"
local json = require "perigee.json"
local uv = require "luv"
local app = perigee.app "torture"

local SECONDS = tonumber(os.getenv "TORTURE_SECONDS")
local PROCESSES = 8
local KILL_PERIOD = 0.05  -- seconds
local SPARED, SPARED_FOR = 2, 5 -- so many, by turns, live for so many seconds: they would see a hang
local MESSAGES_MOST = 2 ^ 23 -- of one producer in one line
local LATE = 0.1          -- seconds from which on an operation's time is looked at more closely
local PERMITS, ACCOUNTS, BALANCE, CELLS, OWN_KEYS = 3, 32, 1000, 16, 16
local MAYBE_DONE, MAYBE_PUT = 0x80, 0x40 -- of a message's state; below is how often it was done

-- What is counted, each with its own place in the journal.
local KINDS = { "value", "double", "value.cas", "array", "counter", "dict.incr", "dict.cas", "dict.update",
  "own.dict", "own.array", "own.key", "plain", "acked", "list", "lock", "semaphore" }
local SUMMED = { "value", "double", "value.cas", "array", "counter", "dict.incr", "dict.cas", "dict.update" }
local LINES = { "plain", "acked", "list" }

-- What is timed.
local CALLS = { "value", "array", "counter", "dict.incr", "dict.set", "dict.get", "dict.delete", "dict.cas",
  "dict.update", "dict.push", "dict.pop", "dict.scan", "cache.set", "cache.get", "queue.put", "queue.get",
  "queue.get_ack", "queue.ack", "lock.acquire", "lock.release", "semaphore.acquire", "semaphore.release" }

local function numbered(list)
  local numbers = {}
  for i, name in ipairs(list) do numbers[name] = i end
  return numbers
end

local kinds, calls = numbered(KINDS), numbered(CALLS)
local o -- the shared objects

app:main_process_start(function()
  local shared = perigee.shared
  o = {
    phase = shared.value("phase", "int64"),
    wrongs = shared.value("wrongs", "int64"),
    operations = shared.array("operations", "int64", #CALLS),
    longest = shared.array("longest", "int64", #CALLS), -- ns without those it waited for a CPU
    begun = shared.array("begun", "int64", #KINDS * PROCESSES),
    done = shared.array("done", "int64", #KINDS * PROCESSES),
    unsure = shared.array("unsure", "int64", #KINDS),
    -- of each process
    pids = shared.array("pids", "int64", PROCESSES),
    doomed = shared.array("doomed", "int64", PROCESSES),
    idle = shared.array("idle", "int64", PROCESSES),
    since = shared.array("since", "double", PROCESSES),  -- when the call began that runs; 0: none does
    delay = shared.array("delay", "double", PROCESSES),  -- seconds it had waited for a CPU before this round
    holds = shared.array("holds", "int64", PROCESSES),   -- a permit: its pid
    taking = shared.array("taking", "int64", #LINES * PROCESSES), -- messages it may have taken for good
    acking = shared.array("acking", "int64", PROCESSES), -- a message's place in the states
    -- what is used
    value = shared.value("value", "int64"), double = shared.value("double", "double"),
    swapped = shared.value("swapped", "int64"), highest = shared.value("highest", "int64"),
    cells = shared.array("cells", "int64", CELLS), own = shared.array("own", "int64", PROCESSES),
    counter = shared.counter "torture_total",
    dict = shared.dict("dict", { size = "8 MiB" }),
    cache = shared.dict("cache", { size = "1 MiB", eviction = "lru" }),
    plain = shared.queue("plain",
      { capacity = 400, message_limit = 2000, size = 200000, encoding = "bytes" }),
    acked = shared.queue("acked", { capacity = 400, message_limit = 2000 }),
    lock = shared.lock "lock", inside = shared.value("inside", "int64"),
    accounts = shared.array("accounts", "int64", ACCOUNTS), deed = shared.array("deed", "int64", 5),
    semaphore = shared.semaphore("semaphore", PERMITS),
    report = shared.dict("report", { size = "256 KiB" }),
  }
  for _, line in ipairs(LINES) do
    o[line .. " states"] = shared.array(line .. " states", "uint8", PROCESSES * MESSAGES_MOST)
  end
  if o.accounts:get(1) == 0 then
    o.accounts:fill(BALANCE)
    local sums = {}
    for i = 1, PROCESSES do sums[i] = BALANCE end
    o.dict:set("sums", { sums = sums, count = 0 })
  end
end)

local function wrong(form, ...)
  print("WRONG " .. form:format(...))
  o.wrongs:add(1)
end

--- Seconds that a process has waited for a CPU while it could have run.
local function waited(pid)
  local file = io.open("/proc/" .. pid .. "/schedstat")
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return (tonumber(text:match "^%d+ (%d+)") or 0) / 1e9
end

local function now() return uv.hrtime() / 1e9 end

local function total(array, kind)
  local sum = 0
  for i = 1, PROCESSES do sum = sum + array:get((kinds[kind] - 1) * PROCESSES + i) end
  return sum
end

-- ── One that is killed ───────────────────────────────────────────────────────────────────────

local slot, pid -- from 1

local function after(call, began, ...)
  local took = now() - began
  o.since:set(slot, 0)
  if took > LATE then took = took - (waited "self" - o.delay:get(slot)) end
  o.operations:add(calls[call], 1)
  if took > 0 then o.longest:max(calls[call], math.floor(took * 1e9)) end
  return ...
end

--- Calls a method of an object, and times it.
local function timed(call, object, method, ...)
  local began = now()
  o.since:set(slot, began)
  return after(call, began, object[method](object, ...))
end

local function place(kind) return (kinds[kind] - 1) * PROCESSES + slot end

local function begin(kind, count) return o.begun:add(place(kind), count or 1) end

local function finish(kind) o.done:set(place(kind), o.begun:get(place(kind))) end

--- What was begun and not done when its predecessor was killed: first and last, or nil.
local function cut_short(kind)
  local done, begun = o.done:get(place(kind)), o.begun:get(place(kind))
  if begun > done then return done + 1, begun end
end

-- Sums ───────────────────────────────────────────────────────────────

local steps = {} -- name → what it does, again and again
local repairs = {} -- name → what its successor does first

local last_value = 0

function steps.value()
  begin "value"
  local value = timed("value", o.value, "add", 1)
  if value <= last_value then wrong("the value went from %d to %d", last_value, value) end
  last_value = value
  if timed("value", o.highest, "max", value) < value then wrong("max did not hold %d", value) end
  finish "value"
  begin "double"
  timed("value", o.double, "add", 0.5)
  finish "double"
  begin "value.cas"
  local was = o.swapped:get()
  local ok
  repeat ok, was = timed("value", o.swapped, "cas", was, was + 1) until ok
  finish "value.cas"
  begin "counter"
  timed("counter", o.counter, "add")
  finish "counter"
end

function steps.array()
  begin "array"
  timed("array", o.cells, "add", math.random(CELLS), 1)
  finish "array"
  local count = begin "own.array"
  local is = timed("array", o.own, "add", slot, 1)
  if is ~= count then wrong("own cell is %d, not %d", is, count) end
  finish "own.array"
end

repairs["own.array"] = function(_, count)
  local is = o.own:get(slot)
  if is ~= count and is ~= count - 1 then wrong("own cell is %d after a kill at %d", is, count) end
  o.own:set(slot, count)
end

function steps.dict_numbers()
  begin "dict.incr"
  if not timed("dict.incr", o.dict, "incr", "count") then wrong "the count cannot be increased" end
  finish "dict.incr"
  local count = begin "own.dict"
  local is = timed("dict.incr", o.dict, "incr", "own:" .. slot)
  if is ~= count then wrong("own count is %s, not %d", tostring(is), count) end
  finish "own.dict"
  begin "dict.cas"
  local was = o.dict:get "swapped"
  local ok
  repeat ok, was = timed("dict.cas", o.dict, "cas", "swapped", was, (was or 0) + 1) until ok
  finish "dict.cas"
end

repairs["own.dict"] = function(_, count)
  local is = o.dict:get("own:" .. slot) or 0
  if is ~= count and is ~= count - 1 then wrong("own count is %s after a kill at %d", tostring(is), count) end
  o.dict:set("own:" .. slot, count)
end

local function check_sums(held)
  local sum = 0
  for i = 1, PROCESSES do sum = sum + held.sums[i] end
  if sum ~= PROCESSES * BALANCE then wrong("the sum in a dict's table is %d", sum) end
end

function steps.dict_table()
  begin "dict.update"
  timed("dict.update", o.dict, "update", "sums", function(held)
    check_sums(held)
    local from, to = math.random(PROCESSES), math.random(PROCESSES)
    held.sums[from] = held.sums[from] - 1
    held.sums[to] = held.sums[to] + 1
    held.count = held.count + 1
    return held
  end)
  finish "dict.update"
end

-- Keys ───────────────────────────────────────────────────────────────

--- What a key has after its `n`th change: nil when that one was a removal.
local function content(n)
  if n < 1 or n % 7 == 3 then return nil end
  return n .. ":" .. string.char(97 + n % 26):rep(n * 7919 % 2500)
end

local function own_key(n) return ("key:%d:%d"):format(slot, n % OWN_KEYS) end

local function change(n)
  local text = content(n)
  if not text then return timed("dict.delete", o.dict, "delete", own_key(n)) end
  local ok, problem = timed("dict.set", o.dict, "set", own_key(n), text)
  if not ok then wrong("a key cannot be set: %s", problem) end
end

local newest = {} -- of others' keys: their highest change seen

function steps.keys()
  local n = begin "own.key"
  local is = timed("dict.get", o.dict, "get", own_key(n))
  if is ~= content(n - OWN_KEYS) then wrong("own key has %.20s before change %d", tostring(is), n) end
  change(n)
  if o.dict:get(own_key(n)) ~= content(n) then wrong("own key has not change %d", n) end
  finish "own.key"
  local key = ("key:%d:%d"):format(math.random(PROCESSES), math.random(0, OWN_KEYS - 1))
  local text = timed("dict.get", o.dict, "get", key)
  if not text then return end
  local number = tonumber(text:match "^(%d+):")
  if not number or text ~= content(number) then wrong("%s has a torn %.20s", key, text) end
  if number < (newest[key] or 0) then wrong("%s went from %d to %d", key, newest[key], number) end
  newest[key] = number
end

repairs["own.key"] = function(_, n)
  local is = o.dict:get(own_key(n))
  if is ~= content(n) and is ~= content(n - OWN_KEYS) then
    wrong("own key has %.20s after a kill at %d", tostring(is), n)
  end
  change(n)
end

function steps.cache()
  local number = math.random(4000)
  local key, text = "page:" .. number, content(number * 7)
  local is = timed("cache.get", o.cache, "get", key)
  if is ~= nil and is ~= text then wrong("the cache has %.20s at %s", tostring(is), key) end
  timed("cache.set", o.cache, "set", key, text, number % 3 == 0 and 0.1 or nil)
end

local rounds = 0

function steps.scan()
  rounds = rounds + 1
  if rounds % 50 ~= 0 then return end
  local cursor, seen = nil, {}
  repeat
    local entries
    entries, cursor = timed("dict.scan", o.dict, "scan", cursor, 20)
    for _, entry in ipairs(entries) do
      if seen[entry.key] then wrong("a scan gave %s twice", entry.key) end
      seen[entry.key] = true
    end
  until not cursor
  if not seen.count or not seen.sums then wrong "a scan missed a key" end
end

-- Messages ───────────────────────────────────────────────────────────

local function state_place(producer, n) return (producer - 1) * MESSAGES_MOST + n end

--- Sets a bit of a message's state, once for all.
local function mark(line, at, bit)
  local states = o[line .. " states"]
  local state = states:get(at)
  while state % (bit * 2) < bit do
    local ok
    ok, state = states:cas(at, state, state + bit)
    if ok then return end
  end
end

local function message(n) return ("%d %d %s"):format(slot, n, ("m"):rep(n * 31 % 700)) end

local seen = { plain = {}, acked = {}, list = {} } -- line → producer → the last of it

--- Producer and number of a message that came, whose order is checked if it comes for the first time.
local function read(line, text, is_first)
  local producer, n, pad = tostring(text):match "^(%d) (%d+) (m*)$"
  producer, n = tonumber(producer), tonumber(n)
  if not n or #pad ~= n * 31 % 700 then
    wrong("a message of %s is torn: %.20s", line, tostring(text))
    return nil
  end
  if is_first then
    local last = seen[line][producer] or 0
    if n <= last then wrong("%s: producer %d's %d came after %d", line, producer, n, last) end
    seen[line][producer] = n
  end
  return producer, n
end

--- A message is done with, for the first and last time.
local function done_with(line, producer, n)
  local state = o[line .. " states"]:add(state_place(producer, n), 1)
  if state % MAYBE_PUT ~= 1 then wrong("%s: producer %d's %d is had again: %d", line, producer, n, state) end
end

--- Puts a few with `try(first, last)`, which says how many there was room for.
local function produce(line, most, try)
  local last = begin(line, math.random(most))
  local first = o.done:get(place(line)) + 1
  if last > MESSAGES_MOST then return o.begun:set(place(line), first - 1) end
  local count = try(first, last)
  o.begun:set(place(line), first - 1 + count)
  finish(line)
end

for _, line in ipairs(LINES) do
  repairs[line] = function(first, last)
    for n = first, last do mark(line, state_place(slot, n), MAYBE_PUT) end
  end
end

--- Seconds to wait for a message or a place; seldom, as who waits does nothing else.
local function patience() return math.random(20) == 1 and 0.01 or 0 end

local function put(queue)
  return function(first, last)
    if first == last then return timed("queue.put", queue, "try_put", message(first)) and 1 or 0 end
    local list = {}
    for n = first, last do list[#list + 1] = message(n) end
    return (timed("queue.put", queue, "put_many", list, patience()))
  end
end

local function taking(line, count)
  o.taking:set((kinds[line] - kinds.plain) * PROCESSES + slot, count)
end

function steps.plain()
  produce("plain", 6, put(o.plain))
  taking("plain", 5)
  local list = timed("queue.get", o.plain, "get_many", 5, patience()) or {}
  for _, text in ipairs(list) do
    local producer, n = read("plain", text, true)
    if n then done_with("plain", producer, n) end
  end
  for _ = 1, 2 do
    taking("plain", 1)
    local text = timed("queue.get", o.plain, "try_get")
    if not text then break end
    local producer, n = read("plain", text, true)
    if n then done_with("plain", producer, n) end
  end
  taking("plain", 0)
end

function steps.list()
  local key = "list"
  if o.dict:length(key) < 1000 then
    produce("list", 1, function(n)
      local length, problem = timed("dict.push", o.dict, "push", key, message(n))
      if not length then wrong("a list cannot be pushed to: %s", problem) end
      return length and 1 or 0
    end)
  end
  taking("list", 1)
  local text = timed("dict.pop", o.dict, "pop_front", key)
  if text then
    local producer, n = read("list", text, true)
    if n then done_with("list", producer, n) end
  end
  taking("list", 0)
end

local function consume_acked()
  local text, receipt = timed("queue.get_ack", o.acked, "get_ack", patience())
  if text == nil then return end
  local producer, n = read("acked", text, receipt.deliveries == 1)
  if not n then return end
  local at = state_place(producer, n)
  if o["acked states"]:get(at) % MAYBE_PUT ~= 0 then
    wrong("producer %d's %d came after it was acknowledged", producer, n)
  end
  local fate = math.random(200)
  if fate == 1 then return end -- forgotten
  if fate < 6 then return receipt:nack() end
  o.acking:set(slot, at)
  local ok, problem = timed("queue.ack", receipt, "ack")
  if ok then done_with("acked", producer, n) else wrong("an acknowledgement failed: %s", problem) end
  o.acking:set(slot, 0)
end

function steps.acked()
  produce("acked", 4, put(o.acked))
  for _ = 1, 4 do consume_acked() end
end

-- Locks and permits ──────────────────────────────────────────────────

--- Puts back what a holder that was killed had begun to move.
local function take_back()
  local from, to, had, got, open = unpack(o.deed:read())
  if open == 0 then return end
  o.accounts:set(from, had)
  o.accounts:set(to, got)
  o.deed:set(5, 0)
end

function steps.lock()
  begin "lock"
  local ok, note = timed("lock.acquire", o.lock, "acquire", 10)
  if not ok then return wrong("the lock: %s", note) end
  local other = o.inside:exchange(pid)
  if other ~= 0 and note ~= "abandoned" then wrong("%d has the lock as well", other) end
  if note == "abandoned" then take_back() end
  if o.deed:get(5) ~= 0 then wrong "what an abandoned lock guards was not told to be half done" end
  local from, to = math.random(ACCOUNTS), math.random(ACCOUNTS - 1)
  if to >= from then to = to + 1 end
  local had, got = o.accounts:get(from), o.accounts:get(to)
  for i, number in ipairs { from, to, had, got, 1 } do o.deed:set(i, number) end
  o.accounts:set(from, had - 7)
  o.accounts:set(to, got + 7)
  local sum = 0
  for _, balance in ipairs(o.accounts:read()) do sum = sum + balance end
  if sum ~= ACCOUNTS * BALANCE then wrong("the accounts have %d", sum) end
  o.deed:set(5, 0)
  if o.inside:exchange(0) ~= pid then wrong "somebody came into the lock" end
  timed("lock.release", o.lock, "release")
  finish "lock"
end

function steps.semaphore()
  begin "semaphore"
  local ok, problem = timed("semaphore.acquire", o.semaphore, "acquire", 10)
  if not ok then return wrong("the semaphore: %s", problem) end
  o.holds:set(slot, pid)
  local holders = 0
  for i = 1, PROCESSES do
    local holder = o.holds:get(i)
    if holder ~= 0 and holder ~= o.doomed:get(i) then holders = holders + 1 end
  end
  if holders > PERMITS then wrong("%d have a permit", holders) end
  o.holds:set(slot, 0)
  timed("semaphore.release", o.semaphore, "release")
  finish "semaphore"
end

-- ────────────────────────────────────────────────────────────────────

local function repair()
  o.since:set(slot, 0)
  for kind, number in pairs(kinds) do
    local first, last = cut_short(kind)
    if first then
      if repairs[kind] then repairs[kind](first, last) end
      o.unsure:add(number, 1)
      finish(kind)
    end
  end
  if o.acking:get(slot) ~= 0 then
    mark("acked", o.acking:get(slot), MAYBE_DONE)
    o.acking:set(slot, 0)
  end
  for i = 1, #LINES do
    local count = o.taking:get((i - 1) * PROCESSES + slot)
    if count > 0 then -- so many may be lost
      o.report:incr("lost " .. LINES[i], count)
      o.taking:set((i - 1) * PROCESSES + slot, 0)
    end
  end
  o.holds:set(slot, 0)
end

app.manager:manage("hammer", function(process)
  slot, pid = process.index + 1, process.pid
  o.delay:set(slot, waited "self")
  o.pids:set(slot, pid)
  repair()
  local order = {}
  for name in pairs(steps) do order[#order + 1] = name end
  while o.phase:get() == 0 do
    o.delay:set(slot, waited "self")
    for _ = 1, 20 do
      local step = steps[order[math.random(#order)]]
      for _ = 1, math.random(5) do step() end
    end
    perigee.sleep(0)
  end
  collectgarbage() -- gives back what was forgotten, once its finalizers have run
  collectgarbage()
  o.idle:set(slot, pid)
  process:wait()
end, { workers = PROCESSES, restart = "always", max_restarts = 100, within = 1 })

-- ── The one that kills ───────────────────────────────────────────────────────────────────────

local figures = { kills = 0, missed = 0, late = 0, hung = 0 }

--- Looks for calls that do not return: seconds, without those it waited for a CPU.
local function look_for_hangs()
  for i = 1, PROCESSES do
    local since, victim = o.since:get(i), o.pids:get(i)
    local took = since > 0 and victim ~= o.doomed:get(i) and now() - since or 0
    if took > 0.5 then
      took = took - (waited(victim) - o.delay:get(i))
      if o.since:get(i) == since and o.pids:get(i) == victim then
        figures.hung = math.max(figures.hung, took)
      end
    end
  end
end

local function kill_one(elapsed)
  local spared = math.floor(elapsed / SPARED_FOR)
  local candidates = {}
  for i = 1, PROCESSES do
    local turn = (i - 1 - spared) % (PROCESSES / SPARED)
    local victim = o.pids:get(i)
    if turn ~= 0 and victim ~= 0 and victim ~= o.doomed:get(i) then candidates[#candidates + 1] = i end
  end
  if #candidates == 0 then
    figures.missed = figures.missed + 1
    return
  end
  local i = candidates[math.random(#candidates)]
  o.doomed:set(i, o.pids:get(i))
  uv.kill(o.pids:get(i), "sigkill")
  figures.kills = figures.kills + 1
end

--- Takes what is left in the lines.
local function drain()
  slot, pid = 1, 0 -- nobody is there any more to be disturbed
  local text, receipt
  repeat
    text = o.plain:get(0.2)
    if text then
      local producer, n = read("plain", text)
      done_with("plain", producer, n)
    end
  until not text
  repeat
    text = o.dict:pop_front "list"
    if text then
      local producer, n = read("list", text)
      done_with("list", producer, n)
    end
  until not text
  local until_when = now() + 3 -- what was forgotten comes back when it is collected
  repeat
    text, receipt = o.acked:get_ack(0.2)
    if text then
      local producer, n = read("acked", text)
      if receipt:ack() then done_with("acked", producer, n) end
    end
  until not text and (now() > until_when or o.acked:stat().taken == 0)
end

local function judge_sums()
  local sums = o.dict:get "sums"
  check_sums(sums)
  local cells = 0
  for _, number in ipairs(o.cells:read()) do cells = cells + number end
  local is = { value = o.value:get(), double = o.double:get() * 2, ["value.cas"] = o.swapped:get(),
    array = cells, counter = o.counter:get(), ["dict.incr"] = o.dict:get "count",
    ["dict.cas"] = o.dict:get "swapped", ["dict.update"] = sums.count }
  for _, kind in ipairs(SUMMED) do
    local begun, unsure = total(o.begun, kind), o.unsure:get(kinds[kind])
    if is[kind] > begun or is[kind] < begun - unsure then
      wrong("%s: %s, of %d begun, %d cut short", kind, tostring(is[kind]), begun, unsure)
    end
  end
end

local function judge_messages()
  for _, line in ipairs(LINES) do
    local missing, twice, states = 0, 0, o[line .. " states"]
    for producer = 1, PROCESSES do
      for n = 1, o.begun:get((kinds[line] - 1) * PROCESSES + producer) do
        local state = states:get(state_place(producer, n))
        if state == 0 then missing = missing + 1 end
        if state % MAYBE_PUT > 1 then twice = twice + 1 end
      end
    end
    local may_be_lost = o.report:get("lost " .. line) or 0
    if missing > may_be_lost or twice > 0 then
      wrong("%s: %d messages are missing and %d may be, %d came twice", line, missing, may_be_lost, twice)
    end
    figures[line] = { put = total(o.begun, line), missing = missing, may_be_lost = may_be_lost }
  end
end

local function judge_accounts()
  local ok, note = o.lock:acquire(2)
  if not ok then return wrong("the lock is not to be had: %s", note) end
  if note == "abandoned" then take_back() end
  local sum = 0
  for _, balance in ipairs(o.accounts:read()) do sum = sum + balance end
  if sum ~= ACCOUNTS * BALANCE then wrong("the accounts have %d at the end", sum) end
  for i = 1, PERMITS do
    if not o.semaphore:acquire(2) then wrong("permit %d does not come back", i) end
  end
end

local function record()
  figures.operations, figures.longest, figures.calls = 0, 0, {}
  for i, name in ipairs(CALLS) do
    local count, longest = o.operations:get(i), o.longest:get(i) / 1e9
    figures.operations = figures.operations + count
    figures.calls[name] = { count = count, longest = longest }
    if longest > figures.longest then figures.longest, figures.longest_call = longest, name end
  end
  figures.cut_short = 0
  for i = 1, #KINDS do figures.cut_short = figures.cut_short + o.unsure:get(i) end
  figures.wrongs = o.wrongs:get()
  figures.undone = 0
  for _, name in ipairs { "dict", "cache", "plain", "acked" } do
    figures.undone = figures.undone + o[name]:stat().undone
  end
  figures.abandoned, figures.revived = o.lock:stat().abandoned, o.semaphore:stat().revived
  figures.returned, figures.evicted = o.acked:stat().returned, o.cache:stat().evicted
  o.report:set("report", json.encode(figures))
end

local function all_are_idle()
  for i = 1, PROCESSES do
    if o.idle:get(i) == 0 or o.idle:get(i) ~= o.pids:get(i) or o.pids:get(i) == o.doomed:get(i) then
      return false
    end
  end
  return true
end

app.manager:manage("killer", function(process)
  local began = now()
  local last = began
  while now() - began < SECONDS do
    perigee.sleep(math.max(0, last + KILL_PERIOD - now()))
    figures.late = math.max(figures.late, now() - last - KILL_PERIOD)
    last = now()
    look_for_hangs()
    kill_one(last - began)
  end
  o.phase:set(1)
  local until_when = now() + 30
  while not all_are_idle() and now() < until_when do perigee.sleep(0.01) end
  if not all_are_idle() then wrong "not all came to an end" end
  drain()
  judge_sums()
  judge_messages()
  judge_accounts()
  record()
  process:wait()
end, { restart = "never" })

app:get("/", function() return "here" end)
app:get("/report", function() return o.report:get "report" or "" end)

return app
