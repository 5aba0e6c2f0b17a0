--- Files on their way to a client: directories to serve from, and the header lines about them.
local ffi = require "ffi"
local uv = require "luv"

local abi = require "perigee.abi"
local caller = require "perigee.caller"

local C = abi.C

local files = {}

-- enum http_file_flag
files.DOTFILES, files.NO_SYMLINKS, files.PRECOMPRESSED = 1, 2, 4

local base = nil -- the folder of the app's file; relative paths start there
local find_base = nil -- of the app that is at work, where there are several
local roots = {} -- flags .. directory → struct http_file_root *

--- Sets where relative paths start.
---@param folder string absolute
function files.set_base(folder)
  base = folder:gsub("/+$", "")
end

--- Has the folder be looked up where there are several apps; set_base's counts where that has none.
---@param find (fun(): string|nil)|nil
function files.set_find_base(find)
  find_base = find
end

--- A path as an absolute one: relative ones start at the folder of the app's file.
---@param path string
---@return string
function files.absolute(path)
  if path:byte() == 47 then return path end -- 47: "/"
  return (find_base and find_base() or base or uv.cwd()) .. "/" .. path
end

--- The root of a directory, made once for each set of flags. Raises at the caller's place when the
--- directory cannot be served from.
---@param what string how messages begin: "app:static"
---@param directory string
---@param flags number enum http_file_flag
---@return ffi.cdata* # struct http_file_root *
function files.root(what, directory, flags)
  caller.check(directory, "string", what .. ": the directory")
  local path = files.absolute(directory)
  local key = flags .. path
  local root = roots[key]
  if root then return root end
  local why = ffi.new("const char *[1]")
  if path:find("%z") then caller.fail("%s: the directory's name has a NUL", what) end
  root = C.http_file_root_open(path, flags, why)
  if root == nil then
    caller.fail("%s: the directory '%s' cannot be served: %s", what, path, ffi.string(why[0]))
  end
  roots[key] = root
  return root
end

--- Cache-Control for a lifetime. Raises at the caller's place.
---@param what string
---@param max_age number|nil seconds
---@param immutable boolean|nil
---@return string|nil
function files.cache_control(what, max_age, immutable)
  if max_age == nil then
    if immutable then caller.fail("%s: immutable needs a max_age", what) end
    return nil
  end
  if type(max_age) ~= "number" or max_age % 1 ~= 0 or max_age < 0 or max_age > 2 ^ 31 then
    caller.fail("%s: max_age must be a whole number of seconds, not %s", what, tostring(max_age))
  end
  return ("public, max-age=%d%s"):format(max_age, immutable and ", immutable" or "")
end

local function percent(byte)
  return ("%%%02X"):format(byte:byte())
end

--- A path or file name with everything but letters, digits and `-._~/` as %XX (RFC 3986).
---@param text string
---@return string
function files.escape(text)
  return (text:gsub("[^%w%-._~/]", percent))
end

--- Content-Disposition (RFC 6266): a plain name for old clients and, where it says less than the
--- whole, the name in UTF-8 (RFC 8187).
---@param name string
---@param inline boolean|nil shown in the browser, not saved
---@return string
function files.disposition(name, inline)
  local kind = inline and "inline" or "attachment"
  local plain = name:gsub("[%z\1-\31\127\"\\/%%]", "_"):gsub("[\128-\255]+", "_")
  local line = ('%s; filename="%s"'):format(kind, plain)
  if plain == name then return line end
  return line .. "; filename*=UTF-8''" .. (name:gsub("[^%w%-._~]", percent))
end

return files
