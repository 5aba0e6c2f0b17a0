--- Addresses to listen on: what users write, and the normal form the manager binds.
---
---     8000  :8000  host:8000  [::1]:8000     tcp:127.0.0.1:8000   tcp:[::1]:8000
---     unix:/run/app.sock?mode=0660           unix:0660:/run/app.sock
---     fd:3  fd:web, by LISTEN_FDNAMES        fd:3
---
--- "tls:" before a TCP address or fd:N has what comes there be TLS; the normal form has no such thing.
local uv = require "luv"

local phase = require "perigee.phase"

local bind = {
  ---@type table<string, integer[]> descriptors that systemd passed, by LISTEN_FDNAMES
  passed = {},
}

local UNIX_PATH_LIMIT = 107 -- bytes; sockaddr_un
local UNIX_MODE = "0666"

local allowed = "an address: host:port, :port, [v6]:port, unix:/path (?mode=0660), fd:N or fd:NAME, or "
  .. "tls: before one that is not unix"

--- Host and port of a TCP address, or nil. An empty host is every IPv4 address.
local function split_tcp(text)
  local host, port = text:match("^%[([%x:.%%%w]+)%]:(%d+)$")
  if not host then
    host, port = text:match("^([^:%[%]/]*):(%d+)$")
    if not host then host, port = "", text:match("^%d+$") end
  end
  port = tonumber(port)
  if not port or port > 65535 then return nil end
  if host == "" or host == "*" then host = "0.0.0.0" end
  return host, port
end

--- Path and mode of a unix address, or nil and why not.
local function split_unix(text)
  local path, mode = text:match("^unix:(.+)%?mode=(0?[0-7][0-7][0-7])$")
  if not path then path, mode = text:match("^unix:([^?]+)$"), UNIX_MODE end
  if not path then return nil, allowed end
  if #mode == 3 then mode = "0" .. mode end
  return path, mode
end

--- Whether what comes to an address is TLS.
---@param written string
---@return boolean
function bind.is_secure(written)
  return written:find("^tls:") ~= nil
end

--- Whether something is an address, without looking any name up.
---@param written string|number
---@return true|nil
---@return string|nil # what is allowed
function bind.check(written)
  if type(written) == "number" then written = tostring(written) end
  if type(written) ~= "string" then return nil, allowed end
  local is_secure = bind.is_secure(written)
  written = written:gsub("^tls:", "")
  if written:find("^unix:") then
    if split_unix(written) and not is_secure then return true end
  elseif written:find("^fd:[%w_.-]+$") or split_tcp(written) then
    return true
  end
  return nil, allowed
end

--- The numeric address of a host name, IPv4 before IPv6. Looks it up without a thread, because
--- the main process may have none when it forks.
local function numeric(host, written, source)
  if host == "localhost" then return "127.0.0.1", "inet" end -- also on a machine without /etc/hosts
  if host:find("^[%d.]+$") or host:find(":", 1, true) then
    local found = uv.getaddrinfo(host, nil, { numerichost = true, socktype = "stream" })
    if found and found[1] then return found[1].addr, found[1].family end
    error(("%s: cannot listen on '%s': '%s' is no IP address"):format(source, written, host), 0)
  end
  local found, message = uv.getaddrinfo(host, nil, { socktype = "stream" })
  if not found or #found == 0 then
    error(("%s: cannot listen on '%s': the name '%s' is not known (%s)"):format(
      source, written, host, tostring(message)), 0)
  end
  for _, address in ipairs(found) do
    if address.family == "inet" then return address.addr, "inet" end
  end
  return found[1].addr, found[1].family
end

--- The normal form of an address; names are looked up, paths made absolute.
---@param written string an address that passed bind.check
---@param source string where it was set, for messages
---@return string # raises when a name is not known
function bind.resolve(written, source)
  written = written:gsub("^tls:", "")
  if written:find("^fd:") then return (written:gsub("^fd:0*(%d)", "fd:%1")) end
  if written:find("^unix:") then
    local path, mode = split_unix(written)
    if path:byte() ~= 47 then path = uv.cwd() .. "/" .. path end
    if #path > UNIX_PATH_LIMIT then
      error(("%s: the path of '%s' has %d bytes; a unix socket's may have %d"):format(
        source, written, #path, UNIX_PATH_LIMIT), 0)
    end
    return ("unix:%s:%s"):format(mode, path)
  end
  local host, port = split_tcp(written)
  local address, family = numeric(host, written, source)
  if family == "inet6" then return ("tcp:[%s]:%d"):format(address, port) end
  return ("tcp:%s:%d"):format(address, port)
end

--- The descriptors of "fd:NAME", of which there may be several, as addresses.
local function named(written, source)
  local name = written:match("^fd:(.*)$")
  local list = {}
  for i, number in ipairs(bind.passed[name] or {}) do list[i] = "fd:" .. number end
  if #list > 0 then return list end
  local names = {}
  for known in pairs(bind.passed) do names[#names + 1] = known end
  table.sort(names)
  error(("%s: cannot listen on '%s': no socket of this name was passed in LISTEN_FDNAMES%s"):format(
    source, written, #names > 0 and "; there are " .. table.concat(names, ", ") or ""), 0)
end

--- Puts descriptors in the place of their names; `perigee check` is given none of them.
local function expand(list, source)
  local expanded = {}
  for _, written in ipairs(list) do
    local secure, address = written:match("^(tls:)(.*)$")
    address = address or written
    local is_name = address:find("^fd:") and not address:find("^fd:%d+$") and phase.current ~= "check"
    for _, one in ipairs(is_name and named(address, source) or { address }) do
      expanded[#expanded + 1] = (secure or "") .. one
    end
  end
  return expanded
end

--- Resolves a list; the same address twice is an error.
---@param list string[]
---@param source string
---@return string[]
---@return integer[] # which of them are TLS, from 1
function bind.resolve_all(list, source)
  local resolved, secure, seen = {}, {}, {}
  for i, written in ipairs(expand(list, source)) do
    local normal = bind.resolve(written, source)
    if seen[normal] then
      error(("%s: '%s' and '%s' are the same address"):format(source, seen[normal], written), 0)
    end
    seen[normal] = written
    resolved[i] = normal
    if bind.is_secure(written) then secure[#secure + 1] = i end
  end
  return resolved, secure
end

return bind
