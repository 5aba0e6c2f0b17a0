--- Where in its life this process is; what may be done depends on it.
---
---   none → load → main_process_start → main        in the zygote
---                                       main → worker   in a process forked from it
---                                       main → managed  in another
---   none → load → check                             in `perigee check`
---
--- `single`: all of it is in one process, and there is no manager (--single-process).
local phase = { current = "none", single = false }

--- Whether shared objects and `app.shared` may be made now: they must exist before the fork.
---@return boolean
function phase.can_share()
  return phase.current == "none" or phase.current == "load" or phase.current == "main_process_start"
end

--- Whether this is a process of the app's that runs, forked from the main process.
---@return boolean
function phase.is_forked()
  return phase.current == "worker" or phase.current == "managed"
end

return phase
