-- WebSocket frames for specs: made byte by byte, right or wrong as a spec wants them, and read.
--
-- Works with the connections of spec.support.raw and spec.support.client alike: `socket` has send,
-- and what has come is in one of its fields.
local bit = require "bit"

local frames = {}

frames.TEXT, frames.BINARY, frames.CLOSE, frames.PING, frames.PONG = 1, 2, 8, 9, 10
frames.CONTINUATION = 0

frames.key = "dGhlIHNhbXBsZSBub25jZQ==" -- RFC 6455, 1.3
frames.accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

--- The request that opens a WebSocket. `headers` replaces (or, with false, leaves out) what is usual.
function frames.handshake(path, headers, start)
  local fields = { Host = "localhost", Upgrade = "websocket", Connection = "Upgrade",
    ["Sec-WebSocket-Key"] = frames.key, ["Sec-WebSocket-Version"] = "13" }
  for name, value in pairs(headers or {}) do fields[name] = value end
  local lines = { start or "GET " .. path .. " HTTP/1.1" }
  for name, value in pairs(fields) do
    for _, each in ipairs(type(value) == "table" and value or { value or nil }) do
      lines[#lines + 1] = name .. ": " .. each
    end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

local function number(value, bytes)
  local text = {}
  for i = bytes, 1, -1 do
    text[i] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(text)
end

local function xor(data, mask)
  local out = {}
  for i = 1, #data do
    out[i] = string.char(bit.bxor(data:byte(i), mask:byte((i - 1) % 4 + 1)))
  end
  return table.concat(out)
end

--- A frame. options: fin (true), rsv (0: bits 4, 2, 1), mask ("\1\2\3\4"; false for none), length (what
-- it says it has), wide (2 or 8: bytes of the length field though fewer would do)
function frames.make(opcode, payload, options)
  options = options or {}
  payload = payload or ""
  local fin = options.fin ~= false and 128 or 0
  local mask = options.mask == nil and "\1\2\3\4" or options.mask
  local length = options.length or #payload
  local wide = options.wide or (length < 126 and 0 or length < 65536 and 2 or 8)
  local short = wide == 0 and length or wide == 2 and 126 or 127
  return string.char(fin + (options.rsv or 0) * 16 + opcode, (mask and 128 or 0) + short)
    .. (wide > 0 and number(length, wide) or "") .. (mask or "")
    .. (mask and xor(payload, mask) or payload)
end

function frames.text(payload, options) return frames.make(frames.TEXT, payload, options) end

--- A close frame's payload.
function frames.closing(code, reason)
  return number(code, 2) .. (reason or "")
end

function frames.close(code, reason)
  return frames.make(frames.CLOSE, code and frames.closing(code, reason) or "")
end

--- Takes a server's frame off the front of `data`: { opcode, payload, fin, rsv, code, reason }, rest.
function frames.take(data)
  if #data < 2 then return nil end
  local first, second = data:byte(1, 2)
  assert(second < 128, "a server masks nothing")
  local size, at = second, 3
  local extra = second == 126 and 2 or second == 127 and 8 or 0
  if #data < 2 + extra then return nil end
  if extra > 0 then
    size = 0
    for i = 3, 2 + extra do size = size * 256 + data:byte(i) end
    at = 3 + extra
  end
  if #data < at + size - 1 then return nil end
  local frame = { fin = first >= 128, rsv = math.floor(first / 16) % 8, opcode = first % 16,
    payload = data:sub(at, at + size - 1) }
  if frame.opcode == frames.CLOSE and size >= 2 then
    frame.code = frame.payload:byte(1) * 256 + frame.payload:byte(2)
    frame.reason = frame.payload:sub(3)
  end
  return frame, data:sub(at + size)
end

return frames
