-- For wrk: sends as many requests at a time as its argument says.

function init(args) -- luacheck: ignore 111
  local depth, requests = tonumber(args[1]), {}
  for i = 1, depth do requests[i] = wrk.format() end -- luacheck: ignore 113
  local batch = table.concat(requests)
  request = function() return batch end -- luacheck: ignore 111
end
