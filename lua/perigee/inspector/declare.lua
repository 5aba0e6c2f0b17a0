--- The settings of the inspector, and its process: a managed one that serves clients.
local bind = require "perigee.bind"
local manage_terms = require "perigee.manage_terms"

local declare = {}

local DEFAULT = "unix:perigee.sock?mode=0600" -- beside which `perigee inspect` is called
local NAME = "inspector"
local KEY_LEAST = 16                          -- bytes of a key, for what is not a file

--- The address as it is written, or nil when there is to be none.
local function written(values)
  local text = values.inspector
  if not text or text == "" or text == "off" then return nil end
  if text == "on" then return DEFAULT end
  if text:find("^unix:") and not text:find("%?mode=") then return text .. "?mode=0600" end
  return text
end

--- Checks the settings and puts the address in its normal form. Raises with where they were given.
---@param given perigee.Given
function declare.resolve(given)
  local values, origins = given.values, given.origins
  local address, source = written(values), origins.inspector or "inspector"
  if not address then return end
  given.inspector = { address = bind.resolve(address, source), is_secure = bind.is_secure(address) }
  if values.single_process == "1" then
    error(source .. ": the inspector is a process of its own, and single_process allows none", 0)
  end
  local key = values.inspector_key or ""
  if not address:find("^unix:") and #key < KEY_LEAST then
    error(("%s: at %s anybody can connect: set inspector_key, of at least %d characters"):format(source,
      address, KEY_LEAST), 0)
  end
  if given.inspector.is_secure and not (values.tls_certificate and values.tls_key) then
    error(("%s: an address with 'tls:' needs tls_certificate and tls_key"):format(source), 0)
  end
end

--- Makes the app that the inspector's process serves. Called in that process.
---@param served perigee.App the app it is about
---@return perigee.App
function declare.make(served)
  return require("perigee.inspector.app").new(served, served.config.inspector_key)
end

--- Declares the process, if there is to be one.
---@param given perigee.Given as resolve left it
function declare.process(given)
  if not given.inspector then return end
  local what = "the setting inspector"
  local fields = manage_terms.make(what, NAME, "perigee.inspector.declare.make",
    { transient = true, restart = "always", notify = true }, true)
  fields.listen, fields.tls = given.inspector.address, given.inspector.is_secure and "1" or nil
  manage_terms.declare(what, NAME, fields)
end

return declare
