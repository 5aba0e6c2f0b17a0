--- Coroutines that wait: park and wake, sleep, cancel.
---
--- A *task* is a coroutine the scheduler resumes. It parks itself by yielding; whoever it waits
--- for wakes it, and it goes on when Lua has returned to C, never inside the waker. A coroutine
--- that a task makes for itself may park too: the token it yields is handed up to the task.
---
--- All waiting in Perigee ends here, so this is the one place where a task is cancelled.
local caller = require "perigee.caller"
local log = require "perigee.log"
local traceback = require "perigee.traceback"

local create, raw_resume, raw_wrap = coroutine.create, coroutine.resume, coroutine.wrap
local raw_yield, running = coroutine.yield, coroutine.running
local floor = math.floor

local scheduler = {
  ---@type perigee.Task|nil the task whose code is running
  current = nil,
}

---@class perigee.Task
---@field coroutine thread
---@field serial number of the request it serves, 0 for none
---@field parked boolean
---@field cancelled any the error every wait raises from now on
---@field sleep table|nil its entry in the heap of sleepers
---@field failed fun(value: any)|nil called when the coroutine dies of an error; default: logged

local PARK = setmetatable({}, { __tostring = function() return "perigee: a task waits" end })

---@class perigee.Cancelled an error: the task is to end. Its text says why.
local cancelled_mt = { quiet = true, __name = "perigee.cancelled" }
function cancelled_mt.__tostring(self) return "cancelled: " .. self.reason end

local clock          -- { now() → ms, timer_set(delay ms), wake_soon(), serving(serial) }
local by_request = {} -- serial → task, while it is parked
local heap = {}      -- sleepers, { deadline, task }, earliest first; stale when not task.sleep
local stale = 0      -- entries of the heap, about, whose task was woken before its time
local ready = {}     -- woken tasks: task, ok, value, task, ok, value …
local ready_count = 0

--- Connects the scheduler to the loop.
---@param backend table `now()`: milliseconds, `timer_set(delay)`: have tick called then,
---   `wake_soon()`: have ready called once Lua has returned, `serving(serial)`, optional: whose code runs
function scheduler.open(backend)
  clock = backend
  clock.serving = clock.serving or function() end
end

--- A task for a coroutine that somebody else resumes first.
---@param co thread
---@return perigee.Task
function scheduler.adopt(co)
  return { coroutine = co, serial = 0, parked = false, cancelled = nil, sleep = nil }
end

--- Tells whoever answers for a task that it died of an error.
local function died(task, value)
  if task.failed then return task.failed(value) end
  if scheduler.is_cancelled(value) then return end
  log.error("in a task: %s", traceback.text(traceback.of(task.coroutine, value)))
end

local function resume(task, ok, value)
  local previous = scheduler.current
  scheduler.current = task
  clock.serving(task.serial)
  local alive, problem = raw_resume(task.coroutine, ok, value)
  scheduler.current = previous
  if not alive then died(task, problem) end
end

--- Runs `fn(...)` as a new task, up to its first wait, before this returns.
---@param fn fun(...) its errors are logged
---@return perigee.Task
function scheduler.spawn(fn, ...)
  local task = scheduler.adopt(create(fn))
  local previous = scheduler.current
  scheduler.current = task
  local alive, problem = raw_resume(task.coroutine, ...)
  scheduler.current = previous
  if not alive then died(task, problem) end
  return task
end

--- Parks the running task until it is woken. Yields.
---@return any # what wake was given; raises when the task is cancelled
function scheduler.park()
  local task = scheduler.current
  if not task then
    caller.fail("this has to wait, which handlers and listeners can, but not a libuv callback "
      .. "(or a file that is only being checked)")
  end
  if task.cancelled then error(task.cancelled, 0) end
  local serial = task.serial
  task.parked = true
  if serial ~= 0 then by_request[serial] = task end
  scheduler.current = nil
  local ok, value = raw_yield(PARK)
  if serial ~= 0 then by_request[serial] = nil end
  if not ok then error(value, 0) end
  return value
end

local function make_ready(task, ok, value)
  task.parked = false
  ready[ready_count + 1], ready[ready_count + 2], ready[ready_count + 3] = task, ok, value
  ready_count = ready_count + 3
  clock.wake_soon()
end

--- Has a parked task go on soon; park returns `value` there. Does not yield.
---@param task perigee.Task
---@param value any
---@return boolean # false when the task was not waiting
function scheduler.wake(task, value)
  if not task.parked then return false end
  make_ready(task, true, value)
  return true
end

--- Resumes a parked task before this returns; park returns `value` there. Only for what C calls, as
--- nobody's code but the task's may be running.
---@param task perigee.Task
---@param value any
function scheduler.go_on(task, value)
  if not task.parked then return end
  task.parked = false
  resume(task, true, value)
end

--- Ends a task: what it waits for, now and later, raises an error whose text gives the reason.
---@param task perigee.Task
---@param reason string
function scheduler.cancel(task, reason)
  if task.cancelled then return end
  task.cancelled = setmetatable({ reason = reason }, cancelled_mt)
  if task.parked then make_ready(task, false, task.cancelled) end
end

--- The parked task that serves a request.
---@param serial number
---@return perigee.Task|nil
function scheduler.of_request(serial)
  return by_request[serial]
end

--- Whether an error is a task's cancellation.
function scheduler.is_cancelled(value)
  return getmetatable(value) == cancelled_mt
end

--- Resumes what was woken. Called from C, when Lua has returned.
function scheduler.ready()
  local list, count = ready, ready_count
  ready, ready_count = {}, 0
  for i = 1, count, 3 do resume(list[i], list[i + 1], list[i + 2]) end
end

--- Puts an entry into the heap.
local function heap_push(entry)
  local i = #heap + 1
  while i > 1 do
    local parent = floor(i / 2)
    if heap[parent][1] <= entry[1] then break end
    heap[i] = heap[parent]
    i = parent
  end
  heap[i] = entry
end

--- Takes the earliest entry out of the heap.
local function heap_pop()
  local first, count = heap[1], #heap
  local last = heap[count]
  heap[count] = nil
  count = count - 1
  if count == 0 then return first end
  local i = 1
  while true do
    local child = i * 2
    if child > count then break end
    if child < count and heap[child + 1][1] < heap[child][1] then child = child + 1 end
    if heap[child][1] >= last[1] then break end
    heap[i] = heap[child]
    i = child
  end
  heap[i] = last
  return first
end

--- Puts a task among the sleepers.
local function sleep_until(task, deadline)
  local entry = { deadline, task }
  task.sleep = entry
  heap_push(entry)
  if heap[1] == entry then clock.timer_set(math.max(0, deadline - clock.now())) end
end

--- Drops the entries nobody waits for any more once they are most of the heap.
local function drop_stale()
  stale = stale + 1
  if stale < 64 or stale < #heap / 2 then return end
  local old = heap
  heap, stale = {}, 0
  for _, entry in ipairs(old) do
    if entry[2].sleep == entry then heap_push(entry) end
  end
end

--- Parks the running task until it is woken, or for a time. Yields.
---@param seconds number|nil nil: as scheduler.park
---@return any # what wake was given; nil when the time is up
function scheduler.park_for(seconds)
  local task = scheduler.current
  if not seconds or not task then return scheduler.park() end
  sleep_until(task, clock.now() + seconds * 1000)
  local value = scheduler.park()
  task.sleep = nil
  if value ~= nil then drop_stale() end
  return value
end

--- Waits. Yields.
---@param seconds number 0 or more; fractions count to the millisecond
function scheduler.sleep(seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    caller.fail("perigee.sleep: seconds must be a number, 0 or more, not %s", tostring(seconds))
  end
  local task = scheduler.current
  if not task then return scheduler.park() end -- which says what is wrong
  sleep_until(task, clock.now() + seconds * 1000)
  scheduler.park()
  task.sleep = nil
end

--- The scheduler's clock.
---@return number # milliseconds, monotonic, the same in all processes
function scheduler.now()
  return clock.now()
end

--- Resumes the sleepers whose time has come. Called from C, by the timer.
function scheduler.tick()
  local now = clock.now()
  while heap[1] and heap[1][1] <= now do
    local entry = heap_pop()
    local task = entry[2]
    if task.parked and task.sleep == entry then
      task.parked = false
      resume(task, true)
    end
  end
  -- what nobody waits for any more need not wake us
  while heap[1] and heap[1][2].sleep ~= heap[1] do heap_pop() end
  if heap[1] then clock.timer_set(math.max(0, heap[1][1] - clock.now())) end
end

--- Hands a park inside a user's coroutine up to the task around it, and the wake down again.
local function relay(co, ok, token, ...)
  if ok and token == PARK then return relay(co, raw_resume(co, raw_yield(PARK))) end
  return ok, token, ...
end

local function unwrap(ok, ...)
  if not ok then error((...), 0) end
  return ...
end

--- Lets code wait inside coroutines of its own, by replacing coroutine.resume and coroutine.wrap.
function scheduler.install()
  function coroutine.resume(co, ...)
    return relay(co, raw_resume(co, ...))
  end
  function coroutine.wrap(fn)
    if type(fn) ~= "function" then return raw_wrap(fn) end -- raises
    local co = create(fn)
    return function(...) return unwrap(relay(co, raw_resume(co, ...))) end
  end
end

--- The running coroutine, for a body that makes itself a task.
scheduler.running = running

--- Yields without parking: for coroutines that C resumes.
scheduler.yield = raw_yield

return scheduler
