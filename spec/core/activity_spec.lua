-- What processes are doing (shm/activity.h): written by one, read by all, whole or not at all.

local ffi = require "ffi"
local core = require "spec.support.core"
local C = core.lib

local file = assert(io.open "host/shm/activity_abi.h")
ffi.cdef((("\n" .. file:read "*a"):gsub("\n%s*#[^\n]*", "\n")))
file:close()
ffi.cdef [[
struct shm_activity;
int shm_slots_create(struct error *error);
int shm_slots_map_activity(int fd, struct error *error);
struct shm_activity *shm_activity_of(unsigned seat);
void shm_activity_clear(struct shm_activity *activity);
void shm_activity_write(struct shm_activity *activity, const struct shm_activity_list *list);
void shm_activity_write_stall(struct shm_activity *activity, const struct shm_activity_list *list,
  const struct shm_activity_stall *stall);
]]

local function list_of(...)
  local list = ffi.new "struct shm_activity_list"
  for i, target in ipairs { ... } do
    list.requests[i - 1].target = target
    list.requests[i - 1].serial = i
  end
  list.count, list.total = select("#", ...), select("#", ...)
  return list
end

describe("what a process is doing", function()
  local into, stall = ffi.new "struct shm_activity_list", ffi.new "struct shm_activity_stall"

  it("cannot be read where nothing is mapped", function()
    assert.equal(-1, C.shm_activity_requests(0, into))
    assert.equal(-1, C.shm_activity_stall(0, stall))
  end)

  describe("once mapped", function()
    local place

    setup(function()
      local err = core.error()
      local fd = C.shm_slots_create(err)
      assert.is_true(fd >= 0, core.text(err))
      assert.equal(0, C.shm_slots_map_activity(fd, err), core.text(err))
      C.close(fd)
    end)

    before_each(function()
      place = C.shm_activity_of(3)
      C.shm_activity_clear(place)
    end)

    it("is nothing at first, for every seat there is, and no more", function()
      for _, seat in ipairs { 0, 3, 1023 } do
        assert.equal(0, C.shm_activity_requests(seat, into))
        assert.equal(0, into.count)
        assert.equal(0, C.shm_activity_stall(seat, stall))
        assert.equal(0, tonumber(stall.since))
      end
      assert.equal(-1, C.shm_activity_requests(1024, into))
    end)

    it("is what its loop wrote, or, while that is stalled, its watchdog", function()
      C.shm_activity_write(place, list_of("/a", "/b"))
      assert.equal(0, C.shm_activity_requests(3, into))
      assert.equal(2, into.count)
      assert.equal("/b", ffi.string(into.requests[1].target))

      local told = ffi.new("struct shm_activity_stall", { since = 7, serving = 3, where = "at x.lua:1" })
      C.shm_activity_write_stall(place, list_of("/a", "/b", "/c"), told)
      assert.equal(0, C.shm_activity_requests(3, into))
      assert.equal(3, into.count)
      assert.equal(0, C.shm_activity_stall(3, stall))
      assert.equal("at x.lua:1", ffi.string(stall.where))

      C.shm_activity_write_stall(place, nil, nil)
      assert.equal(0, C.shm_activity_requests(3, into))
      assert.equal(2, into.count)
      assert.equal(0, C.shm_activity_requests(2, into)) -- another seat's is its own
      assert.equal(0, into.count)
    end)

    it("is not read while a writer is at it, and the next writer makes it whole", function()
      C.shm_activity_write(place, list_of "/a")
      local sequence = ffi.cast("uint64_t *", place) -- the first word: a writer killed in the middle
      sequence[0] = sequence[0] + 1
      assert.equal(-1, C.shm_activity_requests(3, into))
      C.shm_activity_write(place, list_of "/b")
      assert.equal(0, C.shm_activity_requests(3, into))
      assert.equal("/b", ffi.string(into.requests[0].target))
    end)

    it("is believed no further than its bounds", function()
      local list = list_of "/a"
      list.count = 24
      ffi.fill(list.requests[0].target, 160, 120)
      C.shm_activity_write(place, list)
      ffi.cast("struct shm_activity_list *", ffi.cast("char *", place) + 8).count = 4000000000
      assert.equal(0, C.shm_activity_requests(3, into))
      assert.equal(24, into.count)
      assert.equal(159, #ffi.string(into.requests[0].target))
    end)
  end)
end)
