--- Which of several media types a client would rather have (RFC 9110, 12.5.1).
local accept = {}

--- Quality of "q=0.5"; 1 when there is none, 0 when it is no number.
local function quality_of(parameters)
  local text = parameters:match(";%s*[qQ]%s*=%s*([^;%s]*)")
  if not text then return 1 end
  local number = text:find("^[01]%.?%d*$") and tonumber(text)
  return number and number <= 1 and number or 0
end

--- How exactly a range names a type: 3 the type itself, 2 "text/*", 1 "*/*", 0 not at all.
local function precision_of(range, media_type)
  if range == media_type then return 3 end
  if range == media_type:match("^[^/]*/") .. "*" then return 2 end
  return range == "*/*" and 1 or 0
end

--- The quality a header gives a type: that of the most precise range.
local function quality_for(header, media_type)
  local best, quality = 0, 0
  for element in header:gmatch("[^,]+") do
    local range, parameters = element:match("^%s*([^;%s]+)%s*(.*)$")
    local precision = range and precision_of(range:lower(), media_type) or 0
    if precision > best then best, quality = precision, quality_of(parameters) end
  end
  return quality
end

--- The offered type the client likes best; of those it likes alike, the one offered first.
---@param header string|nil the Accept header
---@param offered string[] in the server's own order
---@return string # the first one, too, when the client likes none
function accept.choose(header, offered)
  local chosen, best = offered[1], 0
  if not header or header == "" then return chosen end
  for _, media_type in ipairs(offered) do
    local quality = quality_for(header, media_type)
    if quality > best then chosen, best = media_type, quality end
  end
  return chosen
end

return accept
