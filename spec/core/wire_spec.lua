local ffi = require "ffi"
local core = require "spec.support.core"
local C = core.lib

local function block_of(records)
  local buffer = ffi.new "struct buffer"
  for _, record in ipairs(records) do
    assert.equal(0, C.record_add(buffer, record[1], record[2]))
  end
  local text = ffi.string(buffer.data, buffer.size)
  C.buffer_free(buffer)
  return text
end

describe("record blocks", function()
  it("give back what was added, in order, the last of a key by name", function()
    local text = block_of { { "bind", "a" }, { "workers", "4" }, { "bind", "b" }, { "empty", "" } }
    local block, err = core.slice(text), core.error()
    assert.equal(0, C.record_check(block, err))
    assert.equal("b", ffi.string(C.record_find(block, "bind")))
    assert.equal("", ffi.string(C.record_find(block, "empty")))
    assert.is_true(C.record_find(block, "none") == nil)

    local offset, key, value = ffi.new "size_t[1]", ffi.new "const char *[1]", ffi.new "const char *[1]"
    local seen = {}
    while C.record_next(block, offset, key, value) == 1 do
      seen[#seen + 1] = ffi.string(key[0]) .. "=" .. ffi.string(value[0])
    end
    assert.same({ "bind=a", "workers=4", "bind=b", "empty=" }, seen)
  end)

  it("refuse keys that are none", function()
    local buffer = ffi.new "struct buffer"
    for _, key in ipairs { "", "Workers", "a b", "a=b" } do
      assert.equal(-1, C.record_add(buffer, key, "x"))
    end
    assert.equal(0, tonumber(buffer.size))
  end)

  it("are refused when a byte has no meaning, saying where", function()
    local cases = {
      ["workers"] = "bad key at byte 0",
      ["workers\0004"] = "the value of workers has no end",
      ["a\0001\0B\0002\0"] = "bad key at byte 4",
      ["\0001\0"] = "bad key at byte 0",
    }
    for text, message in pairs(cases) do
      local err = core.error()
      assert.equal(-1, C.record_check(core.slice(text), err))
      assert.matches(message, core.text(err), 1, true)
    end
  end)

  it("never read past their end, whatever the bytes are", function()
    math.randomseed(20260101)
    local err = core.error()
    local offset, key, value = ffi.new "size_t[1]", ffi.new "const char *[1]", ffi.new "const char *[1]"
    for _ = 1, 5000 do
      local bytes = {}
      for i = 1, math.random(0, 40) do
        bytes[i] = ("\0\0\0ab.9_Z"):sub(math.random(9)):sub(1, 1)
      end
      local text = table.concat(bytes)
      -- An exact allocation, so that the sanitizer sees the first byte too many.
      local exact = ffi.new("char[?]", math.max(#text, 1))
      ffi.copy(exact, text, #text)
      local block = ffi.new("struct slice", exact, #text)
      if C.record_check(block, err) == 0 then
        offset[0] = 0
        local total = 0
        while C.record_next(block, offset, key, value) == 1 do
          total = total + #ffi.string(key[0]) + #ffi.string(value[0]) + 2
        end
        assert.equal(#text, total)
      end
    end
  end)

  it("read numbers strictly", function()
    local number, err = ffi.new "uint64_t[1]", core.error()
    local text = block_of { { "ok", "42" }, { "minus", "-1" }, { "word", "4x" }, { "void", "" },
      { "huge", "99999999999999999999" }, { "space", " 4" } }
    local block = core.slice(text)
    assert.equal(0, C.record_number(block, "ok", 1, 100, number, err))
    assert.equal(42, tonumber(number[0]))
    for _, key in ipairs { "minus", "word", "void", "huge", "space", "none" } do
      assert.equal(-1, C.record_number(block, key, 0, 100, number, err))
      assert.matches(key, core.text(err), 1, true)
    end
    assert.equal(-1, C.record_number(block, "ok", 1, 41, number, err))
    assert.matches("must be from 1 to 41", core.text(err), 1, true)
  end)
end)

describe("messages", function()
  local pair, message, body, fds, count

  before_each(function()
    pair = ffi.new "int[2]"
    assert.equal(0, C.fd_packet_pair(pair))
    message, body = ffi.new "struct wire_message", ffi.new "struct buffer"
    fds, count = ffi.new "int[4]", ffi.new("size_t[1]", 4)
  end)

  after_each(function()
    ffi.C.close(pair[0])
    ffi.C.close(pair[1])
    C.buffer_free(body)
  end)

  it("arrive whole, with body and descriptors", function()
    local sent = ffi.new("struct wire_message", { type = 1, slot = 7, child = 123456789012ULL, number = -5 })
    assert.equal(0, C.wire_send(pair[0], sent, "the plan", 8, pair, 1, 0))
    assert.equal(1, C.wire_receive(pair[1], message, body, fds, count, 0))
    assert.equal(7, message.slot)
    assert.equal(123456789012, tonumber(message.child))
    assert.equal(-5, message.number)
    assert.equal("the plan", ffi.string(body.data, body.size))
    assert.equal(1, tonumber(count[0]))
    ffi.C.close(fds[0])
  end)

  it("of the largest size arrive, and a larger one is refused by the sender", function()
    local sent = ffi.new("struct wire_message", { type = 1 })
    local large = ("x"):rep(128 * 1024)
    assert.equal(0, C.wire_send(pair[0], sent, large, #large, nil, 0, 0))
    assert.equal(1, C.wire_receive(pair[1], message, body, fds, count, 0))
    assert.equal(#large, tonumber(body.size))
    assert.equal(-1, C.wire_send(pair[0], sent, large .. "y", #large + 1, nil, 0, 0))
  end)

  it("that are none are refused and their descriptors closed", function()
    for _, junk in ipairs { "x", ("\255"):rep(32), ("\0"):rep(40) } do
      count[0] = 4
      assert.equal(0, C.fd_send(pair[0], junk, #junk, pair, 1, 0))
      assert.equal(-1, C.wire_receive(pair[1], message, body, fds, count, 0))
      assert.equal(0, tonumber(count[0]))
    end
  end)

  it("end with the peer", function()
    ffi.C.close(pair[0])
    assert.equal(0, C.wire_receive(pair[1], message, body, fds, count, 0))
    pair[0] = -1
  end)
end)
