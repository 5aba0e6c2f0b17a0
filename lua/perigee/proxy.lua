--- Who the client is when proxies stand before us: Forwarded (RFC 7239) and X-Forwarded-*.
---
--- A header says what its sender wants, so it counts only as far as trusted proxies made it: the
--- peer must be one of `trusted_proxies`, and the list of hops is walked from the right, from the
--- hop our peer has seen, until one is not trusted itself. That one is the client.
---
--- A proxy that keeps one of the two headers may pass the other on as the client sent it. So when
--- both are there, only what they agree on is believed.
local bit = require "bit"
local ffi = require "ffi"

local parameters = require "perigee.parameters"

local find, sub = string.find, string.sub

ffi.cdef "int inet_pton(int family, const char *text, void *address);"

local AF_INET, AF_INET6 = 2, 10
local UNIX = "unix:"

local proxy = {}

local trusted = {} -- { bytes, bits } each
local trusts_unix = false

---@class perigee.Client
---@field ip string|nil
---@field scheme string|nil "http" or "https"; nil when no trusted proxy says so
---@field host string|nil as in Host; nil when no trusted proxy says so

-- ── Addresses ────────────────────────────────────────────────────────────────────────────────

local box = ffi.new("uint8_t[16]")

--- An address as 16 bytes, IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2).
---@return string|nil bytes
---@return number|nil bits an IPv4 address has before it
local function bytes_of(text)
  if ffi.C.inet_pton(AF_INET6, text, box) == 1 then return ffi.string(box, 16), 0 end
  if ffi.C.inet_pton(AF_INET, text, box) == 1 then
    return ("\0"):rep(10) .. "\255\255" .. ffi.string(box, 4), 96
  end
end

--- Reads an element of trusted_proxies.
---@return { bytes: string, bits: number }|nil
local function network_of(text)
  local address, bits = text:match("^([^/]+)/(%d+)$")
  local bytes, before = bytes_of(address or text)
  if not bytes then return nil end
  bits = tonumber(bits or 128 - before) + before
  if bits > 128 then return nil end
  return { bytes = bytes, bits = bits }
end

--- Checks an element of the setting.
---@param element any
---@return boolean
---@return string|nil # what is allowed
function proxy.check(element)
  if type(element) == "string" and (element == UNIX or network_of(element)) then return true end
  return false, 'addresses and networks: "10.0.0.1", "10.0.0.0/8", "fd00::/8", "unix:"'
end

--- Takes the setting of the app that is served.
---@param list string[]|nil
function proxy.configure(list)
  trusted, trusts_unix = {}, false
  for _, element in ipairs(list or {}) do
    if element == UNIX then trusts_unix = true else trusted[#trusted + 1] = network_of(element) end
  end
end

local function is_in(bytes, network)
  local whole, rest = bit.rshift(network.bits, 3), bit.band(network.bits, 7)
  if sub(bytes, 1, whole) ~= sub(network.bytes, 1, whole) then return false end
  if rest == 0 then return true end
  local differing = bit.bxor(bytes:byte(whole + 1), network.bytes:byte(whole + 1))
  return bit.rshift(differing, 8 - rest) == 0
end

--- Whether what this address says of others is believed.
---@param ip string as C gives it, or out of a header
---@return boolean
function proxy.is_trusted(ip)
  if ip == UNIX then return trusts_unix end
  local bytes = bytes_of(ip)
  if not bytes then return false end
  for i = 1, #trusted do
    if is_in(bytes, trusted[i]) then return true end
  end
  return false
end

--- The address in a hop: "192.0.2.1", "192.0.2.1:80", "[::1]", "[::1]:80", "::1".
---@return string|nil # nil for "unknown", "_hidden" and what is none
local function address_of(hop)
  local ip = hop:match("^%[([%x:.]+)%]$") or hop:match("^%[([%x:.]+)%]:%d+$")
    or hop:match("^(%d+%.%d+%.%d+%.%d+):%d+$") or hop
  return bytes_of(ip) and ip or nil
end

-- ── Headers ──────────────────────────────────────────────────────────────────────────────────

--- The elements of a comma-separated list; empty ones do not count.
local function elements(text)
  local list = {}
  for element in text:gmatch("[^,]+") do
    element = element:match("^[ \t]*(.-)[ \t]*$")
    if element ~= "" then list[#list + 1] = element end
  end
  return list
end

local function scheme_of(text)
  text = text and text:lower()
  return (text == "http" or text == "https") and text or nil
end

local function host_of(text)
  return text and #text <= 255 and find(text, "^[%w%-._~%%!$&'()*+;=:%[%]]+$") and text or nil
end

--- Reads Forwarded, from its end as far as it is well-formed.
---@return table[] hops { ["for"], by, proto, host }, nearest last
local function forwarded_hops(text)
  local hops, hop, position = {}, {}, 1
  while position <= #text do
    local name, value, after = parameters.pair(text, position)
    if name then
      if hop[name] then return {} end
      hop[name], position = value, after
    end
    local _, stop, mark = find(text, "^[ \t]*([;,])[ \t]*", position)
    if mark == "," or not stop then
      if next(hop) then hops[#hops + 1] = hop end
      hop = {}
    end
    if not stop then
      -- RFC 7239, 4: a header that is malformed somewhere cannot be relied on anywhere
      return find(text, "^[ \t]*$", position) and hops or {}
    end
    position = stop + 1
  end
  if next(hop) then hops[#hops + 1] = hop end
  return hops
end

--- X-Forwarded-For and its sisters in the same form. A list of schemes or hosts that is as long as
--- that of addresses goes with it element by element; of another the nearest proxy's counts.
local function legacy_hops(req)
  local hops = {}
  local addresses = elements(req.headers["x-forwarded-for"] or "")
  local schemes = elements(req.headers["x-forwarded-proto"] or "")
  local hosts = elements(req.headers["x-forwarded-host"] or "")
  for i = 1, math.max(#addresses, 1) do
    hops[i] = {
      ["for"] = addresses[i],
      proto = #schemes == #addresses and schemes[i] or schemes[#schemes],
      host = #hosts == #addresses and hosts[i] or hosts[#hosts],
    }
  end
  return hops
end

--- Walks the hops from our peer outwards.
---@return perigee.Client
local function walk(peer, hops)
  local client = { ip = peer }
  for i = #hops, 1, -1 do
    local hop = hops[i]
    client.scheme = scheme_of(hop.proto) or client.scheme
    client.host = host_of(hop.host) or client.host
    local ip = hop["for"] and address_of(hop["for"])
    if not ip then break end
    client.ip = ip
    if not proxy.is_trusted(ip) then break end
  end
  return client
end

--- Who sent a request, by its peer and its headers.
---@param req perigee.Request
---@param peer string|nil the peer's address
---@return perigee.Client
function proxy.client(req, peer)
  if not peer or (#trusted == 0 and not trusts_unix) or not proxy.is_trusted(peer) then
    return { ip = peer }
  end
  local headers = req.headers
  local standard = headers.forwarded and walk(peer, forwarded_hops(headers.forwarded))
  local legacy = (headers["x-forwarded-for"] or headers["x-forwarded-proto"] or headers["x-forwarded-host"])
    and walk(peer, legacy_hops(req))
  if not (standard and legacy) then return standard or legacy or { ip = peer } end
  return {
    ip = standard.ip == legacy.ip and standard.ip or peer,
    scheme = standard.scheme == legacy.scheme and standard.scheme or nil,
    host = standard.host == legacy.host and standard.host or nil,
  }
end

return proxy
