-- Latency below saturation: bench/pace asks at a steady rate, which wrk cannot.
--
-- A server is saturated by wrk, whose connections ask again at once: what it answers then is the most
-- it can, with what else the machine does. All are asked at 70 % of what nginx-lua answers then, and each
-- at 70 % of its own.

local process = require "bench.support.process"
local report = require "bench.support.report"

local latency = {}

local part = 0.7
local connections = 64

--- Asks `server` at `rate`.
-- @return { p50, p99 } in µs, or nil when it cannot keep up
local function ask(server, rate, seconds, core)
  local text, status = process.output({ "build/release/bench/pace/pace", tostring(server.port),
    tostring(connections), ("%.0f"):format(rate), tostring(seconds), "/" }, core)
  local p50, p99 = text:match "P50 ([%d.]+) P99 ([%d.]+)"
  if status ~= 0 then io.stderr:write(server.name, ": ", text) return nil end
  return { p50 = tonumber(p50), p99 = tonumber(p99), rate = rate }
end

local function medians(samples)
  local result = {}
  for _, field in ipairs { "p50", "p99", "rate" } do
    local list = {}
    for i, sample in ipairs(samples) do list[i] = sample[field] end
    result[field] = report.median(list)
  end
  return result
end

local function row(server, shared, own, bar)
  local function to_bar(result, base)
    return report.figure("%.2f×", base and base.p99 and result.p99 and result.p99 / base.p99)
  end
  return { server.name, report.figure("%.0f", shared.p50), report.figure("%.0f", shared.p99),
    to_bar(shared, bar.shared), report.figure("%.0f", own.rate), report.figure("%.0f", own.p50),
    report.figure("%.0f", own.p99), to_bar(own, bar.own) }
end

--- Measures and words the section.
-- @param saturate function(server): the requests it answers in a second of saturation, measured now
-- @tparam table options rounds, seconds, core of the client
function latency.section(list, saturate, options)
  local shared, own, rate = {}, {}, nil
  for _, server in ipairs(list) do shared[server], own[server] = {}, {} end
  for _ = 1, options.rounds do
    local rates = {}
    for _, server in ipairs(list) do
      rates[server] = part * saturate(server)
      if server.name == "nginx-lua" then rate = rates[server] end
    end
    for _, server in ipairs(list) do
      table.insert(shared[server], rate and ask(server, rate, options.seconds, options.core))
      table.insert(own[server], ask(server, rates[server], options.seconds, options.core))
    end
  end
  local bar, rows, average = {}, {}, {}
  for _, server in ipairs(list) do
    average[server] = { shared = medians(shared[server]), own = medians(own[server]) }
    if server.name == "nginx-lua" then bar = average[server] end
  end
  for i, server in ipairs(list) do
    rows[i] = row(server, average[server].shared, average[server].own, bar)
  end
  local about = "`GET /`, text, at random times, %d keep-alive connections; µs from when a request is due "
    .. "to its answer, at %s requests/s, which are 70 %% of what saturates nginx-lua, and at 70 %% of "
    .. "each one's own saturation, by wrk.\n\n"
  return about:format(connections, report.figure("%.0f", bar.shared and bar.shared.rate))
    .. report.table({ "server", "p50", "p99", "to nginx-lua", "own rate", "p50", "p99", "to nginx-lua" },
      rows)
end

return latency
