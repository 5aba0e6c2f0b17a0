--- An app with shared objects whose workers run what a spec sends them.
local client = require "spec.support.client"
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local shared = {}

local app = [[
local perigee = require "perigee"
local json = require "perigee.json"
local ffi = require "ffi"
ffi.cdef "int getpid(void);"
local app = perigee.app "objects"
local shared = perigee.shared

app:main_process_start(function(app)
  @MAKE@
end)

app:get("/", function() return tostring(ffi.C.getpid()) end)

local function text(value)
  if type(value) == "string" then return value end
  return json.encode(value == nil and json.null or value)
end

local function show(...)
  local list = {}
  for i = 1, select("#", ...) do list[i] = text((select(i, ...))) end
  return table.concat(list, " | ")
end

app:post("/run", function(req)
  return show(assert(loadstring("local perigee, json, app, shared, objects = ...\n" .. req.body))(
    perigee, json, app, shared, app.shared))
end)
return app
]]

--- The app's source, with what its main process makes.
---@param make string Lua: "app.shared.x = shared.queue('x')"
---@return string
function shared.app(make)
  return (app:gsub("@MAKE@", function() return make end))
end

--- Serves it; options as of host.serve, and workers (1).
function shared.serve(make, options)
  options = options or {}
  options.app = shared.app(make)
  options.flags = { "--workers", tostring(options.workers or 1) }
  return host.serve(options)
end

--- Has a worker run a chunk that gets `perigee, json, app, shared, objects`, without waiting for it.
---@return fun(seconds: number|nil): string waits for what it returns, as text: "1 | null | message"
---@return table connection closing it is the client's going away
function shared.start(server, chunk, connection)
  local own = connection or client.connect(server.target)
  own:request("POST", "/run", nil, chunk)
  return function(seconds)
    local answer = assert(own:response(seconds))
    if not connection then own:close() end
    return answer.body
  end, own
end

--- Has a worker run a chunk, the one behind `connection` if one is given.
---@return string
function shared.run(server, chunk, connection)
  return (shared.start(server, chunk, connection)())
end

--- Two connections to different workers, and their pids.
function shared.two_workers(server)
  local connections, pids = {}, {}
  wait.till(20, "two workers", function()
    local connection = client.connect(server.target)
    connection:request("GET", "/")
    local pid = tonumber(assert(connection:response()).body)
    if pid == pids[1] then
      connection:close()
    else
      pids[#pids + 1], connections[#connections + 1] = pid, connection
    end
    return #pids == 2
  end)
  return connections, pids
end

return shared
