--- The main process: evaluates the app's files, makes the plan, runs the main-process hooks.
--- Runs in the zygote, and (evaluate only) in `perigee check` and `perigee routes`.
local ffi = require "ffi"
local uv = require "luv"

local abi = require "perigee.abi"
local app_module = require "perigee.app"
local bind = require "perigee.bind"
local config = require "perigee.config"
local files = require "perigee.files"
local inspector = require "perigee.inspector.declare"
local handles = require "perigee.handles"
local listeners = require "perigee.listeners"
local log = require "perigee.log"
local manage_terms = require "perigee.manage_terms"
local request_metrics = require "perigee.request_metrics"
local persist = require "perigee.shared.persist"
local phase = require "perigee.phase"
local record = require "perigee.record"
local scope = require "perigee.scope"
local settings = require "perigee.settings"
local strict = require "perigee.strict"
local traceback = require "perigee.traceback"
local traces = require "perigee.traces"

local boot = {
  ---@type perigee.App|nil the app of this process
  app = nil,
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

--- Lets the app require the files beside it, strictly.
local function prepare(path)
  local folder = folder_of(path)
  local prefix = folder == "" and "./" or folder
  package.path = prefix .. "?.lua;" .. prefix .. "?/init.lua;" .. package.path
  package.loaders[3] = file_loader -- after package.preload and Perigee's own modules
  strict.install(_G, uv.fs_realpath(prefix) .. "/")
  files.set_base(uv.fs_realpath(prefix))
end

local function line_count(path)
  local count = 0
  for _ in io.lines(path) do count = count + 1 end
  return math.max(count, 1)
end

--- Runs the app's file.
local function evaluate_file(path)
  local chunk, message = loadfile(path)
  if not chunk then error(message, 0) end
  sources[#sources + 1] = path
  local ok, result = xpcall(chunk, traceback.handler)
  if not ok then error(result, 0) end
  if not app_module.is_app(result) then
    error(("%s:%d: the file must end with `return app`, an app made by perigee.app \"name\"; it returned %s")
      :format(path, line_count(path), result == nil and "nothing" or "a " .. type(result)), 0)
  end
  return result
end

-- ── Settings ─────────────────────────────────────────────────────────────────────────────────

--- A socket that systemd passed, "3:web"; one without a name has its number only.
local function note_socket(text)
  local number, name = text:match("^(%d+):(.+)$")
  if not number then return end
  bind.passed[name] = bind.passed[name] or {}
  table.insert(bind.passed[name], tonumber(number))
end

--- What flags and environment gave, out of a record block.
local function read_given(block)
  local given, path = settings.given(), nil
  for key, values in pairs(record.parse(block)) do
    if key == "app" then
      path = values[#values]
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
  return given, path
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
local function check_tls(given)
  local values, origins = given.values, given.origins
  local is_secure = #given.secure > 0 or (values.inspector or ""):find("^tls:")
  if not is_secure then
    local name = values.tls_certificate and "tls_certificate" or values.tls_key and "tls_key"
    if name then
      error(("%s: %s is set, but no address in bind begins with 'tls:'"):format(origins[name] or name,
        name), 0)
    end
  elseif #given.secure > 0 and not (values.tls_certificate and values.tls_key) then
    error(("%s: an address with 'tls:' needs tls_certificate and tls_key"):format(origins.bind or "bind"), 0)
  end
end

--- Evaluates the app and its config script and resolves the settings. Does not run hooks.
---@param given perigee.Given from flags and environment; completed here
---@param path string of the app's file
---@return perigee.App
function boot.evaluate(given, path)
  prepare(path)
  local app = evaluate_file(path)
  local script = config_path(given, path)
  if script then
    config.load(script, app, given)
    sources[#sources + 1] = script
    given.values.config, given.origins.config = script, given.origins.config or "beside the app"
  end
  settings.give_all(given, app.given_settings, app.place)
  settings.give_defaults(given)
  if given.values.single_process == "1" then given.values.workers = "1" end
  given.values.bind, given.secure = bind.resolve_all(given.values.bind, given.origins.bind or "bind")
  check_tls(given)
  inspector.resolve(given)
  app_module.set(app, "config", app_module.read_only(settings.config(given.values)))
  if given.values.mode == "development" then log.set_level("debug") end
  return app
end

--- The plan: everything the manager needs to know. Every setting is in it, "" when it has no value.
local function make_plan(app, given, path)
  local pieces = {}
  record.add(pieces, "app", path)
  record.add(pieces, "name", app.name)
  record.add(pieces, "routes", #app.router.routes)
  record.add(pieces, "body_limit_most", ("%d"):format((app.router:body_limit_most(app.config.body_limit))))
  for _, name in ipairs(settings.names) do
    record.add_all(pieces, name, given.values[name] or "")
  end
  for _, position in ipairs(given.secure) do record.add(pieces, "tls_bind", position) end
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

--- Loads the app and runs main_process_start. Yields when a hook does.
---@param block string settings given by flags and environment
---@return string # the plan, a record block; raises with file:line first
function boot.load(block)
  local given, path = read_given(block)
  phase.current = "load"
  phase.single = given.values.single_process == "1"
  handles.watch()
  traces.watch()
  local app = boot.evaluate(given, path)
  boot.app = app
  reserve_shared(given.values.shared_memory)
  phase.current = "main_process_start"
  scope.gather_listeners(app)
  listeners.run(app.listeners, "main_process_start", app)
  inspector.process(given)
  request_metrics.prepare(app)
  persist.schedule(app)
  app.background:prepare()
  phase.current = "main"
  app_module.freeze(app)
  require("perigee.dispatch").install(app)
  collectgarbage()
  collectgarbage()
  return make_plan(app, given, path)
end

--- Runs main_process_ready: every worker of this generation serves.
function boot.ready()
  listeners.run(boot.app.listeners, "main_process_ready", boot.app)
end

--- Runs main_process_stop, then keeps what is to be kept: no process of this generation is left.
function boot.stop()
  local ok, problem = pcall(listeners.run, boot.app.listeners, "main_process_stop", boot.app)
  persist.finish()
  if not ok then error(problem, 0) end
end

--- Loads the app without running hooks, for `perigee check` and `perigee routes`.
---@param given perigee.Given
---@param path string
---@return perigee.App
function boot.check(given, path)
  phase.current = "check"
  local app = boot.evaluate(given, path)
  app_module.freeze(app)
  return app
end

return boot
