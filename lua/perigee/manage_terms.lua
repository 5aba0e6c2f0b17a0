--- What may be asked of a managed process: the arguments of app.manager:manage and app.m:manage,
--- checked, as the manager reads them (host/manager/managed_terms.h).
local caller = require "perigee.caller"
local control = require "perigee.control"
local nearest = require "perigee.nearest"
local signal = require "perigee.signal"

local terms = {}

local NAME_LIMIT, WORKERS_MOST, RESTARTS_MOST = 31, 64, 100 -- managed_terms.h
local DAY = 86400

local option_types = { workers = "number", transient = "boolean", restartable = "boolean",
  tracked = "boolean", auto_start = "boolean", restart = "string", max_restarts = "number",
  within = "number", notify = "boolean", start_timeout = "number", stop_timeout = "number",
  stop_signal = "any", env = "table", cwd = "string", user = "string", rlimits = "table" }
local policies = { "always", "on_failure", "never" }
local limit_names = { "as", "core", "cpu", "data", "fsize", "memlock", "nofile", "nproc", "stack" }

local functions = {} -- name → { fn, place }: what app.m:manage can start by name

-- ── Names and functions ──────────────────────────────────────────────────────────────────────

--- Raises at the caller's place unless a process may be called so.
function terms.check_name(what, name)
  caller.check(name, "string", what .. ": the name")
  if #name > NAME_LIMIT or not name:find("^[%w_.-]+$") then
    caller.fail("%s: a name is 1 to %d of A-Z a-z 0-9 _ . -, not %q", what, NAME_LIMIT, name)
  end
  if name == "main" or name == "all" or name:find("^worker%-") then
    caller.fail("%s: the name '%s' is Perigee's", what, name)
  end
end

--- Gives a function a name, by which the processes forked from now on can find it.
function terms.register(what, name, fn)
  caller.check(fn, "function", what .. ": the function")
  local known = functions[name]
  if known then caller.fail("%s: there is a function '%s' already, given at %s", what, name, known.place) end
  functions[name] = { fn = fn, place = caller.place() }
end

--- The function of a name: a registered one, or "module.function". Raises when there is none.
---@param name string
---@return function
function terms.resolve(name)
  if functions[name] then return functions[name].fn end
  local module, key = name:match("^(.+)%.([^.]+)$")
  local loaded = require(module)
  local fn = type(loaded) == "table" and loaded[key]
  if type(fn) ~= "function" then
    error(("the module '%s' has no function '%s'"):format(module, key), 0)
  end
  return fn
end

--- Raises at the caller's place unless there is something of this name.
local function check_function_name(what, name)
  local module = name:match("^(.+)%.[^.]+$")
  if functions[name] or module and (package.loaded[module] or package.preload[module]
    or package.searchpath(module, package.path)) then
    return
  end
  local names = {}
  for known in pairs(functions) do names[#names + 1] = known end
  caller.fail("%s: no function is registered as '%s'%s, and there is no such module", what, name,
    nearest.hint(name, names))
end

-- ── Options ──────────────────────────────────────────────────────────────────────────────────

local function check_number(what, options, key, least, most, default, whole)
  local value = options[key]
  if value == nil then return default end
  if not (value >= least and value <= most) or whole and value % 1 ~= 0 then
    caller.fail("%s: %s must be a %snumber from %g to %g, not %s", what, key, whole and "whole " or "", least,
      most, tostring(value))
  end
  return value
end

local function milliseconds(seconds)
  return ("%d"):format(math.floor(seconds * 1000 + 0.5))
end

--- { nofile = 1024, core = { 0, "unlimited" } } as "nofile=1024", "core=0:unlimited".
local function limit_list(what, limits)
  local list = {}
  local function bound(value)
    if value == "unlimited" then return value end
    if type(value) == "number" and value % 1 == 0 and value >= 0 and value < 2 ^ 53 then
      return ("%d"):format(value)
    end
    caller.fail("%s: rlimits: a limit is a whole number, \"unlimited\" or { soft, hard }, not %s", what,
      tostring(value))
  end
  for name, value in pairs(limits) do
    local known = nearest.find(tostring(name), limit_names)
    if known ~= name then
      caller.fail("%s: rlimits: there is no limit '%s'%s", what, tostring(name),
        nearest.hint(tostring(name), limit_names))
    end
    local pair = type(value) == "table" and value or { value, value }
    list[#list + 1] = ("%s=%s:%s"):format(name, bound(pair[1]), bound(pair[2]))
  end
  table.sort(list)
  return list
end

--- { A = "1", B = false } as "A=1", "B".
local function variable_list(what, env)
  local list = {}
  for name, value in pairs(env) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      caller.fail("%s: env: %q is no variable's name", what, tostring(name))
    end
    list[#list + 1] = value == false and name or name .. "=" .. tostring(value)
  end
  table.sort(list)
  return list
end

--- Raises at the caller's place for what makes no sense together.
local function check_combinations(what, options, is_command)
  local restartable = options.restartable
  if restartable == nil then restartable = options.transient end
  if options.transient and options.restartable == false then
    caller.fail("%s: what is transient is restarted with the workers: it cannot be restartable = false", what)
  end
  if options.auto_start == false and not restartable then
    caller.fail("%s: with auto_start = false it is started by a restart, so it must be restartable", what)
  end
  if options.restart == "never" and (options.max_restarts or options.within) then
    caller.fail("%s: max_restarts and within are of no use with restart = \"never\"", what)
  end
  if is_command and options.notify then
    caller.fail("%s: notify is for functions, which have process:ready(); a command is ready at once", what)
  end
  if not is_command and options.stop_signal then
    caller.fail("%s: stop_signal is for commands; a function is told by process:on_stop", what)
  end
end

--- argv as strings.
local function word_list(what, argv)
  if #argv == 0 then caller.fail("%s: the command is empty", what) end
  local list = {}
  for i, word in ipairs(argv) do
    if type(word) == "number" then word = tostring(word) end
    caller.check(word, "string", ("%s: word %d of the command"):format(what, i))
    list[i] = word
  end
  return list
end

local function check_options(what, options)
  options = control.check_options(what, options, option_types)
  if options.restart and nearest.find(options.restart, policies) ~= options.restart then
    caller.fail("%s: restart must be \"always\", \"on_failure\" or \"never\", not %q%s", what,
      options.restart, nearest.hint(options.restart, policies))
  end
  return options
end

local function flag(value, default)
  if value == nil then value = default end
  return value and "1" or "0"
end

--- The terms of a managed process. Raises at the caller's place.
---@param what string for messages: "app.m:manage"
---@param name string
---@param target string[]|string argv, or the name of a function
---@param options table|nil
---@param tracked boolean by default
---@return table<string, string|number|string[]> # fields for a record block, without the name
function terms.make(what, name, target, options, tracked)
  terms.check_name(what, name)
  local is_command = type(target) == "table"
  options = check_options(what, options)
  check_combinations(what, options, is_command)
  if not is_command then check_function_name(what, target) end
  local restartable = options.restartable
  if restartable == nil then restartable = options.transient end
  return {
    argv = is_command and word_list(what, target) or nil,
    ["function"] = not is_command and target or nil,
    workers = check_number(what, options, "workers", 1, WORKERS_MOST, 1, true),
    transient = flag(options.transient, false),
    restartable = flag(restartable, false),
    tracked = flag(options.tracked, tracked),
    auto_start = flag(options.auto_start, true),
    notify = flag(options.notify, false),
    restart = options.restart or "on_failure",
    max_restarts = check_number(what, options, "max_restarts", 0, RESTARTS_MOST, 10, true),
    within = milliseconds(check_number(what, options, "within", 0.001, DAY, 60)),
    start_timeout = milliseconds(check_number(what, options, "start_timeout", 0.001, DAY, 0)),
    stop_timeout = milliseconds(check_number(what, options, "stop_timeout", 0.001, DAY, 0)),
    stop_signal = signal.number(what .. ": stop_signal", options.stop_signal or "SIGTERM"),
    env = options.env and variable_list(what, options.env),
    limit = options.rlimits and limit_list(what, options.rlimits),
    cwd = options.cwd,
    user = options.user,
  }
end

-- ── What the plan carries ────────────────────────────────────────────────────────────────────

terms.declared = {} -- { name, place, fields }, in order

local function names_of(name, count)
  local list = { [name] = true }
  for i = 0, count > 1 and count - 1 or -1 do list[name .. "-" .. i] = true end
  return list
end

--- Adds a process to those of the plan. Raises at the caller's place when its name is taken.
function terms.declare(what, name, fields)
  local names = names_of(name, fields.workers)
  for _, other in ipairs(terms.declared) do
    for taken in pairs(names_of(other.name, other.fields.workers)) do
      if names[taken] then
        caller.fail("%s: there is a process '%s' already, from %s", what, taken, other.place)
      end
    end
  end
  terms.declared[#terms.declared + 1] = { name = name, place = caller.place(), fields = fields }
end

return terms
