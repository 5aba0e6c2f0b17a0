--- Killing a process at each step of a critical section (host/shm/fault.h), one after the other.
local ffi = require "ffi"
local core = require "spec.support.core"

ffi.cdef [[
int shm_fault_arm(const char *name, unsigned step);
int fork(void);
int waitpid(int pid, int *status, int options);
void _exit(int status);
]]

local fault = {}

--- Runs a function in a forked child and waits for its end.
---@param run fun() an error in it is the child's end with status 1
---@return number status as of waitpid(2)
function fault.in_child(run)
  local pid = ffi.C.fork()
  assert(pid >= 0, "cannot fork")
  if pid == 0 then
    local ok, problem = pcall(run)
    if not ok then io.stderr:write(tostring(problem), "\n") end
    ffi.C._exit(ok and 0 or 1)
  end
  local status = ffi.new "int[1]"
  assert(ffi.C.waitpid(pid, status, 0) == pid)
  return status[0]
end

--- Kills a process at step 1 of a section, another at step 2, and so on until one survives, as the
--- section has no more steps. Shared memory must have been made by the caller.
---@param section string "dict.set"
---@param operate fun() in the child: ends up in the section
---@param verify fun(killed: boolean, step: number) here, after each child
---@return number how many steps there are
function fault.each_step(section, operate, verify)
  local step = 0
  while true do
    step = step + 1
    assert(step < 10000, "the section has no end")
    local status = fault.in_child(function()
      assert(core.lib.shm_fault_arm(section, step) == 0)
      operate()
    end)
    local killed = status == 9
    assert(killed or status == 0, ("the child ended with status %d at step %d"):format(status, step))
    verify(killed, step)
    if not killed then
      assert(step > 1, section .. " was not entered")
      return step - 1
    end
  end
end

--- Leaves a change half done, by a child that dies in its midst: the next who looks has to undo it.
---@param section string "dict.set"
---@param change fun() in the child: ends up in the section
function fault.leave_half_done(section, change)
  local status = fault.in_child(function()
    assert(core.lib.shm_fault_arm(section, 3) == 0) -- after its first word
    change()
  end)
  assert(status == 9, ("the child ended with status %d in %s"):format(status, section))
end

return fault
