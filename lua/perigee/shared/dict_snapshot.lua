--- How a dict is kept in a file: each entry is a piece, its key and value as they are, whatever their bytes.
local ffi = require "ffi"
local uv = require "luv"

local json = require "perigee.json"

local dict_snapshot = {}

local cell = ffi.new "int64_t[1]"

local function encode(value)
  local kind = type(value)
  if kind == "string" then return "s" .. value end
  if kind == "number" then return ("n%.17g"):format(value) end
  if kind == "boolean" then return value and "b1" or "b0" end
  if kind == "table" then return "j" .. json.encode(value) end
  cell[0] = value
  return "i" .. ffi.string(cell, 8)
end

local function decode(text)
  local kind, rest = text:sub(1, 1), text:sub(2)
  if kind == "s" then return rest end
  if kind == "n" then return tonumber(rest) end
  if kind == "b" then return rest == "1" end
  if kind == "j" then return (json.decode(rest)) end
  ffi.copy(cell, rest, 8)
  return cell[0]
end

local function add(parts, text)
  parts[#parts + 1] = #text .. ":" .. text
end

local function split(text)
  local parts, at = {}, 1
  while at <= #text do
    local size, from = text:match("^(%d+):()", at)
    parts[#parts + 1] = text:sub(from, from + size - 1)
    at = from + size
  end
  return parts
end

--- Seconds since 1970: what an entry has left to live goes on while the host is down.
local function now()
  local seconds, microseconds = uv.gettimeofday()
  return seconds + microseconds / 1e6
end

--- A piece for each entry: its end or "", its key, "l" for a list, then its value or values.
---@param self perigee.SharedDict
---@param write fun(piece: string)
function dict_snapshot.snapshot(self, write)
  local cursor
  repeat
    local entries
    entries, cursor = self:scan(cursor)
    for _, entry in ipairs(entries) do
      local parts = {}
      add(parts, entry.ttl == math.huge and "" or ("%.6f"):format(now() + entry.ttl))
      add(parts, entry.key)
      add(parts, entry.list and "l" or "")
      for _, value in ipairs(entry.list and entry.value or { entry.value }) do add(parts, encode(value)) end
      write(table.concat(parts))
    end
  until not cursor
end

---@param self perigee.SharedDict
---@param read fun(): string|nil
function dict_snapshot.restore(self, read)
  for piece in read do
    local parts = split(piece)
    local entry = { key = parts[2], list = parts[3] == "l" or nil }
    if parts[1] ~= "" then entry.ttl = tonumber(parts[1]) - now() end
    if entry.list then
      entry.value = {}
      for i = 4, #parts do entry.value[i - 3] = decode(parts[i]) end
    else
      entry.value = decode(parts[4])
    end
    if not entry.ttl or entry.ttl > 0 then
      local ok, problem = self:restore(entry)
      if not ok then error(("the key %q: %s"):format(entry.key, problem), 0) end
    end
  end
end

return dict_snapshot
