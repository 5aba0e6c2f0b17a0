-- What shared objects stand on: guards that survive their holder, members that are known to live, and
-- bells that ring for who waits.
local core = require "spec.support.core"
local fault = require "spec.support.fault"
local ffi = require "ffi"

ffi.cdef [[
struct probe;
struct probe *probe_new(void);
void probe_move(struct probe *probe, unsigned from, unsigned to, uint64_t amount);
void probe_move_twice(struct probe *probe, unsigned from, unsigned to, uint64_t amount);
void probe_refuse(struct probe *probe, unsigned from, unsigned to, uint64_t amount);
uint64_t probe_word(struct probe *probe, unsigned index);
uint64_t probe_sum_locked(struct probe *probe);
int64_t probe_sum_unlocked(struct probe *probe);
uint64_t probe_undone(const struct probe *probe);
struct shm_waiters;
struct shm_waiters *probe_waiters(struct probe *probe);

uint64_t shm_member_self(struct error *error);
bool shm_member_alive(uint64_t member);
unsigned shm_member_index(uint64_t member);

int shm_bells_create(int fds[32], int least, struct error *error);
void shm_bells_use(int first);
int shm_bells_listen(struct error *error);
int shm_bells_listening(void);
void shm_waiters_add(struct shm_waiters *waiters);
void shm_waiters_leave(struct shm_waiters *waiters);
void shm_waiters_wake_one(struct shm_waiters *waiters);
void shm_waiters_wake_all(struct shm_waiters *waiters);

int dup2(int from, int to);
int kill(int pid, int number);
struct pollfd { int fd; short events; short revents; };
int poll(struct pollfd *fds, unsigned long count, int timeout);
]]

local C = core.lib
local SUM = 800

describe("a guard", function()
  it("has an operation done as a whole or not at all, whichever step its process dies at", function()
    local probe, moved = C.probe_new(), 0
    local steps = fault.each_step("probe.move", function() C.probe_move(probe, 0, 1, 1) end, function(killed)
      assert.equal(SUM, tonumber(C.probe_sum_locked(probe)))
      local now = 100 - tonumber(C.probe_word(probe, 0))
      assert.is_true(now == moved or now == moved + 1)
      assert.is_true(killed or now == moved + 1)
      moved = now
      assert.equal(SUM, tonumber(C.probe_sum_unlocked(probe)))
    end)
    assert.equal(5, steps) -- it begins, two changes, it ends, it is final
    assert.equal(steps, tonumber(C.probe_undone(probe)))
  end)

  it("keeps what was committed in the middle of an operation", function()
    local probe = C.probe_new()
    fault.each_step("probe.twice", function() C.probe_move_twice(probe, 0, 1, 1) end, function(_, step)
      local word = 100 - tonumber(C.probe_word(probe, 0))
      assert.equal(SUM, tonumber(C.probe_sum_locked(probe)))
      if step == 6 then assert.equal(1, word % 2) end -- the first half was final, the second had not begun
      C.probe_move(probe, 1, 0, word)
    end)
  end)

  it("is undone also by a process that dies while it undoes", function()
    local probe = C.probe_new()
    local before = tonumber(C.probe_undone(probe))
    local steps = fault.each_step("undo", function()
      if fault.in_child(function()
        C.shm_fault_arm("probe.move", 4)
        C.probe_move(probe, 2, 3, 50)
      end) ~= 9 then error("it was to die") end
      C.probe_sum_locked(probe)
    end, function()
      assert.equal(SUM, tonumber(C.probe_sum_locked(probe)))
      assert.equal(100, tonumber(C.probe_word(probe, 2)))
    end)
    assert.is_true(steps >= 4)
    assert.is_true(tonumber(C.probe_undone(probe)) > before)
  end)

  it("can be let go of as if nothing had been done", function()
    local probe = C.probe_new()
    C.probe_refuse(probe, 0, 1, 5)
    assert.equal(100, tonumber(C.probe_word(probe, 0)))
    assert.equal(SUM, tonumber(C.probe_sum_unlocked(probe)))
  end)

  it("lets readers without the lock see a change as a whole, or that one is under way", function()
    local probe = C.probe_new()
    fault.in_child(function()
      C.shm_fault_arm("probe.move", 3)
      C.probe_move(probe, 0, 1, 1)
    end)
    assert.equal(-1, tonumber(C.probe_sum_unlocked(probe)))
    assert.equal(SUM, tonumber(C.probe_sum_locked(probe)))
    assert.equal(SUM, tonumber(C.probe_sum_unlocked(probe)))
  end)

  it("keeps the sum while processes that use it are killed", function()
    local probe, children = C.probe_new(), {}
    local function start()
      local pid = ffi.C.fork()
      if pid == 0 then
        local i = ffi.C.getpid()
        while true do
          i = i + 1
          C.probe_move(probe, i % 8, (i * 5 + 1) % 8, 1)
          local sum = C.probe_sum_unlocked(probe)
          if sum ~= -1 and sum ~= SUM then ffi.C._exit(3) end
        end
      end
      return pid
    end
    for i = 1, 4 do children[i] = start() end
    local status = ffi.new "int[1]"
    for round = 1, 60 do
      local slot = round % 4 + 1
      for _ = 1, 200 do assert.equal(SUM, tonumber(C.probe_sum_locked(probe))) end
      ffi.C.kill(children[slot], 9)
      ffi.C.waitpid(children[slot], status, 0)
      assert.equal(9, status[0])
      children[slot] = start()
    end
    for i = 1, 4 do
      ffi.C.kill(children[i], 9)
      ffi.C.waitpid(children[i], status, 0)
      assert.equal(9, status[0])
    end
    assert.equal(SUM, tonumber(C.probe_sum_locked(probe)))
  end)
end)

describe("with a region,", function()
  local fds = ffi.new "int[32]"
  local FIRST = 400 -- far from what busted has open

  setup(function()
    assert.equal(0, C.shm_region_private())
    assert.equal(0, C.shm_bells_create(fds, 0, core.error()))
    for i = 0, 31 do ffi.C.dup2(fds[i], FIRST + i) end
    C.shm_bells_use(FIRST)
  end)

  teardown(function()
    for i = 0, 31 do
      ffi.C.close(fds[i])
      ffi.C.close(FIRST + i)
    end
    C.shm_bells_use(-1)
  end)

  --- A child that hands its result, a number, to us and lives until it is told to end.
  local function child(make)
    local up, down = ffi.new "int[2]", ffi.new "int[2]"
    ffi.C.pipe(up)
    ffi.C.pipe(down)
    local pid = ffi.C.fork()
    if pid == 0 then
      local result = ffi.new("uint64_t[1]", make())
      ffi.C.write(up[1], result, 8)
      ffi.C.close(down[1])
      ffi.C.read(down[0], result, 1)
      ffi.C._exit(0)
    end
    local result = ffi.new "uint64_t[1]"
    assert(ffi.C.read(up[0], result, 8) == 8)
    return result[0], function()
      ffi.C.kill(pid, 9)
      ffi.C.waitpid(pid, ffi.new "int[1]", 0)
      for _, fd in ipairs { up[0], up[1], down[0], down[1] } do ffi.C.close(fd) end
    end
  end

  local function member() return C.shm_member_self(core.error()) end

  it("a member is known to live until its process is gone, also to forked children", function()
    local mine = member()
    assert.is_true(mine ~= 0 and C.shm_member_alive(mine))
    assert.is_false(C.shm_member_alive(0))
    local other, finish = child(member)
    assert.is_true(other ~= mine and C.shm_member_alive(other))
    finish()
    assert.is_false(C.shm_member_alive(other))
    local third, finish_third = child(member)
    assert.equal(C.shm_member_index(other), C.shm_member_index(third))
    assert.is_true(third ~= other and C.shm_member_alive(third) and not C.shm_member_alive(other))
    finish_third()
    assert.equal(0, fault.in_child(function() assert(C.shm_member_alive(mine)) end))
  end)

  local function rings(bell)
    local set = ffi.new("struct pollfd[1]", { { FIRST + bell, 1, 0 } })
    local rung = ffi.C.poll(set, 1, 0) == 1
    if rung then ffi.C.read(FIRST + bell, ffi.new "uint64_t[1]", 8) end
    return rung
  end

  it("who waits is rung for by turns, once for each adding", function()
    local probe = C.probe_new()
    local waiters, bells, finishers = C.probe_waiters(probe), {}, {}
    for i = 1, 3 do
      local bell
      bell, finishers[i] = child(function()
        local fd = C.shm_bells_listen(core.error())
        C.shm_waiters_add(waiters)
        return fd - FIRST
      end)
      bells[i] = tonumber(bell)
    end
    local heard = {}
    for _ = 1, 3 do
      C.shm_waiters_wake_one(waiters)
      for _, bell in ipairs(bells) do
        if rings(bell) then heard[#heard + 1] = bell end
      end
    end
    table.sort(heard)
    table.sort(bells)
    assert.same(bells, heard)
    C.shm_waiters_wake_one(waiters)
    for _, bell in ipairs(bells) do assert.is_false(rings(bell)) end
    for _, finish in ipairs(finishers) do finish() end
  end)

  it("who waits no more is not rung for, and passes on a ring that came late", function()
    local probe = C.probe_new()
    local waiters = C.probe_waiters(probe)
    local _, finish = child(function()
      C.shm_bells_listen(core.error())
      C.shm_waiters_add(waiters)
      C.shm_waiters_leave(waiters)
      return 0
    end)
    local bell, finish_second = child(function()
      local fd = C.shm_bells_listen(core.error())
      C.shm_waiters_add(waiters)
      return fd - FIRST
    end)
    C.shm_waiters_wake_one(waiters)
    assert.is_true(rings(tonumber(bell)))
    finish_second()
    bell, finish_second = child(function()
      local fd = C.shm_bells_listen(core.error())
      C.shm_waiters_add(waiters)
      return fd - FIRST
    end)
    local _, finish_third = child(function() -- it was rung for, has not waited since, and leaves
      C.shm_bells_listen(core.error())
      C.shm_waiters_leave(waiters)
      return 0
    end)
    assert.is_true(rings(tonumber(bell)))
    for _, done in ipairs { finish, finish_second, finish_third } do done() end
  end)

  it("all who wait can be rung for at once", function()
    local probe = C.probe_new()
    local waiters = C.probe_waiters(probe)
    local bell, finish = child(function()
      local fd = C.shm_bells_listen(core.error())
      C.shm_waiters_add(waiters)
      return fd - FIRST
    end)
    assert.equal(0, C.shm_bells_listening())
    C.shm_waiters_add(waiters) -- we do not listen: nothing
    C.shm_waiters_wake_all(waiters)
    assert.is_true(rings(tonumber(bell)))
    C.shm_waiters_wake_all(waiters)
    assert.is_false(rings(tonumber(bell)))
    finish()
  end)
end)
