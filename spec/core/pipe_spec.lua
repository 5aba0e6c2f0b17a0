-- Shared pipes, the engine: a stream that stays whole, and ends where its writer did.
local core = require "spec.support.core"
local fault = require "spec.support.fault"
local ffi = require "ffi"

ffi.cdef [[
struct shm_pipe;
struct shm_pipe *shm_pipe_open(const char *name, uint64_t size, int create);
int shm_pipe_write(struct shm_pipe *pipe, const char *data, uint64_t size, uint64_t *ret_done);
int shm_pipe_read(struct shm_pipe *pipe, char *data, uint64_t room, uint64_t *ret_size);
int shm_pipe_close(struct shm_pipe *pipe);
int usleep(unsigned microseconds);
int kill(int pid, int number);
int prctl(int option, unsigned long argument);
]]

local C = core.lib
local OK, LATER, ENDED, DIED, CLOSED, BUSY = 0, 1, 2, 3, 4, 5

local made = 0
local function new_pipe(size)
  made = made + 1
  local pipe = C.shm_pipe_open("pipe" .. made, size, 1)
  assert(pipe ~= nil, ffi.string(C.shm_last_error()))
  return pipe
end

local count = ffi.new "uint64_t[1]"
local memory = ffi.new("char[?]", 4096)

local function write(pipe, text)
  local result = C.shm_pipe_write(pipe, text, #text, count)
  return result == OK and tonumber(count[0]) or -result
end

local function read(pipe, room)
  local result = C.shm_pipe_read(pipe, memory, room or 4096, count)
  return result == OK and ffi.string(memory, count[0]) or result
end

--- In another process, which ends then, and says by its end that all was as it should be.
local function elsewhere(fn) assert.equal(0, fault.in_child(fn)) end

describe("a shared pipe", function()
  setup(function() assert.equal(0, C.shm_region_private()) end)

  it("carries bytes in their order, over its end and round again, as far as there is room", function()
    local pipe, sent, got = new_pipe(10), {}, {}
    assert.equal(LATER, read(pipe))
    for i = 1, 200 do
      local text = ("%d,"):format(i):rep(i % 4 + 1)
      local done = 0
      while done < #text do
        local now = write(pipe, text:sub(done + 1))
        if now == -LATER then got[#got + 1] = read(pipe, i % 7 + 1) else done = done + now end
      end
      sent[#sent + 1] = text
    end
    local rest = read(pipe)
    if rest ~= LATER then got[#got + 1] = rest end
    assert.equal(table.concat(sent), table.concat(got))
    assert.equal(LATER, read(pipe))
  end)

  it("has one writer and one reader, who may go", function()
    local pipe = new_pipe(100)
    assert.equal(3, write(pipe, "one"))
    elsewhere(function() assert(write(pipe, "two") == -BUSY and read(pipe) == "one") end)
    assert.equal(3, write(pipe, "two"))
    assert.equal("two", read(pipe)) -- who read before is dead
    elsewhere(function() assert(read(pipe) == BUSY) end)
  end)

  it("ends where its writer closed it, once, before another begins", function()
    local pipe = new_pipe(100)
    write(pipe, "one")
    C.shm_pipe_close(pipe)
    assert.equal(-LATER, write(pipe, "two"))
    assert.equal("one", read(pipe))
    assert.equal(ENDED, read(pipe))
    assert.equal(LATER, read(pipe))
    assert.equal(3, write(pipe, "two"))
    assert.equal("two", read(pipe))
  end)

  it("ends where its writer died, and says so", function()
    local pipe = new_pipe(100)
    elsewhere(function() write(pipe, "one") end)
    assert.equal(-LATER, write(pipe, "two"))
    assert.equal("one", read(pipe))
    assert.equal(DIED, read(pipe))
    assert.equal(3, write(pipe, "two"))
    assert.equal("two", read(pipe))
    assert.equal(LATER, read(pipe))
  end)

  it("refuses what nobody will read, until there is another reader", function()
    local pipe = new_pipe(100)
    elsewhere(function()
      assert(read(pipe) == LATER)
      C.shm_pipe_close(pipe)
    end)
    assert.equal(-CLOSED, write(pipe, "lost"))
    elsewhere(function() assert(read(pipe) == LATER) end)
    assert.equal(4, write(pipe, "kept"))
    assert.equal("kept", read(pipe))
  end)

  it("has a size, and is found again in it only", function()
    local pipe = C.shm_pipe_open("sized", 50, 1)
    assert.equal(pipe, C.shm_pipe_open("sized", 50, 1))
    assert.equal(pipe, C.shm_pipe_open("sized", 0, 0))
    assert.is_true(C.shm_pipe_open("sized", 51, 1) == nil)
    assert.matches("exists as pipe of 50 bytes, not as pipe of 51", ffi.string(C.shm_last_error()), 1, true)
    assert.is_true(C.shm_pipe_open("new", 0, 1) == nil)
    assert.is_true(C.shm_pipe_open("new", 2 ^ 31, 1) == nil)
    assert.is_true(C.shm_pipe_open("nowhere", 0, 0) == nil)
  end)

  for _, section in ipairs { "pipe.writer", "pipe.write" } do
    it("has a write done or not when its process is killed in " .. section, function()
      local pipe = new_pipe(100)
      local steps = fault.each_step(section, function() assert(write(pipe, "text") == 4) end, function(killed)
        local first = read(pipe)
        assert.is_true(first == "text" or killed and (first == DIED or first == LATER))
        if first == "text" then assert.equal(DIED, read(pipe)) end
      end)
      assert.is_true(steps >= 3)
    end)
  end

  for _, section in ipairs { "pipe.reader", "pipe.read", "pipe.ended", "pipe.end" } do
    it("loses at most what its reader had read when it is killed in " .. section, function()
      local pipe = new_pipe(100)
      local function again()
        elsewhere(function() assert(write(pipe, "text") == 4) end)
      end
      again()
      local steps = fault.each_step(section, function()
        assert(read(pipe) == "text")
        assert(read(pipe) == DIED)
      end, function()
        elsewhere(function()
          local first = read(pipe)
          if first == "text" then first = read(pipe) end
          assert(first == DIED or first == LATER)
        end)
        again()
      end)
      assert.is_true(steps >= 3)
    end)
  end

  it("is read as it was before a change that was cut short, by whoever is not killed", function()
    local pipe = new_pipe(100)
    fault.each_step("pipe.settle", function()
      assert(read(pipe) == LATER)
      fault.leave_half_done("pipe.writer", function() write(pipe, "lost") end)
      assert(read(pipe) == LATER)
    end, function()
      elsewhere(function() assert(read(pipe) == LATER) end)
    end)
    elsewhere(function() assert(write(pipe, "text") == 4) end)
    assert.equal("text", read(pipe))
  end)

  it("is closed or not when its process is killed in closing it", function()
    local pipe = new_pipe(100)
    fault.each_step("pipe.close", function()
      assert(write(pipe, "text") == 4)
      C.shm_pipe_close(pipe)
    end, function(killed)
      assert.equal("text", read(pipe))
      local last = read(pipe)
      assert.is_true(last == ENDED or killed and last == DIED)
    end)
  end)

  it("gives each writer's bytes in order from the first, whenever writers are killed", function()
    local pipe, status = new_pipe(997), ffi.new "int[1]"
    local line = ffi.new("char[?]", 251 * 8)
    for i = 0, 251 * 8 - 1 do line[i] = i % 251 end
    local function writer()
      local pid = ffi.C.fork()
      if pid == 0 then
        ffi.C.prctl(1, 9) -- PR_SET_PDEATHSIG
        local at = 0
        while true do
          if C.shm_pipe_write(pipe, line + at % 251, 1 + at % 600, count) == OK then
            at = at + tonumber(count[0])
          end
        end
      end
      return pid
    end
    local total = 0
    for _ = 1, 25 do
      local pid, at, stop = writer(), 0, total + 20000
      local killed
      while true do
        local result = C.shm_pipe_read(pipe, memory, 700, count)
        if result == DIED then break end
        for i = 0, tonumber(count[0]) - 1 do
          if memory[i] % 256 ~= at % 251 then error "a byte is lost, or came twice" end
          at = at + 1
        end
        total = total + tonumber(count[0])
        if total > stop and not killed then
          ffi.C.kill(pid, 9)
          ffi.C.waitpid(pid, status, 0)
          killed = true
        end
      end
    end
    assert.is_true(total > 400000)
  end)
end)
