-- Loaded by busted before all specs (.busted).
--
-- When a spec that drove the real binary fails, it shows what the binary said. And it ends the test
-- run by itself: closing a Lua state in which luv still has closed handles to collect may crash.

local busted = require "busted"

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
