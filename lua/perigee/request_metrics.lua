--- How long requests take, by route: a histogram that all processes add to, for the metrics and the
--- inspector. It is kept where one of them is on, and costs two looks at the clock for each request.
local abi = require "perigee.abi"

local C = abi.C

local request_metrics = {}

local NAME = "perigee_request_seconds"
local BOUNDS = { 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10 }
local SERIES = 512 -- routes and methods that are told apart; the same at every reload, as the object stays

local NONE = { route = "", method = "" } -- no route fits

local metric    -- perigee.shared.metric, where it is wanted
local histogram -- nil when nobody wants to know
local measured  -- the app whose requests are counted; of several, the first

--- Makes the histogram if it is wanted. Called in the main process, before the fork.
---@param apps perigee.App[] those that are served, whose requests are counted together
function request_metrics.prepare(apps)
  local inspector = apps[1].config.inspector
  local wanted = inspector and inspector ~= "off"
  for _, app in ipairs(apps) do wanted = wanted or app.config.metrics_path end
  if not wanted then return end
  metric, measured = require "perigee.shared.metric", apps[1]
  histogram = metric.new("histogram", NAME, { help = "Seconds from a request's head to its handler's end.",
    labels = { "route", "method" }, buckets = BOUNDS, series = SERIES })
end

--- What a route's requests are counted under; made once for each route and process.
local function labels_of(route)
  local labels = { route = route.pattern, method = table.concat(route.methods, ",") }
  route.metric_labels = labels
  return labels
end

--- Counts a request.
---@param route table|false the route that served it
---@param began number ms, C.script_now()
local function count(route, began)
  local labels = route and (route.metric_labels or labels_of(route)) or NONE
  if labels.method == "websocket" then return end -- it lasts as long as its client stays
  local ended = C.script_now()
  histogram:observe((ended - began) / 1000, labels)
end

--- The function that counts a request, or nil where nothing is counted.
---@param app perigee.App the one that is served, or the first: an inspector's requests are nobody's clients
---@return nil|fun(route: table|false, began: number)
function request_metrics.counter(app)
  return app == measured and histogram and count or nil
end

--- What was counted, of all routes together: for quantiles between two looks.
---@return { bounds: number[], counts: number[] }|nil # seconds; counts has one more, for what took longer
function request_metrics.read()
  if not histogram then return nil end
  local counts = {}
  for i = 1, #BOUNDS + 1 do counts[i] = 0 end
  metric.each(histogram, function(_, cell)
    for i = 1, #counts do counts[i] = counts[i] + tonumber(C.shm_value_get_int64(cell(i))) end
  end)
  return { bounds = BOUNDS, counts = counts }
end

return request_metrics
