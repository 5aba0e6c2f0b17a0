-- Waiting for what another process does: runs the luv loop until a condition holds or a deadline has
-- passed. Specs are plain blocking code; nothing else runs the loop.

local uv = require "luv"

local wait = {}

local step = 5 -- ms between two looks at a condition that no event announces

--- Seconds on the monotonic clock, which all processes share.
function wait.now()
  return uv.hrtime() / 1e9
end

--- Runs the loop until `condition()` is true. Returns what it returned, or nil after `seconds`.
function wait.try(seconds, condition)
  local deadline = wait.now() + seconds
  local timer = uv.new_timer()
  timer:start(step, step, function() end)
  local result = condition()
  while not result and wait.now() < deadline do
    uv.run "once"
    result = condition()
  end
  timer:close()
  uv.run "nowait"
  return result or nil
end

--- As try, but a deadline that passes is an error: "waited 3 s for WHAT". `what` may be a function
-- that tells more at that moment.
function wait.till(seconds, what, condition)
  local result = wait.try(seconds, condition)
  if result then return result end
  if type(what) == "function" then what = what() end
  error(("waited %g s for %s"):format(seconds, what), 2)
end

--- Lets time pass while the loop runs. For pacing a load, never for hoping that something is done.
function wait.pause(seconds)
  wait.try(seconds, function() return false end)
end

return wait
