--- The main process: evaluates the app's files, makes the plan, runs the main-process hooks.
--- Runs in the zygote, and (evaluate only) in `perigee check` and `perigee routes`.
local ffi = require "ffi"
local uv = require "luv"

local abi = require "perigee.abi"
local app_module = require "perigee.app"
local apps = require "perigee.apps"
local bind = require "perigee.bind"
local config = require "perigee.config"
local files = require "perigee.files"
local inspector = require "perigee.inspector.declare"
local handles = require "perigee.handles"
local log = require "perigee.log"
local manage_terms = require "perigee.manage_terms"
local request_metrics = require "perigee.request_metrics"
local persist = require "perigee.shared.persist"
local phase = require "perigee.phase"
local record = require "perigee.record"
local scope = require "perigee.scope"
local settings = require "perigee.settings"
local state = require "perigee.state"
local strict = require "perigee.strict"
local traceback = require "perigee.traceback"
local traces = require "perigee.traces"

local boot = {
  ---@type perigee.App|nil the app of this process; of several, the first
  app = nil,
  ---@type perigee.App[] all of them, in the order they were given
  apps = {},
}

local sources = {} -- files loaded, in order

-- ── Files ────────────────────────────────────────────────────────────────────────────────────

--- The folder a file is in, with a slash at its end: "" for the current one.
local function folder_of(path)
  return path:match("^(.*/)[^/]*$") or ""
end

local function exists(path, kind)
  local found = uv.fs_stat(path)
  return found ~= nil and found.type == kind
end

--- The app's file: what was named, or app.lua in the folder that was named.
---@param name string
---@return string # raises when there is none
function boot.find_app(name)
  if exists(name, "directory") then
    local path = name:gsub("/+$", "") .. "/app.lua"
    if name == "/" then path = "/app.lua" end
    if exists(path, "file") then return path end
    error(("%s: this folder has no app.lua"):format(name), 0)
  end
  local found, message = uv.fs_stat(name)
  if not found then
    error(("%s: cannot read the app (%s)"):format(name, message:match("^%u+: (.-):") or message), 0)
  end
  return name
end

--- package.loaders entry for Lua files, as Lua's own, that notes which files were loaded.
local function file_loader(name)
  local path, message = package.searchpath(name, package.path)
  if not path then return message end
  local chunk, problem = loadfile(path)
  if not chunk then
    error(("%s (in require \"%s\")"):format(problem, name), 0)
  end
  sources[#sources + 1] = path
  return chunk
end

--- Lets an app require the files beside it, strictly.
---@return string # its folder, absolute
local function prepare(path)
  local folder = folder_of(path)
  local prefix = folder == "" and "./" or folder
  local beside = prefix .. "?.lua;" .. prefix .. "?/init.lua;"
  if not (";" .. package.path):find(";" .. beside, 1, true) then package.path = beside .. package.path end
  package.loaders[3] = file_loader -- after package.preload and Perigee's own modules
  local absolute = uv.fs_realpath(prefix)
  strict.install(_G, absolute .. "/")
  files.set_base(absolute)
  return absolute
end

local function line_count(path)
  local count = 0
  for _ in io.lines(path) do count = count + 1 end
  return math.max(count, 1)
end

--- Runs an app's file. Returns the app, or several.
local function evaluate_file(path)
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  sources[#sources + 1] = path
  local results = { xpcall(chunk, traceback.handler) }
  if not results[1] then error(results[2], 0) end
  for i = 2, math.max(2, table.maxn(results)) do
    local result = results[i]
    if not app_module.is_app(result) then
      error(("%s:%d: the file must end with `return app`, an app made by perigee.app \"name\"; it returned "
        .. "%s"):format(path, line_count(path), result == nil and "nothing" or "a " .. type(result)), 0)
    end
  end
  return unpack(results, 2)
end

-- ── Settings ─────────────────────────────────────────────────────────────────────────────────

--- A socket that systemd passed, "3:web"; one without a name has its number only.
local function note_socket(text)
  local number, name = text:match("^(%d+):(.+)$")
  if not number then return end
  bind.passed[name] = bind.passed[name] or {}
  table.insert(bind.passed[name], tonumber(number))
end

--- What flags and environment gave, out of a record block; and the apps' files.
local function read_given(block)
  local given, paths = settings.given(), nil
  for key, values in pairs(record.parse(block)) do
    if key == "app" then
      paths = values
    elseif key == "socket" then
      for _, value in ipairs(values) do note_socket(value) end
    elseif not key:find("^origin%.") then
      local setting = settings.by_name[key]
      if not setting then error("the settings block has an unknown key: " .. key, 0) end
      given.values[key] = setting.type == "list" and values or values[#values]
    end
  end
  for key, values in pairs(record.parse(block)) do
    local name = key:match("^origin%.(.*)$")
    if name then given.origins[name] = values[#values] end
  end
  return given, paths
end

--- The config script to run, or nil.
local function config_path(given, path)
  local named = given.values.config
  if named then
    if not exists(named, "file") then
      error(("%s: there is no config script '%s'"):format(given.origins.config or "config", named), 0)
    end
    return named
  end
  local beside = folder_of(path) .. "perigee.conf.lua"
  return exists(beside, "file") and beside or nil
end

--- Raises when TLS is half configured: nobody is to find out that it was not on.
local function check_tls(list)
  local given = list[1].given
  local values, origins = given.values, given.origins
  local secure -- an app that has an address with it
  for _, entry in ipairs(list) do
    if #entry.given.secure > 0 then secure = secure or entry.given end
  end
  if not secure and not (values.inspector or ""):find("^tls:") then
    local name = values.tls_certificate and "tls_certificate" or values.tls_key and "tls_key"
    if name then
      error(("%s: %s is set, but no address in bind begins with 'tls:'"):format(origins[name] or name,
        name), 0)
    end
  elseif secure and not (values.tls_certificate and values.tls_key) then
    error(("%s: an address with 'tls:' needs tls_certificate and tls_key"):format(
      secure.origins.bind or "bind"), 0)
  end
end

--- Runs the config scripts, each once, for the apps of the files it is beside.
local function run_scripts(list, given)
  local scripts, order = {}, {}
  for _, entry in ipairs(list) do
    local script = config_path(given, entry.path)
    if script then
      if not scripts[script] then
        scripts[script] = {}
        order[#order + 1] = script
      end
      table.insert(scripts[script], entry)
    end
  end
  for _, script in ipairs(order) do
    files.set_base(scripts[script][1].app.folder)
    config.load(script, scripts[script])
    sources[#sources + 1] = script
    for _, entry in ipairs(scripts[script]) do
      entry.given.values.config = script
      entry.given.origins.config = given.origins.config or "beside the app"
    end
  end
end

--- Evaluates the apps and their config scripts and resolves the settings. Does not run hooks.
---@param given perigee.Given from flags and environment
---@param paths string[] of the apps' files
---@return perigee.ServedApp[]
function boot.evaluate(given, paths)
  local list = {}
  for _, path in ipairs(paths) do
    local folder = prepare(path)
    for _, app in ipairs { evaluate_file(path) } do
      app_module.set(app, "folder", folder)
      list[#list + 1] = { app = app, path = path }
    end
  end
  apps.check_names(list)
  apps.divide(list, given)
  run_scripts(list, given)
  for _, entry in ipairs(list) do
    settings.give_all(entry.given, entry.app.given_settings, entry.app.place)
  end
  apps.settle(list, given)
  check_tls(list)
  inspector.resolve(list[1].given)
  files.set_base(list[1].app.folder)
  if list[1].given.values.mode == "development" then log.set_level("debug") end
  return list
end

--- Adds the apps to the plan, and where each is served. Addresses are counted from 1, apps from 0.
local function add_apps(pieces, list)
  local routes, body_limit_most, position = 0, 0, 0
  for i, entry in ipairs(list) do
    local app, given = entry.app, entry.given
    record.add(pieces, "app", entry.path)
    record.add(pieces, "name", app.name)
    record.add_all(pieces, "bind", given.values.bind)
    for _ = 1, #given.values.bind do record.add(pieces, "bind_app", i - 1) end
    for _, secure in ipairs(given.secure) do record.add(pieces, "tls_bind", position + secure) end
    position = position + #given.values.bind
    routes = routes + #app.router.routes
    body_limit_most = math.max(body_limit_most, (app.router:body_limit_most(app.config.body_limit)))
  end
  record.add(pieces, "routes", routes)
  record.add(pieces, "body_limit_most", ("%d"):format(body_limit_most))
end

--- The plan: everything the manager needs to know. Every setting is in it, "" when it has no value;
--- those that each app has for itself, but for bind, are the first one's.
local function make_plan(list)
  local pieces, values = {}, list[1].given.values
  add_apps(pieces, list)
  for _, name in ipairs(settings.names) do
    if name ~= "bind" then record.add_all(pieces, name, values[name] or "") end
  end
  for _, source in ipairs(sources) do record.add(pieces, "source", source) end
  for _, process in ipairs(manage_terms.declared) do
    record.add(pieces, "manage", process.name)
    for key, value in pairs(process.fields) do record.add_all(pieces, "manage." .. key, value) end
  end
  return record.block(pieces)
end

-- ── What C calls ─────────────────────────────────────────────────────────────────────────────

--- Has the shared objects' region as large as the settings say, before the first hook uses it.
local function reserve_shared(size)
  if abi.C.shm_region_reserve(tonumber(size)) == 0 then return end
  error("shared memory: " .. ffi.string(abi.C.shm_last_error()), 0)
end

--- Loads the apps and runs main_process_start. Yields when a hook does.
---@param block string settings given by flags and environment
---@return string # the plan, a record block; raises with file:line first
function boot.load(block)
  local given, paths = read_given(block)
  phase.current = "load"
  phase.single = given.values.single_process == "1"
  handles.watch()
  traces.watch()
  local list = boot.evaluate(given, paths)
  for i, entry in ipairs(list) do boot.apps[i] = entry.app end
  boot.app = boot.apps[1]
  reserve_shared(list[1].given.values.shared_memory)
  phase.current = "main_process_start"
  for _, app in ipairs(boot.apps) do scope.gather_listeners(app) end
  boot.run "main_process_start"
  inspector.process(list[1].given)
  apps.share_commands(boot.apps)
  request_metrics.prepare(boot.apps)
  persist.schedule(boot.app)
  for i, app in ipairs(boot.apps) do app.background:prepare(i - 1) end
  phase.current = "main"
  for _, app in ipairs(boot.apps) do app_module.freeze(app) end
  require("perigee.dispatch").install(unpack(boot.apps))
  state.serves = apps.describe(list)
  collectgarbage()
  collectgarbage()
  return make_plan(list)
end

--- Runs the listeners of one name, of all apps. Yields when they do; raises the first error.
---@param name string
function boot.run(name)
  apps.run(boot.apps, name)
end

--- Runs main_process_ready: every worker of this generation serves.
function boot.ready()
  boot.run "main_process_ready"
end

--- Runs main_process_stop, then keeps what is to be kept: no process of this generation is left.
function boot.stop()
  local ok, problem = pcall(boot.run, "main_process_stop")
  persist.finish()
  if not ok then error(problem, 0) end
end

--- Loads the apps without running hooks, for `perigee check` and `perigee routes`.
---@param given perigee.Given
---@param paths string[]
---@return perigee.ServedApp[]
function boot.check(given, paths)
  phase.current = "check"
  local list = boot.evaluate(given, paths)
  for _, entry in ipairs(list) do app_module.freeze(entry.app) end
  return list
end

return boot
