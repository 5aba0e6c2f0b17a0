-- Loaded by busted before all specs (.busted).
--
-- When a spec that drove the real binary fails, it shows what the binary said. And it ends the test
-- run by itself: closing a Lua state in which luv still has closed handles to collect may crash.

local busted = require "busted"

-- perigee.json_codec is C and in the program. Specs of Lua modules have it from a library of its own,
-- which PERIGEE_JSON names.
package.preload["perigee.json_codec"] = function()
  local path = os.getenv "PERIGEE_JSON" or "build/release/libperigee_json.so"
  return assert(package.loadlib(path, "luaopen_perigee_json_codec"))()
end

local host_loaded = function() return package.loaded["spec.support.host"] end

local troubles = 0

busted.subscribe({ "failure" }, function()
  troubles = troubles + 1
  local host = host_loaded()
  if host then io.stderr:write(host.last_words()) end
end)

busted.subscribe({ "error" }, function()
  troubles = troubles + 1
  local host = host_loaded()
  if host then io.stderr:write(host.last_words()) end
end)

busted.subscribe({ "exit" }, function()
  io.flush()
  os.exit(troubles == 0 and 0 or 1)
end)
