-- The feed: order, wrapping, being overtaken, limits, and what a killed writer leaves.
local core = require "spec.support.core"
local ffi = require "ffi"

ffi.cdef [[
struct shm_feed;
struct shm_feed_message { uint32_t kind; struct slice topic; struct slice data; };
int shm_feed_create(struct error *error);
int shm_feed_create_bell(struct error *error);
struct shm_feed *shm_feed_join(int fd, int bell, unsigned seat, struct error *error);
int shm_feed_write(struct shm_feed *feed, const struct shm_feed_message *message);
bool shm_feed_read(struct shm_feed *feed, struct shm_feed_message *message);
uint64_t shm_feed_lost(const struct shm_feed *feed);
ssize_t pwrite(int fd, const void *data, size_t size, int64_t offset);
]]

local C, HEADS = core.lib, 64 -- HEADS: offset of the heads in the memfd

describe("the feed", function()
  local fd, bell

  before_each(function()
    fd, bell = C.shm_feed_create(core.error()), C.shm_feed_create_bell(core.error())
    assert(fd >= 0 and bell >= 0)
  end)

  after_each(function()
    ffi.C.close(fd)
    ffi.C.close(bell)
  end)

  local function join(seat)
    local feed = C.shm_feed_join(fd, bell, seat, core.error())
    assert(feed ~= nil)
    return feed
  end

  local function write(feed, topic, data)
    local message = ffi.new("struct shm_feed_message", 1, core.slice(topic), core.slice(data))
    return C.shm_feed_write(feed, message)
  end

  local message = ffi.new "struct shm_feed_message"
  local function read(feed)
    if not C.shm_feed_read(feed, message) then return nil end
    return ffi.string(message.topic.data, message.topic.size) .. "="
      .. ffi.string(message.data.data, message.data.size)
  end

  it("gives each reader what others write from its joining on, in order", function()
    local a, b = join(0), join(7)
    write(a, "t", "1")
    local c = join(3)
    write(a, "t", "2")
    write(b, "u", "")
    write(a, "t", "3")
    assert.same({ "t=1", "t=2", "t=3" }, { read(b), read(b), read(b) })
    assert.is_nil(read(b))
    assert.same({ "t=2", "t=3", "u=" }, { read(c), read(c), read(c) })
    assert.equal("u=", read(a))
    assert.is_nil(read(a))
    assert.equal(0, tonumber(C.shm_feed_lost(c)))
  end)

  it("wraps, with messages of every size", function()
    local a, b = join(0), join(1)
    for i = 1, 3000 do
      local data = ("x"):rep(i) .. i
      assert.equal(0, write(a, "t", data))
      assert.is_true(read(b) == "t=" .. data)
    end
    assert.equal(0, tonumber(C.shm_feed_lost(b)))
  end)

  it("overtakes a slow reader, which counts what it lost", function()
    local a, b = join(0), join(1)
    local data = ("x"):rep(1000)
    write(a, "t", "first")
    read(b)
    for _ = 1, 1000 do write(a, "t", data) end
    assert.is_nil(read(b))
    write(a, "t", "here")
    assert.equal("t=here", read(b))
    assert.equal(1000, tonumber(C.shm_feed_lost(b)))
    assert.is_nil(read(b))
  end)

  it("refuses what is too long", function()
    local a, b = join(0), join(1)
    local most = ("x"):rep(256 * 1024 - 1)
    assert.equal(-1, write(a, "t", most .. "x"))
    assert.equal(0, write(a, "t", most))
    assert.is_true(read(b) == "t=" .. most)
  end)

  it("goes on where a writer was killed in the middle of a record", function()
    local a, b = join(0), join(1)
    write(a, "t", "whole")
    local slow = join(2)
    for _ = 1, 4 do write(a, "t", ("x"):rep(100000)) end
    -- As if it had written most of a long record, over what the slow one has not read.
    local head = ffi.new("uint64_t[1]", 400200 + 200000)
    assert.equal(8, tonumber(ffi.C.pwrite(fd, head, 8, HEADS + 8)))
    assert.is_nil(read(slow))
    local heir = join(0)
    write(heir, "t", "new")
    assert.equal("t=new", read(slow))
    assert.is_nil(read(b)) -- it had not read what was overwritten, nor what came after
    write(heir, "t", "newer")
    assert.equal("t=newer", read(b))
  end)

  it("survives nonsense in its memory", function()
    local a, b = join(0), join(1)
    write(a, "t", "1")
    read(b)
    for trial = 1, 50 do
      write(a, "t", ("x"):rep(trial))
      local noise = ffi.new("uint8_t[65536]")
      for i = 0, 65535 do noise[i] = math.random(0, 255) end
      ffi.C.pwrite(fd, noise, 65536, HEADS + 64 * 1024)
      read(b)
    end
    write(a, "t", "sane")
    assert.equal("t=sane", read(b))
  end)
end)
