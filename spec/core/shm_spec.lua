local ffi = require "ffi"
local core = require "spec.support.core"
local C = core.lib

-- The mapping is one per process, so these specs share one region, as an application would.
describe("shared values", function()
  local region

  setup(function()
    local err = core.error()
    region = C.shm_region_create(1024 * 1024, err)
    assert.is_true(region >= 0, core.text(err))
  end)

  teardown(function()
    ffi.C.close(region)
  end)

  it("are refused where there is no region", function()
    assert.is_true(C.shm_value_open("early", "int64", 0, 1) == nil)
    assert.matches("no shared memory", ffi.string(C.shm_last_error()), 1, true)
    C.shm_region_use(region)
  end)

  it("are made once, start as asked and are found again with their content", function()
    local value = C.shm_value_open("hits", "int64", 5, 1)
    assert.is_true(value ~= nil)
    assert.equal(8, tonumber(C.shm_value_add_int64(value, 3)))
    local again = C.shm_value_open("hits", "int64", 5, 1)
    assert.equal(value, again)
    assert.equal(8, tonumber(C.shm_value_get_int64(again)))
  end)

  it("are exact beyond 2^53", function()
    local value = C.shm_value_open("large", "int64", 9007199254740993LL, 1)
    assert.is_true(C.shm_value_add_int64(value, 2) == 9007199254740995LL)
  end)

  it("add doubles", function()
    local value = C.shm_value_open("load", "double", 0, 1)
    assert.equal(0.5, C.shm_value_add_double(value, 0.5))
    assert.equal(0.75, C.shm_value_add_double(value, 0.25))
    assert.equal(0.75, C.shm_value_get_double(value))
  end)

  it("of another kind are refused, saying both", function()
    assert.is_true(C.shm_value_open("hits", "double", 0, 1) == nil)
    assert.matches("exists as int64 of 8 bytes, not as double", ffi.string(C.shm_last_error()), 1, true)
  end)

  it("that do not exist are not made without being asked to", function()
    assert.is_true(C.shm_value_open("nobody", "int64", 0, 0) == nil)
    assert.matches("main_process_start", ffi.string(C.shm_last_error()), 1, true)
  end)

  it("have names of 1 to 63 bytes and kinds that exist", function()
    assert.is_true(C.shm_value_open("", "int64", 0, 1) == nil)
    assert.is_true(C.shm_value_open(("n"):rep(64), "int64", 0, 1) == nil)
    assert.is_true(C.shm_value_open(("n"):rep(63), "int64", 0, 1) ~= nil)
    assert.is_true(C.shm_value_open("x", "string", 0, 1) == nil)
    assert.matches('"string"', ffi.string(C.shm_last_error()), 1, true)
  end)

  it("are refused, and nothing breaks, when there are too many", function()
    local made = 0
    for i = 1, 1100 do
      if C.shm_value_open("many" .. i, "int64", i, 1) ~= nil then
        made = made + 1
      end
    end
    assert.is_true(made > 1000 and made < 1100)
    assert.matches("1024", ffi.string(C.shm_last_error()), 1, true)
    assert.equal(7, tonumber(C.shm_value_get_int64(C.shm_value_open("many7", "int64", 0, 0))))
  end)
end)
