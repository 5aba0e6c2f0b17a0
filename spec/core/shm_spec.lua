local ffi = require "ffi"
local core = require "spec.support.core"
local C = core.lib

ffi.cdef [[
struct shm_region_stat { uint64_t size; uint64_t used; uint32_t objects; };
int shm_region_stat(struct shm_region_stat *stat);
struct shm_region_object { const char *name; const char *kind; const char *shape; uint64_t size; };
int shm_region_object(uint32_t index, struct shm_region_object *object);
]]


--- Runs a chunk, which has `core` and `C`, in a process of its own, which has no region yet.
---@return string what it returned
local function elsewhere(chunk)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  assert(file:write('local core = require "spec.support.core"\nlocal ffi, C = require "ffi", core.lib\n',
    "io.write(tostring((function()\n", chunk, "\nend)()))\n"))
  file:close()
  local pipe = assert(io.popen("luajit " .. path))
  local text = pipe:read("*a")
  pipe:close()
  os.remove(path)
  return text
end

-- The region is one per process, so these specs and those of other files share one, as an application
-- would.
describe("shared values", function()
  setup(function()
    assert.equal(0, C.shm_region_private())
  end)

  it("are refused where there is no region", function()
    assert.matches("no shared memory", elsewhere [[
      assert(C.shm_value_open("early", "int64", 0, 1) == nil)
      return ffi.string(C.shm_last_error())
    ]], 1, true)
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
    assert.matches("exists as value of int64, not as value of double", ffi.string(C.shm_last_error()), 1,
      true)
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
    assert.matches("^1024 [^\n]*1024", elsewhere [[
      C.shm_region_private()
      local made = 0
      for i = 1, 1100 do
        if C.shm_value_open("many" .. i, "int64", i, 1) ~= nil then made = made + 1 end
      end
      assert(C.shm_value_get_int64(C.shm_value_open("many7", "int64", 0, 0)) == 7)
      return made .. " " .. ffi.string(C.shm_last_error())
    ]])
  end)

  it("are listed in the directory, which says how full it is", function()
    C.shm_value_open("listed", "double", 0, 1)
    local stat = ffi.new "struct shm_region_stat"
    assert.equal(0, C.shm_region_stat(stat))
    assert.is_true(stat.used < stat.size and stat.objects > 0)
    local object, found = ffi.new "struct shm_region_object", nil
    for i = 0, stat.objects - 1 do
      assert.equal(0, C.shm_region_object(i, object))
      if ffi.string(object.name) == "listed" then
        found = ffi.string(object.kind) .. ffi.string(object.shape)
      end
    end
    assert.equal("valuedouble", found)
    assert.equal(-1, C.shm_region_object(stat.objects, object))
  end)
end)
