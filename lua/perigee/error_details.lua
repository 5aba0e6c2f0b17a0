--- The error page of development: the error, the source around each of the app's frames, their
--- variables, and the request. Secrets are masked wherever they turn up in it.
local error_page = require "perigee.error_page"
local frames = require "perigee.frames"
local http = require "perigee.http"
local traceback = require "perigee.traceback"

local error_details = {}

local SECRET_LENGTH = 4 -- bytes; shorter values of secret headers would be found everywhere

local style = [[
  h1 { color: var(--accent); }
  h2 { margin: 2rem 0 .5rem; font-size: 1.05rem; }
  section { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: 1rem;
    margin: 1rem 0; }
  pre, td, code { font: .85rem/1.5 ui-monospace, monospace; }
  pre { margin: .6rem 0; overflow-x: auto; }
  pre b { display: inline-block; min-width: 100%; background: var(--mark); font-weight: inherit; }
  table { border-collapse: collapse; width: 100%; }
  td { padding: .15rem .8rem .15rem 0; vertical-align: top; overflow-wrap: anywhere; }
  td:first-child { white-space: nowrap; color: var(--soft); }
]]

--- The values of the request's secret headers, longest first, and what they consist of.
local function secrets_of(req)
  local list = {}
  local function add(text)
    if #text >= SECRET_LENGTH then list[#list + 1] = text end
  end
  for _, header in ipairs(req:all_headers() or {}) do
    if frames.is_secret(header.name) then
      add(header.value)
      for piece in header.value:gmatch("[^%s;,]+") do
        add(piece)
        add(piece:match("=(.*)$") or "")
      end
    end
  end
  table.sort(list, function(a, b) return #a > #b end)
  return list
end

--- What takes the secrets out of a text, also where they are escaped for HTML.
local function scrubber(req)
  local secrets = secrets_of(req)
  return function(text)
    for _, secret in ipairs(secrets) do
      text = text:gsub((secret:gsub("%p", "%%%0")), frames.MASK)
      text = text:gsub((error_page.escape(secret):gsub("%p", "%%%0")), frames.MASK)
    end
    return text
  end
end

local function rows(list)
  local parts = {}
  for _, row in ipairs(list) do
    parts[#parts + 1] = ("<tr><td>%s</td><td>%s</td></tr>"):format(error_page.escape(row.name),
      error_page.escape(row.text))
  end
  return "<table>" .. table.concat(parts, "\n") .. "</table>"
end

local function source_html(frame)
  local parts = {}
  for _, line in ipairs(frame.source) do
    local text = error_page.escape(("%5d  %s"):format(line.number, line.text))
    parts[#parts + 1] = line.number == frame.line and "<b>" .. text .. "</b>" or text
  end
  return "<pre>" .. table.concat(parts, "\n") .. "</pre>"
end

local function frame_html(frame)
  local parts = { ("<section><code>%s</code> in <code>%s</code>"):format(error_page.escape(frame.place),
    error_page.escape(frame.name)), source_html(frame) }
  if #frame.locals > 0 then parts[#parts + 1] = "<h2>Locals</h2>" .. rows(frame.locals) end
  if #frame.upvalues > 0 then parts[#parts + 1] = "<h2>Upvalues</h2>" .. rows(frame.upvalues) end
  parts[#parts + 1] = "</section>"
  return table.concat(parts, "\n")
end

local function request_rows(req)
  local route = req.route
  local list = {
    { name = "method", text = tostring(req.method) },
    { name = "path", text = tostring(req.path) },
    { name = "client", text = tostring(req.ip) },
    { name = "request", text = tostring(req.id) },
  }
  for name, value in pairs(req.query or {}) do
    list[#list + 1] = { name = "query " .. name, text = frames.is_secret(name) and frames.MASK or value }
  end
  if route then
    list[#list + 1] = { name = "route", text = ("%s (%s)"):format(route.pattern, route.place) }
  end
  for _, header in ipairs(req:all_headers() or {}) do
    list[#list + 1] = { name = header.name,
      text = frames.is_secret(header.name) and frames.MASK or header.value }
  end
  return list
end

local make = {}

function make.text(_, message, fault, status, headers, scrub)
  local below = fault.traceback or ""
  return http.text(scrub(message .. (below ~= "" and "\n" .. below or "")) .. "\n", status, headers)
end

function make.json(_, message, fault, status, headers, scrub)
  local lines = {}
  for line in scrub(fault.traceback or ""):gmatch("[^\n]+") do lines[#lines + 1] = (line:gsub("^%s+", "")) end
  local ok, response = pcall(http.json, { status = status, error = http.reasons[status] or "Error",
    message = scrub(message), traceback = lines }, status, headers)
  if ok then return response end
  return make.text(nil, message, fault, status, headers, scrub) -- it has bytes JSON cannot say
end

function make.html(req, message, fault, status, headers, scrub)
  local parts = { "<h1>" .. error_page.escape(message) .. "</h1>",
    ("<p>%d %s, in development mode. A client sees none of this in production.</p>"):format(status,
      http.reasons[status] or "Error") }
  for _, frame in ipairs(fault.frames or {}) do parts[#parts + 1] = frame_html(frame) end
  if fault.traceback and fault.traceback ~= "" then
    parts[#parts + 1] = "<section><pre>" .. error_page.escape(fault.traceback) .. "</pre></section>"
  end
  parts[#parts + 1] = "<section><h2>Request</h2>" .. rows(request_rows(req)) .. "</section>"
  local page = error_page.html(message:match("^[^\n]*"), table.concat(parts, "\n"), style)
  return http.html(scrub(page), status, headers)
end

--- The answer to an error, with all that is known of it. Does not yield.
---@param req perigee.Request
---@param format "html"|"json"|"text"
---@param status number
---@param headers table|nil
---@param fault perigee.Fault|any
---@return perigee.Response
function error_details.answer(req, format, status, headers, fault)
  local message = traceback.message(traceback.unwrap(fault))
  if not traceback.is_fault(fault) then fault = { traceback = "" } end
  return make[format](req, message, fault, status, headers, scrubber(req))
end

return error_details
