-- Values and arrays as apps use them: in several workers, across a reload, and refused with the
-- caller's place.

local host = require "spec.support.host"

local source = [[
local perigee = require "perigee"
local app = perigee.app "cells"

app:main_process_start(function(app)
  app.shared.total = perigee.shared.value("total", "int64")
  app.shared.load = perigee.shared.value("load", "double", { initial = 0.5 })
  app.shared.flag = perigee.shared.value("flag", "bool")
  app.shared.counts = perigee.shared.array("counts", "int32", 1500)
  app.shared.bytes = perigee.shared.array("bytes", "uint8", 4)
  app.shared.marks = perigee.shared.array("marks", "bool", 3)
  app.shared.big = perigee.shared.array("big", "int64", 2)
  app.shared.sizes = perigee.shared.array("sizes", "double", 2)
end)

local function line(...)
  local words = {}
  for i = 1, select("#", ...) do words[i] = tostring((select(i, ...))) end
  return table.concat(words, " ")
end

local function message(...)
  local _, text = pcall(...)
  return text
end

app:get("/", function() return "hello\n" end)
app:get("/add", function() return line(app.shared.total:add(1), app.shared.counts:add(1500, 2)) end)
app:get("/seen", function() return line(app.shared.total:get(), app.shared.counts:get(1500)) end)
app:get("/value", function()
  local total, load, flag = app.shared.total, app.shared.load, app.shared.flag
  total:set(3)
  return table.concat({
    line(total:cas(3, 10)), line(total:cas(3, 11)), line(total:max(50), total:min(7), total:exchange(2 ^ 60)),
    line(total:exchange(9007199254740993LL), total:get(), total:add(-1)),
    line(load:cas(0.5, 0.25)), line(load:max(9), load:min(-1), load:exchange(4), load:get()),
    line(flag:exchange(true), flag:cas(true, false)), line(flag:get()), line(flag.add),
  }, "\n")
end)
app:get("/array", function()
  local counts, bytes, marks = app.shared.counts, app.shared.bytes, app.shared.marks
  counts:fill(1)
  counts:write(2, { 5, 6, -7 })
  local sum, all = 0, counts:read()
  for _, number in ipairs(all) do sum = sum + number end
  bytes:set(4, 250)
  marks:write(1, { true, false, true })
  app.shared.big:write(1, { 9007199254740993LL, 5 })
  app.shared.sizes:fill(0.5)
  return table.concat({
    line(#all, sum, counts:length()), line(unpack(counts:read(1, 5))),
    line(bytes:add(4, 6), bytes:add(4, -1), bytes:max(1, 9), bytes:min(1, 3)), line(bytes:cas(1, 3, 4)),
    line(unpack(marks:read())), line(marks:cas(1, true, false)), line(marks:exchange(2, true), marks:get(2)),
    line(unpack(app.shared.big:read())), line(app.shared.sizes:add(2, 1), app.shared.sizes:get(1)),
    line(perigee.shared.array("counts"):length(), perigee.shared.array("counts", "int32", 1500).type),
  }, "\n")
end)
app:get("/wrong", function()
  local counts, new = app.shared.counts, perigee.shared.array
  return table.concat({
    message(counts.get, counts, 1501), message(counts.get, counts, 0), message(counts.get, counts, 1.5),
    message(counts.set, counts, 1, 2 ^ 31), message(counts.write, counts, 1499, { 1, 2, 3 }),
    message(counts.write, counts, 1, { 1, "x" }), message(app.shared.bytes.fill, app.shared.bytes, 256),
    message(app.shared.flag.cas, app.shared.flag, true, 1), message(new, "counts", "int32", 7),
    message(new, "counts", "int23", 7), message(new, "counts", "int32", 0), message(new, "late", "int32", 7),
    message(perigee.shared.value("total", "int64").max, app.shared.total, "9"),
  }, "\n")
end)
return app
]]

describe("values and arrays", function()
  after_each(host.finish)

  it("do at once what is asked of them", function()
    local server = host.serve { app = source, flags = { "--workers", "1" } }
    assert.equal([[
true 3
false 10
50 7 7
1152921504606846976LL 9007199254740993LL 9.007199254741e+15
true 0.5
9 -1 -1 4
false true true
false
nil]], server:get("/value").body)
    assert.equal([[
1500 1501 1500
1 5 6 -7 1
0 255 9 3
true 3
true false true
true true
false true
9007199254740993LL 5
1.5 0.5
1500 int32]], server:get("/array").body)
  end)

  it("say at the caller's place what cannot be", function()
    local server = host.serve { app = source, flags = { "--workers", "1" } }
    local text = server:get("/wrong").body
    local expected = {
      "get of the shared array 'counts': an index is a whole number from 1 to 1500, not 1501",
      "from 1 to 1500, not 0", "from 1 to 1500, not 1.5",
      "it takes a whole number of 32 bits, not 2147483648",
      "write of the shared array 'counts': there are 2 from 1499 on, not 3",
      "it takes a whole number of 32 bits, not x", "it takes a whole number from 0 to 255, not 256",
      "cas of the shared value 'flag': it takes true or false, not 1",
      "exists as array of 1500 int32, not as array of 7 int32", "did you mean 'int32'",
      "the length must be a whole number from 1 to", "make it in main_process_start",
      "max of the shared value 'total': it takes a whole number, not 9",
    }
    local at = 0
    for line in text:gmatch "[^\n]+" do
      at = at + 1
      assert.truthy(line:find("^app.lua:%d+: "), line)
      assert.truthy(line:find(expected[at], 1, true), line)
    end
    assert.equal(#expected, at)
  end)

  it("are one for all workers, and outlive them", function()
    local server = host.serve { app = source, flags = { "--workers", "3" } }
    for _ = 1, 100 do server:get "/add" end
    assert.equal("100 200", server:get("/seen").body)
    server:reload(source)
    server:expect "generation 2 serves"
    server:get "/add"
    assert.equal("101 202", server:get("/seen").body)
  end)
end)
