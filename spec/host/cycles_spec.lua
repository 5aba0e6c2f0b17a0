-- Everything an app may ask of the manager, again and again and at random, under load, while processes
-- are killed: no request is lost but those in flight on a killed worker, and nothing is left behind.
--
-- CYCLES (40) and CYCLES_SEED make other runs.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local load = require "spec.support.load"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"

local cycles = tonumber(os.getenv "CYCLES") or 40
local seed = tonumber(os.getenv "CYCLES_SEED") or os.time()
local clients = 12 -- of each kind

local app = [[
local perigee = require "perigee"
local ffi = require "ffi"
ffi.cdef "unsigned shm_state_seats(void);"
local app = perigee.app "cycled"
app:main_process_start(function(app)
  app.shared.turn = perigee.shared.lock "turn"
  app.shared.turns = perigee.shared.value("turns", "int64")
end)
local function take_turns(process)
  while not process.stopping do
    app.shared.turn:with(function() app.shared.turns:add(1) perigee.sleep(0.002) end)
    perigee.sleep(0.002)
  end
end
app.manager:manage("turner", take_turns, { workers = 2, restart = "always", max_restarts = 100,
  transient = true })
local function said(ok, message, code)
  return ("%s %s|%s\n"):format(tostring(ok), code or "-", message or "")
end
app:get("/", function() return "v1 " .. app.m.pid .. "\n" end)
app:get("/scale/<n:int>", function(_, n) return said(app.m:scale(n)) end)
app:get("/restart", function(req)
  return said(app.m:restart(req.query.name, { order = req.query.order }))
end)
app:get("/reload", function() return said(app.m:reload()) end)
app:get("/manage", function(req)
  return said(app.m:manage(req.query.name, req.query.fn or { "sleep", "990" }, { restart = "never" }))
end)
app:get("/stop", function(req) return said(app.m:stop(req.query.name)) end)
app:get("/figures", function()
  return { rows = app.m.workers, seats = ffi.C.shm_state_seats(), stat = perigee.shared.stat(),
    turns = app.shared.turns:get() }
end)
return app
]]

--- What app.m.workers and the memory show, from whichever worker answers.
local function figures(server)
  local response
  wait.till(10, "the figures", function() -- who is asked may be killed, or have been
    response = client.try(server.target, "GET", "/figures")
    return response and response.status == 200
  end)
  return json.decode(response.body)
end

--- The processes that are there for good: ready, and where they belong.
local function rows_of(server)
  local names = {}
  for _, row in ipairs(figures(server).rows) do
    names[#names + 1] = row.name .. " " .. row.state
  end
  return table.concat(names, ", ")
end

--- The bytes of the manager's memfds: the region, the slots table, the feed.
local function shared_memory(pid)
  local folder, total = "/proc/" .. pid .. "/fd/", 0
  local scan = uv.fs_scandir(folder)
  while true do
    local name = uv.fs_scandir_next(scan)
    if not name then return total end
    if (uv.fs_readlink(folder .. name) or ""):find("memfd:", 1, true) then
      total = total + uv.fs_stat(folder .. name).size
    end
  end
end

--- Waits until nothing moves: two workers, two managed processes, nobody on the way in or out.
local function settle(server)
  assert.truthy(server:get("/scale/2").body:find "^true", server:text())
  local expected = "main ACKED, turner-0 ACKED, turner-1 ACKED, worker-0 ACKED, worker-1 ACKED"
  local seen
  wait.till(30, function() return ("%s; there is %s; it said:\n%s"):format(expected, seen, server:text()) end,
    function()
      local names = {}
      for name in rows_of(server):gmatch "[^,]+" do names[#names + 1] = name:match "^%s*(.*)" end
      table.sort(names)
      seen = table.concat(names, ", ")
      return seen == expected
    end)
  return server:wait_processes(7, 20) -- manager, guardian, main, two workers, two turners
end

local function main_process(server)
  for _, row in ipairs(figures(server).rows) do
    if row.name == "main" then return row.pid end
  end
end

--- What a settled host holds: equal before and after, however much has happened.
local function held(server)
  local stat = figures(server).stat
  return { descriptors = proc.descriptors(server.pid), main = proc.descriptors(main_process(server)),
    used = stat.used, memfds = shared_memory(server.pid), objects = #stat.objects }
end

local orders = { "", "&order=startup_first", "&order=shutdown_first" }
local jobs = {}

local function pick(list) return list[math.random(#list)] end

--- One request at random, and which refusals are no fault without a kill.
local function choose(number)
  local dice = math.random(12)
  if dice <= 3 then return "/scale/" .. math.random(5), {} end
  if dice <= 6 then
    local name = pick { "all", "worker-0", "worker-" .. math.random(0, 4), "turner", "turner-1", "" }
    local query = name == "" and "?x=1" or "?name=" .. name
    return "/restart" .. query .. pick(orders), { ENOENT = name:find "worker%-[1-9]" ~= nil }
  end
  if dice == 7 then return "/reload", {} end
  if dice <= 9 and #jobs > 0 then
    return "/stop?name=" .. table.remove(jobs, math.random(#jobs)), { ENOENT = true }
  end
  jobs[#jobs + 1] = "job" .. number
  return ("/manage?name=job%d%s"):format(number, pick { "", "&fn=turner" }), {}
end

local function kill_one(server)
  local candidates = {}
  for _, process in ipairs(server:processes()) do
    if process.pid ~= server.pid and process.state ~= "Z" then candidates[#candidates + 1] = process end
  end
  local victim = pick(candidates)
  local at = wait.now()
  uv.kill(victim.pid, "sigkill")
  return { pid = tostring(victim.pid), at = at, what = victim.name .. " " .. victim.command }
end

--- Notes which workers went on serving when a kill's cycle was over: what they have was never the dead one's.
local function note_serving(server, kill)
  kill.serving = {}
  for _, row in ipairs(figures(server).rows) do
    if row.role == "worker" and row.state == "ACKED" then kill.serving[tostring(row.pid)] = true end
  end
end

--- Whether a failed request was in flight on a killed worker: failed at the kill, asked before its news
-- had come, on a connection that was the dead one's, made by itself or passed to it.
local function explained(event, kills)
  for _, kill in ipairs(kills) do
    local late, early = event.at - kill.at, event.asked_at - kill.at
    local cut = event.kind == "reset" or event.kind == "lost" or event.kind == "short"
    local its = event.pid == nil or event.pid == kill.pid or not (kill.serving or {})[event.pid]
    if cut and its and late > -0.05 and late < 2 and early < 0.3 then return true end
  end
  return false
end

describe("cycles of control under load", function()
  after_each(host.finish)

  it("lose nothing but what a killed worker had in flight, and leak nothing", function()
    math.randomseed(seed)
    local server = host.serve { app = app, binary = host.release_binary, flags = { "--workers", "2",
      "--set", "restart_delay_min=0.01", "--set", "restart_delay_max=0.05",
      "--graceful-timeout", "5" } }
    -- Once around, so that what is made at first use is there.
    for _, path in ipairs { "/scale/5", "/restart?name=all", "/manage?name=first", "/stop?name=first",
      "/reload", "/scale/2" } do
      assert.equal("true -|", server:get(path).body:match "^true %-|", path)
    end
    settle(server)
    local before = held(server)

    local run = load.start { target = server.target, keep_alive = clients, one_shot = clients,
      seconds = 3600 }
    local began = wait.now()
    local kills, strange, cut = {}, {}, 0
    for number = 1, cycles do
      local path, allowed = choose(number)
      local connection = client.connect(server.target)
      connection:request("GET", path)
      local kill
      if math.random(3) == 1 then
        wait.pause(math.random() * 0.08)
        kill = kill_one(server)
        kills[#kills + 1] = kill
      end
      local response, why = connection:response(30)
      connection:close()
      local answer = response and response.body:gsub("\n$", "") or why
      local code = answer:match "^nil (%S+)|"
      if not response then
        cut = cut + 1
      end
      local fine = answer:find "^true" or allowed[code]
        or kill and (code or not response and why ~= "timeout")
      if not fine then strange[#strange + 1] = ("%d %s: %s"):format(number, path, answer) end
      if kill then note_serving(server, kill) end
      wait.pause(math.random() * 0.03)
    end
    local seconds = wait.now() - began
    for _, name in ipairs(jobs) do server:get("/stop?name=" .. name) end
    jobs = {}
    settle(server)
    run:stop()
    local result = run:result()
    settle(server)

    local lost = {}
    for _, event in ipairs(result.events) do
      if not explained(event, kills) then
        lost[#lost + 1] = ("%s after %.3f s, pid %s"):format(event.kind, event.at - began, event.pid)
      end
    end
    local story = ("seed %d\n%s\n%s"):format(seed, table.concat(result.examples, "\n"), server:text())
    assert.same({}, strange, story)
    assert.same({}, lost, story)
    assert.is_true(result.failures <= #kills * 2 * clients, story)
    wait.till(10, "as many descriptors as before", function()
      return proc.descriptors(server.pid) <= before.descriptors
    end)
    assert.same(before, held(server), story)
    local last = figures(server)
    assert.is_true(last.seats < 64, last.seats .. " seats were taken at once")
    local turns = last.turns
    wait.till(5, "the lock to go round", function() return figures(server).turns > turns end)
    print(("    %d cycles in %.1f s, %d kills, %d requests, %d in flight on the killed, longest %.0f ms, "
      .. "%d answers cut, %d seats"):format(cycles, seconds, #kills, result.ok, result.failures,
      result.longest, cut, last.seats))
    assert.equal(0, server:stop())
  end)
end)
