--- Lines on stderr. The manager puts time, role, slot and generation before them.
local log = {}

local levels = { debug = 1, info = 2, warn = 3, error = 4 }
local threshold = levels.info

local function write(level, text, ...)
  if levels[level] < threshold then return end
  if select("#", ...) > 0 then text = text:format(...) end
  text = tostring(text)
  io.stderr:write(level, ": ", text, text:sub(-1) == "\n" and "" or "\n")
end

--- Sets the lowest level that is written.
---@param level "debug"|"info"|"warn"|"error"
function log.set_level(level)
  threshold = assert(levels[level], "no such log level")
end

--- Each writes one entry; more arguments make `text` a string.format format. They do not yield.
---@param text string
function log.debug(text, ...) write("debug", text, ...) end
function log.info(text, ...) write("info", text, ...) end
function log.warn(text, ...) write("warn", text, ...) end
function log.error(text, ...) write("error", text, ...) end

return log
