-- Shared queues, the engine: order, limits, acknowledgement, and processes that die anywhere in it.
local core = require "spec.support.core"
local fault = require "spec.support.fault"
local ffi = require "ffi"

ffi.cdef [[
struct shm_queue;
struct shm_queue_shape { uint64_t capacity; uint64_t message_limit; uint64_t size; uint64_t encoding; };
struct shm_queue *shm_queue_open(const char *name, const struct shm_queue_shape *shape, int create);
int shm_queue_put(struct shm_queue *queue, const char *text, uint64_t size);
int shm_queue_put_many(struct shm_queue *queue, const char *const *texts, const uint64_t *sizes,
  uint64_t count, uint64_t *ret_done);
struct shm_queue_message { uint64_t size; uint64_t id; uint64_t serial; uint64_t deliveries; };
struct shm_queue_batch {
  char *text; uint64_t room; uint32_t most; uint32_t held; uint32_t count; uint32_t reserved;
  struct shm_queue_message messages[128];
};
int shm_queue_take(struct shm_queue *queue, struct shm_queue_batch *batch);
int shm_queue_ack(struct shm_queue *queue, uint64_t id, uint64_t serial);
int shm_queue_nack(struct shm_queue *queue, uint64_t id, uint64_t serial);
void shm_queue_close(struct shm_queue *queue);
uint64_t shm_queue_size(struct shm_queue *queue);
struct shm_queue_stat {
  uint64_t ready; uint64_t taken; uint64_t put; uint64_t done; uint64_t returned; uint64_t used;
  uint64_t size;
  uint64_t closed; uint64_t undone; uint32_t getters; uint32_t putters;
};
void shm_queue_stat(struct shm_queue *queue, struct shm_queue_stat *stat);
bool shm_held_reclaim(struct shm_queue *queue);
const char *queue_probe(struct shm_queue *queue);
int usleep(unsigned microseconds);
int kill(int pid, int number);
int prctl(int option, unsigned long argument);
void *mmap(void *address, size_t size, int protection, int flags, int fd, long offset);
int munmap(void *address, size_t size);
]]

local C = core.lib
local OK, FULL, EMPTY, CLOSED, TOO_BIG, GONE = 0, 1, 2, 3, 4, 5

local made = 0

local function shape(options)
  return ffi.new("struct shm_queue_shape", options.capacity or 16, options.message_limit or 1000,
    options.size or 64 * 128, 0)
end

local function new_queue(options)
  made = made + 1
  local queue = C.shm_queue_open("queue" .. made, shape(options or {}), 1)
  assert(queue ~= nil, ffi.string(C.shm_last_error()))
  return queue
end

local function put(queue, text) return C.shm_queue_put(queue, text, #text) end

local function put_many(queue, list)
  local texts = ffi.new("const char *[?]", #list, list)
  local sizes, done = ffi.new("uint64_t[?]", #list), ffi.new "uint64_t[1]"
  for i, text in ipairs(list) do sizes[i - 1] = #text end
  local result = C.shm_queue_put_many(queue, texts, sizes, #list, done)
  return result, tonumber(done[0])
end

local ROOM = 2 ^ 20
local memory = ffi.new("char[?]", ROOM)

--- Takes up to `most`: a list of { text, id, serial, deliveries }, or the result.
local function take(queue, most, held)
  local batch = ffi.new("struct shm_queue_batch", { text = memory, room = ROOM, most = most or 1,
    held = held and 1 or 0 })
  local result = C.shm_queue_take(queue, batch)
  if result ~= OK then return result end
  local list, at = {}, 0
  for i = 0, batch.count - 1 do
    local message = batch.messages[i]
    list[i + 1] = { text = ffi.string(memory + at, message.size), id = message.id, serial = message.serial,
      deliveries = tonumber(message.deliveries) }
    at = at + tonumber(message.size)
  end
  return list
end

local function texts_of(list)
  if type(list) ~= "table" then return list end
  local texts = {}
  for i, message in ipairs(list) do texts[i] = message.text end
  return table.concat(texts, " ")
end

local function drain(queue)
  local texts = {}
  while true do
    local list = take(queue, 7)
    if list == EMPTY or list == CLOSED then return table.concat(texts, " ") end
    texts[#texts + 1] = texts_of(list)
  end
end

--- Takes messages and gives them back.
local function give_back(queue, count)
  for _, message in ipairs(take(queue, count, true)) do
    assert.equal(OK, C.shm_queue_nack(queue, message.id, message.serial))
  end
end

local function stat_of(queue)
  local stat = ffi.new "struct shm_queue_stat"
  C.shm_queue_stat(queue, stat)
  return stat
end

local function sound(queue)
  local problem = C.queue_probe(queue)
  if problem ~= nil then error(ffi.string(problem), 2) end
end

describe("a shared queue", function()
  setup(function() assert.equal(0, C.shm_region_private()) end)

  it("gives messages in the order they were put, of every size, and takes back their memory", function()
    local queue = new_queue { size = 256 * 128, message_limit = 10000 }
    local sizes = { 0, 1, 63, 64, 65, 183, 184, 185, 304, 305, 3000, 10000 }
    for round = 1, 5 do
      for i, size in ipairs(sizes) do
        assert.equal(OK, put(queue, string.char(64 + i + round):rep(size)))
        sound(queue)
      end
      assert.equal(#sizes, tonumber(C.shm_queue_size(queue)))
      for i, size in ipairs(sizes) do
        assert.equal(string.char(64 + i + round):rep(size), take(queue)[1].text)
        sound(queue)
      end
      assert.equal(EMPTY, take(queue))
      assert.equal(0, tonumber(stat_of(queue).used))
    end
  end)

  it("is full by messages and by bytes, and refuses what is longer than its limit", function()
    local queue = new_queue { capacity = 3 }
    assert.equal(TOO_BIG, put(queue, ("x"):rep(1001)))
    for i = 1, 3 do assert.equal(OK, put(queue, "m" .. i)) end
    assert.equal(FULL, put(queue, "m4"))
    assert.equal("m1 m2 m3", drain(queue))
    queue = new_queue { capacity = 100, size = 20 * 128 }
    for _ = 1, 2 do assert.equal(OK, put(queue, ("y"):rep(1000))) end -- 9 cells each
    assert.equal(FULL, put(queue, ("y"):rep(1000)))
    assert.equal(OK, put(queue, "small"))
    assert.equal(OK, put(queue, "small"))
    assert.equal(FULL, put(queue, ""))
    sound(queue)
  end)

  it("takes and gives many at once, as far as there is a place", function()
    local queue, list = new_queue { capacity = 300, size = 300 * 128 }, {}
    for i = 1, 400 do list[i] = tostring(i) end
    assert.same({ FULL, 300 }, { put_many(queue, list) })
    sound(queue)
    assert.equal(table.concat(list, " ", 1, 128), texts_of(take(queue, 128)))
    sound(queue)
    assert.equal(table.concat(list, " ", 129, 300), drain(queue))
    assert.same({ TOO_BIG, 2 }, { put_many(queue, { "a", "b", ("c"):rep(1001), "d" }) })
    assert.equal("a b", drain(queue))
    assert.same({ OK, 0 }, { put_many(queue, {}) })
    sound(queue)
  end)

  it("has one that was taken acknowledged once, by who took it", function()
    local queue = new_queue()
    put_many(queue, { "a", "b", "c" })
    local list = take(queue, 2, true)
    assert.equal("a b", texts_of(list))
    assert.same({ 1, 1 }, { list[1].deliveries, list[2].deliveries })
    assert.equal(2, tonumber(stat_of(queue).taken))
    assert.equal(0, fault.in_child(function()
      assert(C.shm_queue_ack(queue, list[1].id, list[1].serial) == GONE)
    end))
    assert.equal(OK, C.shm_queue_ack(queue, list[1].id, list[1].serial))
    assert.equal(GONE, C.shm_queue_ack(queue, list[1].id, list[1].serial))
    assert.equal(GONE, C.shm_queue_nack(queue, list[1].id, list[1].serial))
    assert.equal(GONE, C.shm_queue_ack(queue, 1e9, 1))
    assert.equal(GONE, C.shm_queue_ack(queue, 0, 0))
    assert.equal(OK, C.shm_queue_nack(queue, list[2].id, list[2].serial))
    sound(queue)
    local again = take(queue, 2, true)
    assert.equal("b c", texts_of(again))
    assert.same({ 2, 1 }, { again[1].deliveries, again[2].deliveries })
    for _, message in ipairs(again) do C.shm_queue_ack(queue, message.id, message.serial) end
    assert.equal(3, tonumber(stat_of(queue).done))
    sound(queue)
  end)

  it("puts what comes back in its old order before what is younger, whatever order it comes in", function()
    local queue, list = new_queue { capacity = 200, size = 200 * 128 }, {}
    for i = 1, 120 do list[i] = tostring(i) end
    put_many(queue, list)
    local held = take(queue, 100, true)
    math.randomseed(7)
    for i = #held, 2, -1 do
      local j = math.random(i)
      held[i], held[j] = held[j], held[i]
    end
    for _, message in ipairs(held) do
      assert.equal(OK, C.shm_queue_nack(queue, message.id, message.serial))
      sound(queue)
    end
    assert.equal(table.concat(list, " "), drain(queue))
    sound(queue)
  end)

  it("delivers again what a process had that died, before what is younger", function()
    local queue = new_queue()
    put_many(queue, { "a", "b", "c", "d" })
    fault.in_child(function()
      take(queue, 3, true)
      ffi.C.kill(ffi.C.getpid(), 9)
    end)
    sound(queue)
    local again = take(queue, 4, true)
    assert.equal("a b c d", texts_of(again))
    assert.same({ 2, 1 }, { again[1].deliveries, again[4].deliveries })
    assert.equal(3, tonumber(stat_of(queue).returned))
    sound(queue)
  end)

  it("drains after it was closed, and says so when nothing can come any more", function()
    local queue = new_queue()
    put_many(queue, { "a", "b" })
    C.shm_queue_close(queue)
    assert.equal(CLOSED, put(queue, "c"))
    assert.equal("a", texts_of(take(queue, 1, true)))
    assert.equal("b", texts_of(take(queue)))
    assert.equal(CLOSED, take(queue)) -- what we hold ourselves does not come of waiting
    assert.equal(0, fault.in_child(function() assert(take(queue) == EMPTY) end)) -- it may come back from us
    sound(queue)
  end)

  it("is found again with its contents, and refused in another shape", function()
    local queue = C.shm_queue_open("found", shape {}, 1)
    put(queue, "kept")
    assert.equal(queue, C.shm_queue_open("found", shape {}, 1))
    assert.equal(queue, C.shm_queue_open("found", nil, 0))
    assert.equal(queue, C.shm_queue_open("found", shape {}, 0))
    assert.equal("kept", drain(queue))
    for _, create in ipairs { 0, 1 } do
      assert.is_true(C.shm_queue_open("found", shape { capacity = 17 }, create) == nil)
      local text = ffi.string(C.shm_last_error())
      assert.matches("16 messages of 1000 bytes, bytes, in 8192 bytes", text, 1, true)
      assert.matches("17 messages of 1000 bytes, bytes, in 8192 bytes", text, 1, true)
    end
    assert.is_true(C.shm_queue_open("nobody's", nil, 0) == nil)
    for _, wrong in ipairs { { capacity = 0 }, { message_limit = 0 }, { message_limit = 2 ^ 20 + 1 },
      { size = 500 }, { size = 2 ^ 41 } } do
      assert.is_true(C.shm_queue_open("wrong", shape(wrong), 1) == nil)
      assert.matches("^shared queue \"wrong\"", ffi.string(C.shm_last_error()))
    end
    assert.is_true(C.shm_queue_open("huge", shape { size = 2 ^ 35 }, 1) == nil)
    assert.matches("shared_memory", ffi.string(C.shm_last_error()), 1, true)
  end)
end)

describe("a shared queue whose process is killed at each step of", function()
  setup(function() assert.equal(0, C.shm_region_private()) end)

  --- What is left must be one of two: as if the operation had been, or had not.
  local function either(section, least_steps, prepare, operate, before, after)
    local steps = fault.each_step(section, function() operate() end, function(killed)
      local queue = prepare.queue
      sound(queue)
      local left = drain(queue)
      sound(queue)
      assert.is_true(left == after or killed and left == before, left)
      prepare.again()
    end)
    assert.is_true(steps >= least_steps, steps)
  end

  it("a put leaves the messages whole", function()
    local queue = new_queue { size = 40 * 128 }
    local big = ("z"):rep(400)
    local function again() assert.equal(OK, (put_many(queue, { "a", "b" }))) end
    again()
    either("queue.put", 7, { queue = queue, again = again },
      function() put_many(queue, { big, "c" }) end, "a b", "a b " .. big .. " c")
  end)

  it("a put into an empty queue does too", function()
    local queue = new_queue()
    either("queue.put", 5, { queue = queue, again = function() end },
      function() put(queue, "a") end, "", "a")
  end)

  it("a take loses at most what that process was taking", function()
    local queue = new_queue { size = 40 * 128 }
    local function again() assert.equal(OK, (put_many(queue, { "a", ("b"):rep(300), "c" }))) end
    again()
    either("queue.take", 6, { queue = queue, again = again },
      function() take(queue, 2) end, "a " .. ("b"):rep(300) .. " c", "c")
  end)

  it("a take of what came back does too", function()
    local queue = new_queue { size = 40 * 128 }
    local function again()
      put_many(queue, { "a", "b", "c", "d" })
      give_back(queue, 3)
    end
    again()
    either("queue.take", 6, { queue = queue, again = again },
      function() take(queue, 1) end, "a b c d", "b c d")
  end)

  for _, from in ipairs { "the list", "what came back" } do
    it("a take to be acknowledged from " .. from .. " loses nothing", function()
      local queue = new_queue { size = 40 * 128 }
      local function again()
        put_many(queue, { "a", ("b"):rep(300), "c" })
        if from == "the list" then return end
        give_back(queue, 2)
      end
      again()
      local all = "a " .. ("b"):rep(300) .. " c"
      fault.each_step("queue.take", function()
        take(queue, 2, true)
      end, function()
        sound(queue)
        C.shm_queue_close(queue) -- so that who looks for more finds what the dead one held
        local list = {}
        while true do
          local got = take(queue, 1)
          if got == CLOSED then break end
          list[#list + 1] = got[1]
        end
        table.sort(list, function(one, other) return one.serial < other.serial end)
        assert.equal(all, texts_of(list))
        sound(queue)
        queue = new_queue { size = 40 * 128 }
        again()
      end)
    end)
  end

  it("an acknowledgement is one, or the message comes again", function()
    local queue = new_queue { size = 40 * 128 }
    local function again() put_many(queue, { "a", ("b"):rep(300) }) end
    again()
    either("queue.ack", 8, { queue = queue, again = again }, function()
      local list = take(queue, 2, true)
      C.shm_queue_ack(queue, list[1].id, list[1].serial)
    end, "a " .. ("b"):rep(300), ("b"):rep(300))
  end)

  it("giving one back keeps its place", function()
    local queue = new_queue { size = 40 * 128 }
    local function again() put_many(queue, { "a", "b", "c" }) end
    again()
    either("queue.nack", 8, { queue = queue, again = again }, function()
      local list = take(queue, 3, true)
      C.shm_queue_nack(queue, list[2].id, list[2].serial)
    end, "a b c", "b a c")
  end)

  it("looking after the dead is taken up by the next", function()
    local queue = new_queue { capacity = 64, size = 64 * 128 }
    local list = {}
    for i = 1, 40 do list[i] = tostring(i) end
    local function again()
      put_many(queue, list)
      fault.in_child(function() take(queue, 40, true) end)
    end
    again()
    either("queue.return", 100, { queue = queue, again = again }, function()
      assert(C.shm_held_reclaim(queue))
    end, table.concat(list, " "), table.concat(list, " "))
  end)

  for section, look in pairs {
    ["queue.size"] = function(queue) assert(tonumber(C.shm_queue_size(queue)) == 2) end,
    ["queue.stat"] = function(queue)
      local stat = ffi.new "struct shm_queue_stat"
      C.shm_queue_stat(queue, stat)
      assert(tonumber(stat.ready) == 2)
    end,
  } do
    it("a look (" .. section .. ") after a put that was cut short changes nothing", function()
      local queue = new_queue()
      local function again() put_many(queue, { "a", "b" }) end
      again()
      either(section, 1, { queue = queue, again = again }, function()
        fault.leave_half_done("queue.put", function() put(queue, "c") end)
        look(queue)
      end, "a b", "a b")
    end)
  end

  it("closing closes it, or not", function()
    local queue = new_queue()
    local steps = fault.each_step("queue.close", function() C.shm_queue_close(queue) end, function(killed)
      sound(queue)
      local result = put(queue, "a")
      assert.is_true(result == CLOSED or killed and result == OK)
      queue = new_queue()
    end)
    assert.is_true(steps >= 3)
  end)
end)

describe("a shared queue under processes that are killed", function()
  setup(function() assert.equal(0, C.shm_region_private()) end)

  it("loses nothing, and has nothing acknowledged twice", function()
    local queue = new_queue { capacity = 200, message_limit = 700, size = 300 * 128 }
    local status = ffi.new "int[1]"
    local MOST = 2 ^ 24 -- messages that we count, by their serial; sparse memory, shared with our children
    local acknowledged = ffi.cast("uint8_t *", ffi.C.mmap(nil, MOST, 3, 0x21, -1, 0))

    local function consumer()
      local pid = ffi.C.fork()
      if pid == 0 then
        ffi.C.prctl(1, 9) -- PR_SET_PDEATHSIG
        while true do
          local list = take(queue, 5, true)
          if list == CLOSED then ffi.C._exit(0) end
          if list == EMPTY then
            ffi.C.usleep(200)
          else
            for _, message in ipairs(list) do
              if C.shm_queue_ack(queue, message.id, message.serial) ~= OK then ffi.C._exit(3) end
              local i = tonumber(message.serial) % MOST
              acknowledged[i] = acknowledged[i] + 1
            end
          end
        end
      end
      return pid
    end

    local function producer(name)
      local pid = ffi.C.fork()
      if pid == 0 then
        ffi.C.prctl(1, 9)
        local n = 0
        while true do
          local result = put(queue, name .. ("x"):rep(n * 7 % 600))
          if result == CLOSED then ffi.C._exit(0) end
          if result == FULL then ffi.C.usleep(100) end
          n = n + 1
        end
      end
      return pid
    end

    local processes = {}
    local function start(i)
      processes[i] = i <= 2 and producer("p" .. i) or consumer()
    end
    for i = 1, 5 do start(i) end
    for round = 1, 120 do
      ffi.C.usleep(5000)
      local i = round % 5 + 1
      ffi.C.kill(processes[i], 9)
      ffi.C.waitpid(processes[i], status, 0)
      assert.equal(9, status[0])
      sound(queue)
      start(i)
    end
    C.shm_queue_close(queue)
    for i = 1, 5 do
      assert.equal(processes[i], ffi.C.waitpid(processes[i], status, 0))
      assert.equal(0, status[0])
    end
    sound(queue)
    local stat = stat_of(queue)
    assert.equal(tonumber(stat.put), tonumber(stat.done))
    assert.is_true(stat.put > 1000, tonumber(stat.put))
    assert.equal(0, tonumber(stat.ready + stat.taken + stat.used))
    local never = 0
    for serial = 1, tonumber(stat.put) do
      assert(acknowledged[serial] <= 1, "a message was acknowledged twice")
      if acknowledged[serial] == 0 then never = never + 1 end
    end
    assert.is_true(never <= 72) -- consumers that were killed after an acknowledgement, before they noted it
    ffi.C.munmap(ffi.cast("void *", acknowledged), MOST)
  end)
end)
