-- Locks, semaphores, events, barriers and what is done once, when their processes are killed.
local core = require "spec.support.core"
local fault = require "spec.support.fault"
local ffi = require "ffi"

local function declarations(path)
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  return (("\n" .. text):gsub("\n%s*#[^\n]*", "\n"))
end

ffi.cdef(declarations "host/shm/sync_abi.h")

local C = core.lib
local OK, ABANDONED, BUSY, DONE, OWN, NOT_OWN = 0, 1, 2, 3, -1, -2

local count = 0
local function fresh(open, ...)
  count = count + 1
  local arguments = { ... }
  arguments[#arguments + 1] = 1
  local object = open("sync." .. count, unpack(arguments))
  assert(object ~= nil, ffi.string(C.shm_last_error()))
  return object
end

--- Runs something in a child that is then killed, as by SIGKILL in the middle of its life.
local function and_die(run)
  assert.equal(9, fault.in_child(function()
    run()
    ffi.C.kill(ffi.C.getpid(), 9)
  end))
end

setup(function()
  assert.equal(0, C.shm_region_private())
  ffi.cdef "int kill(int pid, int number); uint64_t shm_member_self(struct error *error);"
end)

describe("a lock", function()
  it("is had by one task, and given back by it", function()
    local lock = fresh(C.shm_lock_open)
    assert.equal(OK, C.shm_lock_take(lock, 1))
    assert.equal(OWN, C.shm_lock_take(lock, 1))
    assert.equal(BUSY, C.shm_lock_take(lock, 3))
    assert.equal(NOT_OWN, C.shm_lock_give(lock, 3))
    assert.equal(0, fault.in_child(function()
      assert(C.shm_lock_take(lock, 1) == BUSY)
      assert(C.shm_lock_give(lock, 1) == NOT_OWN)
    end))
    assert.equal(OK, C.shm_lock_give(lock, 1))
    assert.equal(NOT_OWN, C.shm_lock_give(lock, 1))
    assert.equal(0, fault.in_child(function()
      assert(C.shm_lock_take(lock, 1) == OK and C.shm_lock_give(lock, 1) == OK)
    end))
  end)

  it("of a dead process is had by the next one, which is told once", function()
    local lock = fresh(C.shm_lock_open)
    and_die(function() assert(C.shm_lock_take(lock, 1) == OK) end)
    assert.equal(ABANDONED, C.shm_lock_take(lock, 1))
    assert.equal(OK, C.shm_lock_give(lock, 1))
    assert.equal(OK, C.shm_lock_take(lock, 1))
    assert.equal(OK, C.shm_lock_drop(lock, 1))
    assert.equal(ABANDONED, C.shm_lock_take(lock, 1))
    local stat = ffi.new "struct shm_lock_stat"
    C.shm_lock_read(lock, stat)
    assert.equal(ffi.C.getpid(), tonumber(stat.pid))
    assert.same({ 4, 2, 1 }, { tonumber(stat.taken), tonumber(stat.abandoned), tonumber(stat.mine) })
  end)

  it("is never lost, whichever step its process dies at", function()
    local lock = fresh(C.shm_lock_open)
    local function hold_and(give)
      return function()
        local taken = C.shm_lock_take(lock, 1)
        assert(taken == OK or taken == ABANDONED)
        give(lock, 1)
      end
    end
    local steps = fault.each_step("lock.acquire", hold_and(C.shm_lock_give), function(killed, step)
      assert.equal(killed and step > 1 and ABANDONED or OK, C.shm_lock_take(lock, 1))
      assert.equal(OK, C.shm_lock_give(lock, 1))
    end)
    assert.equal(2, steps)
    steps = fault.each_step("lock.release", hold_and(C.shm_lock_give), function(killed, step)
      assert.equal(killed and step < 3 and ABANDONED or OK, C.shm_lock_take(lock, 1))
      assert.equal(OK, C.shm_lock_give(lock, 1))
    end)
    assert.equal(3, steps)
    fault.each_step("lock.drop", hold_and(C.shm_lock_drop), function()
      assert.equal(ABANDONED, C.shm_lock_take(lock, 1))
      assert.equal(OK, C.shm_lock_give(lock, 1))
    end)
  end)

  it("keeps others out while its holders are killed", function()
    local lock = fresh(C.shm_lock_open)
    local inside = C.shm_value_open("sync.inside", "int64", 0, 1)
    local broken = C.shm_value_open("sync.broken", "int64", 0, 1)
    local turns = C.shm_value_open("sync.turns", "int64", 0, 1)
    local function start()
      local pid = ffi.C.fork()
      if pid > 0 then return pid end
      local self = ffi.C.getpid()
      while true do
        local taken = C.shm_lock_take(lock, 1)
        if taken == OK or taken == ABANDONED then
          local before = tonumber(C.shm_value_get_int64(inside))
          if taken == OK and before ~= 0 then C.shm_value_add_int64(broken, 1) end
          C.shm_value_set_int64(inside, self)
          for _ = 1, 20 do
            if tonumber(C.shm_value_get_int64(inside)) ~= self then C.shm_value_add_int64(broken, 1) end
          end
          C.shm_value_add_int64(turns, 1)
          C.shm_value_set_int64(inside, 0)
          C.shm_lock_give(lock, 1)
        end
      end
    end
    local children, status = {}, ffi.new "int[1]"
    for i = 1, 3 do children[i] = start() end
    for round = 1, 60 do
      local before = tonumber(C.shm_value_get_int64(turns))
      while tonumber(C.shm_value_get_int64(turns)) < before + 20 do ffi.C.getpid() end
      local i = round % 3 + 1
      ffi.C.kill(children[i], 9)
      ffi.C.waitpid(children[i], status, 0)
      children[i] = start()
    end
    for i = 1, 3 do
      ffi.C.kill(children[i], 9)
      ffi.C.waitpid(children[i], status, 0)
    end
    assert.equal(0, tonumber(C.shm_value_get_int64(broken)))
  end)
end)

describe("a semaphore", function()
  local function stat(semaphore)
    local figures = ffi.new "struct shm_semaphore_stat"
    C.shm_semaphore_read(semaphore, figures)
    return tonumber(figures.available), tonumber(figures.mine), tonumber(figures.revived)
  end

  it("has as many permits as it was made with", function()
    local semaphore = fresh(C.shm_semaphore_open, 2)
    assert.equal(NOT_OWN, C.shm_semaphore_give(semaphore))
    assert.equal(OK, C.shm_semaphore_take(semaphore))
    assert.equal(OK, C.shm_semaphore_take(semaphore))
    assert.equal(BUSY, C.shm_semaphore_take(semaphore))
    assert.equal(0, fault.in_child(function()
      assert(C.shm_semaphore_take(semaphore) == BUSY and C.shm_semaphore_give(semaphore) == NOT_OWN)
    end))
    assert.same({ 0, 2, 0 }, { stat(semaphore) })
    assert.equal(OK, C.shm_semaphore_give(semaphore))
    assert.equal(OK, C.shm_semaphore_give(semaphore))
    assert.equal(NOT_OWN, C.shm_semaphore_give(semaphore))
    assert.is_true(C.shm_semaphore_open("sync." .. count, 3, 1) == nil)
    assert.matches("exists as semaphore of 2 permits, not as semaphore of 3 permits",
      ffi.string(C.shm_last_error()), 1, true)
  end)

  it("has the permits of dead processes back when they are needed", function()
    local semaphore = fresh(C.shm_semaphore_open, 3)
    and_die(function() for _ = 1, 3 do assert(C.shm_semaphore_take(semaphore) == OK) end end)
    assert.equal(OK, C.shm_semaphore_take(semaphore))
    assert.same({ 2, 1, 3 }, { stat(semaphore) })
  end)

  it("has them all, whichever step a process dies at", function()
    local semaphore = fresh(C.shm_semaphore_open, 2)
    for section, operate in pairs {
      ["semaphore.acquire"] = function() C.shm_semaphore_take(semaphore) end,
      ["semaphore.release"] = function()
        C.shm_semaphore_take(semaphore)
        C.shm_semaphore_give(semaphore)
      end,
      ["semaphore.revive"] = function()
        C.shm_semaphore_take(semaphore) -- a member now, with another number than the one that dies
        C.shm_semaphore_give(semaphore)
        and_die(function() while C.shm_semaphore_take(semaphore) == OK do end end)
        C.shm_semaphore_take(semaphore)
      end,
    } do
      local steps = fault.each_step(section, operate, function()
        assert.equal(OK, C.shm_semaphore_take(semaphore))
        assert.equal(OK, C.shm_semaphore_take(semaphore))
        assert.equal(BUSY, C.shm_semaphore_take(semaphore))
        assert.equal(OK, C.shm_semaphore_give(semaphore))
        assert.equal(OK, C.shm_semaphore_give(semaphore))
        local available, mine = stat(semaphore)
        assert.same({ 2, 0 }, { available, mine })
      end)
      assert.is_true(steps >= 4, section)
    end
  end)
end)

describe("an event", function()
  it("is set and cleared, and counts how often", function()
    local event = fresh(C.shm_event_open)
    local states = {}
    for _, change in ipairs { C.shm_event_clear, C.shm_event_set, C.shm_event_set, C.shm_event_clear,
      C.shm_event_set } do
      change(event)
      states[#states + 1] = tonumber(C.shm_event_state(event))
    end
    assert.same({ 0, 3, 3, 2, 5 }, states)
  end)

  it("is set or not, whichever step its process dies at", function()
    local event = fresh(C.shm_event_open)
    assert.equal(2, fault.each_step("event.set", function() C.shm_event_set(event) end, function(killed, step)
      assert.equal(killed and step == 1 and 0 or 1, tonumber(C.shm_event_state(event) % 2))
      C.shm_event_clear(event)
    end))
  end)
end)

describe("a barrier", function()
  local generation, index = ffi.new "uint64_t[1]", ffi.new "uint64_t[1]"

  local function arrive(barrier)
    return C.shm_barrier_arrive(barrier, generation, index), tonumber(generation[0]), tonumber(index[0])
  end

  local function arrived(barrier)
    local figures = ffi.new "struct shm_barrier_stat"
    C.shm_barrier_read(barrier, figures)
    return tonumber(figures.arrived)
  end

  it("is passed when all have come, again and again, each with another number", function()
    local barrier = fresh(C.shm_barrier_open, 3)
    for round = 1, 3 do
      assert.same({ BUSY, round, 1 }, { arrive(barrier) })
      assert.same({ BUSY, round, 2 }, { arrive(barrier) })
      assert.same({ OK, round, 3 }, { arrive(barrier) })
      assert.equal(round + 1, tonumber(C.shm_barrier_generation(barrier)))
      assert.equal(DONE, C.shm_barrier_leave(barrier, round, 1))
    end
    assert.equal(OK, (arrive(fresh(C.shm_barrier_open, 1))))
  end)

  it("is left by who will not wait, whose number is the next one's", function()
    local barrier = fresh(C.shm_barrier_open, 3)
    arrive(barrier)
    arrive(barrier)
    assert.equal(OK, C.shm_barrier_leave(barrier, 1, 1))
    assert.same({ BUSY, 1, 1 }, { arrive(barrier) })
    assert.same({ OK, 1, 3 }, { arrive(barrier) })
  end)

  it("does not count the dead", function()
    local barrier = fresh(C.shm_barrier_open, 3)
    arrive(barrier)
    and_die(function() arrive(barrier) end)
    assert.same({ BUSY, 1, 2 }, { arrive(barrier) })
    assert.same({ OK, 1, 3 }, { arrive(barrier) })
  end)

  it("stays consistent, whichever step a process dies at", function()
    local barrier = fresh(C.shm_barrier_open, 3)
    local sections = {
      ["barrier.arrive"] = function() arrive(barrier) end,
      ["barrier.leave"] = function()
        local _, now, place = arrive(barrier)
        C.shm_barrier_leave(barrier, now, place)
      end,
      ["barrier.clear"] = function()
        C.shm_member_self(core.error()) -- now, so that its number is not the dead one's
        and_die(function() arrive(barrier) end)
        arrive(barrier)
      end,
      ["barrier.look"] = function()
        C.shm_member_self(core.error())
        fault.leave_half_done("barrier.arrive", function() arrive(barrier) end)
        arrive(barrier)
      end,
    }
    for section, operate in pairs(sections) do
      local steps = fault.each_step(section, operate, function()
        local result, now = arrive(barrier) -- takes the dead out
        assert.same({ BUSY, 1 }, { result, arrived(barrier) })
        assert.equal(BUSY, (arrive(barrier)))
        assert.equal(OK, (arrive(barrier)))
        assert.equal(now + 1, tonumber(C.shm_barrier_generation(barrier)))
        assert.equal(0, arrived(barrier))
      end)
      assert.is_true(steps >= (section == "barrier.look" and 1 or 4), section)
    end
    -- and as the last one, who has all of them go on
    local passed = 0
    for _ = 1, 2 do arrive(barrier) end
    fault.each_step("barrier.arrive", function() arrive(barrier) end, function(killed)
      fault.in_child(function() C.shm_barrier_leave(barrier, 0, 1) end) -- undoes what is left
      if killed and arrived(barrier) == 2 then return end
      assert.equal(0, arrived(barrier))
      passed = passed + 1
      for _ = 1, 2 do arrive(barrier) end
    end)
    assert.is_true(passed >= 1)
  end)
end)

describe("what is done once", function()
  local size = ffi.new "uint64_t[1]"

  local function result(once)
    local text = C.shm_once_result(once, size)
    return text ~= nil and ffi.string(text, tonumber(size[0])) or nil
  end

  it("is done by one, and its result is there for all", function()
    local once = fresh(C.shm_once_open, 100)
    assert.is_nil(result(once))
    assert.equal(OK, C.shm_once_begin(once, 1))
    assert.equal(OWN, C.shm_once_begin(once, 1))
    assert.equal(BUSY, C.shm_once_begin(once, 3))
    assert.equal(NOT_OWN, C.shm_once_fail(once, 3))
    assert.equal(OK, C.shm_once_fail(once, 1))
    assert.equal(OK, C.shm_once_begin(once, 3))
    assert.equal(NOT_OWN, C.shm_once_finish(once, 1, "x", 1))
    assert.equal(OK, C.shm_once_finish(once, 3, "done", 4))
    assert.equal(DONE, C.shm_once_begin(once, 1))
    assert.equal("done", result(once))
  end)

  it("is done again when its process dies before the end, and never after", function()
    local names, once = 0, nil
    local function again()
      names = names + 1
      once = C.shm_once_open("sync.once." .. names, 100, 1)
    end
    again()
    fault.each_step("once.begin", function()
      assert(C.shm_once_begin(once, 1) == OK)
    end, function(_, step)
      assert.equal(step == 1 and OK or ABANDONED, C.shm_once_begin(once, 1))
      again()
    end)
    local known
    fault.each_step("once.finish", function()
      C.shm_once_begin(once, 1)
      C.shm_once_finish(once, 1, "result", 6)
    end, function(killed)
      known = result(once)
      assert.is_true(known == nil or known == "result")
      assert.equal(known and DONE or ABANDONED, C.shm_once_begin(once, 1))
      if not killed then assert.equal("result", known) end
      again()
    end)
    fault.each_step("once.fail", function()
      C.shm_once_begin(once, 1)
      C.shm_once_fail(once, 1)
    end, function()
      local begun = C.shm_once_begin(once, 1)
      assert.is_true(begun == OK or begun == ABANDONED)
      again()
    end)
  end)
end)
