local abi = require "spec.support.abi"
local app_module = require "perigee.app"
local log = require "perigee.log"
local phase = require "perigee.phase"
local scheduler = require "perigee.scheduler"
local task = require "perigee.task"

local real_log = log.error
local now, logged

--- Lets `seconds` pass in steps of 10 ms.
local function pass(seconds)
  scheduler.ready()
  for _ = 1, seconds * 100 + 0.5 do
    now = now + 10
    scheduler.tick()
    scheduler.ready()
  end
end

local function error_of(fn, ...)
  local ok, text = pcall(fn, ...)
  assert.is_false(ok)
  return text
end

before_each(function()
  now, logged = 100000, {}
  scheduler.open { now = function() return now end, timer_set = function() end, wake_soon = function() end }
  log.error = function(text, ...) logged[#logged + 1] = text:format(...) end
end)

after_each(function()
  log.error = real_log
  phase.current = "none"
end)

describe("app:every", function()
  local app

  before_each(function()
    app = app_module.new "spec"
  end)

  local function start()
    app.background:prepare()
    app_module.freeze(app)
    phase.current = "worker"
    app.background:start(app)
  end

  it("ticks without drift, skips what it misses, and never overlaps itself", function()
    local ticks, inside, most = {}, 0, 0
    app:every(0.1, function()
      inside = inside + 1
      most = math.max(most, inside)
      ticks[#ticks + 1] = now - 100000
      scheduler.sleep(#ticks == 2 and 0.25 or 0.03)
      inside = inside - 1
    end)
    start()
    pass(0.85)
    assert.same({ 100, 200, 500, 600, 700, 800 }, ticks)
    assert.equal(1, most)
  end)

  it("goes on after an error, which is logged, and ends when it is cancelled", function()
    local count = 0
    app:every(0.1, function()
      count = count + 1
      error "broken"
    end, { name = "job", immediately = true })
    start()
    pass(0.25)
    assert.equal(3, count)
    assert.truthy(logged[1]:find("in app:every 'job' %(.-background_spec.lua:%d+%): .-broken"), logged[1])
    assert.is_true(app.background:cancel "job")
    pass(1)
    assert.equal(3, count)
    assert.same({}, app.background:list())
  end)

  it("once per app runs where the lease is, and goes on where another owner died", function()
    local ticks = {}
    app:every(10, function() ticks[#ticks + 1] = now - 100000 end, { once = "app", name = "spec.single" })
    abi.hold_lease("spec.single", true)
    start()
    pass(3)
    abi.C.shm_value_set_int64(abi.C.shm_value_open("perigee.every.spec.single", "int64", 0, 0), 94000)
    abi.hold_lease("spec.single", false)
    pass(22)
    assert.same({ 4000, 14000, 24000 }, ticks)
    app.background:cancel "spec.single"
    pass(0)
    assert.equal(1, abi.C.shm_lease_take "spec.single")
  end)

  local wrong = {
    ["seconds must be a number from 0.001 up, not 0"] = function(a) a:every(0, print) end,
    ["the function must be a function"] = function(a) a:every(1) end,
    ["once must be \"worker\" or \"app\""] = function(a) a:every(1, print, { once = "host" }) end,
    ["needs a name"] = function(a) a:every(1, print, { once = "app" }) end,
    ["unknown option 'nam'; did you mean 'name'?"] = function(a) a:add_task(print, { nam = "x" }) end,
    ["must be a function or a coroutine"] = function(a) a:add_task "x" end,
    ["there is a task called 'x' already"] = function(a)
      a:add_task(print, { name = "x" })
      a:add_task(print, { name = "x" })
    end,
  }
  for message, mistake in pairs(wrong) do
    it("says at the caller's line: " .. message, function()
      local text = error_of(mistake, app)
      assert.truthy(text:find(message, 1, true), text)
      assert.truthy(text:find("background_spec.lua:%d+: "), text)
    end)
  end

  it("and app:add_task take a coroutine, and say where a task was made", function()
    local done
    app:add_task(coroutine.create(function(given) done = given.name end))
    app:add_task(function() error "task broke" end, { name = "bad" })
    start()
    pass(0.2)
    assert.equal("spec", done)
    assert.truthy(logged[1]:find("in the task 'bad' made at .-background_spec.lua:%d+: .-task broke"))
  end)
end)

describe("perigee.spawn", function()
  it("logs an error that nobody joins, once, and none of a cancelled task", function()
    task.spawn(function() error "alone" end)
    local sleeper = task.spawn(scheduler.sleep, 10)
    sleeper:cancel()
    pass(0.1)
    assert.equal(1, #logged)
    assert.truthy(logged[1]:find("in the task made at .-background_spec.lua:%d+: .-alone"), logged[1])
    assert.is_true(sleeper:is_done())
  end)

  it("cancels what perigee.timeout runs when its caller is cancelled", function()
    local inner
    local outer = task.spawn(function()
      task.timeout(10, function()
        local ok, problem = pcall(scheduler.sleep, 5)
        inner = tostring(problem)
        return ok
      end)
    end)
    pass(0.1)
    outer:cancel()
    pass(0.1)
    assert.equal("cancelled: perigee.timeout: the time is over", inner)
    assert.is_true(outer:is_done())
  end)

  it("raises what a function under perigee.timeout raises", function()
    local raised
    task.spawn(function()
      local _, problem = pcall(task.timeout, 1, function() error({ code = 7 }) end)
      raised = problem
    end)
    assert.equal(7, raised.code)
    assert.same({}, logged)
  end)
end)
