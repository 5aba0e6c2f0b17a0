-- For wrk: sends the request of bench/support/requests.lua that its argument names.

function init(args) -- luacheck: ignore 111
  local bytes = require("bench.support.requests").bytes(args[1])
  request = function() return bytes end -- luacheck: ignore 111
end
