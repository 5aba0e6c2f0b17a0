--- "Did you mean": the known name nearest to a mistyped one.
local nearest = {}

--- Edit distance, counting a swap of neighbours as one.
---@param a string
---@param b string
---@return number
function nearest.distance(a, b)
  local before, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local new = { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      local cost = math.min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        cost = math.min(cost, before[j - 2] + 1)
      end
      new[j] = cost
    end
    before, row = row, new
  end
  return row[#b]
end

--- The nearest of `names`, when one is near enough to be meant.
---@param name string
---@param names string[]
---@return string|nil
function nearest.find(name, names)
  local best, best_distance = nil, math.max(2, math.floor(#name / 3)) + 1
  for _, candidate in ipairs(names) do
    local distance = nearest.distance(name, candidate)
    if distance < best_distance then best, best_distance = candidate, distance end
  end
  return best
end

--- ", did you mean 'x'?" or "".
---@param name string
---@param names string[]
---@return string
function nearest.hint(name, names)
  local found = nearest.find(name, names)
  return found and ("; did you mean '%s'?"):format(found) or ""
end

return nearest
