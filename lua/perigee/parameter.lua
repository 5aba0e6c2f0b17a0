--- The types of a route's parameters: what fits in a segment of the path, and as which value.
---
--- A matcher gets a segment and returns its value, or nil when it does not fit; one of `ext` returns
--- two. Matchers run on the hot path: all but Lua patterns compile.
local find, sub, byte = string.find, string.sub, string.byte
local concat, sort = table.concat, table.sort

local parameter = {}

-- ── Matchers ─────────────────────────────────────────────────────────────────────────────────

local EXACT = 2 ^ 53 -- below it a number is one integer only

--- Whether every byte from `first` on is a digit, and there is one.
local function digits(text, first, last)
  if first > last then return false end
  for i = first, last do
    local c = byte(text, i)
    if c < 48 or c > 57 then return false end
  end
  return true
end

local SHORT = 1e14 -- below it tostring writes all digits of a whole number

local function match_int(text)
  -- Most are written as we would write them, which is found out without a loop.
  local short = tonumber(text)
  if short and short % 1 == 0 and short < SHORT and short > -SHORT and tostring(short) == text then
    return short
  end
  if not digits(text, byte(text) == 45 and 2 or 1, #text) then return nil end -- 45: "-"
  local value = tonumber(text)
  if value >= EXACT or value <= -EXACT then return nil end
  return value
end

local function match_float(text)
  local first = byte(text) == 45 and 2 or 1
  local dot = find(text, ".", first, true)
  if dot then
    local whole, part = dot > first, dot < #text
    if not whole and not part then return nil end
    if whole and not digits(text, first, dot - 1) then return nil end
    if part and not digits(text, dot + 1, #text) then return nil end
  elseif not digits(text, first, #text) then
    return nil
  end
  return tonumber(text)
end

local function match_str(text)
  if text == "" then return nil end
  return text
end

local function match_alpha(text)
  if text == "" then return nil end
  for i = 1, #text do
    local c = byte(text, i)
    if not (c >= 65 and c <= 90 or c >= 97 and c <= 122) then return nil end
  end
  return text
end

--- Lower-case letters and digits, joined by single hyphens.
local function match_slug(text)
  local hyphen = true -- none at the start
  for i = 1, #text do
    local c = byte(text, i)
    if c == 45 then
      if hyphen then return nil end
      hyphen = true
    elseif c >= 97 and c <= 122 or c >= 48 and c <= 57 then
      hyphen = false
    else
      return nil
    end
  end
  if hyphen then return nil end
  return text
end

local function match_uuid(text)
  if #text ~= 36 then return nil end
  for i = 1, 36 do
    local c = byte(text, i)
    if i == 9 or i == 14 or i == 19 or i == 24 then
      if c ~= 45 then return nil end
    elseif not (c >= 48 and c <= 57 or c >= 97 and c <= 102 or c >= 65 and c <= 70) then
      return nil
    end
  end
  return text
end

local month_days = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

--- A day that exists: "2026-02-28".
local function match_ymd(text)
  if #text ~= 10 or byte(text, 5) ~= 45 or byte(text, 8) ~= 45 then return nil end
  if not (digits(text, 1, 4) and digits(text, 6, 7) and digits(text, 9, 10)) then return nil end
  local year, month, day = tonumber(sub(text, 1, 4)), tonumber(sub(text, 6, 7)), tonumber(sub(text, 9))
  if month < 1 or month > 12 or day < 1 or day > month_days[month] then return nil end
  local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  if month == 2 and day == 29 and not leap then return nil end
  return text
end

--- What a Lua pattern takes as a whole; its first capture is the value when it has one.
local function pattern_matcher(pattern)
  local whole = "^" .. pattern:gsub("^%^", ""):gsub("([^%%])%$$", "%1") .. "$"
  local ok, problem = pcall(find, "", whole)
  if not ok then return nil, (tostring(problem):gsub("^.-:%d+: ", "")) end
  return function(text)
    local first, _, capture = find(text, whole)
    if not first then return nil end
    return type(capture) == "string" and capture or text
  end
end

-- ── Extensions ───────────────────────────────────────────────────────────────────────────────

--- "report.tar" → "report", "tar": split at the last dot.
local function split_last_dot(text)
  for i = #text - 1, 2, -1 do
    if byte(text, i) == 46 then return sub(text, 1, i - 1), sub(text, i + 1) end
  end
  return nil
end

--- Splits one of the extensions off; the longest that fits.
local function split_known(text, suffixes)
  for i = 1, #suffixes do
    local suffix = suffixes[i]
    local stem = #text - #suffix
    if stem > 0 and sub(text, stem + 1) == suffix then return sub(text, 1, stem), sub(suffix, 2) end
  end
  return nil
end

--- For `ext`, with the type of what is before the dot and the extensions that are allowed.
local function ext_matcher(base, extensions)
  local suffixes
  if extensions then
    suffixes = {}
    for i, extension in ipairs(extensions) do suffixes[i] = "." .. extension end
    sort(suffixes, function(a, b) return #a > #b or #a == #b and a < b end)
  end
  return function(text)
    local stem, extension
    if suffixes then
      stem, extension = split_known(text, suffixes)
    else
      stem, extension = split_last_dot(text)
    end
    if not stem then return nil end
    local value = base(stem)
    if value == nil then return nil end
    return value, extension
  end
end

-- ── By name ──────────────────────────────────────────────────────────────────────────────────

---@class perigee.Parameter
---@field name string
---@field kind string says the whole type: parameters of one kind match the same
---@field match fun(segment: string): any, string|nil
---@field rank number orders siblings: the more specific is tried first
---@field width number of values it gives
---@field rest boolean it takes the rest of the path, slashes and all
---@field empty boolean it takes an empty segment

local kinds = {
  uuid = { match = match_uuid, rank = 1 },
  ymd = { match = match_ymd, rank = 2 },
  int = { match = match_int, rank = 3 },
  float = { match = match_float, rank = 4 },
  alpha = { match = match_alpha, rank = 5 },
  slug = { match = match_slug, rank = 6 },
  ext = { rank = 8 },
  str = { match = match_str, rank = 9 },
  strorempty = { match = function(text) return text end, rank = 10, empty = true },
  path = { match = match_str, rank = 11, rest = true },
}
local PATTERN_RANK = 7

--- In the order in which people should read them.
parameter.names = { "str", "strorempty", "int", "float", "alpha", "slug", "path", "ymd", "uuid", "ext" }

local function base_matcher(name)
  local kind = kinds[name]
  if not kind or not kind.match or kind.rest or kind.empty then return nil end
  return kind.match
end

local function parse_ext(name, base, list)
  local match = base_matcher(base or "str")
  if not match then return nil, ("'%s' cannot stand before an extension"):format(base) end
  local extensions
  if list then
    extensions = {}
    for extension in (list .. "|"):gmatch("([^|]*)|") do
      if not extension:find("^%w[%w.]*$") then return nil, ("'%s' is no extension"):format(extension) end
      extensions[#extensions + 1] = extension
    end
  end
  return { name = name, kind = concat({ "ext", base or "str", list or "" }, "="), rank = kinds.ext.rank,
    match = ext_matcher(match, extensions), width = 2, rest = false, empty = false }
end

--- Reads what stands between "<" and ">":
---
---     name   name:type   file:ext   file:ext=js|css   id=int:ext=json   word:[a-z]+
---
--- What is no type's name and has a character other than letters, digits and "_" is a Lua pattern,
--- which has to take the whole segment.
---@param text string
---@return perigee.Parameter|nil
---@return string|nil # what is wrong
---@return string|nil # a name that was meant to be a type
function parameter.parse(text)
  local name, base, kind = text:match("^([%a_][%w_]*)=?([%w_]*):(.*)$")
  if not name then
    name, kind = text:match("^([%a_][%w_]*)$"), "str"
    if not name then return nil, "it is no parameter" end
  end
  if base == "" then base = nil end
  local list = kind:match("^ext=(.*)$")
  if kind == "ext" or list then return parse_ext(name, base, list) end
  if base then return nil, "only an extension has something before it: <name=type:ext>" end
  local known = kinds[kind]
  if known then
    return { name = name, kind = kind, match = known.match, rank = known.rank, width = 1,
      rest = known.rest or false, empty = known.empty or false }
  end
  if kind == "" or kind:find("^[%w_]+$") then return nil, "no such type", kind end
  local match, problem = pattern_matcher(kind)
  if not match then return nil, problem end
  return { name = name, kind = "pattern " .. kind, match = match, rank = PATTERN_RANK, width = 1,
    rest = false, empty = false }
end

return parameter
