--- The inspector: an app about the app, served by a process of its own.
---
--- It reads what all processes tell in shared memory, so it answers while every worker is busy, and asks
--- the manager for what is to be done; an answer says what happened, not what was asked for.
local bit = require "bit"
local ffi = require "ffi"

local abi = require "perigee.abi"
local app_module = require "perigee.app"
local commands = require "perigee.inspector.commands"
local http = require "perigee.http"
local measures = require "perigee.inspector.measures"
local metrics = require "perigee.metrics"
local page = require "perigee.inspector.page"
local request_metrics = require "perigee.request_metrics"
local scheduler = require "perigee.scheduler"
local version = require "perigee.version"

local inspector = {}

local LOG_PIECE = 65536   -- bytes of the log in one answer, at most
local LOG_WAIT_MAX = 30   -- seconds an answer waits for something to be logged
local LOG_LOOK = 0.1      -- seconds between two looks

-- ── Who may ───────────────────────────────────────────────────────────────────────────────────

--- Whether two strings are the same, in a time that does not tell where they differ.
local function same(a, b)
  if #a ~= #b then return false end
  local difference = 0
  for i = 1, #a do difference = bit.bor(difference, bit.bxor(a:byte(i), b:byte(i))) end
  return difference == 0
end

--- Refuses whoever does not have the key, but for the page itself, which asks for it.
local function guard(app, key)
  local open = { ["/"] = true, ["/page.css"] = true, ["/page.js"] = true }
  app:on_request(function(req)
    if open[req.path] then return end
    local given = (req.headers.authorization or ""):match("^[Bb]earer%s+(.-)%s*$")
    if given and same(given, key) then return end
    local message = "the inspector's key is needed: Authorization: Bearer KEY"
    return http.json({ ok = false, message = message }, 401, { ["WWW-Authenticate"] = "Bearer" })
  end)
end

-- ── Answers ───────────────────────────────────────────────────────────────────────────────────

local statuses = { ENOENT = 404, EINVAL = 400, busy = 503, stopping = 503 }

--- What a call of app.m returned, as an answer.
local function outcome(ok, message, code)
  if ok then return http.json { ok = true, message = message } end
  return http.json({ ok = false, message = message, code = code }, statuses[code] or 409)
end

--- A request's JSON body, which may be missing.
local function arguments(req)
  if req.body == "" then return {} end
  local value = req.json
  if type(value) ~= "table" then http.abort(400, "the body must be a JSON object") end
  return value
end

local function add_reading(app, served)
  app:get("/api/state", function()
    local rows = {}
    for i, row in ipairs(served.m.workers) do rows[i] = measures.of_process(row) end
    return {
      name = served.name, version = version, generation = served.m.generation,
      mode = served.config.mode, pid = measures.manager_pid(), now = measures.now(), processes = rows,
      totals = served.m.totals, latency = request_metrics.read(), shared = measures.shared(),
    }
  end)
  app:get("/api/requests", function() return { requests = measures.requests() } end)
  app:get("/api/commands", function() return { commands = commands.list(served) } end)
  app:get("/metrics", function()
    return http.raw(metrics.text(), 200, { ["Content-Type"] = metrics.TYPE })
  end)
end

--- The log from a position on: waits for something new when there is nothing, if asked to.
local function read_log(from, seconds)
  local position, text = ffi.new("uint64_t[1]", from), ffi.new("char[?]", LOG_PIECE)
  local deadline = scheduler.now() + seconds * 1000
  while true do
    local size = tonumber(abi.C.shm_tail_read(position, text, LOG_PIECE))
    if size > 0 then return ffi.string(text, size), tonumber(position[0]) end
    if scheduler.now() >= deadline then return "", tonumber(position[0]) end
    scheduler.sleep(LOG_LOOK)
  end
end

local function add_log(app)
  app:get("/api/logs", function(req)
    local wait = math.min(tonumber(req.query.wait) or 0, LOG_WAIT_MAX)
    local last = tonumber(req.query.last)
    local from = tonumber(req.query.from) or last and math.max(0, tonumber(abi.C.shm_tail_end()) - last) or 0
    local text, position = read_log(math.max(0, from), math.max(0, wait))
    if last and not req.query.from and from > 0 then text = text:gsub("^[^\n]*\n", "", 1) end -- cut in two
    return { text = text, next = position }
  end)
end

local function add_doing(app, served)
  app:post("/api/reload", function() return outcome(served.m:reload()) end)
  app:post("/api/upgrade", function() return outcome(served.m:upgrade()) end)
  app:post("/api/shutdown", function() return outcome(served.m:terminate()) end)
  app:post("/api/restart", function(req)
    local given = arguments(req)
    return outcome(served.m:restart(given.name or "all", given.order and { order = given.order } or nil))
  end)
  app:post("/api/scale", function(req)
    local workers = arguments(req).workers
    if type(workers) ~= "number" then http.abort(400, "workers must be a number") end
    return outcome(served.m:scale(workers))
  end)
  app:post("/api/commands/<name>", function(req, name)
    local result, message, code = commands.run(served, name, arguments(req))
    if message then return outcome(nil, message, code) end
    return http.json { ok = true, result = result }
  end)
end

local function add_page(app)
  local headers = { ["Cache-Control"] = "no-cache", ["X-Content-Type-Options"] = "nosniff",
    ["Content-Security-Policy"] = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'" }
  local function file(path, text, kind)
    local own = { ["Content-Type"] = kind }
    for name, value in pairs(headers) do own[name] = value end
    app:get(path, function() return http.raw(text, 200, own) end)
  end
  file("/", page.html, "text/html; charset=utf-8")
  file("/page.css", page.css, "text/css; charset=utf-8")
  file("/page.js", page.js, "text/javascript; charset=utf-8")
end

--- The inspector of an app. Wrong arguments of a client's are answered with 400 as everywhere.
---@param served perigee.App the app it is about; its app.m must be there
---@param key string|nil what clients must present; nil for anybody who can connect
---@return perigee.App
function inspector.new(served, key)
  local app = app_module.new(served.name .. " inspector")
  app_module.set(app, "config", setmetatable({ error_format = "json" }, { __index = served.config }))
  app_module.set(app, "m", served.m)
  if key and key ~= "" then guard(app, key) end
  add_reading(app, served)
  add_log(app)
  add_doing(app, served)
  add_page(app)
  return app
end

return inspector
