--- Cookies that are set: RFC 6265, and what its successor's drafts add (prefixes, SameSite, Partitioned).
local caller = require "perigee.caller"
local nearest = require "perigee.nearest"

local cookie = {}

--- Bytes of name and value together that every browser keeps (RFC 6265, 6.1).
cookie.LIMIT = 4096

---@class perigee.CookieOptions
---@field path string|nil "/"; where it is sent to
---@field domain string|nil the host that made it and no other; else that domain and those below it
---@field max_age number|nil seconds that it is kept, 0 to delete it; until the browser ends
---@field expires number|nil the same as a time, in seconds since 1970
---@field secure boolean|nil true; only over https, and to localhost
---@field httponly boolean|nil true; not for scripts
---@field samesite "Strict"|"Lax"|"None"|nil "Lax"; whether other sites' requests carry it
---@field partitioned boolean|nil false; one for each site that embeds this one

local kinds = { path = "string", domain = "string", max_age = "number", expires = "number",
  secure = "boolean", httponly = "boolean", samesite = "string", partitioned = "boolean" }
local names = {}
for name in pairs(kinds) do names[#names + 1] = name end
table.sort(names)

local same_site = { strict = "Strict", lax = "Lax", none = "None" }

local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }
local months = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" }

--- RFC 9110's date, whatever the locale.
local function http_date(time)
  local t = os.date("!*t", time)
  return ("%s, %02d %s %04d %02d:%02d:%02d GMT"):format(days[t.wday], t.day, months[t.month], t.year,
    t.hour, t.min, t.sec)
end

local function check_options(what, options)
  for name, value in pairs(options) do
    if not kinds[name] then
      caller.fail("%s: unknown option '%s'%s", what, tostring(name), nearest.hint(tostring(name), names))
    end
    caller.check(value, kinds[name], what .. ": " .. name)
  end
  local path, domain, age = options.path, options.domain, options.max_age
  if path and not path:find "^/[^%c;\127-\255]*$" then
    caller.fail('%s: path must begin with "/" and have no ";" or control characters', what)
  end
  if domain and not domain:find "^%.?%w[%w.-]*$" then caller.fail("%s: domain must be a host name", what) end
  if age and (age % 1 ~= 0 or math.abs(age) > 2 ^ 53) then
    caller.fail("%s: max_age must be a whole number of seconds", what)
  end
  if options.expires and not (options.expires >= 0 and options.expires < 253402300800) then
    caller.fail("%s: expires must be a time from 1970 to 9999, in seconds", what)
  end
  if options.samesite and not same_site[options.samesite:lower()] then
    caller.fail('%s: samesite must be "Strict", "Lax" or "None"', what)
  end
end

--- What a browser would drop the cookie for.
local function check_rules(what, name, options, secure)
  local lower = name:lower()
  if not secure then
    local wants = lower:find("__host-", 1, true) == 1 and "__Host-" or lower:find("__secure-", 1, true) == 1
      and "__Secure-" or options.partitioned and "partitioned"
      or options.samesite and options.samesite:lower() == "none" and 'samesite "None"'
    if wants then caller.fail("%s: %s needs secure", what, wants) end
  end
  if lower:find("__host-", 1, true) == 1 and (options.domain or (options.path or "/") ~= "/") then
    caller.fail('%s: __Host- allows no domain, and no path but "/"', what)
  end
end

--- The value of a Set-Cookie header. Raises at the caller's place on what RFC 6265 does not allow:
--- a name that is no token; blanks, quotes, commas, semicolons, backslashes and bytes that are no
--- ASCII in the value (encode them, as by percent signs); more than 4096 bytes; a prefix whose rules
--- are broken.
---@param what string how messages call the function: "response:cookie"
---@param name string
---@param value string
---@param options perigee.CookieOptions|nil
---@return string
function cookie.line(what, name, value, options)
  options = options or {}
  caller.check(name, "string", what .. ": the name")
  caller.check(value, "string", what .. ": the value")
  caller.check(options, "table", what .. ": the options")
  if not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
    caller.fail("%s: %q cannot be a cookie's name", what, name)
  end
  if (value:match '^"(.*)"$' or value):find '[%c ",;\\\127-\255]' then
    caller.fail("%s: the value of %s has characters that a cookie cannot have; encode it", what, name)
  end
  if #name + #value > cookie.LIMIT then
    caller.fail("%s: %s has more than %d bytes, which browsers drop", what, name, cookie.LIMIT)
  end
  check_options(what, options)
  local secure = options.secure ~= false
  check_rules(what, name, options, secure)
  local parts = { name .. "=" .. value, "Path=" .. (options.path or "/") }
  local function add(text) parts[#parts + 1] = text end
  if options.domain then add("Domain=" .. options.domain:gsub("^%.", "")) end
  if options.max_age then add(("Max-Age=%d"):format(options.max_age)) end
  if options.expires then add("Expires=" .. http_date(options.expires)) end
  if secure then add "Secure" end
  if options.httponly ~= false then add "HttpOnly" end
  add("SameSite=" .. same_site[(options.samesite or "Lax"):lower()])
  if options.partitioned then add "Partitioned" end
  return table.concat(parts, "; ")
end

--- What makes two cookies the same to a browser.
---@return string
function cookie.identity(name, options)
  options = options or {}
  return ("%s;%s;%s"):format(name, options.domain or "", options.path or "/")
end

return cookie
