--- From a request to its answer: the body of a request coroutine.
---
--- The straight way (a route, no hooks, a handler that returns a string) is one compiled trace;
--- everything else goes through `produce` and `respond`, which do the same with all that an app
--- may add. No handler runs inside a pcall: LuaJIT cannot record the return from a function that
--- pcall has called. An error ends the coroutine, and `failed` answers in another one.
local ffi = require "ffi"

local abi = require "perigee.abi"
local bodies = require "perigee.body"
local error_page = require "perigee.error_page"
local exceptions = require "perigee.exceptions"
local files = require "perigee.files"
local form = require "perigee.form"
local frames = require "perigee.frames"
local http = require "perigee.http"
local json = require "perigee.json"
local log = require "perigee.log"
local proxy = require "perigee.proxy"
local request = require "perigee.request"
local request_metrics = require "perigee.request_metrics"
local scheduler = require "perigee.scheduler"
local sending = require "perigee.sending"
local sse = require "perigee.sse"
local static = require "perigee.static"
local traceback = require "perigee.traceback"
local urlencoded = require "perigee.urlencoded"
local websocket = require "perigee.websocket"

local C = abi.C
local TYPE_TEXT = 1
local STREAMING = 2 -- enum http_request_state
local POINTER, SERIAL, ROUTE, VALUES = request.POINTER, request.SERIAL, request.ROUTE, request.VALUES
local OPEN = request.OPEN

local ffi_string, tonumber, type = ffi.string, tonumber, type
local unpack = unpack
local find = string.find
local send_json, JSON_DEPTH, is_response = abi.send_json, json.DEPTH, http.is_response
local send, describe = sending.send, sending.describe

local dispatch = {}

local router         -- of the app that is served; set by install, where there are several by each request
local several        -- the apps, where there are several
local watched = false -- development: what a handler was doing when it raised is kept
local logs_client = false -- the access log needs to be told who stands behind trusted proxies
local measure        -- counts how long requests take, or nil; set by install
local tasks = {}     -- slot → task of its coroutine

--- The folder of the app whose request is at work.
local function folder_at_work()
  local req = scheduler.current and scheduler.current.request
  return req and req.app.folder
end

--- Starts serving an app, or several, by their numbers (http_abi.h). Their routes must be compiled, and
--- what is the process's must be the same in their settings.
---@param served perigee.App
---@param ... perigee.App
function dispatch.install(served, ...)
  local all, config = { served, ... }, served.config
  several = #all > 1 and all or nil
  measure = request_metrics.counter(served)
  router = served.router
  watched = config.mode == "development"
  local own_limits = several ~= nil -- which may differ from app to app
  for _, each in ipairs(all) do
    for _, route in ipairs(watched and each.router.routes or {}) do route.hooked = true end -- the long way
    own_limits = own_limits or select(2, each.router:body_limit_most(0))
  end
  request.serve(all)
  request.limit_bodies(own_limits and config.body_limit or nil)
  files.set_find_base(several and folder_at_work or nil)
  form.configure(config)
  proxy.configure(config.trusted_proxies)
  logs_client = config.access_log ~= "off" and #(config.trusted_proxies or {}) > 0
end

-- ── Values to responses ──────────────────────────────────────────────────────────────────────

local function not_json(req, problem)
  error(("%s returned a table that JSON cannot say: %s"):format(describe(req), problem), 0)
end

--- What a handler or hook returned, as a response. Raises on what is none.
local function to_response(req, value)
  if http.is_response(value) then return value end
  if type(value) == "string" then return http.text(value) end
  if type(value) == "table" then return http.json(value) end
  error(("%s returned %s; return a string, a table (sent as JSON) or a response of perigee.http"):format(
    describe(req), value == nil and "nil" or "a " .. type(value)), 0)
end

--- Calls a handler with the values of its route's parameters. No tail calls, so that a traceback
--- names the handler.
local function invoke(handler, req, values, count)
  local value
  if count == 0 then
    value = handler(req)
  elseif count == 1 then
    value = handler(req, values[1])
  elseif count == 2 then
    value = handler(req, values[1], values[2])
  elseif count == 3 then
    value = handler(req, values[1], values[2], values[3])
  else
    value = handler(req, unpack(values, 1, count))
  end
  return value
end

-- ── Errors ───────────────────────────────────────────────────────────────────────────────────

--- The usual answer to an error: in production it tells what http.abort was given to say, no more.
local function default_error(req, value)
  local raised = traceback.unwrap(value)
  if http.is_error(raised) then
    return error_page.answer(req, req.app.config, raised.status, raised.message, raised.headers)
  end
  return error_page.answer(req, req.app.config, 500, nil, nil, value)
end

local function log_fault(req, value)
  -- the target, because it has no control characters, which could look like lines of the log
  log.error(("%s %s (id %s): %s"):format(req.method or "?", req.target or "?", req.id,
    traceback.text(value)))
end

--- What is around the answer to a request: its route, or the app when there is none.
local function around(req)
  return req[ROUTE] or req.app.around_none
end

--- What an app's exception handlers make of an error.
local function handle_exception(req, value)
  local raised = traceback.unwrap(value)
  local handler, status = exceptions.find(around(req).exceptions, raised)
  if not handler then return default_error(req, value) end
  local answer = handler(req, raised)
  if answer == nil then return default_error(req, value) end
  local response = to_response(req, answer)
  if not http.is_response(answer) then response.status = status end
  return response
end

--- The response for an error that a handler or hook raised; nil when the request was cancelled.
local function error_response(req, value)
  local raised = traceback.unwrap(value)
  if scheduler.is_cancelled(raised) then return nil end
  if not http.is_error(raised) then
    log_fault(req, value)
  elseif raised.response then
    return raised.response
  end
  local ok, response = xpcall(handle_exception, traceback.handler, req, value)
  if ok then return response end
  if scheduler.is_cancelled(traceback.unwrap(response)) then return nil end
  log_fault(req, response)
  return default_error(req, value)
end

-- ── The long way ─────────────────────────────────────────────────────────────────────────────

--- The answer when no route fits.
local function no_route(method, allow)
  if not allow then error(http.error(404), 0) end
  if method == "OPTIONS" then return http.empty(204, { Allow = allow }) end
  error(http.error(405, nil, { Allow = allow }), 0)
end

--- Runs the request hooks, then the handler.
local function produce(req, method, allow)
  local hooks = around(req).request_hooks
  for i = 1, #hooks do
    local early = hooks[i](req)
    if early ~= nil then return early end
  end
  local route = req[ROUTE]
  if not route then return no_route(method, allow) end
  return invoke(route.handler, req, req[VALUES], route.count)
end

--- As produce; in development an error takes along what the app was doing.
local function produce_watched(req, method, allow)
  if not watched then return produce(req, method, allow) end
  local ok, value = xpcall(produce, frames.handler, req, method, allow)
  if not ok then error(value, 0) end
  return value
end

--- Runs the response hooks and sends what they leave.
local function respond(task, req, response)
  if response == http.UPGRADED then return end -- and all over by now
  local hooks = around(req).response_hooks
  if not task.hooked then
    if response.file then response = static.settle(req, response) end
    task.hooked = true -- not again for the answer to an error of theirs
    for i = #hooks, 1, -1 do
      response.headers = response.headers or {} -- for the hook to add to
      local other = hooks[i](req, response)
      if other ~= nil then response = to_response(req, other) end
    end
  end
  send(req, response)
end

--- What is left to do for a request once its answer is an error too, or has begun before the error.
local function give_up(req, fault)
  log_fault(req, fault)
  if tonumber(req[POINTER].serial) == req[SERIAL] and req[POINTER].state == STREAMING then
    C.http_response_abort(req[POINTER], req[SERIAL])
  else
    pcall(send, req, http.plain_error(500))
  end
end

--- Answers a request whose coroutine died of an error. Runs in a task of its own.
local function recover(task, req, fault, hooked_already)
  task.hooked = hooked_already
  if tonumber(req[POINTER].serial) == req[SERIAL] and req[POINTER].state == STREAMING then
    give_up(req, fault)
    return
  end
  local response = error_response(req, fault)
  if not response then return end
  local ok, problem = xpcall(respond, traceback.handler, task, req, response)
  if ok or scheduler.is_cancelled(traceback.unwrap(problem)) then return end
  give_up(req, problem)
end

--- The coroutine in a slot has died of an error. Called from C and by the scheduler; the slot is
--- given up.
---@param slot number
---@param value any the error
---@param release fun(slot: number)
function dispatch.failed(slot, value, release)
  local task = tasks[slot]
  if scheduler.current == task then scheduler.current = nil end
  task.parked = false
  local req, fault = task.request, traceback.of(task.coroutine, value)
  tasks[slot] = nil
  release(slot)
  if req then sending.forget(req[SERIAL]) end
  if not req then
    log.error("in Perigee itself: %s", traceback.text(fault))
    return
  end
  sse.abandon(req[SERIAL])
  local was_websocket = websocket.abandon(req[SERIAL])
  local cancelled = scheduler.is_cancelled(traceback.unwrap(fault))
  if cancelled or was_websocket then
    if not cancelled then log_fault(req, fault) end
    if req[OPEN] then request.close_files(req) end
    return
  end
  scheduler.spawn(function()
    local own = scheduler.current
    own.serial = req[SERIAL]
    own.request = req
    recover(own, req, fault, task.hooked)
    if measure then measure(req[ROUTE], task.began) end
    if req[OPEN] then request.close_files(req) end
  end)
end

-- ── The straight way ─────────────────────────────────────────────────────────────────────────

--- The path to match when escapes are in the target: an encoded slash belongs to its segment and
--- must not divide it, so it becomes a NUL byte, which no decoded path has.
local function escaped_path(pointer, path)
  local target = ffi_string(pointer.target, pointer.target_size)
  local stop = find(target, "?", 1, true) or #target + 1
  local raw = target:sub(1, stop - 1)
  if not find(raw:lower(), "%2f", 1, true) then return path end
  if raw:byte() ~= 47 then raw = raw:match("^%a[%w+.-]*://[^/]*(/.*)$") or raw end
  return urlencoded.decode((raw:gsub("%%2[fF]", "%%00")))
end

--- Gives parameters their slashes back.
local function restore_slashes(values)
  for i, value in ipairs(values or {}) do
    if type(value) == "string" then values[i] = value:gsub("%z", "/") end
  end
end

-- The memory of requests is used again and again, so there is one pointer for each: to box it anew
-- for each request, and each method's name, would be the collector's work.
local pointers = {} -- number → pointer
local names = {}    -- method_code → the method's name

local function pointer_of(number)
  local pointer = abi.state.current
  pointers[number] = pointer
  return pointer
end

local function name_of(pointer)
  local name = ffi_string(pointer.method, pointer.method_size)
  names[pointer.method_code] = name
  return name
end

local function serve(task)
  local number = abi.state.current.number
  local pointer = pointers[number] or pointer_of(number)
  local serial = tonumber(pointer.serial)
  local req = request.new(pointer, serial)
  task.serial, task.request, task.hooked = serial, req, false
  scheduler.current = task
  if logs_client then C.http_request_log_client(pointer, serial, req.ip or "") end
  local method = names[pointer.method_code] or name_of(pointer)
  local path = ffi_string(pointer.path, pointer.path_size)
  local escaped = false
  local query_size = pointer.query_size
  if query_size ~= 0 then query_size = query_size + 1 end -- and its "?"
  if pointer.path_size + query_size ~= pointer.target_size then
    local matched = escaped_path(pointer, path)
    escaped = matched ~= path
    path = matched
  end
  local route, values
  if router.hosts then
    route, values = router:match_host(method, path, req.host)
  else
    route, values = router:match(method, path)
  end
  if escaped and route then restore_slashes(values) end
  local value
  if route and not route.hooked then
    req[ROUTE], req[VALUES] = route, values or false
    if route.site and not escaped and static.send(route.site, pointer, serial, values) then return end
    value = invoke(route.handler, req, values, route.count)
    local kind = type(value)
    if kind == "string" then
      C.http_response_send(pointer, serial, 200, TYPE_TEXT, nil, 0, value, #value)
      return
    elseif kind == "table" and not is_response(value) then
      local result, problem = send_json(value, pointer, serial, JSON_DEPTH)
      if not result then not_json(req, problem) end
      return
    end
  else
    if route and route.upgrade and websocket.is_wanted(req) then route = route.upgrade end
    req[ROUTE], req[VALUES] = route or false, route and values or false
    value = produce_watched(req, method, values)
  end
  respond(task, req, to_response(req, value))
end

--- The same where there are several apps: the address that the request came to says whose it is.
local function serve_several(task)
  router = several[abi.state.current.app + 1].router
  serve(task) -- which does not wait before it has looked at it
end

--- The body of a request coroutine: serves the request it is resumed for, then waits for another.
---@param slot number its number on the C side
---@param release fun(slot: number) gives the coroutine up
function dispatch.body(slot, release)
  local task = scheduler.adopt(scheduler.running())
  local state = abi.state
  local serve_one = several and serve_several or serve
  tasks[slot] = task
  function task.failed(value) dispatch.failed(slot, value, release) end
  while true do
    if measure then task.began = C.script_now() end
    serve_one(task)
    if measure then measure(task.request[ROUTE], task.began) end
    if task.request[OPEN] then request.close_files(task.request) end
    task.serial, task.request, task.cancelled, task.sleep = 0, nil, nil, nil
    scheduler.current = nil
    local count = state.idle_count
    if count >= state.idle_limit then
      tasks[slot] = nil
      return release(slot)
    end
    state.idle[count] = slot
    state.idle_count = count + 1
    scheduler.yield()
  end
end

local DISCONNECT = 2 -- enum http_cancel
local reasons = {
  "it was not answered within response_timeout",
  "the client went away",
  "the server stops",
}

--- A request is over before its answer. Called from C.
---@param serial number
---@param why number enum http_cancel
function dispatch.cancel(serial, why)
  sending.forget(serial)
  bodies.forget(serial)
  local task = scheduler.of_request(serial)
  if not task then return end
  local left = why == DISCONNECT and task.request and request.disconnect_functions(task.request)
  for _, fn in ipairs(left or {}) do scheduler.spawn(fn, task.request) end
  scheduler.cancel(task, reasons[why] or "the request is over")
end

--- A slow client has taken what was written. Called from C.
---@param serial number
function dispatch.writable(serial)
  if not sending.writable(serial) then websocket.writable(serial) end
end

return dispatch
