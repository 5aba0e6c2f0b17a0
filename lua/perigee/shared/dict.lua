--- Strings, numbers, booleans and nested tables by string keys, for all processes.
---
---     local cache = perigee.shared.dict("cache", { size = "32 MiB", eviction = "lru" })
---     cache:set("page:/", html, 60)                 -- for 60 seconds
---     local html = cache:get("page:/")              -- nil when there is none
---     cache:incr("hits:/")
---
--- Each method is atomic for its key, and none yields. Reads take no lock. A table is stored as JSON, and
--- what comes back is a copy; an int64_t comes back as one, exactly; other numbers are doubles.
--- A time to live is the last argument where there is one: seconds, nil for ever; it is kept to a few
--- milliseconds, as the clock it is read from goes in ticks.
---
--- A key has 1 to 4096 bytes, a value up to 256 KiB; a number with a key of up to 24 bytes takes 64 bytes of
--- the dict, everything else 32 more than its bytes and the key's, rounded up. With eviction "none" a full
--- dict refuses what is new: nil, "… is full …", "FULL". With "lru" it makes room, nearly in the order of
--- last use (by second chance: of what was not read or overwritten since the last round, the first to come).
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local json = require "perigee.json"
local object = require "perigee.shared.object"
local persist = require "perigee.shared.persist"
local snapshot = require "perigee.shared.dict_snapshot"

local C = abi.C
local type, tonumber, setmetatable, tostring = type, tonumber, setmetatable, tostring
local istype, ffi_string = ffi.istype, ffi.string

local KEY_LIMIT, VALUE_LIMIT = 4096, 262144           -- bytes; host/shm/dict_abi.h
local SIZE_LEAST, SIZE_DEFAULT, SIZE_MOST = 65536, 16 * 1024 ^ 2, 1024 ^ 4
local KEYS_DEFAULT = 1000                             -- of dict:keys
local READ_TRIES = 100                                -- of a list that changes meanwhile

local NUMBER, INTEGER, BOOLEAN, STRING, TABLE, LIST = 1, 2, 3, 4, 5, 6
local DONE, NONE, EXISTS, CHANGED, FULL, TOO_BIG, WRONG_TYPE = 100, 0, -1, -2, -3, -4, -6
local SET, ADD, REPLACE = 0, -1, -2
local KEEP = -1 -- as a time to live: what it was

local int64, uint64 = ffi.typeof "int64_t", ffi.typeof "uint64_t"
local found = ffi.new "struct shm_dict_found"
local cursor_cell, data_cell = ffi.new "int64_t[1]", ffi.new "const char *[1]"

---@class perigee.SharedDict
---@field name string
local methods = {}

-- ── Arguments and answers ────────────────────────────────────────────────────────────────────

local function bad_key(self, what, key)
  if type(key) ~= "string" then
    caller.fail("%s of the shared dict '%s': the key must be a string, not %s", what, self.name,
      tostring(key))
  end
  caller.fail("%s of the shared dict '%s': a key has 1 to %d bytes, not %d", what, self.name, KEY_LIMIT, #key)
end

local function check_key(self, what, key)
  if type(key) ~= "string" or #key == 0 or #key > KEY_LIMIT then bad_key(self, what, key) end
end

--- Seconds as the engine takes them: 0 for ever.
local function seconds(self, what, ttl)
  if ttl == nil then return 0 end
  if type(ttl) ~= "number" or ttl <= 0 or ttl ~= ttl then
    caller.fail("%s of the shared dict '%s': a time to live is a number of seconds above 0, not %s", what,
      self.name, tostring(ttl))
  end
  return ttl
end

local function bad_value(self, what, value)
  if value == nil then
    caller.fail("%s of the shared dict '%s': the value is nil; delete removes a key", what, self.name)
  end
  caller.fail("%s of the shared dict '%s': it takes strings, numbers, booleans and tables, not %s", what,
    self.name, type(value) == "cdata" and tostring(ffi.typeof(value)) or "a " .. type(value))
end

local function encode(self, what, value)
  local text, problem = json.try_encode(value)
  if not text then caller.fail("%s of the shared dict '%s': %s", what, self.name, problem) end
  return text
end

local function as_integer(self, what, value)
  if istype(int64, value) then return value end
  if not istype(uint64, value) or value > 9223372036854775807ULL then bad_value(self, what, value) end
  return int64(value)
end

local refusals = {
  [FULL] = { "FULL", "the shared dict '%s' is full: give it a larger size, or eviction = \"lru\"" },
  [TOO_BIG] = { "TOO_BIG", "the value is too big for the shared dict '%s': it takes up to "
    .. VALUE_LIMIT .. " bytes, and what fits its size" },
  [WRONG_TYPE] = { "WRONG_TYPE", "wrong type: the shared dict '%s' has something else at %q" },
}

--- nil, message, code for what the engine refused; only nil when there is no such key.
local function refusal(self, result, key)
  local words = refusals[result]
  if not words then return nil end
  return nil, words[2]:format(self.name, key), words[1]
end

--- The Lua value of what was found.
local function value_of(kind)
  if kind == STRING then return ffi_string(found.data, found.size) end
  if kind == NUMBER then return found.number end
  if kind == BOOLEAN then return found.number ~= 0 end
  if kind == INTEGER then return found.integer end
  return (json.decode(ffi_string(found.data, found.size)))
end

--- Hands a value to the engine; returns its result.
local function store(self, what, key, how, value, ttl)
  local kind = type(value)
  if kind == "string" then
    return C.shm_dict_set_bytes(self.dict, key, #key, how, STRING, value, #value, ttl)
  elseif kind == "number" then
    return C.shm_dict_set_number(self.dict, key, #key, how, value, ttl)
  elseif kind == "boolean" then
    return C.shm_dict_set_boolean(self.dict, key, #key, how, value and 1 or 0, ttl)
  elseif kind == "table" then
    local text = encode(self, what, value)
    return C.shm_dict_set_bytes(self.dict, key, #key, how, TABLE, text, #text, ttl)
  elseif kind == "cdata" then
    return C.shm_dict_set_integer(self.dict, key, #key, how, as_integer(self, what, value), ttl)
  end
  return bad_value(self, what, value)
end

-- ── One key ──────────────────────────────────────────────────────────────────────────────────

--- The value of a key.
---@param key string
---@return any # nil when there is none; nil, message, "WRONG_TYPE" for a list
function methods:get(key)
  if type(key) ~= "string" then bad_key(self, "get", key) end
  local kind = C.shm_dict_get(self.dict, key, #key, found)
  if kind > 0 and kind < LIST then return value_of(kind) end
  if kind == NONE then return nil end
  check_key(self, "get", key)
  return refusal(self, WRONG_TYPE, key)
end

--- Stores a value, whatever was there; without a time to live it stays for ever.
---@param key string
---@param value string|number|boolean|table|ffi.cdata* int64_t too
---@param ttl number|nil seconds
---@return boolean|nil # true; or nil, message, "FULL" or "TOO_BIG"
function methods:set(key, value, ttl)
  check_key(self, "set", key)
  local result = store(self, "set", key, SET, value, ttl == nil and 0 or seconds(self, "set", ttl))
  if result == DONE then return true end
  return refusal(self, result, key)
end

--- Stores a value if there is none.
---@return boolean|nil # whether it did; or nil, message, code as of set
function methods:add(key, value, ttl)
  check_key(self, "add", key)
  local result = store(self, "add", key, ADD, value, seconds(self, "add", ttl))
  if result == DONE then return true end
  if result == EXISTS then return false end
  return refusal(self, result, key)
end

--- Stores a value if there is one already.
---@return boolean|nil # whether it did; or nil, message, code as of set
function methods:replace(key, value, ttl)
  check_key(self, "replace", key)
  local result = store(self, "replace", key, REPLACE, value, seconds(self, "replace", ttl))
  if result == DONE then return true end
  if result == NONE then return false end
  return refusal(self, result, key)
end

--- Removes a key.
---@param key string
---@return boolean # whether it was there
function methods:delete(key)
  check_key(self, "delete", key)
  return C.shm_dict_delete(self.dict, key, #key, 0) == DONE
end

--- Adds to a number. A key that is not there begins with `initial`, and lives for `ttl` from then on.
---@param key string
---@param by number|nil or int64_t; default 1
---@param initial number|nil default 0
---@param ttl number|nil seconds, from the first call
---@return number|nil # the new number; or nil, message, "WRONG_TYPE" or "FULL"
function methods:incr(key, by, initial, ttl)
  check_key(self, "incr", key)
  by, initial = by or 1, initial or 0
  ttl = ttl == nil and 0 or seconds(self, "incr", ttl)
  local kind
  if type(by) == "number" and type(initial) == "number" then
    kind = C.shm_dict_add_number(self.dict, key, #key, by, initial, ttl, found)
  elseif istype(int64, by) and (initial == 0 or istype(int64, initial)) then
    kind = C.shm_dict_add_integer(self.dict, key, #key, by, initial, ttl, found)
  else
    caller.fail("incr of the shared dict '%s': it takes numbers, or int64_t, not %s and %s", self.name,
      tostring(by), tostring(initial))
  end
  if kind == NUMBER then return found.number end
  if kind == INTEGER then return found.integer end
  return refusal(self, kind, key)
end

--- Whether two values are the same to the dict.
local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- The value now, and its version; or nil, message, code for a list.
local function look(self, key)
  local kind = C.shm_dict_look(self.dict, key, #key, found)
  if kind == LIST then return nil, nil, WRONG_TYPE end
  if kind == NONE then return nil, nil end
  local version = tonumber(found.version)
  return value_of(kind), version
end

--- Stores `new`, or removes the key for nil, if it still has what look found.
local function exchange(self, what, key, version, new, ttl)
  if new ~= nil then return store(self, what, key, version or ADD, new, ttl) end
  return version and C.shm_dict_delete(self.dict, key, #key, version) or DONE
end

local function is_lost(result)
  return result == CHANGED or result == EXISTS or result == NONE
end

--- Stores `new` if the value is `old`; tables count as the same when what is in them is. nil as `old` means
--- that there is none, nil as `new` removes it. Without a time to live the present one stays.
---@return boolean|nil # true; false and the value there is; or nil, message, code as of set
function methods:cas(key, old, new, ttl)
  check_key(self, "cas", key)
  ttl = ttl == nil and KEEP or seconds(self, "cas", ttl)
  while true do
    local present, version, problem = look(self, key)
    if problem then return refusal(self, problem, key) end
    if not same(present, old) then return false, present end
    local result = exchange(self, "cas", key, version, new, ttl)
    if result == DONE then return true end
    if not is_lost(result) then return refusal(self, result, key) end
  end
end

--- Replaces a value by what a function makes of it: nil stands for no entry, both ways. When another process
--- changes the key meanwhile, the function is called again with the newer value. It may yield.
---@param key string
---@param fn fun(value: any): any
---@param ttl number|nil seconds; without it the present one stays
---@return any # the new value; or nil, message, code as of set
function methods:update(key, fn, ttl)
  check_key(self, "update", key)
  caller.check(fn, "function", "update of a shared dict: what is called")
  ttl = ttl == nil and KEEP or seconds(self, "update", ttl)
  while true do
    local present, version, problem = look(self, key)
    if problem then return refusal(self, problem, key) end
    local new = fn(present)
    local result = exchange(self, "update", key, version, new, ttl)
    if result == DONE then return new end
    if not is_lost(result) then return refusal(self, result, key) end
  end
end

-- ── Time ─────────────────────────────────────────────────────────────────────────────────────

--- How long a key still lives.
---@return number|nil # seconds; math.huge for ever; nil when there is no such key
function methods:ttl(key)
  check_key(self, "ttl", key)
  if C.shm_dict_look(self.dict, key, #key, found) == NONE then return nil end
  local ttl = found.ttl
  if ttl < 0 then return math.huge end
  return ttl
end

--- Has a key live for so many seconds from now, or for ever.
---@param key string
---@param ttl number|nil
---@return boolean # whether there is such a key
function methods:expire(key, ttl)
  check_key(self, "expire", key)
  return C.shm_dict_expire(self.dict, key, #key, seconds(self, "expire", ttl)) == DONE
end

--- Counts as a use of a key, so that eviction spares it for longer.
---@return boolean # whether there is such a key
function methods:touch(key)
  check_key(self, "touch", key)
  return C.shm_dict_touch(self.dict, key, #key) == DONE
end

-- ── Lists ────────────────────────────────────────────────────────────────────────────────────

local function push(self, what, key, front, value)
  check_key(self, what, key)
  local kind, result = type(value), nil
  if kind == "string" then
    result = C.shm_dict_push_bytes(self.dict, key, #key, front, STRING, value, #value, found)
  elseif kind == "number" then
    result = C.shm_dict_push_number(self.dict, key, #key, front, value, found)
  elseif kind == "boolean" then
    result = C.shm_dict_push_boolean(self.dict, key, #key, front, value and 1 or 0, found)
  elseif kind == "table" then
    local text = encode(self, what, value)
    result = C.shm_dict_push_bytes(self.dict, key, #key, front, TABLE, text, #text, found)
  elseif kind == "cdata" then
    result = C.shm_dict_push_integer(self.dict, key, #key, front, as_integer(self, what, value), found)
  else
    bad_value(self, what, value)
  end
  if result == DONE then return found.number end
  return refusal(self, result, key)
end

local function pop(self, what, key, front)
  check_key(self, what, key)
  local kind = C.shm_dict_pop(self.dict, key, #key, front, found)
  if kind > 0 then return value_of(kind) end
  return refusal(self, kind, key)
end

--- Puts a value at the end of a list, which is made when there is none. Either end of a list costs the
--- same, however long it is.
---@return number|nil # the new length; or nil, message, "FULL", "TOO_BIG" or "WRONG_TYPE"
function methods:push(key, value) return push(self, "push", key, 0, value) end

--- Puts a value before the first of a list.
---@return number|nil # as of push
function methods:push_front(key, value) return push(self, "push_front", key, 1, value) end

--- Takes the last value of a list; the list is gone with its last one.
---@return any # nil when there is none; nil, message, "WRONG_TYPE" when it is no list
function methods:pop(key) return pop(self, "pop", key, 0) end

--- Takes the first value of a list.
---@return any # as of pop
function methods:pop_front(key) return pop(self, "pop_front", key, 1) end

--- How many values a list has.
---@return number|nil # 0 when there is none; nil, message, "WRONG_TYPE" when it is no list
function methods:length(key)
  check_key(self, "length", key)
  local result = C.shm_dict_length(self.dict, key, #key, found)
  if result == DONE then return found.number end
  if result == NONE then return 0 end
  return refusal(self, result, key)
end

--- The values of a list as they are at one moment; nil when it changed meanwhile.
local function read_list(self, key)
  local list, version, cursor = json.array(), 0, cursor_cell
  cursor[0] = 0
  while true do
    local kind = C.shm_dict_element(self.dict, key, #key, version, cursor, found)
    if kind == NONE then return list end
    if kind < 0 then return nil, kind end
    version = found.version
    list[#list + 1] = value_of(kind)
  end
end

--- All values of a list, as they were at one moment. Takes time in proportion to its length, and the guard
--- only for one value at a time.
---@return any[]|nil # empty when there is none; or nil, message, code: "WRONG_TYPE", or "CHANGED" when others
---   never leave it alone
function methods:list(key)
  check_key(self, "list", key)
  for _ = 1, READ_TRIES do
    local list, problem = read_list(self, key)
    if list then return list end
    if problem == WRONG_TYPE then return refusal(self, problem, key) end
  end
  return nil, ("the list %q of the shared dict '%s' changes all the time"):format(key, self.name), "CHANGED"
end

-- ── All keys ─────────────────────────────────────────────────────────────────────────────────

--- The keys of some buckets from `cursor` on, added to a list; returns the next cursor or nil.
local function scan_keys(self, cursor, wanted, list)
  cursor_cell[0] = cursor
  repeat
    local size = tonumber(C.shm_dict_scan(self.dict, cursor_cell, data_cell))
    local at, stop = data_cell[0], data_cell[0] + size
    while at < stop do
      local key_size = ffi.cast("const uint32_t *", at)[0]
      list[#list + 1] = ffi_string(at + 4, key_size)
      at = at + 4 + key_size
    end
  until #list >= wanted or cursor_cell[0] < 0
  return cursor_cell[0] >= 0 and tonumber(cursor_cell[0]) or nil
end

--- Some entries, to go over all of them bit by bit: what is there from the first call to the last comes
--- exactly once, whatever is added and removed meanwhile. No lock is held for longer than one bucket.
---@param cursor number|nil nil to begin, then what came back
---@param count number|nil entries at least, if there are so many; default 100
---@return { key: string, value: any, ttl: number, list: boolean|nil }[] # ttl: seconds, math.huge for ever;
---   list: the value is that of a list
---@return number|nil # the next cursor; nil at the end
function methods:scan(cursor, count)
  if cursor ~= nil and not (type(cursor) == "number" and cursor >= 0) then
    caller.fail("scan of the shared dict '%s': a cursor is nil or what scan returned, not %s", self.name,
      tostring(cursor))
  end
  local keys, entries = {}, {}
  cursor = scan_keys(self, cursor or 0, count or 100, keys)
  for _, key in ipairs(keys) do
    local kind = C.shm_dict_look(self.dict, key, #key, found)
    if kind > 0 then
      local entry = { key = key, ttl = found.ttl < 0 and math.huge or found.ttl }
      if kind == LIST then
        entry.list, entry.value = true, self:list(key)
      else
        entry.value = value_of(kind)
      end
      if entry.value ~= nil then entries[#entries + 1] = entry end
    end
  end
  return entries, cursor
end

--- Goes over all entries, as scan does.
---@return fun(): string|nil, any, number # key, value, seconds to live (math.huge for ever)
function methods:pairs()
  local entries, cursor, at = {}, 0, 0
  return function()
    at = at + 1
    while not entries[at] do
      if not cursor then return nil end
      entries, cursor = self:scan(cursor)
      at = 1
    end
    return entries[at].key, entries[at].value, entries[at].ttl
  end
end

--- Stores an entry as scan gave it, whatever was there.
---@param entry { key: string, value: any, ttl: number|nil, list: boolean|nil }
---@return boolean|nil # true; or nil, message, code as of set
function methods:restore(entry)
  local ttl = entry.ttl ~= math.huge and entry.ttl or nil
  if not entry.list then return self:set(entry.key, entry.value, ttl) end
  self:delete(entry.key)
  for _, value in ipairs(entry.value) do
    local done, problem, code = self:push(entry.key, value)
    if not done then return nil, problem, code end
  end
  if ttl then self:expire(entry.key, ttl) end
  return true
end

--- Keys that are there, in no order.
---@param limit number|nil how many at most; default 1000, 0 for all
---@return string[]
---@return boolean # whether there are more
function methods:keys(limit)
  limit = limit or KEYS_DEFAULT
  if limit == 0 then limit = math.huge end
  local keys, cursor, live = {}, 0, {}
  repeat
    cursor = scan_keys(self, cursor, 100, keys)
    for _, key in ipairs(keys) do
      if C.shm_dict_look(self.dict, key, #key, found) ~= NONE then
        if #live >= limit then return live, true end
        live[#live + 1] = key
      end
    end
    keys = {}
  until not cursor
  return live, false
end

--- How many entries there are; those that have expired count until their memory is needed.
---@return number
function methods:size()
  return C.shm_dict_entries(self.dict)
end

--- Removes all entries, a few at a time: what others store meanwhile may stay.
function methods:flush()
  cursor_cell[0] = 0
  repeat C.shm_dict_flush(self.dict, cursor_cell) until cursor_cell[0] < 0
end

--- Figures: size (bytes for entries), used (bytes of those), free, entries, evicted, expired (removed after
--- their time), undone (operations of killed processes that were taken back), shards.
---@return table<string, number>
function methods:stat()
  local figures = ffi.new "struct shm_dict_stat"
  C.shm_dict_stat(self.dict, figures)
  local size, used = tonumber(figures.size), tonumber(figures.used)
  return { size = size, used = used, free = size - used, entries = tonumber(figures.entries),
    evicted = tonumber(figures.evicted), expired = tonumber(figures.expired),
    undone = tonumber(figures.undone), shards = tonumber(figures.shards) }
end

-- ── Making one ───────────────────────────────────────────────────────────────────────────────

local mt = object.metatable("dict", methods)
local dict = {}

--- Makes one, or finds the one there is: see perigee.shared.dict. Where objects are only found, in workers,
--- options may be left out.
function dict.new(name, options)
  object.check_name("dict", name)
  options = object.check_options("dict", name, options, { "size", "eviction", "persist" })
  local size = object.size_option("dict", name, options, "size", SIZE_LEAST, SIZE_MOST, SIZE_DEFAULT)
  local eviction = object.word_option("dict", name, options, "eviction", { "none", "lru" })
  return persist.open("dict", name, options.persist, function()
    local pointer = object.open("dict", name, function(create)
      return C.shm_dict_open(name, size, eviction == "lru" and 1 or 0, create)
    end)
    return setmetatable({ name = name, dict = pointer }, mt)
  end, snapshot)
end

--- The figures of the dict of that name, which exists.
---@param name string
---@return table<string, number>
function dict.stat(name)
  return setmetatable({ name = name, dict = C.shm_dict_open(name, SIZE_DEFAULT, 0, 0) }, mt):stat()
end

return dict
