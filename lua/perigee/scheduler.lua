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
---@field encoding boolean|nil while what the handler returned is made into JSON
---@field sleep table|nil its entry in the heap of sleepers
---@field failed fun(value: any)|nil called when the coroutine dies of an error; default: logged

local PARK = setmetatable({}, { __tostring = function() return "perigee: a task waits" end })

---@class perigee.Cancelled an error: the task is to end. Its text says why.
local cancelled_mt = { quiet = true, __name = "perigee.cancelled" }
function cancelled_mt.__tostring(self) return "cancelled: " .. self.reason end

local clock          -- { now() → ms, timer_set(delay ms), wake_soon() }
local by_request = {} -- serial → task, while it is parked
local heap = {}      -- sleepers, { deadline, task, due }, earliest first; stale when not task.sleep
local stale_count = 0 -- entries of the heap that nobody waits for any more
local ready = {}     -- woken tasks: task, ok, value, task, ok, value …
local ready_count = 0

--- Connects the scheduler to the loop.
---@param backend table `now()`: milliseconds, `timer_set(delay)`: have tick called then,
---   `wake_soon()`: have ready called once Lua has returned
function scheduler.open(backend)
  clock = backend
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

local STALE_LIMIT = 64 -- entries; with more than that, and half of the heap, it is made anew

--- Leaves only what somebody waits for. A sorted list is a heap.
local function heap_clean()
  local kept = {}
  for _, entry in ipairs(heap) do
    if entry[2].sleep == entry then kept[#kept + 1] = entry end
  end
  table.sort(kept, function(a, b) return a[1] < b[1] end)
  heap, stale_count = kept, 0
end

--- Puts an entry into the heap.
local function heap_push(entry)
  if stale_count > STALE_LIMIT and stale_count * 2 > #heap then heap_clean() end
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

--- Has a task resumed after a time, if it still waits then.
local function set_alarm(task, seconds)
  local delay = seconds * 1000
  local entry = { clock.now() + delay, task, false }
  task.sleep = entry
  heap_push(entry)
  if heap[1] == entry then clock.timer_set(delay) end
  return entry
end

local function check_seconds(what, seconds)
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    caller.fail("%s: seconds must be a number, 0 or more, not %s", what, tostring(seconds))
  end
end

--- Waits. Yields.
---@param seconds number 0 or more; fractions count to the millisecond
function scheduler.sleep(seconds)
  check_seconds("perigee.sleep", seconds)
  local task = scheduler.current
  if not task then return scheduler.park() end -- which says what is wrong
  set_alarm(task, seconds)
  scheduler.park()
  task.sleep = nil
end

--- Parks the running task until it is woken or a time is over. Yields; raises when it is cancelled.
---@param seconds number|nil nil for as long as it takes
---@param what string for messages: "task:join"
---@return boolean # false when the time is over
---@return any # what wake was given
function scheduler.park_for(seconds, what)
  if seconds == nil then return true, scheduler.park() end
  check_seconds(what, seconds)
  local task = scheduler.current
  if not task then return true, scheduler.park() end -- which says what is wrong
  local entry = set_alarm(task, seconds)
  local value = scheduler.park()
  task.sleep = nil
  if entry[3] then return false end
  stale_count = stale_count + 1
  return true, value
end

--- The scheduler's clock.
---@return number # milliseconds, monotonic, the same in all processes
function scheduler.now()
  return clock.now()
end

local function forget_stale()
  stale_count = math.max(0, stale_count - 1)
end

--- Resumes the sleepers whose time has come. Called from C, by the timer.
function scheduler.tick()
  local now = clock.now()
  while heap[1] and heap[1][1] <= now do
    local entry = heap_pop()
    local task = entry[2]
    if task.parked and task.sleep == entry then
      task.parked = false
      entry[3] = true
      resume(task, true)
    else
      forget_stale()
    end
  end
  -- what nobody waits for any more need not wake us
  while heap[1] and heap[1][2].sleep ~= heap[1] do
    heap_pop()
    forget_stale()
  end
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
