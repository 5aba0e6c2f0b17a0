-- Series of metrics: made once each whoever asks, within their bound, and whole when a process dies.
local core = require "spec.support.core"
local fault = require "spec.support.fault"
local ffi = require "ffi"

ffi.cdef [[
struct shm_metric;
struct shm_metric *shm_metric_open(const char *name, const char *kind, const char *labels,
  uint64_t series, const double *bounds, uint64_t bound_count, int create);
uint64_t shm_metric_series(struct shm_metric *metric, const char *key, size_t size);
struct shm_value *shm_metric_cell(struct shm_metric *metric, uint64_t series, uint64_t number);
void shm_metric_observe(struct shm_metric *metric, uint64_t series, double value);
struct shm_metric_stat { uint64_t limit; uint64_t series; uint64_t overflows; };
void shm_metric_read(struct shm_metric *metric, struct shm_metric_stat *stat);
const char *shm_metric_key(const struct shm_metric *metric, uint64_t series, uint64_t *ret_size);
int kill(int pid, int number);
]]

local C = core.lib
local size = ffi.new "uint64_t[1]"

local function open(name, limit, bounds)
  bounds = bounds or {}
  return C.shm_metric_open(name, #bounds > 0 and "histogram" or "counter", "route", limit,
    ffi.new("double[?]", #bounds + 1, bounds), #bounds, 1)
end

local function series(metric, key) return tonumber(C.shm_metric_series(metric, key, #key)) end

local function stat(metric)
  local figures = ffi.new "struct shm_metric_stat"
  C.shm_metric_read(metric, figures)
  return tonumber(figures.series), tonumber(figures.overflows)
end

local function key(metric, number)
  local text = C.shm_metric_key(metric, number, size)
  return ffi.string(text, tonumber(size[0]))
end

setup(function() assert.equal(0, C.shm_region_private()) end)

describe("a metric", function()
  it("has a series for each key, up to its bound, and counts what is beyond", function()
    local metric = open("m.bound", 3)
    assert.same({ 1, 2, 3, 1 }, { series(metric, "a"), series(metric, ""), series(metric, "a\0b"),
      series(metric, "a") })
    assert.same({ 0, 0 }, { series(metric, "d"), series(metric, ("k"):rep(249)) })
    assert.same({ 3, 2 }, { stat(metric) })
    assert.equal("a\0b", key(metric, 3))
    C.shm_value_add_double(C.shm_metric_cell(metric, 2, 0), 1.5)
    assert.equal(0, C.shm_value_get_double(C.shm_metric_cell(metric, 1, 0)))
    assert.equal(1.5, C.shm_value_get_double(C.shm_metric_cell(metric, 2, 0)))
  end)

  it("finds each of very many", function()
    local metric = open("m.many", 5000)
    for i = 1, 5000 do assert.equal(i, series(metric, ("k"):rep(i % 240) .. i)) end
    for i = 1, 5000 do assert.equal(i, series(metric, ("k"):rep(i % 240) .. i)) end
    assert.equal(0, series(metric, "one more"))
  end)

  it("counts values in the bucket they are in", function()
    local metric = open("m.buckets", 1, { 0.5, 1 })
    local number = series(metric, "x")
    for _, value in ipairs { 0.5, 0.6, 1, 7, -1 } do C.shm_metric_observe(metric, number, value) end
    local counts = {}
    for i = 1, 3 do counts[i] = tonumber(C.shm_value_get_int64(C.shm_metric_cell(metric, number, i))) end
    assert.same({ 2, 2, 1 }, counts)
    assert.is_true(math.abs(C.shm_value_get_double(C.shm_metric_cell(metric, number, 0)) - 8.1) < 1e-9)
    assert.is_true(open("m.buckets", 1, { 0.5, 1 }) == metric)
    assert.is_true(open("m.buckets", 1, { 0.5, 2 }) == nil)
    assert.matches("exists with other buckets: number 2 ends at 1, not at 2",
      ffi.string(C.shm_last_error()), 1, true)
  end)

  it("is refused when it is another, or the names of its labels are too big", function()
    open("m.shape", 3)
    assert.is_true(open("m.shape", 4) == nil)
    assert.matches("exists as counter of 3 series by route, not as counter of 4 series by route",
      ffi.string(C.shm_last_error()), 1, true)
    assert.is_true(C.shm_metric_open("m.long", "counter", ("l"):rep(64), 1, nil, 0, 1) == nil)
    assert.matches("too big", ffi.string(C.shm_last_error()), 1, true)
  end)

  it("has a series or not, whichever step its process dies at", function()
    local metric = open("m.steps", 100)
    local round = 0
    local steps = fault.each_step("metric.series", function() series(metric, "key " .. round) end, function()
      local before = stat(metric)
      local number = series(metric, "key " .. round)
      local now = stat(metric)
      assert.is_true(number == now and now - before <= 1)
      assert.equal("key " .. round, key(metric, number))
      for i = 0, round do assert.equal(i + 1, series(metric, "key " .. i)) end
      round = round + 1
    end)
    assert.equal(5, steps)
    assert.equal(0, (select(2, stat(metric))))
  end)

  it("is read as it was before a change that was cut short, by whoever is not killed", function()
    local metric = open("m.half", 100)
    series(metric, "a")
    fault.each_step("metric.read", function()
      fault.leave_half_done("metric.series", function() series(metric, "b") end)
      assert(stat(metric) == 1)
    end, function()
      assert.equal(1, (stat(metric)))
      assert.equal(1, series(metric, "a"))
    end)
  end)

  it("has each series once when processes that make them are killed", function()
    local metric = open("m.race", 400)
    local children, status = {}, ffi.new "int[1]"
    local function start(slot)
      local pid = ffi.C.fork()
      if pid == 0 then
        local i = slot * 37
        while true do
          i = (i * 5 + 3) % 512
          local text = "key " .. i % 400
          local number = series(metric, text)
          if number == 0 or key(metric, number) ~= text then ffi.C._exit(3) end
        end
      end
      children[slot] = pid
    end
    for slot = 1, 4 do start(slot) end
    for round = 1, 40 do
      local slot = round % 4 + 1
      for i = 1, 20 do series(metric, "key " .. (round * 10 + i) % 400) end
      ffi.C.kill(children[slot], 9)
      ffi.C.waitpid(children[slot], status, 0)
      assert.equal(9, status[0])
      start(slot)
    end
    for slot = 1, 4 do
      ffi.C.kill(children[slot], 9)
      ffi.C.waitpid(children[slot], status, 0)
      assert.equal(9, status[0])
    end
    for i = 0, 399 do series(metric, "key " .. i) end
    local count, seen = stat(metric), {}
    assert.equal(400, count)
    for number = 1, 400 do
      local text = key(metric, number)
      assert.is_nil(seen[text])
      seen[text] = true
    end
  end)
end)
