-- Loaded by busted before all specs (.busted).
--
-- When a spec that drove the real binary fails, it shows what the binary said. And it ends the test
-- run by itself: closing a Lua state in which luv still has closed handles to collect may crash.

local busted = require "busted"

-- These are C and in the program. Specs of Lua modules have them from a library of its own, which
-- PERIGEE_JSON names.
for _, name in ipairs { "json_codec", "urlencoded_codec" } do
  package.preload["perigee." .. name] = function()
    local path = os.getenv "PERIGEE_JSON" or "build/release/libperigee_json.so"
    return assert(package.loadlib(path, "luaopen_perigee_" .. name))()
  end
end

local troubles = 0

local function on_trouble()
  troubles = troubles + 1
  local host = package.loaded["spec.support.host"]
  if type(host) == "table" then io.stderr:write(host.last_words()) end -- no table while it loads
end

busted.subscribe({ "failure" }, on_trouble)
busted.subscribe({ "error" }, on_trouble)

busted.subscribe({ "exit" }, function()
  io.flush()
  os.exit(troubles == 0 and 0 or 1)
end)
