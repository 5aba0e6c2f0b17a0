--- The command line; APP may be repeated.
---
---     perigee serve APP [--bind ADDRESS]… [--workers N|auto] [--config FILE] [--set NAME=VALUE]… …
---     perigee check APP
---     perigee routes APP
---     perigee inspect [WHAT]
---     perigee --version
---
--- Exit status: 0 success, 1 the app or the world is at fault, 2 the command line is.
local argparse = require "argparse"
local uv = require "luv"

local boot = require "perigee.boot"
local nearest = require "perigee.nearest"
local record = require "perigee.record"
local settings = require "perigee.settings"
local traceback = require "perigee.traceback"
local version = require "perigee.version"

local cli = {}

local USAGE, FAILURE, SUCCESS = 2, 1, 0
local SYSTEMD_FIRST_FD = 3 -- sd_listen_fds(3)

--- An error that says all in its text; with `command` it is about what was typed.
local told_mt = { quiet = true, __tostring = function(self) return self.text end }

local function usage_error(text, command)
  error(setmetatable({ text = text, command = command or "", status = USAGE }, told_mt), 0)
end

--- Calls a function whose errors need no traceback.
local function tell_errors(fn, ...)
  local ok, result = pcall(fn, ...)
  if ok then return result end
  error(setmetatable({ text = tostring(result), status = FAILURE }, told_mt), 0)
end

-- ── The parser ───────────────────────────────────────────────────────────────────────────────

local function flag_of(name)
  return "--" .. name:gsub("_", "-")
end

local function written_default(setting)
  local value = setting.default
  if type(value) == "table" then value = value[1] end
  if setting.type == "size" and value % 1024 == 0 then
    return value % 1024 ^ 2 == 0 and value / 1024 ^ 2 .. " MiB" or value / 1024 .. " KiB"
  end
  return setting.type == "seconds" and value .. " s" or tostring(value)
end

local function help_of(setting)
  local notes = {}
  if setting.values then notes[1] = table.concat(setting.values, ", ") end
  if setting.default ~= nil then notes[#notes + 1] = "default " .. written_default(setting) end
  return setting.help .. (#notes > 0 and " (" .. table.concat(notes, "; ") .. ")" or "")
end

local placeholders = {
  int = "N", workers = "N", size = "SIZE", seconds = "TIME", enum = "WORD", string = "TEXT",
}

--- A flag for each setting, and --set.
local function add_settings(command)
  for _, setting in ipairs(settings.list) do
    local flag = flag_of(setting.name)
    if setting.type == "bool" then
      command:flag(flag):target(setting.name):description(help_of(setting))
        :action(function(result) result[setting.name] = "true" end)
      command:flag("--no-" .. flag:sub(3)):target(setting.name):hidden(true)
        :action(function(result) result[setting.name] = "false" end)
    else
      local option = command:option(flag):target(setting.name):description(help_of(setting))
        :argname("<" .. (setting.argument or placeholders[setting.type] or "VALUE") .. ">")
      if setting.type == "list" then option:count("*") end
    end
  end
  command:option("--set"):argname("<NAME=VALUE>"):count("*"):target("set")
    :description("any setting by its name: --set backlog=128")
end

--- perigee inspect: what runs is asked over the inspector's address; see perigee.inspector.command.
local function add_inspect(parser)
  local inspect = parser:command("inspect", "Ask a running app what there is, or to do something.")
  inspect:argument("WHAT", "state (default), top, requests, logs, reload, restart [NAME], scale N, upgrade, "
    .. "shutdown, or a command of the app's with name=value"):target("words"):args("*")
  inspect:option("--address -a", "Where it listens (default $PERIGEE_INSPECTOR, or unix:perigee.sock).")
    :argname("<ADDRESS>"):target("address")
  inspect:option("--key -k", "Its key (default $PERIGEE_INSPECTOR_KEY)."):argname("<TEXT>"):target("key")
  inspect:option("--order", "Of restart: startup_first or shutdown_first."):argname("<WORD>"):target("order")
  inspect:option("--bytes", "Of logs: how much to show of what was logged."):argname("<N>"):target("bytes")
    :default("16384"):convert(tonumber)
  inspect:flag("--follow -f", "Of logs: go on as it grows."):target("follow")
  inspect:flag("--watch -w", "Show it anew each second."):target("watch")
  inspect:flag("--json", "As JSON."):target("json")
  return inspect
end

local function build_parser()
  local parser = argparse("perigee", "Runs Lua files as a supervised multi-process application.")
    :command_target("command"):require_command(false)
  parser:flag("--version -V", "Show the version and exit."):target("version")
  local serve = parser:command("serve", "Serve an app until a signal ends it.")
  local check = parser:command("check", "Load an app and its settings; say what is wrong with them.")
  local routes = parser:command("routes", "List an app's routes.")
  for _, command in ipairs { serve, check, routes } do
    command:argument("APP", "a Lua file that returns an app (or several), or a folder with app.lua; may be "
      .. "repeated"):target("apps"):args("+")
    add_settings(command)
  end
  return parser, { serve = serve, check = check, routes = routes, inspect = add_inspect(parser) }
end

local command_names = { "serve", "check", "routes", "inspect" }

--- Turns argparse's message into ours: one line with the nearest name.
local function parse(parser, arguments)
  local first = arguments[1]
  if first and not first:find("^%-") and nearest.find(first, command_names) ~= first then
    usage_error(("there is no command '%s'%s"):format(first, nearest.hint(first, command_names)))
  end
  local ok, result = parser:pparse(arguments)
  if ok then return result end
  local message = tostring(result):gsub("\n[Dd]id you mean", "; did you mean"):gsub("\n", " ")
  usage_error(message:sub(1, 1):lower() .. message:sub(2), first)
end

-- ── Settings from the command line ───────────────────────────────────────────────────────────

--- Descriptors handed over by systemd, and their names; nil when there are none for us.
local function systemd_sockets(environment)
  local count = tonumber(environment.LISTEN_FDS)
  if not count or count < 1 or tonumber(environment.LISTEN_PID) ~= uv.os_getpid() then return nil end
  local names, list = {}, {}
  for name in ((environment.LISTEN_FDNAMES or "") .. ":"):gmatch("([^:]*):") do names[#names + 1] = name end
  for i = 1, count do list[i] = { number = SYSTEMD_FIRST_FD + i - 1, name = names[i] or "" } end
  return list
end

local function addresses_of(sockets)
  local list = {}
  for i, socket in ipairs(sockets) do list[i] = "fd:" .. socket.number end
  return list
end

-- What needs a manager. In the app's files these are left alone: they say what holds otherwise.
local managers = { "daemon", "group", "log_file", "pid_file", "user" }

--- Refuses what --single-process cannot do.
local function check_single_process(given)
  local function refuse(name)
    error(("%s: with single_process there is no manager, so there is no '%s'"):format(
      given.origins[name], name), 0)
  end
  for _, name in ipairs(managers) do
    if given.values[name] and given.values[name] ~= "0" then refuse(name) end
  end
  if given.values.workers and given.values.workers ~= "auto" and given.values.workers ~= "1" then
    refuse "workers"
  end
end

--- What flags and environment give, the flags first.
---@param result table of argparse
---@param environment table<string, string>
---@return perigee.Given
function cli.given(result, environment)
  local given = settings.given()
  for _, pair in ipairs(result.set or {}) do
    local name, value = pair:match("^([^=]+)=(.*)$")
    if not name then error(("flag --set: '%s' is not NAME=VALUE"):format(pair), 0) end
    settings.give(given, name, value, "flag --set")
  end
  for _, setting in ipairs(settings.list) do
    local written = result[setting.name]
    if written ~= nil and not (setting.type == "list" and #written == 0) then
      settings.give(given, setting.name, written, "flag " .. flag_of(setting.name))
    end
  end
  settings.give_environment(given, environment)
  local passed = systemd_sockets(environment)
  given.passed = passed or {}
  if given.values.single_process == "1" then check_single_process(given) end
  if passed and not given.values.bind then
    settings.give(given, "bind", addresses_of(passed), "LISTEN_FDS")
  end
  return given
end

--- The block that the manager takes over.
local function given_block(given, paths)
  local pieces = {}
  record.add_all(pieces, "app", paths)
  for name, value in pairs(given.values) do
    for _, element in ipairs(type(value) == "table" and value or { value }) do
      record.add(pieces, name, element)
    end
    record.add(pieces, "origin." .. name, given.origins[name])
  end
  for _, socket in ipairs(given.passed) do
    record.add(pieces, "socket", socket.number .. ":" .. socket.name)
  end
  return record.block(pieces)
end

-- ── Commands: each returns a status, or nil and a block ───────────────────────────────────────

local commands = {}

function commands.serve(given, paths)
  return nil, given_block(given, paths)
end

function commands.check(given, paths)
  for _, entry in ipairs(boot.check(given, paths)) do
    local app, values = entry.app, entry.given.values
    print(("%s: ok: app '%s', %d routes, bind %s, %s workers"):format(entry.path, app.name,
      #app.router.routes, table.concat(values.bind, " "), values.workers))
  end
  return SUCCESS
end

--- Pads every column to its widest cell.
local function print_table(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, #cell) end
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i, cell in ipairs(row) do
      cells[i] = i < #row and cell .. (" "):rep(widths[i] - #cell) or cell
    end
    print(table.concat(cells, "  "))
  end
end

function commands.routes(given, paths)
  local list = boot.check(given, paths)
  local rows = { { "METHODS", "PATH", "NAME", "HANDLER" } }
  for _, entry in ipairs(list) do
    for _, route in ipairs(entry.app.router.routes) do
      rows[#rows + 1] = { table.concat(route.methods, ","), (route.host or "") .. route.pattern,
        route.name or "-", route.place, #list > 1 and entry.app.name or nil }
    end
  end
  if #list > 1 then rows[1][5] = "APP" end
  print_table(rows)
  return SUCCESS
end

-- ── main ─────────────────────────────────────────────────────────────────────────────────────

local function run(arguments, environment)
  local parser = build_parser()
  local result = parse(parser, arguments)
  if result.version then
    print("perigee " .. version)
    return SUCCESS
  end
  if not result.command then
    usage_error("a command is missing: " .. table.concat(command_names, ", "))
  end
  if result.command == "inspect" then
    result.action = table.remove(result.words, 1)
    local ok, problem = pcall(require("perigee.inspector.command").run, result)
    for _ = 1, 2 do collectgarbage() end -- the memory of what was closed
    if not ok then tell_errors(error, problem, 0) end
    return SUCCESS
  end
  local ok, given = pcall(cli.given, result, environment)
  if not ok then usage_error(given, result.command) end
  local paths = {}
  for i, name in ipairs(result.apps) do paths[i] = tell_errors(boot.find_app, name) end
  return commands[result.command](given, paths)
end

--- Runs a command line. Errors are told on stderr.
---@param arguments string[]
---@param environment table<string, string>|nil default the process's own
---@return number|nil status # exit status; nil: become the manager
---@return string|nil block # with it, the settings for the manager
function cli.main(arguments, environment)
  local ok, status, block = xpcall(run, traceback.handler, arguments, environment or uv.os_environ())
  if ok then return status, block end
  if getmetatable(status) == told_mt then
    io.stderr:write("perigee: ", status.text, "\n")
    if status.command then
      io.stderr:write("Try 'perigee ", status.command, status.command ~= "" and " " or "", "--help'.\n")
    end
    return status.status
  end
  io.stderr:write("perigee: ", traceback.text(status), "\n")
  return FAILURE
end

return cli
