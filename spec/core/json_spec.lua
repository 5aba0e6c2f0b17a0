-- JSON: what is read, what is refused and where, and that nothing changes on the way.

local cases = require "spec.support.json_cases"
local cjson = require "cjson"
local ffi = require "ffi"
local json = require "perigee.json"

describe("json.decode", function()
  it("reads what is JSON and refuses what is none", function()
    assert.is_true(#cases >= 150)
    for _, case in ipairs(cases) do
      local name, text, reads = unpack(case)
      local value, message, line, column = json.decode(text)
      if reads then
        assert.is_nil(message, name)
        assert.is_not_nil(value, name)
      else
        assert.is_nil(value, name)
        assert.equal("string", type(message), name)
        assert.is_true(line >= 1 and column >= 1, name)
      end
    end
  end)

  local values = {
    ["0"] = 0, ["-1"] = -1, ["1e2"] = 100, ["0.1"] = 0.1, ["123.456e-3"] = 0.123456, ["1e23"] = 1e23,
    ["5e-324"] = 5e-324,
    ["2.2250738585072011e-308"] = 2.2250738585072011e-308, ["9007199254740993.0"] = 9007199254740992,
    ["1.7976931348623157e308"] = 1.7976931348623157e308,
    ["123456789012345678901234567890e-10"] = 12345678901234567890,
    [ [["\u0041\ud83d\ude00\/\u0000"]] ] = "A😀/\0", ['"a\\tb"'] = "a\tb", ["true"] = true,
    ["false"] = false,
    ["null"] = json.null, ["9007199254740992"] = 2 ^ 53, ["1e-400"] = 0,
  }
  for text, value in pairs(values) do
    it("makes the value of " .. text, function() assert.equal(value, (json.decode(text))) end)
  end

  it("keeps the sign of zero", function() assert.equal(-math.huge, 1 / json.decode "-0") end)

  it("makes int64_t of integers beyond 2^53, and does otherwise when told", function()
    local value = json.decode "[9007199254740993, -9223372036854775808]"
    assert.is_true(ffi.istype("int64_t", value[1]))
    assert.equal("9007199254740993LL", tostring(value[1]))
    assert.equal("-9223372036854775808LL", tostring(value[2]))
    assert.equal(2 ^ 53, json.decode("9007199254740993", { integers = "number" }))
    local _, message = json.decode("[1, 9007199254740993]", { integers = "refuse" })
    assert.truthy(message:find("an integer is beyond 2^53", 1, true), message)
  end)

  local problems = {
    [""] = "line 1, column 1: the text ends too early",
    ["[1,\n 2,\n 3}"] = 'line 3, column 3: a comma or "]" must come here',
    ['{"a":1,}'] = "line 1, column 8: a name in quotes must come here",
    ['{"é": x}'] = "line 1, column 7: a value must come here",
    ['["a\tb"]'] = "line 1, column 4: control characters in a string must be escaped",
    ['["\255"]'] = "line 1, column 3: this is no UTF-8",
    ["[012]"] = "line 1, column 2: a number must not begin with 0",
    ["[1.]"] = "line 1, column 4: a point must be followed by a digit",
    ["[1e]"] = "line 1, column 3: an exponent must have a digit",
    ['"abc'] = "line 1, column 5: a string does not end",
    ['{"a" 1}'] = "line 1, column 6: a name must be followed by a colon",
    ["1 2"] = "line 1, column 3: nothing may follow the value",
    ["1e999"] = "line 1, column 1: a number is too large",
    ['"\\ud800"'] = "line 1, column 2: half of a surrogate pair is no character",
    ['"\\q"'] = 'line 1, column 2: a backslash must be followed by one of " \\ / b f n r t u',
  }
  for text, problem in pairs(problems) do
    it("says where: " .. problem, function()
      local _, message = json.decode(text)
      assert.equal(problem, message)
    end)
  end

  it("has a limit of depth that can be set", function()
    assert.is_nil((json.decode("[[[]]]", { depth = 2 })))
    assert.is_table((json.decode("[[[]]]", { depth = 3 })))
    assert.is_table((json.decode(("["):rep(1024) .. ("]"):rep(1024), { depth = 1024 })))
    local _, message = json.decode(("["):rep(129))
    assert.equal("line 1, column 129: nested too deeply", message)
  end)

  it("raises at the caller's line for wrong arguments", function()
    for pattern, mistake in pairs {
      ["json_spec.lua:%d+: json.decode: the text must be a string, not nil"] = function() json.decode() end,
      ["json_spec.lua:%d+: json.decode: depth must be"] = function() json.decode("", { depth = 1025 }) end,
      ["json_spec.lua:%d+: json.decode: integers must be"] = function() json.decode("", { integers = 0 }) end,
      ["json_spec.lua:%d+: json.array: the list must be"] = function() json.array "x" end,
    } do
      local ok, message = pcall(mistake)
      assert.is_false(ok)
      assert.truthy(message:find(pattern), message)
    end
  end)
end)

describe("json.encode", function()
  local texts = {
    ["{}"] = {}, ["[]"] = json.array {}, ["[1,2,3]"] = { 1, 2, 3 }, ['{"a":[{}]}'] = { a = { {} } },
    ["null"] = json.null,
    ["0.1"] = 0.1, ["1e+300"] = 1e300, ["-1.5"] = -1.5, ["1e-7"] = 1e-7, ["0.000001"] = 1e-6,
    ["9007199254740992"] = 2 ^ 53,
    ["1.8014398509481984e+16"] = 2 ^ 54, ["5e-324"] = 5e-324,
    ["1.7976931348623157e+308"] = 1.7976931348623157e308, ["-0"] = -0.0,
    ["0.30000000000000004"] = 0.1 + 0.2, ["1234567.25"] = 1234567.25, ["100"] = 100,
    ["4294967296"] = 2 ^ 32, ['"/"'] = "/",
    [ [["\"\\\b\f\n\r\t\u0000\u001f"]] ] = "\"\\\b\f\n\r\t\0\31", ['"é€𝄞\127"'] = "é€𝄞\127",
    ['{"7":"x"}'] = json.object { [7] = "x" },
    ["9223372036854775807"] = 9223372036854775807LL, ["-9223372036854775808"] = -9223372036854775807LL - 1,
    ["18446744073709551615"] = 18446744073709551615ULL, ['{"":1}'] = { [""] = 1 },
    ["[[],{}]"] = { json.array(), json.object() },
  }
  for text, value in pairs(texts) do
    it("writes " .. text, function() assert.equal(text, json.encode(value)) end)
  end

  it("takes elements wherever Lua keeps them", function()
    local list = {}
    for i = 20, 1, -1 do list[i] = i end
    assert.equal("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]", json.encode(list))
    assert.equal("[1,2]", json.encode { [1] = 1, [2] = 2 })
  end)

  local looped = {}
  looped[1] = looped
  local problems = {
    ["value is NaN or infinite"] = 0 / 0,
    ["value.a.b[3] is NaN or infinite"] = { a = { b = { 1, 2, math.huge } } },
    ['value["odd name"][1] is a function'] = { ["odd name"] = { print } },
    ["value is a string that is no UTF-8"] = "\255",
    ["value.x is a userdata"] = { x = newproxy() },
    ["value has members besides its elements, or holes among them"] = { 1, 2, x = 3 },
    ["value[5] is a number among names, or in an array with holes"] = { [5] = 1 },
    ["value[1] is a thread"] = { coroutine.create(print) },
    ["value[a boolean] has a name that is neither string nor number"] = { [true] = 1 },
    ["value.c is cdata, but no 64-bit integer"] = { c = ffi.new "int[2]" },
    ["is nested too deeply"] = looped,
    ["value[1.5] is no whole number, which a name must be"] = json.object { [1.5] = 1 },
    ["value[a name that is no UTF-8] is a string that is no UTF-8"] = { ["\254"] = 1 },
  }
  for problem, value in pairs(problems) do
    it("raises: " .. problem, function()
      local ok, message = pcall(function() return json.encode(value) end)
      assert.is_false(ok)
      assert.truthy(message:find(problem, 1, true), message)
      assert.truthy(message:find "json_spec.lua:%d+: json.encode: ", message)
    end)
  end

  it("works in a finalizer while it works", function()
    local seen
    local text = ("x"):rep(1000)
    for _ = 1, 200 do
      local proxy = newproxy(true)
      getmetatable(proxy).__gc = function()
        seen = json.encode { json.decode '["\\n"]' }
      end
      assert.same({ "\t", text }, json.decode(json.encode { "\t", text }))
    end
    collectgarbage()
    assert.equal('[["\\n"]]', seen)
  end)
end)

describe("JSON there and back", function()
  it("keeps arrays arrays, objects objects and null null", function()
    local text = '{"list":[],"map":{},"nested":[[],{},[[]]],"nothing":null}'
    local value = json.decode(text)
    assert.is_true(json.is_array(value.list))
    assert.is_false(json.is_array(value.map))
    assert.equal(json.null, value.nothing)
    assert.same(value, json.decode(json.encode(value)))
    assert.equal('{"list":[]}', json.encode { list = value.list })
    value.list[1] = 1
    value.nested[1] = nil
    assert.equal('{"list":[1]}', json.encode { list = value.list })
  end)

  it("keeps every double", function()
    math.randomseed(7)
    local bits = ffi.new "union { double number; uint32_t half[2]; }"
    for _ = 1, 20000 do
      bits.half[0], bits.half[1] = math.random(0, 2 ^ 32 - 1), math.random(0, 2 ^ 32 - 1)
      if bit.band(bits.half[1], 0x7ff00000) ~= 0x7ff00000 then -- neither infinite nor NaN
        local number = bits.number
        local text = json.encode(number)
        assert(json.decode(text) == number, text)
        assert(tonumber(text) == number, text)
        assert(#text <= 25, text)
      end
      local short = math.random(-1e6, 1e6) / 10 ^ math.random(0, 6)
      assert(json.decode(json.encode(short)) == short)
      local whole = math.random(-2 ^ 53, 2 ^ 53)
      assert(json.decode(json.encode(whole)) == whole)
    end
  end)

  local function random_value(depth)
    local kind = math.random(depth > 4 and 5 or 7)
    if kind == 1 then return math.random(-1000, 1000) end
    if kind == 2 then return math.random() * 10 ^ math.random(-300, 300) end
    if kind == 3 then return math.random() < 0.5 end
    if kind == 4 then return json.null end
    if kind == 5 then
      local list = {}
      local characters = { "a", '"', "\\", "\n", "\0", "é", "€", "𝄞", "/", "\127", "12345678" }
      for i = 1, math.random(0, 20) do list[i] = characters[math.random(#characters)] end
      return table.concat(list)
    end
    local value = kind == 6 and json.array() or {}
    for i = 1, math.random(0, 6) do
      value[kind == 6 and i or random_value(9) .. ""] = random_value(depth + 1)
    end
    return value
  end

  local function random_table()
    local ok, value
    repeat ok, value = pcall(random_value, 0) until ok
    return value
  end

  it("keeps random values", function()
    math.randomseed(11)
    for _ = 1, 2000 do
      local value = random_table()
      assert.same(value, (json.decode(json.encode(value))))
    end
  end)

  it("agrees with cjson where both are right", function()
    math.randomseed(13)
    local other = cjson.new()
    other.encode_number_precision(14)
    other.encode_max_depth(200)
    local function close(a, b)
      if type(a) == "number" and type(b) == "number" then
        return a == b or math.abs(a - b) <= math.abs(a) * 1e-13
      end
      if type(a) ~= "table" or type(b) ~= "table" then return a == b end
      for key, value in pairs(a) do
        if not close(value, b[key]) then return false end
      end
      for key in pairs(b) do
        if a[key] == nil then return false end
      end
      return true
    end
    assert.equal(cjson.null, json.null)
    for _ = 1, 1000 do
      local value = random_table()
      assert.is_true(close(value, other.decode(json.encode(value))), "cjson reads ours")
      assert.is_true(close(value, json.decode(other.encode(value))), "we read cjson's")
    end
    for _, case in ipairs(cases) do
      local name, text, reads = unpack(case)
      if reads then
        local ok, value = pcall(other.decode, text)
        -- cjson rounds large integers.
        local own = json.decode(text, { integers = "number" })
        if ok then assert.is_true(close(own, value), name) end
      end
    end
  end)
end)
