--- What is in a folder, for app:static's `listing`: a page, or JSON for who asks for it.
local ffi = require "ffi"

local abi = require "perigee.abi"
local files = require "perigee.files"
local http = require "perigee.http"
local json = require "perigee.json"

local C = abi.C

local listing = {}

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["'"] = "&#39;" }

local function escape_html(text)
  return (text:gsub("[&<>\"']", entities))
end

--- The entries of a folder, folders first, by name; nil when there is no such folder.
local function read(root, folder)
  local path = folder:gsub("/$", "")
  local size, truncated = ffi.new("size_t[1]"), ffi.new("int[1]")
  local list = C.http_file_list(root, path, #path, size, truncated)
  if list == nil then return nil end
  local text = ffi.string(list, size[0])
  C.http_file_list_free(list)
  local entries = {}
  for kind, bytes, modified, name in text:gmatch("(%l) (%d+) (%-?%d+) ([^%z]+)%z") do
    entries[#entries + 1] = { name = name, folder = kind == "d", size = tonumber(bytes),
      modified = tonumber(modified) }
  end
  table.sort(entries, function(a, b)
    if a.folder ~= b.folder then return a.folder end
    return a.name < b.name
  end)
  return entries, truncated[0] == 1
end

local function page(title, entries, truncated, is_top)
  local lines = { "<!doctype html>\n<meta charset=\"utf-8\">\n<title>", title, "</title>\n<h1>", title,
    "</h1>\n<table>\n" }
  if not is_top then lines[#lines + 1] = '<tr><td><a href="../">../</a>\n' end
  for _, entry in ipairs(entries) do
    local slash = entry.folder and "/" or ""
    lines[#lines + 1] = ('<tr><td><a href="./%s%s">%s%s</a><td>%s<td>%s\n'):format(
      files.escape(entry.name), slash, escape_html(entry.name), slash,
      entry.folder and "" or ("%d"):format(entry.size), os.date("!%Y-%m-%d %H:%M:%S", entry.modified))
  end
  lines[#lines + 1] = "</table>\n"
  if truncated then lines[#lines + 1] = "<p>There is more than is shown.\n" end
  return table.concat(lines)
end

local function as_json(entries)
  local list = {}
  for i, entry in ipairs(entries) do
    list[i] = { name = entry.name, type = entry.folder and "directory" or "file",
      size = not entry.folder and entry.size or nil,
      modified = os.date("!%Y-%m-%dT%H:%M:%SZ", entry.modified) }
  end
  if #list == 0 then return "[]" end
  return json.encode(list)
end

--- The listing of a folder of a site; nil when there is no such folder. Does not yield.
---@param site perigee.Site
---@param req perigee.Request
---@param folder string "" or "a/b/"
---@return perigee.Response|nil
function listing.answer(site, req, folder)
  local entries, truncated = read(site.root, folder)
  if not entries then return nil end
  local headers = { Vary = "Accept", ["Cache-Control"] = "no-cache" }
  local accept = req.headers.accept or ""
  if accept:find("application/json", 1, true) and not accept:find("text/html", 1, true) then
    return http.raw_json(as_json(entries), headers)
  end
  local title = escape_html(site.prefix .. folder)
  return http.html(page(title, entries, truncated, folder == ""), 200, headers)
end

return listing
