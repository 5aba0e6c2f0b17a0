-- The smallest app: perigee serve scripts/apps/hello.lua
local perigee = require "perigee"

local app = perigee.app "hello"

app:get("/", function()
  return "hello\n"
end)

return app
