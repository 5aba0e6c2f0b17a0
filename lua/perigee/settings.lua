--- Every setting: its name, type, default and range, and what users write for it.
---
--- A setting goes through three forms. *Written*: what a person typed (`"64 KiB"`, `"2m"`, 15,
--- true). *Normal*: a string for the record block, durations in whole milliseconds, sizes in bytes,
--- booleans "0" or "1"; this is what C reads. *Config*: a Lua value for `app.config`, durations in
--- seconds. Precedence: flags, environment, config script, perigee.app's table, defaults.
local bind = require "perigee.bind"
local cpus = require "perigee.cpus"
local nearest = require "perigee.nearest"
local proxy = require "perigee.proxy"

local settings = {}

local KIB, MIB, GIB = 1024, 1024 ^ 2, 1024 ^ 3
local DAY = 86400

---@class perigee.Setting
---@field name string
---@field type "int"|"size"|"seconds"|"enum"|"string"|"bool"|"list"|"workers"
---@field default any in the written form; nil for none
---@field least number|nil in seconds, bytes or pieces
---@field most number|nil
---@field values string[]|nil of an enum
---@field check nil|fun(element: any): boolean, string|nil of a list's elements
---@field own boolean|nil each of several apps has its own; else it is the process's
---@field early boolean|nil it counts before the app's files are read, so they cannot set it
---@field help string

---@type perigee.Setting[]
settings.list = {
  { name = "bind", type = "list", own = true, default = { "127.0.0.1:8000" }, argument = "ADDRESS",
    check = bind.check, least = 1,
    help = "where to listen: host:port, :port, [v6]:port, unix:/path, fd:N or fd:NAME, tls: before it for "
      .. "TLS; may be repeated" },
  { name = "tls_certificate", type = "string", argument = "FILE",
    help = "PEM, with its chain, for what is bound with tls:" },
  { name = "tls_key", type = "string", argument = "FILE", help = "PEM, the certificate's key" },
  { name = "workers", type = "workers", default = "auto", least = 1, most = 256,
    help = "worker processes; auto: one for each CPU this process may use" },
  { name = "config", type = "string", own = true, argument = "FILE",
    help = "config script; default perigee.conf.lua beside the app" },
  { name = "mode", type = "enum", default = "production", values = { "production", "development" },
    help = "development shows errors to the client" },
  { name = "strict_slashes", type = "enum", own = true, default = "false",
    values = { "false", "true", "redirect" },
    help = "whether a '/' at a path's end counts; redirect: to the route's own form" },
  { name = "error_format", type = "enum", own = true, default = "auto",
    values = { "auto", "html", "json", "text" },
    help = "of error answers; auto: by the request's Accept" },
  { name = "access_log", type = "enum", default = "auto",
    values = { "auto", "off", "common", "combined", "json" },
    help = "a line for each request; auto: off in production, combined in development" },
  { name = "reuse_port", type = "bool", default = true,
    help = "a socket of its own for each worker (SO_REUSEPORT)" },
  { name = "backlog", type = "int", default = 4096, least = 1, most = 65535,
    help = "connections that may wait to be accepted, for each socket" },
  { name = "graceful_timeout", type = "seconds", default = 15, least = 0, most = DAY,
    help = "for requests in flight when a worker stops" },
  { name = "worker_timeout", type = "seconds", default = 30, least = 1, most = DAY,
    help = "without a heartbeat, until a worker counts as stuck" },
  { name = "slow_callback", type = "seconds", default = 0.1, least = 0, most = DAY,
    help = "in development: what keeps the loop for longer is named; 0: never" },
  { name = "max_requests", type = "int", default = 0, least = 0, most = 1e15,
    help = "after which a worker is replaced; 0: never" },
  { name = "max_requests_jitter", type = "int", default = 0, least = 0, most = 1e15,
    help = "up to so many more, at random for each worker" },
  { name = "max_memory", type = "size", default = 0, least = 0, most = 1024 * GIB,
    help = "resident, above which a worker is replaced; 0: never" },
  { name = "max_lifetime", type = "seconds", default = 0, least = 0, most = 365 * DAY,
    help = "after which a worker is replaced; 0: never" },
  { name = "max_lifetime_jitter", type = "seconds", default = 0, least = 0, most = DAY,
    help = "up to so much more, at random for each worker" },
  { name = "health_path", type = "string", own = true, argument = "PATH",
    help = "answers 200 while a worker serves; default none" },
  { name = "ready_path", type = "string", own = true, argument = "PATH",
    help = "the same, and 503 from the moment the host stops; default none" },
  { name = "start_timeout", type = "seconds", default = 30, least = 0.1, most = DAY,
    help = "for the app to load, and for a worker to be ready" },
  { name = "restart_order", type = "enum", default = "startup_first",
    values = { "startup_first", "shutdown_first" }, help = "which worker of a slot goes first at a reload" },
  { name = "restart_keep", type = "int", default = 100, least = 0, most = 100,
    help = "percent of the workers a restart leaves alone meanwhile; 100: one at a time" },
  { name = "restart_delay_min", type = "seconds", default = 0.1, least = 0.001, most = 3600,
    help = "before the first restart of a worker that died young" },
  { name = "restart_delay_max", type = "seconds", default = 30, least = 0.001, most = 3600,
    help = "to which that delay grows" },
  { name = "user", type = "string", argument = "NAME", early = true,
    help = "whom the app's processes run as, by name or number" },
  { name = "group", type = "string", argument = "NAME", early = true,
    help = "their group, by name or number; default the user's" },
  { name = "daemon", type = "bool", default = false, early = true,
    help = "go into the background; the command returns when the app serves" },
  { name = "single_process", type = "bool", default = false, early = true,
    help = "everything in one process, without a manager: for debuggers and profilers" },
  { name = "pid_file", type = "string", argument = "FILE", early = true,
    help = "where the manager's pid is written" },
  { name = "inspector", type = "string", argument = "ADDRESS",
    help = "where the inspector listens: an address as of bind; on: the unix socket ./perigee.sock" },
  { name = "inspector_key", type = "string", argument = "TEXT",
    help = "what its clients present as a bearer token; needed where it is no unix socket" },
  { name = "log_file", type = "string", argument = "FILE", help = "where the log goes; default stderr" },
  { name = "shared_memory", type = "size", default = 64 * MIB, least = 512 * KIB, most = 1024 * GIB,
    help = "for the shared objects" },
  { name = "persist_interval", type = "seconds", default = 60, least = 0.05, most = DAY,
    help = "between two snapshots of the shared objects that are kept in files" },
  { name = "metrics_path", type = "string", own = true, argument = "PATH",
    help = "serves the metrics, as Prometheus reads them; default not at all" },
  { name = "request_line_limit", type = "size", default = 8 * KIB, least = 64, most = MIB,
    help = "longer request lines are refused (414)" },
  { name = "header_limit", type = "size", default = 16 * KIB, least = 256, most = MIB,
    help = "for all header lines of a request (431)" },
  { name = "header_count_limit", type = "int", default = 100, least = 1, most = 10000,
    help = "header lines of a request (431)" },
  { name = "body_limit", type = "size", own = true, default = 100 * MIB, least = 0, most = 1024 * GIB,
    help = "for a request's body (413)" },
  { name = "unread_body_limit", type = "size", default = 256 * KIB, least = 0, most = 1024 * GIB,
    help = "of a body no handler reads; dropped to keep the connection" },
  { name = "form_memory_limit", type = "size", default = MIB, least = 0, most = GIB,
    help = "for a form's fields (413), and its files until they go to the disk" },
  { name = "form_part_limit", type = "int", default = 1000, least = 1, most = 1000000,
    help = "fields and files of a form (413)" },
  { name = "form_header_limit", type = "size", default = 8 * KIB, least = 256, most = MIB,
    help = "for the header of a form's part (413)" },
  { name = "form_directory", type = "string", argument = "FOLDER",
    help = "for the temporary files of forms; default $TMPDIR or /tmp" },
  { name = "trusted_proxies", type = "list", argument = "ADDRESS", check = proxy.check,
    help = "whose Forwarded and X-Forwarded-* count: addresses, networks, unix:; may be repeated" },
  { name = "header_timeout", type = "seconds", default = 10, least = 0.001, most = DAY,
    help = "for a request's head to arrive (408)" },
  { name = "body_timeout", type = "seconds", default = 60, least = 0.001, most = DAY,
    help = "for the next bytes of a body that a handler waits for (408)" },
  { name = "body_rate_minimum", type = "size", default = 256, least = 1, most = GIB,
    help = "bytes a second of a body, on average, once body_timeout was waited for it in all (408)" },
  { name = "keep_alive_timeout", type = "seconds", default = 75, least = 0.001, most = DAY,
    help = "for a connection without a request" },
  { name = "response_timeout", type = "seconds", default = 60, least = 0.001, most = DAY,
    help = "for a handler to answer (503)" },
  { name = "write_timeout", type = "seconds", default = 60, least = 0.001, most = DAY,
    help = "for a client to take a byte" },
  { name = "connection_limit", type = "int", default = 10000, least = 1, most = 1000000,
    help = "connections of a worker at once; above it accepting pauses" },
  { name = "write_buffer_limit", type = "size", default = 64 * KIB, least = KIB, most = GIB,
    help = "waiting for a client before a handler's write waits" },
  { name = "compress", type = "bool", default = true,
    help = "texts by brotli or gzip, for clients that ask for it" },
  { name = "compress_minimum", type = "size", default = KIB, least = 0, most = GIB,
    help = "smaller answers are sent as they are" },
  { name = "compress_maximum", type = "size", default = 4 * MIB, least = 0, most = 1024 * GIB,
    help = "larger ones are too, unless they are streamed" },
  { name = "compress_level", type = "int", default = 4, least = 1, most = 9,
    help = "from 1, fast, to 9, small" },
  { name = "file_cache_time", type = "seconds", default = 1, least = 0, most = DAY,
    help = "until a file served before is looked at again; 0 in development" },
  { name = "file_cache_open", type = "int", default = 128, least = 1, most = 1000000,
    help = "files a worker keeps open" },
  { name = "file_cache_memory", type = "size", default = 32 * MIB, least = 0, most = 1024 * GIB,
    help = "for small files a worker keeps in memory" },
  { name = "file_memory_limit", type = "size", default = 64 * KIB, least = 0, most = GIB,
    help = "larger files are not kept in memory" },
  { name = "websocket_message_limit", type = "size", default = MIB, least = 1, most = GIB,
    help = "for a message of a WebSocket's client (closed with 1009)" },
  { name = "websocket_buffer_limit", type = "size", default = MIB, least = KIB, most = GIB,
    help = "of published messages waiting for a WebSocket's client (closed with 1013)" },
  { name = "websocket_ping_interval", type = "seconds", default = 20, least = 0.001, most = DAY,
    help = "between two pings to a WebSocket's client" },
  { name = "websocket_ping_timeout", type = "seconds", default = 20, least = 0.001, most = DAY,
    help = "for a sign of life after a ping" },
  { name = "websocket_close_timeout", type = "seconds", default = 5, least = 0.001, most = DAY,
    help = "for a WebSocket's client to answer a close" },
  { name = "websocket_compression", type = "bool", default = true,
    help = "agree to permessage-deflate" },
  { name = "websocket_compression_min", type = "size", default = KIB, least = 1, most = GIB,
    help = "shorter messages are not compressed" },
  { name = "sse_keep_alive", type = "seconds", own = true, default = 15, least = 0.01, most = DAY,
    help = "without an event, until a comment is sent to a client of http.sse" },
  { name = "publish_limit", type = "size", default = 64 * KIB, least = 1, most = 256 * KIB,
    help = "for a published message with its topic" },
}

settings.by_name = {}
settings.names = {}
for i, setting in ipairs(settings.list) do
  settings.by_name[setting.name] = setting
  settings.names[i] = setting.name
end

-- ── Written to normal: each returns the normal form, or nil and what is allowed ───────────────

local normalise = {}

local function range_text(setting, unit)
  return ("from %s to %s%s"):format(tostring(setting.least), tostring(setting.most), unit)
end

local function in_range(setting, number)
  return number >= setting.least and number <= setting.most
end

--- A whole number as a string; %d is exact to 2^53, tostring is not.
local function whole(number)
  return ("%d"):format(number)
end

function normalise.int(setting, written)
  local number = tonumber(written)
  if number and number % 1 == 0 and in_range(setting, number) then return whole(number) end
  return nil, "a whole number " .. range_text(setting, "")
end

function normalise.workers(setting, written)
  if written == "auto" then return "auto" end
  local normal = normalise.int(setting, written)
  return normal, "\"auto\" or a whole number " .. range_text(setting, "")
end

local second_units = { [""] = 1, ms = 0.001, s = 1, m = 60, min = 60, h = 3600, d = DAY }

function normalise.seconds(setting, written)
  local number, unit = tostring(written):match("^%s*([%d.]+)%s*(%a*)%s*$")
  number = tonumber(number)
  if number and second_units[unit] then
    local seconds = number * second_units[unit]
    if in_range(setting, seconds) then return whole(math.floor(seconds * 1000 + 0.5)) end
  end
  return nil, "a time " .. range_text(setting, " seconds") .. ": 15, \"500ms\", \"2m\", \"1h\""
end

local size_units = { [""] = 1, b = 1, k = KIB, kb = KIB, kib = KIB, m = MIB, mb = MIB, mib = MIB,
  g = GIB, gb = GIB, gib = GIB }

--- The bytes that a size names.
---@param written any 8192, "64 KiB", "100M"
---@return number|nil # nil: it is no size
function settings.bytes(written)
  local number, unit = tostring(written):match("^%s*([%d.]+)%s*(%a*)%s*$")
  number = tonumber(number)
  return number and size_units[unit:lower()] and math.floor(number * size_units[unit:lower()]) or nil
end

function normalise.size(setting, written)
  local bytes = settings.bytes(written)
  if bytes and in_range(setting, bytes) then return whole(bytes) end
  return nil, "a size " .. range_text(setting, " bytes") .. ": 8192, \"64 KiB\", \"100M\""
end

local booleans = { ["true"] = "1", ["false"] = "0", yes = "1", no = "0", on = "1", off = "0",
  ["1"] = "1", ["0"] = "0" }

function normalise.bool(_, written)
  return booleans[tostring(written):lower()], "true or false"
end

function normalise.enum(setting, written)
  for _, value in ipairs(setting.values) do
    if tostring(written) == value then return value end -- false and true may be among them
  end
  return nil, "one of " .. table.concat(setting.values, ", ")
    .. nearest.hint(tostring(written), setting.values)
end

function normalise.string(_, written)
  if type(written) == "string" and written ~= "" and not written:find("%z") then return written end
  return nil, "a string that is not empty"
end

--- The normal form of a list is a list too.
function normalise.list(setting, written)
  if type(written) == "string" then written = { written } end
  local list = {}
  if type(written) == "table" then
    for i, element in ipairs(written) do
      local ok, message = setting.check(element)
      if not ok then return nil, message end
      list[i] = tostring(element)
    end
  elseif type(written) == "number" then
    return normalise.list(setting, { written })
  end
  if type(written) ~= "table" or #list < (setting.least or 0) then
    return nil, "an address or a list of them"
  end
  return list
end

local function show(value)
  if type(value) == "table" then
    local shown = {}
    for i, element in ipairs(value) do shown[i] = show(element) end
    return table.concat(shown, ", ")
  end
  return type(value) == "string" and ("%q"):format(value) or tostring(value)
end

--- The normal form of a setting.
---@param name string
---@param written any
---@param source string where it was set, for messages: "flag --workers"
---@return string|string[] # raises a message naming the setting, the value, the source and what is allowed
function settings.normal(name, written, source)
  local setting = settings.by_name[name]
  if not setting then
    error(("%s: unknown setting '%s'%s"):format(source, name, nearest.hint(name, settings.names)), 0)
  end
  local normal, allowed = normalise[setting.type](setting, written)
  if normal == nil then
    error(("%s: setting '%s' cannot be %s; it must be %s"):format(source, name, show(written), allowed), 0)
  end
  return normal
end

-- ── Many settings ────────────────────────────────────────────────────────────────────────────

---@class perigee.Given settings in normal form, with where each came from
---@field values table<string, string|string[]>
---@field origins table<string, string>

---@return perigee.Given
function settings.given()
  return { values = {}, origins = {} }
end

--- Sets what is not set yet: call in the order of precedence, strongest first.
---@param given perigee.Given
---@param name string
---@param written any
---@param source string
function settings.give(given, name, written, source)
  local normal = settings.normal(name, written, source)
  if given.values[name] == nil then
    given.values[name] = normal
    given.origins[name] = source
  end
end

--- Gives all settings of a table of the app's or its config script's; the keys must be names of settings.
---@param given perigee.Given
---@param written table
---@param source string|fun(name: string): string
function settings.give_all(given, written, source)
  local keys = {}
  for key in pairs(written) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local from = type(source) == "function" and source(key) or source
    if settings.by_name[key] and settings.by_name[key].early then
      error(("%s: setting '%s' counts before the app's files are read: it is for flags and environment")
        :format(from, key), 0)
    end
    settings.give(given, key, written[key], from)
  end
end

-- Environment names that are ours and no settings, and those that Kubernetes makes for a service
-- called "perigee".
local other_environment = { PERIGEE_LUA_PATH = true, PERIGEE_JIT_LOG = true }

local function is_kubernetes(name)
  return name:find("^PERIGEE_SERVICE_") or name:find("^PERIGEE_PORT_") or name == "PERIGEE_PORT"
end

--- Gives the settings of the environment, PERIGEE_<NAME>. A list's elements are divided by commas.
---@param given perigee.Given
---@param environment table<string, string>
function settings.give_environment(given, environment)
  local found = {}
  for key, value in pairs(environment) do
    if key:find("^PERIGEE_") and not other_environment[key] and not is_kubernetes(key) then
      found[key] = value
    end
  end
  local upper = {}
  for i, name in ipairs(settings.names) do upper[i] = "PERIGEE_" .. name:upper() end
  for key, value in pairs(found) do
    local setting = settings.by_name[key:sub(9):lower()]
    if not setting or key ~= key:upper() then
      error(("environment %s: there is no such setting%s"):format(key, nearest.hint(key, upper)), 0)
    end
    if setting.type == "list" then
      local list = {}
      for element in value:gmatch("[^,%s]+") do list[#list + 1] = element end
      value = list
    end
    settings.give(given, setting.name, value, "environment " .. key)
  end
end

--- Gives every default, and makes `workers` a number.
---@param given perigee.Given
function settings.give_defaults(given)
  if given.values.mode == "development" then
    settings.give(given, "file_cache_time", 0, "default in development")
  end
  for _, setting in ipairs(settings.list) do
    if setting.default ~= nil then settings.give(given, setting.name, setting.default, "default") end
  end
  if given.values.workers == "auto" then
    given.values.workers = whole(math.min(cpus.count(), settings.by_name.workers.most))
    given.origins.workers = given.origins.workers .. ", auto"
  end
  if given.values.access_log == "auto" then
    given.values.access_log = given.values.mode == "development" and "combined" or "off"
    given.origins.access_log = given.origins.access_log .. ", auto"
  end
  if tonumber(given.values.restart_delay_min) > tonumber(given.values.restart_delay_max) then
    error(("%s: setting 'restart_delay_min' is above 'restart_delay_max' (%s)"):format(
      given.origins.restart_delay_min, given.origins.restart_delay_max), 0)
  end
end

local to_config = {
  int = tonumber,
  size = tonumber,
  workers = tonumber,
  seconds = function(normal) return tonumber(normal) / 1000 end,
  bool = function(normal) return normal == "1" end,
  enum = tostring,
  string = tostring,
  list = function(normal) return { unpack(normal) } end,
}

--- Settings as users read them in app.config.
---@param values table<string, string|string[]> normal forms
---@return table
function settings.config(values)
  local config = {}
  for name, normal in pairs(values) do
    local setting = settings.by_name[name]
    if setting then config[name] = to_config[setting.type](normal) end
  end
  return config
end

return settings
