--- A request's body as it comes: whole, or piece by piece. All of this yields while the client has
--- not sent what is asked for; what nobody asks for waits in the client.
local ffi = require "ffi"

local abi = require "perigee.abi"
local caller = require "perigee.caller"
local http = require "perigee.http"
local scheduler = require "perigee.scheduler"

local C = abi.C
local OK, OVER = abi.OK, abi.OVER
local ffi_string, tonumber = ffi.string, tonumber

local COMING, FAILED = 1, 2 -- enum http_body_state
local ALL = 0xffffffffffffffffULL

local body = {}

local readers = {} -- serial → task that waits for its request's body

--- Waits for `least` bytes, or the end. Raises the answer to a body that fails: 400, 408, 413.
---@return boolean # false when the request is over
local function await(pointer, serial, least)
  local result = C.http_request_body_wait(pointer, serial, least)
  while result ~= OK do
    if result == OVER then return false end
    if readers[serial] then caller.fail("another coroutine is reading the body of this request") end
    readers[serial] = scheduler.current
    scheduler.park()
    result = C.http_request_body_wait(pointer, serial, least)
  end
  if pointer.body_state == FAILED then
    error(http.error(tonumber(pointer.body_status), ffi_string(pointer.body_reason)), 0)
  end
  return true
end

--- The whole body; what body_state says must be looked at before, as most requests need no wait.
---@return string|nil
---@return string|nil # "request is over"
function body.whole(pointer, serial)
  if not await(pointer, serial, ALL) then return nil, "request is over" end
  if pointer.body_size == 0 then return "" end
  return ffi_string(pointer.body, pointer.body_size)
end

--- The next piece of the body, of any size.
---@return string|nil # nil at the end
---@return string|nil # "request is over"
function body.next(pointer, serial)
  if pointer.body_size == 0 and pointer.body_state ~= 0 and not await(pointer, serial, 1) then
    return nil, "request is over"
  end
  if pointer.body_size == 0 then return nil end
  local piece = ffi_string(pointer.body, pointer.body_size)
  C.http_request_body_take(pointer, serial)
  return piece
end

--- Whether nothing more of the body will come.
function body.is_complete(pointer)
  return pointer.body_state ~= COMING and pointer.body_state ~= FAILED
end

--- What was asked for is there. Called from C.
---@param serial number
function body.arrived(serial)
  local task = readers[serial]
  if not task then return end
  readers[serial] = nil
  scheduler.wake(task)
end

--- Nobody waits for this body any more.
---@param serial number
function body.forget(serial)
  readers[serial] = nil
end

return body
