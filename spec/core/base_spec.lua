local ffi = require "ffi"
local core = require "spec.support.core"
local C = core.lib

describe("buffer", function()
  it("grows, is consumed from the front and can be used again after it was freed", function()
    local buffer = ffi.new "struct buffer"
    for i = 1, 1000 do
      assert.equal(0, C.buffer_add(buffer, tostring(i), #tostring(i)))
    end
    assert.equal(2893, tonumber(buffer.size))
    C.buffer_consume(buffer, 9)
    assert.equal("101112", ffi.string(buffer.data, 6))
    C.buffer_free(buffer)
    assert.equal(0, tonumber(buffer.capacity))
    assert.equal(0, C.buffer_add(buffer, "x", 1))
    C.buffer_free(buffer)
  end)

  it("adds nothing when memory cannot be had", function()
    local buffer = ffi.new "struct buffer"
    assert.equal(0, C.buffer_add(buffer, "abc", 3))
    assert.equal(-1, C.buffer_reserve(buffer, ffi.cast("size_t", -1) / 2))
    assert.equal("abc", ffi.string(buffer.data, buffer.size))
    C.buffer_free(buffer)
  end)
end)

describe("arena", function()
  it("gives aligned room that does not overlap, small and large", function()
    local arena = ffi.new "struct arena"
    local runs = {}
    for i = 1, 300 do
      local size = (i * 37) % 3000 + 1
      local at = ffi.cast("char *", C.arena_alloc(arena, size))
      assert.equal(0, tonumber(ffi.cast("uintptr_t", at) % 16))
      ffi.fill(at, size, i % 256)
      runs[i] = { at = at, size = size }
    end
    for i, run in ipairs(runs) do
      for _, offset in ipairs { 0, math.floor(run.size / 2), run.size - 1 } do
        assert.equal(i % 256, run.at[offset] % 256)
      end
    end
    C.arena_free(arena)
  end)

  it("serves again after a reset, from the same block", function()
    local arena = ffi.new "struct arena"
    local first = C.arena_copy(arena, "hello", 5)
    assert.equal("hello", ffi.string(first))
    C.arena_reset(arena)
    assert.equal(first, C.arena_copy(arena, "again", 5))
    C.arena_free(arena)
  end)
end)

describe("clock_duration", function()
  local function words(milliseconds)
    local text = ffi.new "char[64]"
    C.clock_duration(milliseconds, text, 64)
    return ffi.string(text)
  end

  it("speaks as a person would", function()
    assert.equal("0 ms", words(0))
    assert.equal("999 ms", words(999))
    assert.equal("12.3 s", words(12345))
    assert.equal("4 min 10 s", words(250000))
    assert.equal("3 h 5 min", words(11100000))
    assert.equal("2 d 4 h", words(187200000))
  end)
end)

describe("passing descriptors", function()
  local pair, pipe

  before_each(function()
    pair, pipe = ffi.new "int[2]", ffi.new "int[2]"
    assert.equal(0, C.fd_packet_pair(pair))
    assert.equal(0, ffi.C.pipe(pipe))
  end)

  after_each(function()
    for _, fd in ipairs { pair[0], pair[1], pipe[0], pipe[1] } do
      ffi.C.close(fd)
    end
  end)

  it("gives the receiver a working copy", function()
    local fds, count, data = ffi.new "int[4]", ffi.new("size_t[1]", 4), ffi.new "char[16]"
    assert.equal(0, C.fd_send(pair[0], "hi", 2, pipe + 1, 1, 0))
    assert.equal(2, tonumber(C.fd_receive(pair[1], data, 16, fds, count, 0)))
    assert.equal(1, tonumber(count[0]))
    ffi.C.write(fds[0], "through", 7)
    ffi.C.close(fds[0])
    assert.equal(7, tonumber(ffi.C.read(pipe[0], data, 16)))
    assert.equal("through", ffi.string(data, 7))
  end)

  it("refuses what does not fit and keeps no descriptor of it", function()
    local fds, count, data = ffi.new "int[4]", ffi.new("size_t[1]", 1), ffi.new "char[16]"
    assert.equal(0, C.fd_send(pair[0], "hi", 2, pipe, 2, 0))
    assert.equal(-1, tonumber(C.fd_receive(pair[1], data, 16, fds, count, 0)))
    assert.equal(0, tonumber(count[0]))
    ffi.C.close(pipe[1])
    pipe[1] = -1
    assert.equal(0, tonumber(ffi.C.read(pipe[0], data, 16)), "a copy of the pipe's end is still open")
  end)
end)
