--- The C side, through LuaJIT's FFI: declarations, functions, and the struct shared with script.c.
---
--- Requiring this declares the ABI headers, once; specs put a fake of this module in its place.
local ffi = require "ffi"

ffi.cdef(require "perigee.abi_source")

local abi = {
  C = ffi.C,
  ---@type ffi.cdata* struct script_state, set by open
  state = nil,
}

--- Takes the address of the struct script_state. Called once, by perigee.entry.
---@param address lightuserdata
function abi.open(address)
  abi.state = ffi.cast("struct script_state *", address)
end

--- enum http_result
abi.OK = 0
abi.FULL = 1
abi.LATER = 2
abi.OVER = -1
abi.BAD_STATUS = -2
abi.BAD_HEADER = -3
abi.BAD_TEXT = -7

--- What script_publish says in a process that is no worker.
abi.NOT_HERE = -100

--- enum http_file_result; what is below FILE_LAST is one of them
abi.FILE_LAST = -19
abi.FILE_MISSING = -20
abi.FILE_DENIED = -21
abi.FILE_DIRECTORY = -22
abi.FILE_FAILED = -23

return abi
