local scheduler = require "perigee.scheduler"

local resume, wrap = coroutine.resume, coroutine.wrap

describe("the scheduler", function()
  local now, timer, woken

  before_each(function()
    now, timer, woken = 0, nil, false
    scheduler.open {
      now = function() return now end,
      timer_set = function(delay) timer = now + delay end,
      wake_soon = function() woken = true end,
    }
    scheduler.install()
  end)

  after_each(function()
    coroutine.resume, coroutine.wrap = resume, wrap -- luacheck: ignore 122
    now = now + 1e9
    scheduler.tick() -- nobody is left asleep for the next spec
  end)

  local function run_until(time)
    while timer and timer <= time do
      now, timer = timer, nil
      scheduler.tick()
    end
    now = time
  end

  it("runs a task to its first wait, and on when it is woken", function()
    local seen = {}
    local task = scheduler.spawn(function()
      seen[1] = "started"
      seen[2] = scheduler.park()
    end)
    assert.same({ "started" }, seen)
    assert.is_true(scheduler.wake(task, "value"))
    assert.is_true(woken)
    assert.same({ "started" }, seen) -- not inside the waker
    scheduler.ready()
    assert.same({ "started", "value" }, seen)
    assert.is_false(scheduler.wake(task))
  end)

  it("wakes sleepers in the order of their times", function()
    local order = {}
    for _, seconds in ipairs { 0.3, 0.1, 0.2, 0.1, 0 } do
      scheduler.spawn(function()
        scheduler.sleep(seconds)
        order[#order + 1] = seconds
      end)
    end
    run_until(99)
    assert.same({ 0 }, order)
    run_until(250)
    assert.same({ 0, 0.1, 0.1, 0.2 }, order)
    run_until(1000)
    assert.same({ 0, 0.1, 0.1, 0.2, 0.3 }, order)
  end)

  it("lets a task sleep again and again, and inside pcall", function()
    local count = 0
    scheduler.spawn(function()
      for _ = 1, 5 do
        assert(pcall(scheduler.sleep, 0.01))
        count = count + 1
      end
    end)
    run_until(100)
    assert.equal(5, count)
  end)

  it("cancels: this wait and all later ones raise", function()
    local errors = {}
    local task = scheduler.spawn(function()
      for i = 1, 2 do
        local ok, problem = pcall(scheduler.sleep, 10)
        errors[i] = not ok and tostring(problem)
      end
    end)
    scheduler.cancel(task, "the client went away")
    scheduler.ready()
    assert.same({ "cancelled: the client went away", "cancelled: the client went away" }, errors)
    run_until(20000) -- the stale timer wakes nobody
  end)

  it("finds a parked task by its request", function()
    local task = scheduler.spawn(function()
      scheduler.current.serial = 77
      scheduler.park()
    end)
    assert.equal(task, scheduler.of_request(77))
    scheduler.wake(task)
    scheduler.ready()
    assert.is_nil(scheduler.of_request(77))
  end)

  it("hands a wait inside a user's coroutine up, and its value down", function()
    local got = {}
    scheduler.spawn(function()
      local generate = coroutine.wrap(function()
        for i = 1, 3 do
          scheduler.sleep(0.01)
          coroutine.yield(i)
        end
      end)
      for i in generate do got[#got + 1] = i end
      local co = coroutine.create(function() return scheduler.park() end)
      got[#got + 1] = select(2, coroutine.resume(co))
    end)
    run_until(100)
    assert.same({ 1, 2, 3 }, got)
  end)

  it("keeps wrap's errors", function()
    assert.has_error(function() coroutine.wrap(function() error("inner", 0) end)() end, "inner")
  end)

  it("says who may wait", function()
    local ok, text = pcall(scheduler.sleep, 1)
    assert.is_false(ok)
    assert.truthy(text:find("this has to wait", 1, true))
    assert.truthy(text:find("scheduler_spec.lua", 1, true))
  end)

  for _, bad in ipairs { -1, "x", 0 / 0 } do
    it("refuses to sleep for " .. tostring(bad), function()
      local ok, text = pcall(scheduler.sleep, bad)
      assert.is_false(ok)
      assert.truthy(text:find("seconds must be a number, 0 or more", 1, true), text)
    end)
  end
end)
