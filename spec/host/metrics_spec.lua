-- Metrics: counted by all workers, over reloads and deaths, and shown as Prometheus reads them.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"
local wait = require "spec.support.wait"

local source = [[
local perigee = require "perigee"
local uv = require "luv"
local app = perigee.app "metrics"

app:main_process_start(function(app)
  app.shared.hits = perigee.shared.counter("hits_total", { help = "Hits,\nby \\route", series = 4,
    labels = { "route", "status" } })
  app.shared.busy = perigee.shared.gauge("busy_things")
  app.shared.time = perigee.shared.histogram("time_seconds", { labels = { "route" }, buckets = { 0.1, 1 } })
  app.shared.plain = perigee.shared.histogram("plain_seconds")
end)

local function message(...)
  local ok, text = pcall(...)
  return ok and "no error" or tostring(text)
end

app:get("/", function() return "hello\n" end)
app:get("/pid", function() return tostring(uv.os_getpid()) end)
app:get("/hit/<route:str>", function(_, route)
  app.shared.hits:add(1, { route = route, status = 200 })
  return "hit"
end)
app:get("/fill", function()
  local hits, busy, time = app.shared.hits, app.shared.busy, app.shared.time
  hits:add(1, { route = "/\"q\"\n\\", status = 200 })
  hits:add(2.5, { route = "/y", status = "200" })
  for i = 1, 6 do hits:add(1, { route = "/" .. i, status = 404 }) end
  busy:set(3)
  busy:add(-0.5)
  for _, seconds in ipairs { 0.05, 0.5, 0.1 } do time:observe(seconds, { route = "a" }) end
  time:observe(5, { route = "\255\0" })
  app.shared.plain:observe(0.3)
  return tostring(hits:get { route = "/y", status = 200 })
end)
app:get("/text", function() return perigee.metrics.text() end)
app:get("/stat", function() return app.shared.hits:stat() end)
app:get("/wrong", function()
  local hits, busy, new = app.shared.hits, app.shared.busy, perigee.shared
  return table.concat({
    message(hits.add, hits, -1, { route = "a", status = 1 }), message(hits.add, hits),
    message(hits.add, hits, 1, { route = "a" }),
    message(hits.add, hits, 1, { route = "new", status = 1, method = 1 }),
    message(hits.add, hits, 1, { route = {}, status = 1 }), message(busy.set, busy, "x"),
    message(busy.set, busy, 0 / 0), message(busy.set, busy, 1, { route = 1 }), message(new.counter, "1x"),
    message(new.counter, "x", { labels = { "__a" } }), message(new.histogram, "x", { labels = { "le" } }),
    message(new.histogram, "x", { buckets = { 1, 1 } }), message(new.counter, "x", { lables = {} }),
    message(new.gauge, "hits_total"), message(new.counter, "x", { labels = { "a" }, series = 0 }),
  }, "\n")
end)
app:get("/own", function() return "mine" end)
return app
]]

local server

local function serve(workers, path)
  local flags = { "--workers", tostring(workers) }
  if path then flags[3], flags[4] = "--metrics-path", path end
  server = host.serve { app = source, flags = flags }
end

local function figure(text, name)
  return tonumber(text:match("\n" .. name:gsub("%p", "%%%0") .. " ([^\n]+)\n"))
end

describe("metrics", function()
  after_each(host.finish)

  it("are shown as Prometheus reads them", function()
    serve(1, "/metrics")
    assert.equal("2.5", server:get("/fill").body)
    local answer = server:get "/metrics"
    assert.equal(200, answer.status)
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
    local own = answer.body:find("# HELP perigee_requests_total", 1, true)
    assert.equal([=[
# TYPE busy_things gauge
busy_things 2.5
# HELP hits_total Hits,\nby \\route
# TYPE hits_total counter
hits_total{route="other",status="other"} 4
hits_total{route="/\"q\"\n\\",status="200"} 1
hits_total{route="/1",status="404"} 1
hits_total{route="/2",status="404"} 1
hits_total{route="/y",status="200"} 2.5
# TYPE plain_seconds histogram
plain_seconds_bucket{le="0.005"} 0
plain_seconds_bucket{le="0.01"} 0
plain_seconds_bucket{le="0.025"} 0
plain_seconds_bucket{le="0.05"} 0
plain_seconds_bucket{le="0.1"} 0
plain_seconds_bucket{le="0.25"} 0
plain_seconds_bucket{le="0.5"} 1
plain_seconds_bucket{le="1"} 1
plain_seconds_bucket{le="2.5"} 1
plain_seconds_bucket{le="5"} 1
plain_seconds_bucket{le="10"} 1
plain_seconds_bucket{le="+Inf"} 1
plain_seconds_sum 0.3
plain_seconds_count 1
# TYPE time_seconds histogram
time_seconds_bucket{route="??",le="0.1"} 0
time_seconds_bucket{route="??",le="1"} 0
time_seconds_bucket{route="??",le="+Inf"} 1
time_seconds_sum{route="??"} 5
time_seconds_count{route="??"} 1
time_seconds_bucket{route="a",le="0.1"} 2
time_seconds_bucket{route="a",le="1"} 3
time_seconds_bucket{route="a",le="+Inf"} 3
time_seconds_sum{route="a"} 0.65
time_seconds_count{route="a"} 3
]=], answer.body:sub(1, own - 1))
    local text = answer.body
    assert.equal(1, figure(text, "perigee_workers"))
    assert.equal(4, figure(text, 'perigee_metric_overflows_total{metric="hits_total"}'))
    assert.is_true(figure(text, "perigee_requests_total") >= 2)
    assert.is_true(figure(text, "perigee_connections") >= 1)
    assert.matches('\nperigee_process_requests_total{process="worker%-0",role="worker",generation="1",'
      .. 'pid="%d+"} ', text)
    -- every line is a comment or a sample, and every sample has its type said before
    local typed = {}
    for row in text:gmatch "([^\n]*)\n" do
      local name = row:match "^# TYPE (%S+) %l+$"
      if name then
        assert.is_nil(typed[name])
        typed[name] = true
      elseif not row:find "^# HELP %S+ ." then
        local sample = row:match "^([%a_:][%w_:]*){?.*}? [%d.e+-]+$"
        assert.truthy(sample, row)
        local base = sample:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
        assert.truthy(typed[sample] or typed[base], row)
      end
    end
    assert.equal('{"limit":4,"series":4,"overflows":4}', (server:get("/stat").body:gsub("{.*}", function(json)
      local limit, series, overflows = json:match '"limit":(%d+)', json:match '"series":(%d+)',
        json:match '"overflows":(%d+)'
      return ('{"limit":%s,"series":%s,"overflows":%s}'):format(limit, series, overflows)
    end)))
  end)

  it("are served when that is asked for, and never in the place of a user's route", function()
    serve(1)
    assert.equal(404, server:get("/metrics").status)
    assert.matches("# TYPE hits_total counter", server:get("/text").body)
    host.finish()
    serve(1, "/own")
    assert.equal("mine", server:get("/own").body)
    assert.equal(404, server:get("/metrics").status)
    host.finish()
    local wrong = host.run({ "serve", "app.lua", "--bind", "unix:@DIR@/s", "--metrics-path", "metrics" },
      { app = source })
    assert.equal(1, wrong.status)
    assert.truthy(wrong:text():find("the setting metrics_path must be a path", 1, true), wrong:text())
  end)

  it("are one for all workers, over reloads and deaths", function()
    serve(3, "/metrics")
    local function hits(route)
      return figure(server:get("/metrics").body, ('hits_total{route="%s",status="200"}'):format(route))
    end
    for _ = 1, 60 do server:get "/hit/a" end
    assert.equal(60, hits "a")
    server:reload(source)
    server:expect "generation 2 serves"
    server:get "/hit/a"
    assert.equal(61, hits "a")
    server:allow "killed by SIGKILL"
    local pid = tonumber(server:get("/pid").body)
    uv.kill(pid, "sigkill")
    server:expect("pid " .. pid .. " was killed by SIGKILL")
    wait.till(10, "an answer", function() return client.try(server.target, "GET", "/hit/b") ~= nil end)
    assert.equal(61, hits "a")
    wait.till(10, "all workers", function()
      return figure(server:get("/metrics").body, "perigee_workers") == 3
    end)
  end)

  it("are refused at the caller's place where they make no sense", function()
    serve(1)
    local at, text = 0, server:get("/wrong").body
    local expected = { "can only grow: -1", "needs the labels route, status",
      "the label 'status' of the metric",
      "has no label 'method'; it has route, status", "must be a string, a number or a boolean, not a table",
      "takes a number, not x", "takes a number, not", "has no label 'route'; it has none", "no digit first",
      '"__a" cannot be the name of a label', '"le" cannot be the name of a label',
      "buckets must be numbers that grow",
      "did you mean 'labels'?", "exists as counter of 4 series by route,status, not as gauge",
      "series must be a whole number from 1" }
    for row in text:gmatch "[^\n]+" do
      at = at + 1
      assert.truthy(row:find("^app.lua:%d+: "), row)
      assert.truthy(row:find(expected[at], 1, true), row)
    end
    assert.equal(#expected, at)
  end)
end)
