-- The slots table: what its two writers leave, also when they are killed at it, and what is read.

local core = require "spec.support.core"
local ffi = require "ffi"

local C = core.lib

describe("the slots table", function()
  local slots, err

  before_each(function()
    err = core.error()
    local fd = C.shm_slots_create(err)
    assert.is_true(fd >= 0, core.text(err))
    slots = C.shm_slots_map(fd, err)
    ffi.C.close(fd)
  end)

  local function write(seat, name)
    local process = ffi.new "struct shm_process"
    process.name, process.state, process.pid = name, 6, 42
    C.shm_slots_write(slots, seat, process)
  end

  local function read(seat)
    local row = ffi.new "struct shm_row"
    return C.shm_state_read(seat, row) == 1 and row or nil
  end

  local function totals()
    local words = ffi.new("uint64_t[16]")
    C.shm_state_totals(words)
    return tonumber(words[0])
  end

  it("reads what the manager wrote of a seat, until it is nobody's", function()
    assert.equal(0, C.shm_state_seats())
    assert.is_nil(read(3))
    write(3, "worker-0")
    assert.equal(4, C.shm_state_seats())
    assert.equal("worker-0", ffi.string(read(3).process.name))
    assert.is_nil(read(2))
    write(3, "")
    assert.is_nil(read(3))
  end)

  it("keeps what users tell in their own seat, up to its limit", function()
    write(5, "worker-1")
    C.shm_slots_take(slots, 5)
    assert.equal(0, C.shm_state_set_keys("color\0sblue\0", 12))
    local row = read(5)
    assert.equal("color\0sblue\0", ffi.string(row.keys, row.keys_size))
    assert.equal(0, C.shm_state_set_keys(("x"):rep(2048), 2048))
    assert.equal(-1, C.shm_state_set_keys(("x"):rep(2049), 2049))
    assert.equal(2048, read(5).keys_size)
  end)

  it("gives no keys that a killed process was writing, and does not wait for them", function()
    write(5, "worker-1")
    C.shm_slots_take(slots, 5)
    C.shm_state_set_keys("color\0sblue\0", 12)
    local seat = C.shm_slots_seat(slots, 5)
    seat.keys_sequence = seat.keys_sequence + 1
    local row = read(5)
    assert.equal("worker-1", ffi.string(row.process.name))
    assert.equal(0, row.keys_size)
    seat.keys_sequence, seat.keys_size = 0, 4294967295 -- and believes no size
    assert.equal(0, read(5).keys_size)
  end)

  it("adds up what all count and have counted", function()
    local first, second = C.shm_slots_seat(slots, 0), C.shm_slots_seat(slots, 1)
    write(0, "worker-0")
    write(1, "worker-1")
    first.counters[0], second.counters[0] = 5, 7
    assert.equal(12, totals())
    C.shm_slots_retire(slots, 0)
    assert.equal(12, totals())
    assert.equal(0, tonumber(first.counters[0]))
    C.shm_seat_clear(first, 0)
    write(0, "")
    assert.equal(12, totals())
    first.counters[0] = 1
    assert.equal(13, totals())
  end)
end)
