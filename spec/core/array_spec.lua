-- Values and arrays: numbers that change atomically, whoever is killed meanwhile.
local core = require "spec.support.core"
require "spec.support.fault" -- declares fork and waitpid
local ffi = require "ffi"

ffi.cdef [[
struct shm_array;
struct shm_array *shm_array_open(const char *name, const char *type, uint64_t count, int create);
uint64_t shm_array_length(const struct shm_array *array);
const char *shm_array_type(const struct shm_array *array);
int64_t shm_array_get_int64(const struct shm_array *array, uint64_t index);
void shm_array_set_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_add_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_exchange_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_cas_int64(struct shm_array *array, uint64_t index, int64_t expected, int64_t number);
int64_t shm_array_max_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_min_int64(struct shm_array *array, uint64_t index, int64_t number);
double shm_array_get_double(const struct shm_array *array, uint64_t index);
double shm_array_add_double(struct shm_array *array, uint64_t index, double number);
void shm_array_read(const struct shm_array *array, uint64_t index, uint64_t count, int64_t *bits);
void shm_array_write(struct shm_array *array, uint64_t index, uint64_t count, const int64_t *bits);
void shm_array_fill(struct shm_array *array, uint64_t index, uint64_t count, int64_t bits);
int64_t shm_value_exchange_int64(struct shm_value *value, int64_t number);
int64_t shm_value_cas_int64(struct shm_value *value, int64_t expected, int64_t number);
int64_t shm_value_max_int64(struct shm_value *value, int64_t number);
int64_t shm_value_min_int64(struct shm_value *value, int64_t number);
void shm_value_set_double(struct shm_value *value, double number);
double shm_value_exchange_double(struct shm_value *value, double number);
double shm_value_cas_double(struct shm_value *value, double expected, double number);
double shm_value_max_double(struct shm_value *value, double number);
double shm_value_min_double(struct shm_value *value, double number);
int kill(int pid, int number);
]]

local C = core.lib

local function last_error() return ffi.string(C.shm_last_error()) end

setup(function() assert.equal(0, C.shm_region_private()) end)

describe("a value", function()
  it("is exchanged, compared and set, raised and lowered", function()
    local value = C.shm_value_open("cells.int64", "int64", 0, 1)
    assert.equal(0, tonumber(C.shm_value_exchange_int64(value, 5)))
    assert.equal(5, tonumber(C.shm_value_cas_int64(value, 4, 9)))
    assert.equal(5, tonumber(C.shm_value_cas_int64(value, 5, 9)))
    assert.equal(9, tonumber(C.shm_value_max_int64(value, 8)))
    assert.equal(12, tonumber(C.shm_value_max_int64(value, 12)))
    assert.equal(-3, tonumber(C.shm_value_min_int64(value, -3)))
    assert.is_true(C.shm_value_max_int64(value, 9007199254740993LL) == 9007199254740993LL)
  end)

  it("of doubles too, comparing as numbers do", function()
    local value = C.shm_value_open("cells.double", "double", 0, 1)
    C.shm_value_set_double(value, -0.0)
    assert.equal(0, C.shm_value_cas_double(value, 0, 1.5))
    assert.equal(1.5, C.shm_value_exchange_double(value, 0 / 0))
    local nan = C.shm_value_cas_double(value, 0 / 0, 7)
    assert.is_true(nan ~= nan)
    C.shm_value_set_double(value, 1)
    assert.equal(2.5, C.shm_value_max_double(value, 2.5))
    assert.equal(-1, C.shm_value_min_double(value, -1))
  end)
end)

describe("an array", function()
  it("is of its type and length, all 0, and found again", function()
    local array = C.shm_array_open("cells.a", "int32", 100, 1)
    assert.is_true(array ~= nil)
    assert.equal(100, tonumber(C.shm_array_length(array)))
    assert.equal("int32", ffi.string(C.shm_array_type(array)))
    for i = 0, 99 do assert.equal(0, tonumber(C.shm_array_get_int64(array, i))) end
    assert.equal(array, C.shm_array_open("cells.a", "int32", 100, 0))
    assert.equal(array, C.shm_array_open("cells.a", "", 0, 0))
    assert.is_true(C.shm_array_open("cells.a", "int32", 101, 1) == nil)
    assert.matches("exists as array of 100 int32, not as array of 101 int32", last_error(), 1, true)
  end)

  it("is refused when its type, length or size cannot be", function()
    assert.is_true(C.shm_array_open("cells.none", "float", 1, 1) == nil)
    assert.matches('"float"', last_error(), 1, true)
    for _, count in ipairs { 0, 2 ^ 40 + 1 } do
      assert.is_true(C.shm_array_open("cells.none", "uint8", count, 1) == nil)
    end
    assert.is_true(C.shm_array_open("cells.none", "double", 2 ^ 40, 1) == nil)
    assert.matches("shared_memory", last_error(), 1, true)
    assert.is_true(C.shm_array_open("cells.none", "int64", 1, 0) == nil)
  end)

  it("keeps its neighbours and cuts to its width", function()
    local array = C.shm_array_open("cells.bytes", "uint8", 3, 1)
    assert.equal(255, tonumber(C.shm_array_add_int64(array, 1, 255)))
    assert.equal(1, tonumber(C.shm_array_add_int64(array, 1, 2)))
    assert.equal(1, tonumber(C.shm_array_exchange_int64(array, 1, 200)))
    assert.equal(200, tonumber(C.shm_array_cas_int64(array, 1, 200, 7)))
    assert.equal(9, tonumber(C.shm_array_max_int64(array, 1, 9)))
    assert.equal(2, tonumber(C.shm_array_min_int64(array, 1, 2)))
    assert.equal(0, tonumber(C.shm_array_get_int64(array, 0)))
    assert.equal(0, tonumber(C.shm_array_get_int64(array, 2)))
    local narrow = C.shm_array_open("cells.narrow", "int32", 2, 1)
    C.shm_array_set_int64(narrow, 0, 2147483647)
    assert.equal(-2147483648, tonumber(C.shm_array_add_int64(narrow, 0, 1)))
    assert.equal(0, tonumber(C.shm_array_get_int64(narrow, 1)))
  end)

  it("is read, written and filled in pieces", function()
    local array = C.shm_array_open("cells.bulk", "double", 10, 1)
    local bits = ffi.new("union { double numbers[4]; int64_t bits[4]; }", { { 1, 2, 3, 4.5 } })
    C.shm_array_write(array, 3, 4, bits.bits)
    assert.equal(4.5, C.shm_array_get_double(array, 6))
    C.shm_array_fill(array, 0, 2, bits.bits[1])
    assert.equal(2.25, C.shm_array_add_double(array, 1, 0.25))
    C.shm_array_read(array, 0, 4, bits.bits)
    assert.same({ 2, 2.25, 0, 1 }, { bits.numbers[0], bits.numbers[1], bits.numbers[2], bits.numbers[3] })
  end)

  it("loses no addition and tears no number while processes are killed", function()
    local sums = C.shm_array_open("cells.sums", "int64", 8, 1)
    local pattern = C.shm_array_open("cells.pattern", "int64", 1, 1)
    local children, status = {}, ffi.new "int[1]"
    -- Each child adds to the total first and to its own count after it: the total is never behind by
    -- more than nothing, nor ahead by more than one for each that was killed.
    local function start(slot)
      local pid = ffi.C.fork()
      if pid == 0 then
        while true do
          C.shm_array_add_int64(sums, 0, 1)
          C.shm_array_add_int64(sums, slot, 1)
          C.shm_array_exchange_int64(pattern, 0, slot % 2 == 0 and -1 or 0)
        end
      end
      children[slot] = pid
    end
    for slot = 1, 4 do start(slot) end
    local killed = 0
    for round = 1, 80 do
      local slot = round % 4 + 1
      for _ = 1, 500 do
        local number = tonumber(C.shm_array_get_int64(pattern, 0))
        assert.is_true(number == 0 or number == -1)
      end
      ffi.C.kill(children[slot], 9)
      ffi.C.waitpid(children[slot], status, 0)
      assert.equal(9, status[0])
      killed = killed + 1
      start(slot)
    end
    for slot = 1, 4 do
      ffi.C.kill(children[slot], 9)
      ffi.C.waitpid(children[slot], status, 0)
      killed = killed + 1
    end
    local own = 0
    for slot = 1, 4 do own = own + tonumber(C.shm_array_get_int64(sums, slot)) end
    local ahead = tonumber(C.shm_array_get_int64(sums, 0)) - own
    assert.is_true(own > 0 and ahead >= 0 and ahead <= killed, ("%d counted, %d ahead"):format(own, ahead))
  end)
end)

