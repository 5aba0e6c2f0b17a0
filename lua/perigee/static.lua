--- app:static: a directory under a path of the app.
---
--- The straight way is a look-up in the router and one call into C, which has the file's content or
--- a descriptor at hand. What is no plain file (a folder, a name that does not exist) comes here.
local abi = require "perigee.abi"
local caller = require "perigee.caller"
local files = require "perigee.files"
local http = require "perigee.http"
local listing = require "perigee.listing"
local nearest = require "perigee.nearest"
local request = require "perigee.request"

local C = abi.C
local find, byte, sub = string.find, string.byte, string.sub
local OK, TYPE_FILE = abi.OK, http.TYPE_FILE
local POINTER, SERIAL, ROUTE = request.POINTER, request.SERIAL, request.ROUTE

local static = {}

---@class perigee.Site a directory that is served
---@field root ffi.cdata*
---@field prefix string "/assets/": where it is, ending in a slash
---@field index string[] names that stand for their folder
---@field listing boolean
---@field fallback string|nil
---@field headers table<string, string>|nil
---@field lines string|nil the same as lines

---@class perigee.StaticOptions
---@field index string|string[]|false|nil what answers for a folder: "index.html"
---@field listing boolean|nil lists folders without one
---@field fallback string|nil the file that answers for pages that do not exist
---@field max_age number|nil seconds that caches may keep a file
---@field immutable boolean|nil and that they need not ask meanwhile
---@field headers table|nil sent with each file
---@field dotfiles boolean|nil serves them
---@field symlinks boolean|nil false refuses all; else those are followed that stay inside
---@field precompressed boolean|nil false does not look for name.br and name.gz
local option_types = {
  index = "any", listing = "boolean", fallback = "string", max_age = "number", immutable = "boolean",
  headers = "table", dotfiles = "boolean", symlinks = "boolean", precompressed = "boolean",
}

local option_names = {}
for name in pairs(option_types) do option_names[#option_names + 1] = name end
table.sort(option_names)

local function check_options(options)
  caller.check(options, "table", "app:static: the options")
  for name, value in pairs(options) do
    local kind = option_types[name]
    if not kind then
      caller.fail("app:static: unknown option '%s'%s (there are: %s)", tostring(name),
        nearest.hint(tostring(name), option_names), table.concat(option_names, ", "))
    end
    if kind ~= "any" then caller.check(value, kind, "app:static: " .. name) end
  end
end

local function index_names(index)
  if index == nil then return { "index.html" } end
  if index == false then return {} end
  if type(index) == "string" then index = { index } end
  caller.check(index, "table", "app:static: index")
  for _, name in ipairs(index) do caller.check(name, "string", "app:static: a name in index") end
  return index
end

local function flags_of(options)
  return (options.dotfiles and files.DOTFILES or 0)
    + (options.symlinks == false and files.NO_SYMLINKS or 0)
    + (options.precompressed ~= false and files.PRECOMPRESSED or 0)
end

local function headers_of(options)
  local headers = {}
  for name, value in pairs(options.headers or {}) do headers[name] = value end
  headers["Cache-Control"] = headers["Cache-Control"]
    or files.cache_control("app:static", options.max_age, options.immutable)
  if not next(headers) then return nil end
  local lines, message = http.header_lines(headers, TYPE_FILE)
  if not lines then caller.fail("app:static: %s", message) end
  return headers
end

-- ── Answers ──────────────────────────────────────────────────────────────────────────────────

--- An encoded slash is part of a name, and no file's name has one.
local function has_encoded_slash(req)
  local path = req.target
  local stop = find(path, "?", 1, true)
  if stop then path = sub(path, 1, stop - 1) end
  return find(path, "%2f", 1, true) or find(path, "%2F", 1, true)
end

local function folder_answer(site, folder)
  local name = site.index[1]
  local response = http.site_file(site, (name and folder .. name) or folder)
  response.folder = folder
  return response
end

--- The answer for what is at `path` below a site.
local function answer(site, req, path)
  local pointer = req[POINTER]
  if pointer.path_size ~= pointer.target_size and has_encoded_slash(req) then
    error(http.error(404), 0)
  end
  if byte(path, #path) == 47 then return folder_answer(site, path) end
  local response = http.site_file(site, path)
  return response
end

--- Answers with a plain file at once. Returns whether it did; else the handler knows more.
---@param site perigee.Site
---@param pointer ffi.cdata* struct http_request *
---@param serial number
---@param values string[]|nil of the route's parameters: the path below the site
---@return boolean
function static.send(site, pointer, serial, values)
  if not values then return false end
  local path, lines = values[1], site.lines
  local result = C.http_response_file(pointer, serial, site.root, path, #path, 200, TYPE_FILE, lines,
    lines and #lines or 0)
  return result == OK
end

--- The answer for the site's own path: its index, or the way there.
local function answer_top(site, req)
  if byte(req.path, #req.path) ~= 47 then return static.redirect(req, site.prefix) end
  return folder_answer(site, "")
end

--- A redirect to the same place with a slash at its end.
function static.redirect(req, location)
  local query = req.query_string
  if query ~= "" then location = location .. "?" .. query end
  return http.redirect(location, 301)
end

--- Whether this is somebody looking at a page of a single-page application, not one of its files.
local function wants_page(req, path)
  local accept = req.headers.accept
  return accept ~= nil and find(accept, "text/html", 1, true) ~= nil
    or not path:match("[^/]*$"):find(".", 1, true)
end

local function missing(site, req, path)
  if not site.fallback or path == site.fallback or not wants_page(req, path) then
    error(http.error(404), 0)
  end
  local response = http.site_file(site, site.fallback)
  response.lines, response.headers = nil, static.copy(site.headers)
  -- An application's page says which files go with it, so it must not outlive them.
  response.headers["Cache-Control"] = "no-cache"
  return response
end

--- What a folder answers whose first index is missing: the next one, a listing, or nothing.
local function open_folder(site, req, folder)
  for i = 2, #site.index do
    local name = folder .. site.index[i]
    if C.http_file_find(req[POINTER], req[SERIAL], site.root, name, #name) == OK then
      return http.site_file(site, name)
    end
  end
  if site.listing then
    local response = listing.answer(site, req, folder)
    if response then return response end
  end
  return missing(site, req, folder)
end

--- The answer in the place of a file response that C could not send. Raises what there is to say
--- when there is none. Does not yield.
---@param req perigee.Request
---@param response perigee.Response
---@param result number enum http_file_result
---@return perigee.Response
function static.instead(req, response, result)
  local site, path = response.site, response.file
  if result == abi.FILE_FAILED then error("cannot read the file " .. path, 0) end
  if result == abi.FILE_DENIED then error(http.error(403), 0) end
  if not site then
    if response.missing then return response.missing end
    error(http.error(404), 0)
  end
  if response.folder then return open_folder(site, req, response.folder) end
  if result == abi.FILE_DIRECTORY then
    return static.redirect(req, site.prefix .. files.escape(path) .. "/")
  end
  return missing(site, req, path)
end

--- A file response as hooks see it: one that can be sent, with headers of its own to change.
---@param req perigee.Request
---@param response perigee.Response
---@return perigee.Response
function static.settle(req, response)
  while response.file do
    local path = response.file
    local result = C.http_file_find(req[POINTER], req[SERIAL], response.root, path, #path)
    if result >= abi.FILE_LAST then break end
    response = static.instead(req, response, tonumber(result))
  end
  if response.lines then
    response.headers, response.lines = static.copy(response.site.headers), nil
  end
  return response
end

function static.copy(headers)
  local copy = {}
  for name, value in pairs(headers or {}) do copy[name] = value end
  return copy
end

-- ── Mounting ─────────────────────────────────────────────────────────────────────────────────

--- The two handlers of a directory and the paths they are for. Raises at the caller's place.
---@param prefix string
---@param directory string
---@param options table|nil
---@return { pattern: string, handler: function, site: perigee.Site }[]
function static.routes(prefix, directory, options)
  caller.check(prefix, "string", "app:static: the path")
  options = options or {}
  check_options(options)
  prefix = prefix:gsub("/+$", "") .. "/"
  if prefix:find("[<>]") then caller.fail("app:static: the path '%s' cannot have parameters", prefix) end
  local headers = headers_of(options)
  local site = {
    root = files.root("app:static", directory, flags_of(options)),
    index = index_names(options.index),
    listing = options.listing or false,
    fallback = options.fallback,
    headers = headers,
    lines = headers and http.header_lines(headers, TYPE_FILE),
  }
  return {
    { pattern = prefix, site = site, handler = function(req)
      local response = answer_top(req[ROUTE].site, req)
      return response
    end },
    { pattern = prefix .. "<path:path>", site = site, handler = function(req, path)
      local response = answer(req[ROUTE].site, req, path)
      return response
    end },
  }
end

--- A site where a route has put it: below what blueprints put before its path.
---@param site perigee.Site
---@param path string the route's whole pattern
---@param place string of the declaration, for the error
---@return perigee.Site
function static.place(site, path, place)
  local placed = { prefix = path:gsub("[^/]*$", "") }
  if placed.prefix:find("[<>]") then
    error(("%s: app:static: the path '%s' cannot have parameters"):format(place, placed.prefix), 0)
  end
  for key, value in pairs(site) do placed[key] = value end
  return placed
end

return static
