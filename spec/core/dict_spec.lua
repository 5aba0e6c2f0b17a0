-- Shared dicts: what they hold, that no byte of them is ever lost, and that any process may die in them.
local core = require "spec.support.core"
local dict = require "spec.support.dict"
local fault = require "spec.support.fault"
local ffi = require "ffi"

ffi.cdef "int kill(int pid, int number);"

local C = core.lib
local DONE, NONE, EXISTS, CHANGED, FULL, TOO_BIG, BAD_KEY, WRONG_TYPE = 100, 0, -1, -2, -3, -4, -5, -6
local LIST = 6
local KIB = 1024

local function sized(key, size)
  return (key .. ":"):rep(math.ceil(size / (#key + 1))):sub(1, size)
end

local later = dict.later

describe("a shared dict", function()
  local made

  setup(function()
    assert.equal(0, C.shm_region_private())
  end)

  before_each(function() made = dict.new(512 * KIB) end)
  after_each(function() dict.check(made) end)

  it("holds strings of any bytes and size, numbers, integers and booleans", function()
    for _, size in ipairs { 0, 1, 23, 24, 25, 31, 32, 33, 59, 60, 61, 92, 93, 1000, 65536, 262144 } do
      for _, key in ipairs { "k", ("k"):rep(31), ("k"):rep(32), ("k"):rep(33), ("k"):rep(4096) } do
        local value = sized(key .. "\0\255", size)
        assert.equal(DONE, dict.set(made, key, value))
        assert.is_true(dict.get(made, key) == value)
        dict.delete(made, key)
      end
    end
    assert.equal(DONE, dict.set(made, "n", 0.1))
    assert.equal(0.1, dict.get(made, "n"))
    C.shm_dict_set_integer(made, "i", 1, 0, 9007199254740993LL, 0)
    assert.is_true(dict.get(made, "i") == 9007199254740993LL)
    C.shm_dict_set_boolean(made, "b", 1, 0, 1, 0)
    assert.is_true(dict.get(made, "b"))
    C.shm_dict_set_boolean(made, "b", 1, 0, 0, 0)
    assert.is_false(dict.get(made, "b"))
    assert.equal(NONE, dict.get(made, "nobody"))
  end)

  it("refuses keys and values beyond the limits", function()
    assert.equal(BAD_KEY, dict.set(made, "", "x"))
    assert.equal(BAD_KEY, dict.set(made, ("k"):rep(4097), "x"))
    assert.equal(BAD_KEY, dict.get(made, ("k"):rep(4097)))
    assert.equal(TOO_BIG, dict.set(made, "k", ("x"):rep(262145)))
    assert.equal(TOO_BIG, dict.push(made, "k", ("x"):rep(262145)))
    local small = dict.new(64 * KIB)
    assert.equal(TOO_BIG, dict.set(small, "k", ("x"):rep(64 * KIB)))
    assert.is_true(C.shm_dict_open("spec.dict.small", 1000, 0, 1) == nil)
    assert.matches("65536 bytes or more", ffi.string(C.shm_last_error()), 1, true)
  end)

  it("replaces a value by one of another type, and adds, replaces and deletes by what is there", function()
    for _, value in ipairs { 1, "one", 2, ("two"):rep(100), "three", 3 } do
      assert.equal(DONE, dict.set(made, "k", value))
      assert.equal(value, dict.get(made, "k"))
    end
    assert.equal(EXISTS, dict.set(made, "k", "new", 0, -1))
    assert.equal(DONE, dict.set(made, "k", "new", 0, -2))
    assert.equal(NONE, dict.set(made, "other", "new", 0, -2))
    assert.equal(DONE, dict.set(made, "other", "new", 0, -1))
    assert.equal(DONE, dict.delete(made, "k"))
    assert.equal(NONE, dict.delete(made, "k"))
    assert.equal(1, dict.stat(made).entries)
  end)

  it("has a version for each change, on which a change can depend", function()
    dict.set(made, "k", "a")
    dict.get(made, "k")
    local version = dict.found.version
    assert.equal(DONE, dict.set(made, "k", "b", 0, version))
    assert.equal(CHANGED, dict.set(made, "k", "c", 0, version))
    assert.equal(CHANGED, C.shm_dict_delete(made, "k", 1, version))
    dict.get(made, "k")
    assert.is_true(dict.found.version > version)
    assert.equal(DONE, C.shm_dict_delete(made, "k", 1, dict.found.version))
    assert.equal(CHANGED, dict.set(made, "k", "c", 0, version))
  end)

  it("adds exactly, and not to what is no number", function()
    local function add(key, by, initial)
      return C.shm_dict_add_number(made, key, #key, by, initial, 0, dict.found)
    end
    assert.equal(1, add("n", 1, 10))
    assert.equal(11, dict.found.number)
    assert.equal(1, add("n", 0.5, 0))
    assert.equal(11.5, dict.get(made, "n"))
    C.shm_dict_add_integer(made, "i", 1, 2, 9007199254740993LL, 0, dict.found)
    assert.equal(2, add("i", 1, 0))
    assert.is_true(dict.get(made, "i") == 9007199254740996LL)
    assert.equal(WRONG_TYPE, add("i", 0.5, 0))
    dict.set(made, "s", "x")
    assert.equal(WRONG_TYPE, add("s", 1, 0))
  end)

  it("never shows what has expired, and knows how long the rest lives", function()
    dict.set(made, "short", "x", 0.001)
    dict.set(made, "long", "x", 1000)
    dict.set(made, "ever", "x")
    later(25)
    assert.equal(NONE, dict.get(made, "short"))
    assert.equal(DONE, dict.set(made, "short", "y", 0, -1))
    assert.equal("x", dict.get(made, "long"))
    assert.is_true(dict.found.ttl > 900 and dict.found.ttl <= 1000)
    dict.get(made, "ever")
    assert.equal(-1, dict.found.ttl)
    dict.set(made, "long", "z", -1)
    dict.get(made, "long")
    assert.is_true(dict.found.ttl > 900)
    assert.equal(DONE, C.shm_dict_expire(made, "long", 4, 0))
    dict.get(made, "long")
    assert.equal(-1, dict.found.ttl)
    assert.equal(DONE, C.shm_dict_expire(made, "long", 4, 0.001))
    later(25)
    assert.equal(NONE, C.shm_dict_expire(made, "long", 4, 1))
  end)

  it("reuses the memory of what has expired before it says it is full", function()
    local i = 0
    local function more()
      i = i + 1
      return dict.set(made, "a" .. i, sized("a", 500), i % 2 == 0 and 0.05 or 0)
    end
    while more() == DONE do end
    assert.equal(FULL, more())
    later(80)
    for j = 1, math.floor(i / 2) - 10 do assert.equal(DONE, dict.set(made, "b" .. j, sized("b", 500))) end
    assert.equal("a", dict.get(made, "a1"):sub(1, 1))
    assert.is_true(dict.stat(made).expired > 0)
  end)

  it("takes what fits, of whatever sizes, to 95 % and more, after any history", function()
    math.randomseed(7)
    local model, live = {}, {}
    local function size_of()
      local r = math.random()
      if r < 0.01 then return math.random(1, 64 * KIB) end
      return r < 0.1 and math.random(1, 4 * KIB) or math.random(1, 300)
    end
    local fulls = 0
    for i = 1, 60000 do
      local key = "key" .. math.random(1, 4000)
      local value = sized(key, size_of())
      local before = dict.stat(made)
      local result = dict.set(made, key, value)
      if result == DONE then
        model[key] = value
      else
        fulls = fulls + 1
        assert.equal(FULL, result)
        -- It may be refused only for what is truly not there.
        local needed = 64 + math.ceil((32 + #key + #value - 64) / 60) * 64
        assert.is_true(before.used + needed > before.size,
          ("%d bytes were refused at %d of %d"):format(#value, before.used, before.size))
        for _ = 1, 50 do
          local victim = "key" .. math.random(1, 4000)
          dict.delete(made, victim)
          model[victim] = nil
        end
      end
      if i % 5000 == 0 then dict.check(made) end
    end
    assert.is_true(fulls > 10)
    for key, value in pairs(model) do
      assert.is_true(dict.get(made, key) == value)
      live[#live + 1] = key
    end
    assert.equal(#live, dict.stat(made).entries)
    local keys = dict.keys(made)
    for _, key in ipairs(live) do assert.equal(1, keys[key]) end
  end)

  it("that evicts always has room, and keeps what is used", function()
    local cache = dict.new(256 * KIB, true)
    for i = 1, 20000 do
      assert.equal(DONE, dict.set(cache, "cold" .. i, sized("cold", i % 97 == 0 and 20000 or i % 300)))
      if i % 10 == 1 then dict.set(cache, "hot", "hot", 0, -1) end
      assert.equal("hot", dict.get(cache, "hot"))
    end
    local stat = dict.stat(cache)
    assert.is_true(stat.evicted > 10000)
    assert.is_true(stat.used > 0.7 * stat.size, stat.used .. " of " .. stat.size)
    dict.check(cache)
  end)

  it("has lists, with two ends", function()
    for i = 1, 5 do
      assert.equal(DONE, dict.push(made, "l", sized("v" .. i, i * 40)))
      assert.equal(i, dict.found.number)
    end
    dict.push(made, "l", "first", true)
    assert.equal(LIST, dict.get(made, "l"))
    assert.same({ "first", sized("v1", 40), sized("v2", 80), sized("v3", 120), sized("v4", 160),
      sized("v5", 200) }, dict.list(made, "l"))
    assert.equal("first", dict.pop(made, "l", true))
    assert.equal(sized("v5", 200), dict.pop(made, "l"))
    assert.equal(DONE, C.shm_dict_length(made, "l", 1, dict.found))
    assert.equal(4, dict.found.number)
    dict.check(made)
    for i = 1, 4 do assert.equal(sized("v" .. i, i * 40), dict.pop(made, "l", true)) end
    assert.equal(NONE, dict.pop(made, "l"))
    assert.equal(0, dict.stat(made).entries)
    dict.set(made, "s", "x")
    assert.equal(WRONG_TYPE, dict.push(made, "s", "x"))
    assert.equal(WRONG_TYPE, dict.pop(made, "s"))
  end)

  it("frees long lists, deleted, overwritten, expired or evicted", function()
    local function fill(key)
      for i = 1, 1000 do assert.equal(DONE, dict.push(made, key, sized("v", i % 200))) end
    end
    fill "a"
    dict.delete(made, "a")
    fill "a"
    dict.set(made, "a", "now a string")
    dict.check(made)
    fill "b"
    C.shm_dict_expire(made, "b", 1, 0.001)
    later(25)
    fill "b"
    dict.check(made)
    local cache = dict.new(64 * KIB, true)
    for i = 1, 3000 do
      assert.equal(DONE, dict.push(cache, "list" .. math.floor(i / 100), sized("v", 100)))
    end
    dict.check(cache)
  end)

  it("is gone over key by key, each exactly once, whatever happens meanwhile", function()
    local large = dict.new(8 * KIB * KIB)
    for i = 1, 100000 do dict.set(large, "stays" .. i, i) end
    local i = 0
    local keys, most = dict.keys(large, function()
      i = i + 1
      dict.set(large, "comes" .. i, i)
      dict.delete(large, "comes" .. i - 5)
    end)
    for n = 1, 100000 do assert.equal(1, keys["stays" .. n]) end
    -- The guard is held for one call, and a call is about no more than that.
    assert.is_true(most < 30, most)
    dict.check(large)
    local cursor, calls = ffi.new "int64_t[1]", 0
    repeat
      C.shm_dict_flush(large, cursor)
      calls = calls + 1
    until cursor[0] < 0
    assert.is_true(calls > 200)
    assert.equal(0, dict.stat(large).entries)
    dict.check(large)
  end)
end)

-- Each section is entered by the operation from a state made anew; whichever step kills it, everything is
-- as before or as after.
describe("a process killed in a shared dict", function()
  local made

  local function before_or_after(section, prepare, operate, outcome)
    local steps = 0
    fault.each_step(section, function() operate() end, function(killed, step)
      dict.check(made)
      outcome(killed)
      steps = step - 1
      prepare()
    end)
    assert.is_true(steps > 0, section .. " was not entered")
  end

  local function either(key, old, new)
    return function(killed)
      local value = dict.get(made, key)
      assert.is_true(value == new or killed and value == old, tostring(value))
    end
  end

  local function case(section, what, old, new, operate, size)
    it(("at any step of %s, %s"):format(section, what), function()
      made = dict.new(size or 64 * KIB)
      local function prepare()
        dict.delete(made, "k")
        if old ~= NONE then dict.set(made, "k", old) end
      end
      prepare()
      before_or_after(section, prepare, operate, either("k", old, new))
    end)
  end

  local long, longer = sized("long", 500), sized("longer", 3000)
  case("dict.set", "a new string", NONE, long, function() dict.set(made, "k", long) end)
  case("dict.set", "another string", long, longer, function() dict.set(made, "k", longer) end)
  case("dict.set", "another number", 1, 2, function() dict.set(made, "k", 2) end)
  case("dict.set", "a number for a string", long, 2, function() dict.set(made, "k", 2, 10) end)
  case("dict.add", "a new number", NONE, 5, function()
    C.shm_dict_add_number(made, "k", 1, 5, 0, 0, dict.found)
  end)
  case("dict.add", "more", 5, 12, function() C.shm_dict_add_number(made, "k", 1, 7, 0, 0, dict.found) end)
  case("dict.delete", "a string", longer, NONE, function() dict.delete(made, "k") end)

  it("at any step of dict.expire", function()
    made = dict.new(64 * KIB)
    local function ttl()
      assert.is_true(C.shm_dict_look(made, "k", 1, dict.found) > 0)
      return dict.found.ttl
    end
    local function prepare() dict.set(made, "k", "v") end
    prepare()
    local function operate() C.shm_dict_expire(made, "k", 1, 100) end
    before_or_after("dict.expire", prepare, operate, function(killed)
      assert.is_true(ttl() > 90 or killed and ttl() < 0)
      assert.equal("v", dict.get(made, "k"))
    end)
  end)

  -- Reading takes no guard unless somebody died in the midst of a change, which is undone then.
  it("at any step of dict.read, after another", function()
    made = dict.new(64 * KIB)
    dict.set(made, "k", "old")
    before_or_after("dict.read", function() end, function()
      fault.leave_half_done("dict.set", function() dict.set(made, "k", "new") end)
      assert(dict.get(made, "k") == "old")
    end, function() assert.equal("old", dict.get(made, "k")) end)
  end)

  for section, operate in pairs {
    ["dict.length"] = function() assert(C.shm_dict_length(made, "l", 1, dict.found) == DONE) end,
    ["dict.element"] = function() assert(#dict.list(made, "l") == 2) end,
    ["dict.scan"] = function() assert(dict.keys(made).l == 1) end,
  } do
    it(("at any step of %s, also after another"):format(section), function()
      made = dict.new(64 * KIB)
      for _, value in ipairs { "a", "b" } do dict.push(made, "l", value) end
      local function unchanged() assert.same({ "a", "b" }, dict.list(made, "l")) end
      before_or_after(section, function() end, operate, unchanged)
      before_or_after(section, function() end, function()
        fault.leave_half_done("dict.push", function() dict.push(made, "l", "c") end)
        operate()
      end, unchanged)
    end)
  end

  for _, section in ipairs { "dict.grant", "dict.set", "dict.give" } do
    it("at any step of " .. section .. ", while cells come from the pool or go back", function()
      made = dict.new(512 * KIB)
      before_or_after(section, function() dict.delete(made, "k") end, function()
        dict.set(made, "k", sized("k", 30000))
        dict.delete(made, "k")
      end, function() end)
    end)
  end

  it("at any step of dict.push and dict.pop", function()
    made = dict.new(64 * KIB)
    local length = 5
    for _ = 1, length do dict.push(made, "l", "x") end
    local function count(killed, by)
      local list = dict.list(made, "l")
      assert.is_true(#list == length + by or killed and #list == length)
      length = #list
    end
    for _, front in ipairs { false, true } do
      before_or_after("dict.push", function() end, function() dict.push(made, "l", long, front) end,
        function(killed) count(killed, 1) end)
    end
    for _, front in ipairs { false, true } do
      before_or_after("dict.pop", function() end, function() dict.pop(made, "l", front) end,
        function(killed) count(killed, -1) end)
    end
    while length > 0 do
      dict.pop(made, "l")
      length = length - 1
    end
    before_or_after("dict.push", function() dict.pop(made, "l") length = 0 end,
      function() dict.push(made, "l", long) end, function(killed) count(killed, 1) end)
    local function one()
      while dict.pop(made, "l") ~= NONE do end
      dict.push(made, "l", "x")
    end
    one()
    before_or_after("dict.pop", one, function() dict.pop(made, "l") end, function(killed)
      assert.is_true(#dict.list(made, "l") == 0 or killed)
    end)
  end)

  it("at any step of dict.delete, dict.bury and dict.flush, with a long list", function()
    made = dict.new(512 * KIB)
    local function prepare()
      while dict.stat(made).entries == 0 do
        for i = 1, 150 do dict.push(made, "l", sized("v", i)) end
      end
    end
    prepare()
    before_or_after("dict.delete", prepare, function() dict.delete(made, "l") end, function() end)
    local count = 0
    -- Every step of the first pieces is like those of the others.
    fault.each_step("dict.bury", function()
      dict.delete(made, "l")
    end, function(_, step)
      dict.check(made)
      prepare()
      count = step
    end)
    assert.is_true(count > 100)
    prepare()
    before_or_after("dict.flush", prepare, function()
      local cursor = ffi.new "int64_t[1]"
      repeat C.shm_dict_flush(made, cursor) until cursor[0] < 0
    end, function() end)
  end)

  local function of_a_full_dict(section, evicts)
    local what = evicts and "evicts" or "refuses"
    it(("at any step of %s, of a full dict that %s"):format(section, what), function()
      made = dict.new(evicts and 64 * KIB or 512 * KIB, evicts)
      local value = sized("v", 5000)
      local function fill()
        local i = 0
        while i < 400 and dict.set(made, "k" .. i, value, evicts and 0 or 0.001) == DONE do i = i + 1 end
        later(25)
      end
      fill()
      before_or_after(section, fill, function()
        for i = 1, 3 do dict.set(made, "new" .. i, value) end
      end, function()
        for i = 1, 3 do dict.delete(made, "new" .. i) end
      end)
    end)
  end

  for _, section in ipairs { "dict.clear", "dict.give", "dict.gather", "dict.sweep", "dict.set" } do
    of_a_full_dict(section, false)
  end
  of_a_full_dict("dict.clear", true)
  of_a_full_dict("dict.set", true)

  it("at any step of dict.swept, of a dict full of what does not expire", function()
    made = dict.new(64 * KIB)
    local value = sized("v", 500)
    local i = 0
    while dict.set(made, "k" .. i, value) == DONE do i = i + 1 end
    local function prepare()
      dict.delete(made, "k0")
      dict.set(made, "short", 1, 0.001)
      while dict.set(made, "k" .. i, "small") == DONE do i = i + 1 end
      later(25)
    end
    prepare()
    before_or_after("dict.swept", prepare, function()
      assert(dict.set(made, "new", sized("new", 5000)) == FULL)
    end, function() end)
  end)

  it("leaves a dict that readers without the lock can go on with", function()
    made = dict.new(64 * KIB)
    dict.set(made, "k", "old")
    assert.equal(9, fault.in_child(function()
      C.shm_fault_arm("dict.set", 5)
      dict.set(made, "k", "new")
    end))
    assert.equal("old", dict.get(made, "k"))
    assert.equal(1, dict.stat(made).undone)
  end)
end)

describe("processes that are killed while they hammer a shared dict", function()
  local KEYS, TOTAL, ROUNDS = 40, 40 * 100, 40

  --- Values tell whether they are whole: their key, repeated.
  local function is_whole(key, value)
    return type(value) ~= "string" or value == sized(key, #value)
  end

  --- Moves an amount between two accounts, one atomic step each, so that a kill loses at most one step's.
  local function work(made)
    math.randomseed(ffi.C.getpid())
    while true do
      local key = "s" .. math.random(1, 300)
      local choice = math.random()
      if choice < 0.5 then
        if not is_whole(key, dict.get(made, key)) then ffi.C._exit(3) end
      elseif choice < 0.8 then
        dict.set(made, key, sized(key, math.random() < 0.05 and math.random(1, 20000) or math.random(1, 400)),
          math.random() < 0.2 and 0.01 or 0)
      elseif choice < 0.9 then
        dict.delete(made, key)
      elseif choice < 0.95 then
        dict.push(made, "list", sized("list", math.random(1, 300)), math.random() < 0.5)
        local value = dict.pop(made, "list", math.random() < 0.5)
        if not is_whole("list", value) then ffi.C._exit(4) end
      else
        local account = "account" .. math.random(1, KEYS)
        C.shm_dict_add_number(made, account, #account, 1, 0, 0, dict.found)
        C.shm_dict_add_number(made, account, #account, -1, 0, 0, dict.found)
      end
    end
  end

  for _, evicts in ipairs { false, true } do
    it("lose nothing but their own unfinished operations" .. (evicts and ", with eviction" or ""), function()
      local made, children = dict.new(1024 * KIB, evicts), {}
      for i = 1, KEYS do dict.set(made, "account" .. i, 100) end
      local function start()
        local pid = ffi.C.fork()
        if pid == 0 then
          pcall(work, made)
          ffi.C._exit(5)
        end
        return pid
      end
      for i = 1, 4 do children[i] = start() end
      local status = ffi.new "int[1]"
      for round = 1, ROUNDS do
        for _ = 1, 300 do
          local key = "s" .. math.random(1, 300)
          assert.is_true(is_whole(key, dict.get(made, key)))
        end
        local slot = round % 4 + 1
        later(20)
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
      dict.check(made)
      if not evicts then
        local sum = 0
        for i = 1, KEYS do sum = sum + dict.get(made, "account" .. i) end
        assert.is_true(math.abs(sum - TOTAL) <= ROUNDS + 4, sum)
      end
    end)
  end
end)
