--- Counters, gauges and histograms: figures that all processes add to, by the values of their labels.
---
--- A series is looked up once in each process and then reached by a pointer: counting is one atomic
--- addition. There are as many series as `series` says; what comes beyond is counted in one more, whose
--- labels are all "other".
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local json = require "perigee.json"
local object = require "perigee.shared.object"

local C = abi.C
local type, tonumber, tostring, setmetatable = type, tonumber, tostring, setmetatable

local metric = {
  ---@type table<string, perigee.SharedMetric> all that this application has made, by name
  all = {},
}

local SERIES = 256 -- option `series`
local SERIES_MOST = 65536
local LABELS_MOST = 8
local BUCKETS_MOST = 64
local BUCKETS = { 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 } -- seconds; option `buckets`
local DIVIDER = "\0"

---@class perigee.SharedMetric
---@field name string
---@field kind "counter"|"gauge"|"histogram"
---@field help string
---@field labels string[]
---@field buckets number[]|nil of a histogram: their upper ends, without the infinite one

-- ── Series ───────────────────────────────────────────────────────────────────────────────────

--- A label's value as text that every reader of the metrics takes.
local function text_of(self, name, value)
  local kind = type(value)
  if kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
    caller.fail("the label '%s' of the metric '%s' must be a string, a number or a boolean, not %s", name,
      self.name, value == nil and "nil" or "a " .. kind)
  end
  local text = tostring(value)
  if text:find("%z") then text = text:gsub("%z", "?") end
  if text:find("[\128-\255]") and not json.try_encode(text) then text = text:gsub("[\128-\255]", "?") end
  return text
end

local function check_labels(self, labels)
  caller.check(labels, "table", ("the labels of the metric '%s'"):format(self.name))
  for name in pairs(labels) do
    if not self.is_label[name] then
      caller.fail("the metric '%s' has no label '%s'; it has %s", self.name, tostring(name),
        #self.labels > 0 and table.concat(self.labels, ", ") or "none")
    end
  end
end

--- Looks a series up, makes it if it is new, and keeps where it is.
local function look_up(self, labels)
  check_labels(self, labels)
  local names, texts = self.labels, {}
  for i, name in ipairs(names) do texts[i] = text_of(self, name, labels[name]) end
  local key = table.concat(texts, DIVIDER)
  local number = tonumber(C.shm_metric_series(self.metric, key, #key))
  local found = self.place(self, number)
  if number == 0 then return found end -- a value that may never come again
  local node = self.known
  for i = 1, #names do
    local value = labels[names[i]]
    if tostring(value) ~= texts[i] then return found end
    if i == #names then
      node[value] = found
    else
      node[value] = node[value] or {}
      node = node[value]
    end
  end
  return found
end

--- Where the series of these labels is kept.
local function series_of(self, labels)
  if labels == nil then
    if self.only then return self.only end
    caller.fail("the metric '%s' needs the labels %s", self.name, table.concat(self.labels, ", "))
  end
  local node, names = self.known, self.labels
  for i = 1, #names do
    local value = labels[names[i]]
    node = value ~= nil and node[value] or nil
    if not node then return look_up(self, labels) end
  end
  if node == self.known then check_labels(self, labels) end -- without labels any is one too many
  return self.only or node
end

local function check_number(self, number, what)
  if type(number) ~= "number" or number ~= number then
    caller.fail("%s: the metric '%s' takes a number, not %s", what, self.name, tostring(number))
  end
end

-- ── Methods ──────────────────────────────────────────────────────────────────────────────────

local methods = { counter = {}, gauge = {}, histogram = {} }

--- Counts. Does not yield; raises at the caller's place, as all of these.
---@param number number|nil 0 or more; default 1
---@param labels table<string, any>|nil all of the metric's labels
function methods.counter:add(number, labels)
  if number == nil then number = 1 end
  check_number(self, number, "counter:add")
  if number < 0 then caller.fail("counter:add: the counter '%s' can only grow: %g", self.name, number) end
  C.shm_value_add_double(series_of(self, labels), number)
end

---@param number number
---@param labels table<string, any>|nil
function methods.gauge:set(number, labels)
  check_number(self, number, "gauge:set")
  C.shm_value_set_double(series_of(self, labels), number)
end

---@param number number
---@param labels table<string, any>|nil
function methods.gauge:add(number, labels)
  check_number(self, number, "gauge:add")
  C.shm_value_add_double(series_of(self, labels), number)
end

--- Counts one value, of seconds as a rule.
---@param value number
---@param labels table<string, any>|nil
function methods.histogram:observe(value, labels)
  check_number(self, value, "histogram:observe")
  C.shm_metric_observe(self.metric, series_of(self, labels), value)
end

--- What a series has counted.
---@param labels table<string, any>|nil
---@return number
local function get(self, labels)
  return C.shm_value_get_double(series_of(self, labels))
end

methods.counter.get, methods.gauge.get = get, get

local figures = ffi.new "struct shm_metric_stat"

--- series: how many there are, besides the one of all others; overflows: how often that was used.
---@return { series: number, limit: number, overflows: number }
local function stat(self)
  C.shm_metric_read(self.metric, figures)
  return { series = tonumber(figures.series), limit = tonumber(figures.limit),
    overflows = tonumber(figures.overflows) }
end

local size = ffi.new "uint64_t[1]"

--- The values of a series' labels, in the labels' order.
local function values_of(self, number)
  local values = {}
  if number == 0 then
    for i = 1, #self.labels do values[i] = "other" end
    return values
  end
  local key = ffi.string(C.shm_metric_key(self.metric, number, size), tonumber(size[0]))
  for value in (key .. DIVIDER):gmatch("([^%z]*)%z") do values[#values + 1] = value end
  return values
end

--- Calls fn(values, cell) for each series there is, in the order of the labels' values, where cell(n) gives
--- the number in a cell of it: see shm_metric_cell.
---@param self perigee.SharedMetric
---@param fn fun(values: string[], cell: fun(number: number): ffi.cdata*)
function metric.each(self, fn)
  local now, list = stat(self), {}
  if #self.labels == 0 or now.overflows > 0 then list[1] = { "", {}, 0 } end
  if list[1] then list[1][2] = values_of(self, 0) end
  for number = 1, now.series do
    local values = values_of(self, number)
    list[#list + 1] = { table.concat(values, DIVIDER), values, number }
  end
  table.sort(list, function(a, b)
    if a[1] ~= b[1] then return a[1] < b[1] end
    return a[3] < b[3]
  end)
  for _, entry in ipairs(list) do
    fn(entry[2], function(cell) return C.shm_metric_cell(self.metric, entry[3], cell) end)
  end
end

local metatables = {}
for kind, list in pairs(methods) do
  list.stat = stat
  metatables[kind] = object.metatable(kind, list)
end

-- ── Making ───────────────────────────────────────────────────────────────────────────────────

local function check_metric_name(kind, name)
  object.check_name(kind, name)
  if not name:find("^[%a_:][%w_:]*$") then
    caller.fail("perigee.shared.%s('%s'): the name of a metric has letters, digits, '_' and ':' only, and no "
      .. "digit first", kind, name)
  end
end

local function check_label_names(kind, name, labels)
  caller.check(labels, "table", ("perigee.shared.%s('%s'): labels"):format(kind, name))
  local seen = {}
  if #labels > LABELS_MOST then
    caller.fail("perigee.shared.%s('%s'): there are %d labels; the most is %d", kind, name, #labels,
      LABELS_MOST)
  end
  for _, label in ipairs(labels) do
    if type(label) ~= "string" or not label:find("^[%a_][%w_]*$") or label:find("^__")
      or kind == "histogram" and label == "le" or seen[label] then
      caller.fail("perigee.shared.%s('%s'): %s cannot be the name of a label", kind, name,
        type(label) == "string" and ("%q"):format(label) or tostring(label))
    end
    seen[label] = true
  end
  return seen
end

local function check_buckets(name, buckets)
  caller.check(buckets, "table", ("perigee.shared.histogram('%s'): buckets"):format(name))
  if #buckets < 1 or #buckets > BUCKETS_MOST then
    caller.fail("perigee.shared.histogram('%s'): there are 1 to %d buckets, not %d", name, BUCKETS_MOST,
      #buckets)
  end
  for i, bound in ipairs(buckets) do
    if type(bound) ~= "number" or bound ~= bound or math.abs(bound) == math.huge
      or i > 1 and bound <= buckets[i - 1] then
      caller.fail("perigee.shared.histogram('%s'): buckets must be numbers that grow; the infinite one is "
        .. "added: %s", name, tostring(bound))
    end
  end
end

local function open(kind, name, labels, series, buckets)
  local bounds = ffi.new("double[?]", math.max(#buckets, 1), buckets)
  return object.open(kind, name, function(create)
    return C.shm_metric_open(name, kind, table.concat(labels, ","), series, bounds, #buckets, create)
  end)
end

local function cell_place(self, number) return C.shm_metric_cell(self.metric, number, 0) end
local function number_place(_, number) return number end

--- Makes one, or finds the one there is: see perigee.shared.counter, gauge and histogram.
---@param kind "counter"|"gauge"|"histogram"
function metric.new(kind, name, options)
  check_metric_name(kind, name)
  options = object.check_options(kind, name, options, kind == "histogram"
    and { "help", "labels", "series", "buckets" } or { "help", "labels", "series" })
  local help, labels = options.help or "", options.labels or {}
  caller.check(help, "string", ("perigee.shared.%s('%s'): help"):format(kind, name))
  local is_label = check_label_names(kind, name, labels)
  local buckets = kind == "histogram" and (options.buckets or BUCKETS) or {}
  if kind == "histogram" then check_buckets(name, buckets) end
  local series = #labels > 0 and object.whole_option(kind, name, options, "series", 1, SERIES_MOST, SERIES)
    or 0
  local self = { name = name, kind = kind, help = help, labels = labels, is_label = is_label, known = {},
    buckets = kind == "histogram" and buckets or nil }
  self.metric = open(kind, name, labels, series, buckets)
  self.place = kind == "histogram" and number_place or cell_place
  self.only = #labels == 0 and self.place(self, 0) or nil
  metric.all[name] = self
  return setmetatable(self, metatables[kind])
end

--- The figures of the one of that name, which exists.
---@param name string
---@param kind "counter"|"gauge"|"histogram"
---@return table<string, number>
function metric.stat(name, kind)
  return stat { metric = object.any(kind, name, "struct shm_metric *") }
end

return metric
