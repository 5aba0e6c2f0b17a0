--- Several apps in one host: what each has for itself, and what they have to agree on.
---
--- Settings with `own` in perigee.settings are each app's; any other belongs to the process, which
--- serves all of them, and may be said by any app as long as no other says something else.
local app_module = require "perigee.app"
local bind = require "perigee.bind"
local files = require "perigee.files"
local listeners = require "perigee.listeners"
local settings = require "perigee.settings"

local apps = {}

---@class perigee.ServedApp
---@field app perigee.App
---@field path string of its file
---@field given perigee.Given its settings; `secure`: which of its addresses are TLS

--- Raises unless all names differ.
---@param list perigee.ServedApp[]
function apps.check_names(list)
  local seen = {}
  for _, entry in ipairs(list) do
    local name, other = entry.app.name, seen[entry.app.name]
    if other == entry.app then
      error(("%s: the app '%s' is returned twice"):format(other.place, name), 0)
    elseif other then
      error(("%s: there is an app called '%s' already, made at %s"):format(entry.app.place, name,
        other.place), 0)
    end
    seen[name] = entry.app
  end
end

-- ── Settings ─────────────────────────────────────────────────────────────────────────────────

local function copy(given)
  local one = settings.given()
  for name, value in pairs(given.values) do
    one.values[name], one.origins[name] = value, given.origins[name]
  end
  return one
end

--- Gives each app what flags and environment say; where to listen, only the first one. Sockets that
--- were passed by systemd are for those apps that name them, if there are several.
---@param list perigee.ServedApp[]
---@param given perigee.Given
function apps.divide(list, given)
  for i, entry in ipairs(list) do
    entry.given = copy(given)
    if i > 1 or #list > 1 and given.origins.bind == "LISTEN_FDS" then
      entry.given.values.bind, entry.given.origins.bind = nil, nil
    end
  end
end

local function same(a, b)
  if type(a) ~= "table" then return a == b end
  for i = 1, math.max(#a, #b) do
    if a[i] ~= b[i] then return false end
  end
  return true
end

--- The app whose word counts for a setting of the process. Raises when there are two words.
local function find_holder(list, name)
  local holder
  for _, entry in ipairs(list) do
    local given = entry.given
    if given.values[name] ~= nil then
      holder = holder or given
      if not same(given.values[name], holder.values[name]) then
        error(("%s: the setting '%s' is not what %s says; one process serves both apps, so they have to "
          .. "agree"):format(given.origins[name], name, holder.origins[name]), 0)
      end
    end
  end
  return holder
end

--- Has what the process has only once be the same for all.
local function agree(list)
  for _, setting in ipairs(settings.list) do
    local name = setting.name
    local holder = not setting.own and find_holder(list, name)
    for _, entry in ipairs(holder and list or {}) do
      entry.given.values[name], entry.given.origins[name] = holder.values[name], holder.origins[name]
    end
  end
end

local function check_addresses(list)
  local seen = {}
  for _, entry in ipairs(list) do
    for _, address in ipairs(entry.given.values.bind) do
      local other = seen[address]
      if other then
        error(("%s: the app '%s' (%s) cannot be served at %s, where '%s' (%s) is; each needs a bind of its "
          .. "own"):format(entry.given.origins.bind, entry.app.name, entry.app.place,
          (address:gsub("^tcp:", "")), other.app.name, other.app.place), 0)
      end
      if not address:find("^tcp:.*:0$") then seen[address] = entry end -- the kernel finds another for each
    end
  end
end

--- Resolves all settings, once apps and config scripts have given theirs.
---@param list perigee.ServedApp[]
---@param given perigee.Given from flags and environment
function apps.settle(list, given)
  agree(list)
  local first = list[1].given
  if given.values.bind and not first.values.bind then
    settings.give(first, "bind", given.values.bind, "LISTEN_FDS")
  end
  for _, entry in ipairs(list) do
    local own = entry.given
    settings.give_defaults(own)
    if own.values.single_process == "1" then own.values.workers = "1" end
    own.values.bind, own.secure = bind.resolve_all(own.values.bind, own.origins.bind or "bind")
    app_module.set(entry.app, "config", app_module.read_only(settings.config(own.values)))
  end
  check_addresses(list)
end

-- ── What happens in all of them ──────────────────────────────────────────────────────────────

--- Runs the listeners of one name: of the apps in the order they were given, stops in the opposite one.
--- Yields when they do. Raises the first error; a stop goes through all apps before that.
---@param served perigee.App[]
---@param name string
function apps.run(served, name)
  local first, last, step = 1, #served, 1
  local backwards = listeners.is_backwards(name)
  if backwards then first, last, step = #served, 1, -1 end
  local problem
  for i = first, last, step do
    if served[i].folder then files.set_base(served[i].folder) end
    local ok, fault = pcall(listeners.run, served[i].listeners, name, served[i])
    if served[1].folder then files.set_base(served[1].folder) end
    if not ok then problem = problem or fault end
    if problem and not backwards then break end
  end
  if problem then error(problem, 0) end
end

--- Has the inspector, which is about the first one, know the commands of all. Raises when two are called
--- the same.
---@param served perigee.App[]
function apps.share_commands(served)
  local all = served[1].inspector_commands
  for i = 2, #served do
    for name, command in pairs(served[i].inspector_commands) do
      if all[name] then
        error(("%s: app:inspector_command('%s'): there is such a command already, at %s"):format(
          command.place, name, all[name].place), 0)
      end
      all[name] = command
    end
  end
end

--- What app.m.workers says of each: who is served, and where.
---@param list perigee.ServedApp[]
---@return { name: string, file: string, bind: string[] }[]
function apps.describe(list)
  local described = {}
  for i, entry in ipairs(list) do
    described[i] = { name = entry.app.name, file = entry.path, bind = { unpack(entry.given.values.bind) } }
  end
  return described
end

return apps
