--- Blueprints: parts of an app that are declared apart from it, and put where they belong.
---
---     local users = perigee.blueprint("users", { prefix = "/users", version = 1 })
---     users:get("/<id:int>", show, { name = "show" })
---     app:register(users)                          -- GET /v1/users/7, url_for("users.show")
local caller = require "perigee.caller"
local scope = require "perigee.scope"

local blueprint = {}

---@class perigee.Blueprint: perigee.Scope
---@field ctx table yours
local methods = setmetatable({}, { __index = scope.methods })

local blueprint_mt = { __name = "perigee.blueprint", __index = methods }

local function check_name(name, what)
  caller.check(name, "string", what .. ": the name")
  if name == "" or name:find("[%c%s.]") then
    caller.fail("%s: a blueprint's name is not empty and has no dots or blanks: %q", what, name)
  end
end

--- Makes a blueprint. Raises at the caller's place. Does not yield.
---@param name string what stands before the names of its routes: "users.show"
---@param options table|nil prefix "/users", host, version, version_prefix, strict_slashes, error_format
---@return perigee.Blueprint
function blueprint.new(name, options)
  check_name(name, "perigee.blueprint")
  options = scope.check_options("perigee.blueprint", options, scope.blueprint_options)
  return setmetatable(scope.fields("blueprint", name, options), blueprint_mt)
end

local function copy_list(list)
  local copy = {}
  for key, value in pairs(list) do copy[key] = value end
  return copy
end

--- A blueprint with all that this one has now, that goes its own way from here on.
---@param name string
---@param options table|nil in place of this one's
---@return perigee.Blueprint
function methods:copy(name, options)
  check_name(name, "blueprint:copy")
  options = scope.check_options("blueprint:copy", options, scope.blueprint_options)
  for key, value in pairs(self.given) do
    if options[key] == nil then options[key] = value end
  end
  local copy = scope.fields("blueprint", name, options)
  for _, key in ipairs { "routes", "request_hooks", "response_hooks", "children" } do
    copy[key] = copy_list(self[key])
  end
  for key, value in pairs(self.exceptions) do
    copy.exceptions[key] = key == "any" and value or copy_list(value)
  end
  for event, list in pairs(self.listeners) do copy.listeners[event] = copy_list(list) end
  return setmetatable(copy, blueprint_mt)
end

--- A blueprint inside this one: blueprint.new, and register.
---@param name string
---@param options table|nil
---@return perigee.Blueprint
function scope.methods:blueprint(name, options)
  return self:register(blueprint.new(name, options))
end

return blueprint
