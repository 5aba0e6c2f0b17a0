--- What a client is told of an error: as HTML, JSON or text, whichever it would rather have.
---
--- In production that is the status and what http.abort was given to say; in development also what
--- happened, see perigee.error_details.
local accept = require "perigee.accept"
local http = require "perigee.http"

local error_page = {}

local media_types = { ["text/html"] = "html", ["application/json"] = "json", ["text/plain"] = "text" }

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

--- Text for HTML, between tags and in quoted attributes.
---@param text string
---@return string
function error_page.escape(text)
  return (text:gsub("[&<>\"']", entities))
end

--- "html", "json" or "text": what the route says it answers, else the setting, else by Accept; text
--- when the client does not mind, or JSON when it sent JSON.
---@return string
---@return boolean # whether the client's headers decided
local function format_for(req, config)
  local route = req.route
  local fixed = route and route.error_format or config.error_format
  if fixed and fixed ~= "auto" then return fixed, false end
  local order = { "text/plain", "text/html", "application/json" }
  local kind = req.headers["content-type"]
  if kind and (kind:lower():find("^application/json") or kind:lower():find("^application/[%w.-]*%+json")) then
    order = { "application/json", "text/plain", "text/html" }
  end
  return media_types[accept.choose(req.headers.accept, order)], true
end

local style = [[
  :root { color-scheme: light dark; --ink: #1b2333; --paper: #f6f7fb; --soft: #5d6781; --card: #fff;
    --line: #dfe3ee; --mark: #fdecc8; --accent: #b3261e; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e6e9f5; --paper: #10131c; --soft: #97a0b8;
    --card: #191e2b; --line: #2b3246; --mark: #4a3b14; --accent: #ff8a80; } }
  body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.25rem; background: var(--paper);
    color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
  h1 { margin: 0 0 .5rem; font-size: 1.7rem; overflow-wrap: anywhere; }
  p { margin: 0; color: var(--soft); overflow-wrap: anywhere; }
]]

--- A whole page.
---@param title string
---@param body string HTML
---@param more string|nil CSS
---@return string
function error_page.html(title, body, more)
  return table.concat {
    '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n',
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
    "<title>", error_page.escape(title), "</title>\n",
    "<style>\n", style, more or "", "</style>\n", body, "\n</html>\n",
  }
end

local function vary(headers, decided)
  if not decided then return headers end
  local copy = { Vary = "Accept" }
  for name, value in pairs(headers or {}) do copy[name] = value end
  return copy
end

local make = {}

function make.text(_, message, _, status, headers)
  return http.text(message .. "\n", status, headers)
end

function make.json(reason, message, title, status, headers)
  local body = { status = status, error = reason, message = message }
  local ok, response = pcall(http.json, body, status, headers)
  if ok then return response end
  return make.text(reason, message, title, status, headers) -- the message has bytes JSON cannot say
end

function make.html(reason, message, title, status, headers)
  local detail = message ~= title and "<p>" .. error_page.escape(message) .. "</p>" or ""
  return http.html(error_page.html(title, ("<h1>%d %s</h1>\n%s"):format(status, error_page.escape(reason),
    detail)), status, headers)
end

--- The answer to an error. Does not yield.
---@param req perigee.Request
---@param config table the app's settings in use
---@param status number 400 to 599
---@param message string|nil for the client; default the status's own words
---@param headers table|nil
---@param fault perigee.Fault|any|nil what happened, for development only
---@return perigee.Response
function error_page.answer(req, config, status, message, headers, fault)
  local format, decided = format_for(req, config)
  headers = vary(headers, decided)
  if fault ~= nil and config.mode == "development" then
    return require("perigee.error_details").answer(req, format, status, headers, fault)
  end
  local reason = http.reasons[status] or "Error"
  local title = ("%d %s"):format(status, reason)
  return make[format](reason, message or title, title, status, headers)
end

return error_page
