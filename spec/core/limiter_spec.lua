-- Rate limiters: that they count right, and what is left of a process that died in one.
local core = require "spec.support.core"
local dict = require "spec.support.dict"
local fault = require "spec.support.fault"
local ffi = require "ffi"

local file = assert(io.open("host/shm/limiter_abi.h", "r"))
ffi.cdef((("\n" .. file:read("*a")):gsub("\n%s*#[^\n]*", "\n")))
file:close()

local C = core.lib
local answer = ffi.new "struct shm_limiter_answer"
local SECOND = 1e9 -- as nanoseconds

local function take(limiter, key, cost)
  return C.shm_limiter_take(limiter, key, #key, cost or 1, answer)
end

local function check(limiter)
  dict.check(ffi.cast("struct shm_dict *", limiter))
end

describe("a rate limiter", function()
  setup(function()
    assert.equal(0, C.shm_region_private())
  end)

  it("gives what a bucket holds, then says how long the next takes", function()
    local limiter = C.shm_limiter_open("spec.limiter.1", 100, 1000 * SECOND, 3, 1)
    for left = 2, 0, -1 do
      assert.equal(1, take(limiter, "k"))
      assert.equal(left, answer.remaining)
    end
    assert.equal(0, take(limiter, "k"))
    assert.is_true(answer.retry > 990 and answer.retry <= 1000)
    assert.equal(0, answer.remaining)
    assert.equal(1, take(limiter, "other", 3))
    assert.equal(0, take(limiter, "other", 2))
    assert.is_true(answer.retry > 1990 and answer.retry <= 2000)
    assert.equal(-1, take(limiter, "other", 4))
    assert.equal(1, take(limiter, "k", 0))
    assert.is_true(answer.full > 2990 and answer.full <= 3000)
    C.shm_limiter_reset(limiter, "k", 1)
    assert.equal(1, take(limiter, "k", 3))
    check(limiter)
  end)

  it("gives tokens back steadily, and no more than there is room for", function()
    local limiter = C.shm_limiter_open("spec.limiter.2", 100, 0.01 * SECOND, 2, 1)
    assert.equal(1, take(limiter, "k", 2))
    local took = 0
    local began = os.time()
    while took < 20 and os.time() - began < 20 do took = took + take(limiter, "k") end
    assert.equal(20, took)
    dict.later(100)
    assert.equal(1, take(limiter, "k", 0))
    assert.equal(2, answer.remaining)
  end)

  it("is opened again with another rate, which counts at once", function()
    local limiter = C.shm_limiter_open("spec.limiter.3", 100, 1000 * SECOND, 1, 1)
    assert.equal(1, take(limiter, "k"))
    assert.equal(0, take(limiter, "k"))
    assert.equal(limiter, C.shm_limiter_open("spec.limiter.3", 100, 1000 * SECOND, 5, 1))
    assert.equal(1, take(limiter, "k", 4))
    assert.equal(0, take(limiter, "k"))
    assert.is_true(C.shm_limiter_open("spec.limiter.3", 200, 1, 1, 1) == nil)
    assert.matches("100 keys, not as rate_limiter of 200 keys", ffi.string(C.shm_last_error()), 1, true)
  end)

  it("remembers as many keys as it was made for, of any size, and forgets others for new ones", function()
    local limiter = C.shm_limiter_open("spec.limiter.4", 5000, 1000 * SECOND, 1, 1)
    local function key(i) return ("key %d "):format(i):rep(i % 100 == 0 and 2000 or i % 10 + 1) end
    for i = 1, 5000 do assert.equal(1, take(limiter, key(i))) end
    for i = 1, 5000 do assert.equal(0, take(limiter, key(i)), i) end
    for i = 5001, 30000 do assert.equal(1, take(limiter, key(i))) end
    local stat = ffi.new "struct shm_limiter_stat"
    C.shm_limiter_stat(limiter, stat)
    assert.is_true(stat.evicted > 15000 and stat.keys >= 5000 and stat.used <= stat.size)
    check(limiter)
  end)

  it("counts a process that is killed as before or as after", function()
    local limiter, left = C.shm_limiter_open("spec.limiter.5", 100, 1000 * SECOND, 1000, 1), 999
    take(limiter, "k")
    local steps = fault.each_step("limiter.take", function() take(limiter, "k") end, function(killed)
      check(limiter)
      take(limiter, "k", 0)
      assert.is_true(answer.remaining == left - 1 or killed and answer.remaining == left)
      left = answer.remaining
    end)
    assert.is_true(steps >= 4)
  end)
end)
