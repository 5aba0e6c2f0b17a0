-- Managed processes: functions and commands that the manager looks after beside the workers.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local uv = require "luv"
local wait = require "spec.support.wait"
local websocket = require "spec.support.websocket"

local base = [[
local perigee = require "perigee"
local app = perigee.app "managed"
local dir = os.getenv "SPEC_INSTANCE"
local function exists(name)
  local file = io.open(dir .. "/" .. name)
  if file then file:close() end
  return file ~= nil
end
local function note(...) print("NOTE", ...) end
local function said(ok, message, code)
  return ("%s %s|%s\n"):format(tostring(ok), code or "-", message or "")
end
app:get("/", function() return "VERSION " .. app.m.pid .. "\n" end)
app:get("/rows", function() return app.m.workers end)
app:get("/restart", function(req)
  local names = req:query_all "name"
  return said(app.m:restart(names[1] and names))
end)
app:get("/stop", function(req) return said(app.m:stop(req.query.name)) end)
app:get("/reload", function() return said(app.m:reload()) end)
MORE
return app
]]

local function make(more, version)
  return (base:gsub("MORE", function() return more end):gsub("VERSION", version or "v1"))
end

local function serve(more, options)
  options = options or {}
  options.app = make(more)
  options.flags = { "--workers", "1", unpack(options.flags or {}) }
  return host.serve(options)
end

local function rows(server, name)
  local list = {}
  for _, row in ipairs(json.decode(server:get("/rows").body)) do
    if row.name == name then list[#list + 1] = row end
  end
  return list
end

local function row_of(server, name) return rows(server, name)[1] end

--- Waits until the process called `name` is in a state, and returns its row.
local function wait_state(server, name, state, seconds)
  local seen
  return wait.till(seconds or 10, function()
    return ("%s to be %s; it is %s; it said:\n%s"):format(name, state, seen or "not there", server:text())
  end, function()
    local row = row_of(server, name)
    seen = row and row.state
    return seen == state and row
  end)
end

local function wait_other(server, name, pid)
  return wait.till(15, function()
    return "another " .. name .. "; it said:\n" .. server:text()
  end, function()
    local row = row_of(server, name)
    return row and row.state == "ACKED" and row.pid ~= pid and row
  end)
end

--- Waits until each pattern is in a line that came after the `from`th, in whatever order: a process's
--- two streams are two pipes.
local function expect_all(server, from, patterns)
  for _, pattern in ipairs(patterns) do
    wait.till(10, function()
      return ("a line like %q; it said:\n%s"):format(pattern, table.concat(server.lines, "\n", from + 1))
    end, function()
      for i = from + 1, #server.lines do
        if server.lines[i]:find(pattern) then return true end
      end
    end)
  end
end

local function is_true(body) assert.equal("true -|\n", body) end

describe("a managed function", function()
  after_each(host.finish)

  it("has the whole runtime in a process of its own", function()
    local server = serve [[
app:main_process_start(function(app) app.shared.n = perigee.shared.value("n", "int64") end)
app.manager:manage("counter", function(process)
  note(process.name, process.index, process.generation, process.pid == app.m.pid, app.m.name, app.m.role)
  app.m.state.color = "green"
  local child = perigee.spawn(function() perigee.sleep(0.01) return "spawned" end)
  note("joined", select(2, child:join()))
  note("command", perigee.process.run({ "echo", "hi" }).stdout:sub(1, 2))
  note("workers", app.m.workers["worker-0"].role)
  local ticks = 0
  app:every(0.01, function() ticks = ticks + 1 end)
  while ticks < 3 do perigee.sleep(0.01) end
  while true do app.shared.n:add(1) perigee.sleep(0.01) end
end, { workers = 2 })
app:get("/n", function() return tostring(app.shared.n:get()) end)
]]
    for _, index in ipairs { 0, 1 } do
      wait.till(10, "its words; it said:\n" .. server:text(), function()
        local pattern = "counter%%-%d gen 1 | NOTE\tcounter%%-%d\t%d\t1\ttrue\tcounter%%-%d\tmanaged"
        return #server:matching(pattern:format(index, index, index, index)) == 1
      end)
    end
    wait.till(10, "what it noted", function()
      return #server:matching "NOTE\tjoined\tspawned" == 2 and #server:matching "NOTE\tcommand\thi" == 2
        and #server:matching "NOTE\tworkers\tworker" == 2
    end)
    local first = tonumber(server:get("/n").body)
    wait.till(10, "it to count", function() return tonumber(server:get("/n").body) > first end)
    local row = row_of(server, "counter-1")
    assert.same({ "managed", "ACKED", false, 1, 1, "green" },
      { row.role, row.state, row.server, row.starts, row.generation, row.color })
    assert.equal(server.pid, tonumber(host.read_file("/proc/" .. row.pid .. "/stat"):match "%) %a (%d+)"))
  end)

  it("waits for shared objects, and publishes to the workers' WebSockets", function()
    local server = serve [[
app:main_process_start(function(app) app.shared.go = perigee.shared.event "go" end)
app.manager:manage("feeder", function()
  for round = 1, 3 do
    app.shared.go:wait()
    app.shared.go:clear()
    note("published", app:publish("news", "round " .. round))
  end
  note("bad", pcall(app.publish, app, "news", "\255"))
end)
app:websocket("/news", function(_, ws)
  ws:subscribe "news"
  ws:send "here"
  for message in ws:messages() do ws:send(message) end
end)
app:get("/go", function() app.shared.go:set() return "gone" end)
]]
    local ws = websocket.open(server.target, "/news")
    assert.equal("here", ws:message().payload)
    for round = 1, 3 do
      server:get "/go"
      assert.equal("round " .. round, ws:message().payload)
    end
    server:expect "NOTE\tbad\tfalse\tapp.lua:%d+: app:publish: a text must be UTF%-8"
    ws:close()
  end)

  it("is told to stop, by name, by a restart and when the host stops, and has time for it", function()
    local server = serve [[
app.manager:manage("polite", function(process)
  note("begins", process.stopping)
  process:on_stop(function(p) perigee.sleep(0.05) note("first", p.stopping, p:stopped()) end)
  process:on_stop(function() error "a handler that fails" end)
  process:on_stop(function() note "third" end)
  process:wait()
  perigee.sleep(0.1)
  note "ends"
end, { transient = true })
]]
    local begins = "NOTE\tbegins\tfalse"
    local ends = { "NOTE\tfirst\ttrue\ttrue", "error: in process:on_stop: app.lua:%d+: a handler that fails",
      "NOTE\tthird", "NOTE\tends", "polite gen 1 pid %d+ exited with status 0" }
    expect_all(server, 0, { begins })
    is_true(server:get("/stop?name=polite").body)
    expect_all(server, 0, ends)
    assert.equal("COMPLETED", row_of(server, "polite").state)
    local from = #server.lines
    is_true(server:get("/restart?name=polite").body)
    expect_all(server, from, { begins })
    from = #server.lines
    is_true(server:get("/restart?name=polite").body)
    expect_all(server, from, { begins, unpack(ends) })
    from = #server.lines
    uv.kill(row_of(server, "polite").pid, "sigterm")
    expect_all(server, from, ends)
    from = #server.lines
    is_true(server:get("/restart?name=all").body)
    expect_all(server, from, { begins })
    assert.equal(0, server:stop())
    expect_all(server, from, ends)
  end)

  it("that does not look is cancelled in what it waits for, and may clean up", function()
    local server = serve [[
app.manager:manage("waiting", function()
  local ok, why = pcall(perigee.sleep, 1000)
  note("cleans", ok, why)
end)
app.manager:manage("plain", function() perigee.sleep(1000) end)
]]
    wait_state(server, "waiting", "ACKED")
    is_true(server:get("/stop?name=waiting").body)
    server:expect "NOTE\tcleans\tfalse\tcancelled: the process is to end"
    is_true(server:get("/stop?name=plain").body)
    assert.equal("COMPLETED", row_of(server, "plain").state)
    assert.is_nil(row_of(server, "plain").last_error)
  end)

  it("that does not stop is killed after stop_timeout", function()
    local server = serve [[
app.manager:manage("deaf", function(process)
  process:on_stop(function() end)
  perigee.sleep(1000)
end, { stop_timeout = 0.2 })
app.manager:manage("stuck", function() note "spins" while true do end end, { stop_timeout = 0.2 })
]]
    wait_state(server, "deaf", "ACKED")
    server:expect "NOTE\tspins"
    local began = wait.now()
    is_true(server:get("/stop?name=deaf").body)
    assert.is_true(wait.now() - began >= 0.2)
    server:expect "deaf gen 1 .*overdue"
    is_true(server:get("/stop?name=stuck").body)
    server:expect "stuck gen 1 .*overdue"
  end)

  it("is restarted by its policy, later and later, until it is given up", function()
    local server = serve([[
app.manager:manage("fails", function() error "no good" end, { max_restarts = 3, within = 60 })
app.manager:manage("returns", function() note "returns" end)
app.manager:manage("always", function() note "always" end, { restart = "always", max_restarts = 2 })
app.manager:manage("never", function() error "never again" end, { restart = "never" })
]], { flags = { "--set", "restart_delay_min=0.02" } })
    server:expect "fails is given up: it was restarted 3 times within 1 min 0 s already"
    local row = wait_state(server, "fails", "FAILED")
    assert.equal(4, row.starts)
    assert.truthy(row.last_error:find "app.lua:%d+: no good", row.last_error)
    assert.equal("COMPLETED", row_of(server, "returns").state)
    assert.equal(1, row_of(server, "returns").starts)
    wait.till(10, "3 runs", function() return #server:matching "NOTE\talways" == 3 end)
    assert.equal(1, row_of(server, "never").starts)
    assert.equal("FAILED", row_of(server, "never").state)
    wait.pause(0.2)
    assert.equal(4, row_of(server, "fails").starts)
  end)

  it("with notify is ready when it says so, in its time", function()
    local server = serve([[
app.manager:manage("slow", function(process)
  while not exists "go" do perigee.sleep(0.02) end
  note("ready", process:ready())
  process:wait()
end, { notify = true })
app.manager:manage("late", function() perigee.sleep(1000) end,
  { notify = true, start_timeout = 0.2, restart = "never" })
]])
    wait_state(server, "slow", "STARTED")
    host.write_file(server.dir .. "/go", "")
    server:expect "NOTE\tready\ttrue"
    assert.equal("ACKED", row_of(server, "slow").state)
    local row = wait_state(server, "late", "FAILED")
    assert.truthy(row.last_error:find "late gen 1 pid %d+ failed to start: not ready after", row.last_error)
  end)

  it("is not started before it is asked for with auto_start = false", function()
    local server = serve [[
app.manager:manage("lazy", function(process) note "wakes" process:wait() end,
  { auto_start = false, restartable = true })
]]
    local row = row_of(server, "lazy")
    assert.same({ "NONE", 0 }, { row.state, row.starts })
    assert.is_nil(row.pid)
    is_true(server:get("/restart?name=lazy").body)
    row = row_of(server, "lazy")
    assert.same({ "ACKED", 1 }, { row.state, row.starts })
    server:expect "NOTE\twakes"
    assert.truthy(server:get("/restart?name=lazy").body:find("nil EBUSY|'lazy' is not in a final", 1, true))
    is_true(server:get("/stop?name=lazy").body)
    is_true(server:get("/restart?name=lazy").body)
    assert.equal(2, row_of(server, "lazy").starts)
  end)

  it("with several processes is restarted one after the other, and not on when one cannot start", function()
    local server = serve [[
app:main_process_start(function(app)
  app.shared.n = perigee.shared.value("n", "int64")
end)
app.manager:manage("many", function(process)
  if exists "broken" then error "it is broken" end
  if app.shared.n:add(1) < 3 and exists "watch" then note "fewer" end
  while exists "slow" do perigee.sleep(0.01) end
  process:ready()
  process:wait()
  app.shared.n:add(-1)
end, { workers = 3, transient = true, notify = true, restart = "never" })
]]
    for i = 0, 2 do wait_state(server, "many-" .. i, "ACKED") end
    host.write_file(server.dir .. "/watch", "")
    is_true(server:get("/restart?name=many").body)
    for i = 0, 2 do assert.equal(2, row_of(server, "many-" .. i).starts) end
    assert.equal(0, #server:matching "NOTE\tfewer")
    host.write_file(server.dir .. "/broken", "")
    local body = server:get("/restart?name=many").body
    assert.truthy(body:find "nil failed|many%-%d gen 1 pid %d+ failed to start", body)
    local states = {}
    for i = 0, 2 do
      local state = row_of(server, "many-" .. i).state
      states[state] = (states[state] or 0) + 1
    end
    assert.same({ ACKED = 2, FAILED = 1 }, states)
  end)

  it("can ask for its own restart and stop, and has its answer", function()
    local server = serve [[
app.manager:manage("self", function(process)
  process:on_stop(function() end)
  if exists "stop" then note("stop", app.m:stop()) process:wait() return end
  if not exists "again" then
    io.open(dir .. "/again", "w"):close()
    note("restart", app.m:restart())
  end
  process:wait()
end, { transient = true })
]]
    server:expect "NOTE\trestart\ttrue\tthis process goes before all is done"
    wait.till(10, "its second start", function()
      local row = row_of(server, "self")
      return row.starts == 2 and row.state == "ACKED"
    end)
    host.write_file(server.dir .. "/stop", "")
    server:get "/restart?name=self"
    server:expect "NOTE\tstop\ttrue\tthis process goes before all is done"
    wait_state(server, "self", "COMPLETED")
  end)
end)

describe("a reload", function()
  after_each(host.finish)

  local function code(version, more)
    return ([[
local version = "%s"
app.manager:manage("durable", function(process) note("durable", version) process:wait() end)
app.manager:manage("transient", function(process) note("transient", version) process:wait() end,
  { transient = true })
%s]]):format(version, more or "")
  end

  it("replaces what is transient, and lets what is not go on with its old code", function()
    local server = serve(code("v1", [[
app.manager:manage("gone", function(process) process:wait() note "leaves" end)
app.manager:manage("broken", function() error "broken in v1" end, { max_restarts = 0 })
app.manager:manage("done", function() note "did it" end)
app.manager:manage("many", function(process) process:wait() end, { workers = 3 })
]]))
    server:expect "NOTE\ttransient\tv1"
    local durable = wait_state(server, "durable", "ACKED")
    local transient = wait_state(server, "transient", "ACKED")
    wait_state(server, "many-2", "ACKED")
    wait_state(server, "gone", "ACKED")
    wait_state(server, "broken", "FAILED")
    wait_state(server, "done", "COMPLETED")
    server:write(make(code("v2", [[
app.manager:manage("broken", function(process) note "mended" process:wait() end)
app.manager:manage("done", function() note "did it" end)
app.manager:manage("many", function(process) process:wait() end, { workers = 2 })
app.manager:manage("new", function(process) process:wait() end)
]]), "v2"))
    assert.truthy(server:get("/reload").body:find "^true")
    server:expect "NOTE\ttransient\tv2"
    assert.are_not.equal(transient.pid, wait_state(server, "transient", "ACKED").pid)
    assert.equal(2, row_of(server, "transient").generation)
    assert.equal(durable.pid, row_of(server, "durable").pid)
    assert.equal(1, row_of(server, "durable").generation)
    wait.till(10, "gone and many-2 to be gone", function()
      return not row_of(server, "gone") and not row_of(server, "many-2")
    end)
    assert.truthy(server:matching("NOTE\tleaves")[1])
    assert.equal(1, row_of(server, "many-1").generation)
    wait_state(server, "broken", "ACKED")
    wait_state(server, "new", "ACKED")
    assert.equal(1, row_of(server, "done").starts)

    uv.kill(durable.pid, "sigkill") -- what it starts next is the new code
    server:expect "NOTE\tdurable\tv2"
    assert.equal(2, wait_state(server, "durable", "ACKED").generation)
  end)

  it("that fails touches none of them", function()
    local server = serve(code "v1")
    local durable = wait_state(server, "durable", "ACKED")
    local transient = wait_state(server, "transient", "ACKED")
    server:write(make(code "v2" .. "\nerror 'no'\n", "v2"))
    assert.truthy(server:get("/reload").body:find "^nil failed")
    assert.equal(durable.pid, row_of(server, "durable").pid)
    assert.equal(transient.pid, row_of(server, "transient").pid)
  end)
end)

describe("a managed command", function()
  after_each(host.finish)

  it("has its environment, directory and limits, and its output is in the log by its name", function()
    local server = serve([[
app.manager:manage("script", { "sh", "-c", "echo $COLOR $HOME-; pwd; ulimit -n; echo oops >&2; sleep 1000" },
  { env = { COLOR = "red", HOME = false }, cwd = "/usr", rlimits = { nofile = { 77, 88 } } })
]])
    expect_all(server, 0, { " script | red %-$", " script | /usr$", " script | 77$", " script | oops$" })
    local row = wait_state(server, "script", "ACKED")
    assert.equal("command", row.role)
    assert.truthy(host.read_file("/proc/" .. row.pid .. "/cmdline"):find("^sh"))
  end)

  it("runs as another user", function()
    if not host.may_run_as "nobody" then return pending "needs root, and a binary others may run" end
    local server = serve [[
app.manager:manage("other", { "sh", "-c", "id -un; id -gn; sleep 1000" }, { user = "nobody" })
app.manager:manage("fn", function() note("uid", require "luv".getuid() ~= 0) perigee.sleep(1000) end,
  { user = "nobody" })
app.manager:manage("nobody-there", { "true" }, { user = "no-such-user", restart = "never" })
]]
    expect_all(server, 0, { " other | nobody$", " other | nogroup$", "NOTE\tuid\ttrue" })
    local row = wait_state(server, "nobody-there", "FAILED")
    assert.truthy(row.last_error:find("there is no user 'no-such-user'", 1, true), row.last_error)
  end)

  it("is the user that the app is, and cannot be more", function()
    if not host.may_run_as "nobody" then return pending "needs root, and a binary others may run" end
    local server = serve([[
app.manager:manage("same", { "sh", "-c", "id -un; sleep 1000" })
app.manager:manage("more", { "id", "-un" }, { user = "root", restart = "never" })
app.manager:manage("fn", function() end, { user = "root", restart = "never" })
]], { flags = { "--user", "nobody" }, open = true })
    expect_all(server, 0, { " same | nobody$" })
    for _, name in ipairs { "more", "fn" } do
      local row = wait_state(server, name, "FAILED")
      assert.truthy(row.last_error:find("cannot become the user 'root'", 1, true), row.last_error)
    end
  end)

  it("is stopped by its signal, with all that it started", function()
    local server = serve [[
app.manager:manage("tree", { "sh", "-c",
  "trap '' TERM; trap 'echo told; exit 3' USR2; sh -c 'trap \"\" TERM USR2; sleep 997; sleep 997' & "
  .. "setsid sleep 998 & echo here; while :; do sleep 0.05; done" },
  { stop_signal = "USR2", restart = "never" })
]]
    server:expect " tree | here"
    wait_state(server, "tree", "ACKED")
    local count = #server:processes()
    is_true(server:get("/stop?name=tree").body)
    server:expect " tree | told"
    server:expect "tree pid %d+ exited with status 3"
    assert.is_true(#server:processes() <= count - 4)
    assert.equal("FAILED", row_of(server, "tree").state)
  end)

  it("is killed when it does not stop, and restarted by its policy when its shepherd is killed", function()
    local server = serve([[
app.manager:manage("deaf", { "sh", "-c", "trap '' TERM; echo heeds not; while :; do sleep 0.05; done" },
  { stop_timeout = 0.2 })
app.manager:manage("kept", { "sh", "-c", "sleep 996 & echo kept; sleep 996" })
]], { flags = { "--set", "restart_delay_min=0.02" } })
    expect_all(server, 0, { " deaf | heeds not" })
    is_true(server:get("/stop?name=deaf").body)
    server:expect "deaf pid %d+ was overdue: .*killed by SIGKILL"
    expect_all(server, 0, { " kept | kept" })
    local row = wait_state(server, "kept", "ACKED")
    local count = #server:processes()
    local shepherd = tonumber(host.read_file("/proc/" .. row.pid .. "/stat"):match "%) %a (%d+)")
    uv.kill(shepherd, "sigkill")
    local again = wait_other(server, "kept", row.pid)
    assert.equal(2, again.starts)
    server:wait_processes(count)
    uv.kill(again.pid, "sigkill")
    assert.equal(3, wait_other(server, "kept", again.pid).starts)
    assert.truthy(row_of(server, "kept").last_error:find "killed by SIGKILL")
  end)
end)

describe("app.m:manage", function()
  after_each(host.finish)

  local more = [[
app.manager:register("resize", function(process) note("resize", process.name) process:wait() end)
app:get("/manage", function(req)
  local options = { tracked = req.query.tracked == "1" or nil, notify = req.query.notify == "1" or nil,
    restart = "never", workers = tonumber(req.query.workers) }
  local what = req.query.fn or { "sh", "-c", req.query.sh or "exec sleep 1000" }
  if req.query.argv then what = { req.query.argv } end
  return said(app.m:manage(req.query.name, what, options))
end)
]]

  it("starts commands, registered functions and functions of modules, and answers when they are ready",
    function()
      local server = serve(more, { files = { ["jobs.lua"] = [[
return {
  nightly = function(process) print("NOTE", "nightly", process.name) process:ready() process:wait() end,
}
]] } })
      is_true(server:get("/manage?name=a").body)
      assert.equal("ACKED", row_of(server, "a").state)
      is_true(server:get("/manage?name=b&fn=resize&workers=2").body)
      wait.till(10, "both", function() return #server:matching "NOTE\tresize\tb%-[01]" == 2 end)
      is_true(server:get("/manage?name=c&fn=jobs.nightly&notify=1").body)
      server:expect "NOTE\tnightly\tc"
      assert.equal("ACKED", row_of(server, "c").state)
      assert.truthy(server:get("/manage?name=b").body:find("nil EEXIST|there is a process 'b'", 1, true))
      assert.truthy(server:get("/manage?name=b-1").body:find("nil EEXIST", 1, true))
      local body = server:get("/manage?name=d&argv=/no/such/program").body
      assert.truthy(body:find "nil failed|d pid %d+ failed to start after .*: No such file or", body)
      is_true(server:get("/stop?name=b-1").body)
      is_true(server:get("/stop?name=b").body)
      assert.is_nil(row_of(server, "b-0"))
    end)

  it("forgets what is over and not tracked, and keeps the row of what is", function()
    local server = serve(more)
    is_true(server:get("/manage?name=brief&sh=true").body)
    wait.till(5, "its row to be gone", function() return not row_of(server, "brief") end)
    is_true(server:get("/manage?name=brief&sh=true&tracked=1").body)
    wait_state(server, "brief", "COMPLETED")
    assert.truthy(server:get("/manage?name=brief").body:find "EEXIST")
  end)

  it("keeps what it started, and what was stopped, over a reload", function()
    local server = serve(more)
    server:get "/manage?name=stays"
    server:get "/manage?name=stopped&tracked=1"
    is_true(server:get("/stop?name=stopped").body)
    assert.equal("COMPLETED", row_of(server, "stopped").state)
    local row = row_of(server, "stays")
    assert.truthy(server:get("/reload").body:find "^true")
    assert.equal(row.pid, row_of(server, "stays").pid)
    assert.equal("COMPLETED", row_of(server, "stopped").state)
  end)

  it("raises at the caller's line for what is wrong", function()
    local server = serve [[
local function try(...)
  local ok, problem = pcall(app.m.manage, app.m, ...)
  return tostring(ok) .. " " .. tostring(problem) .. "\n"
end
app.manager:register("resize", function() end)
app:get("/try", function()
  return try("a", function() end) .. try("a", "resise") .. try("a b", { "true" }) .. try("a", {})
    .. try("all", { "true" }) .. try("a", { "true" }, { transiant = true })
    .. try("a", { "true", ("x"):rep(70000) })
    .. try("a", { "true" }, { stop_signal = "NOPE" }) .. try("a", { "true" }, { rlimits = { nofiles = 1 } })
end)
]]
    local body = server:get("/try").body
    assert.truthy(body:find("true nil\n", 1, true), body) -- and, behind it, how many bytes there may be
    for _, text in ipairs {
      "a function made here is in no other process",
      "no function is registered as 'resise'; did you mean 'resize'?",
      "a name is 1 to 31 of", "the command is empty", "the name 'all' is Perigee's",
      "unknown option 'transiant'; did you mean 'transient'?", "stop_signal: NOPE is no signal",
      "there is no limit 'nofiles'; did you mean 'nofile'?" } do
      local pattern = "false app.lua:%d+: app.m:manage: [^\n]*" .. text:gsub("%p", "%%%0")
      assert.truthy(body:find(pattern), text .. "\n" .. body)
    end
  end)
end)

describe("app.manager:manage", function()
  after_each(host.finish)

  it("is for config scripts and main_process_ready too", function()
    local server = serve([[
app:main_process_ready(function(app)
  note("asked", app.manager:manage("at-ready", function(process) process:wait() end))
  note("again", app.manager:manage("from-config", { "true" }))
end)
]], { files = { ["perigee.conf.lua"] = [[
app.manager:manage("from-config", { "sleep", "1000" })
]] } })
    server:expect "NOTE\tasked\ttrue\tbegun"
    server:expect "NOTE\tagain\tnil\tthere is a process 'from%-config' already\tEEXIST"
    wait_state(server, "at-ready", "ACKED")
    wait_state(server, "from-config", "ACKED")
  end)

  it("names the line of what is wrong, also in perigee check", function()
    local function problem_of(call)
      local run = host.run({ "check", "app.lua" }, { app = make(call) })
      assert.equal(1, run.status)
      return run.stderr[1]
    end
    for call, text in pairs {
      ['app.manager:manage("a", function() end) app.manager:manage("a", { "true" })'] =
        "there is a process 'a' already, from app.lua:%d+",
      ['app.manager:manage("a", { "true" }, { workers = 3 }) app.manager:manage("a-2", { "true" })'] =
        "there is a process 'a%-2' already",
      ['app.manager:manage("a", { "true" }, { transient = true, restartable = false })'] =
        "it cannot be restartable = false",
      ['app.manager:manage("a", { "true" }, { auto_start = false })'] = "so it must be restartable",
      ['app.manager:manage("a", { "true" }, { notify = true })'] = "notify is for functions",
      ['app.manager:manage("a", function() end, { stop_signal = "INT" })'] = "stop_signal is for commands",
      ['app.manager:manage("a", { "true" }, { restart = "alway" })'] = "did you mean 'always'",
      ['app.manager:manage("a", { "true" }, { workers = 0 })'] = "workers must be a whole number from 1",
      ['app.manager:manage("a", { "true" }, { restart = "never", within = 3 })'] = "are of no use",
      ['app.manager:manage("a")'] = "must be a table, not nil",
    } do
      local line = problem_of(call)
      assert.truthy(line:find("app.lua:%d+: app.manager:manage: .*" .. text), text .. "\n" .. line)
    end
  end)
end)

describe("managed processes", function()
  after_each(host.finish)

  local more = [[
app.manager:manage("fn", function(process) process:wait() end, { workers = 2, transient = true,
  max_restarts = 100 })
app.manager:manage("spins", function(process) process:on_stop(print) while true do end end,
  { restart = "always", stop_timeout = 0.3, max_restarts = 100 })
app.manager:manage("deaf", { "sh", "-c", "trap '' TERM HUP INT; SETSID sleep 995 & sleep 995 & "
  .. "while :; do sleep 0.05; done" }, { restart = "always", stop_timeout = 0.3, max_restarts = 100 })
]]

  it("are gone within three seconds when the manager is killed", function()
    local server = serve((more:gsub("SETSID", "setsid")))
    wait_state(server, "deaf", "ACKED")
    wait_state(server, "fn-1", "ACKED")
    wait_state(server, "spins", "ACKED")
    uv.kill(server.pid, "sigkill")
    wait.till(3, function()
      return "no process to be left; there are:\n" .. require "spec.support.proc".describe(server:processes())
    end, function() return #server:processes() == 0 end)
    server:wait_exit()
  end)

  it("leave nothing behind when the host stops, not even what escaped a killed shepherd", function()
    local server = serve((more:gsub("SETSID", "setsid")))
    local row = wait_state(server, "deaf", "ACKED")
    uv.kill(tonumber(host.read_file("/proc/" .. row.pid .. "/stat"):match "%) %a (%d+)"), "sigkill")
    wait_other(server, "deaf", row.pid)
    assert.equal(0, server:stop())
    assert.equal(0, #server:processes())
  end)

  it("stand a storm of deaths, restarts, stops and reloads", function()
    -- What a killed shepherd's command had started in another session lives until the host stops.
    local server = serve((more:gsub("SETSID", "")), { flags = { "--set", "restart_delay_min=0.01",
      "--set", "restart_delay_max=0.05" } })
    wait_state(server, "deaf", "ACKED")
    math.randomseed(7)
    local names = { "fn", "fn-0", "spins", "deaf", "all", "worker-0" }
    local asked = {}
    for i = 1, 60 do
      local dice = math.random(5)
      local name = names[math.random(#names)]
      if dice <= 2 then
        local children = {}
        for _, process in ipairs(server:processes()) do
          local ours = process.pid ~= server.pid and process.name ~= "perigee-guard"
          if ours then children[#children + 1] = process.pid end
        end
        uv.kill(children[math.random(#children)], "sigkill")
      elseif dice == 5 and i % 4 == 0 then
        server:signal "sighup"
      else
        local connection = client.try_connect(server.target)
        if connection then
          local path = dice == 3 and "/restart" or "/stop"
          connection:send(("GET %s?name=%s HTTP/1.1\r\nHost: x\r\n\r\n"):format(path, name))
          asked[#asked + 1] = connection
        end
      end
      wait.pause(math.random() * 0.1)
    end
    for _, connection in ipairs(asked) do connection:close() end
    server:signal "sighup" -- starts again what is transient
    wait.till(30, function() return "fn to be back; it said:\n" .. server:text() end, function()
      local ok, list = pcall(rows, server, "fn-1")
      return ok and #list == 1 and list[1].state == "ACKED"
    end)
    server:get "/stop?name=deaf"
    server:get "/stop?name=spins"
    -- manager, guardian, main process, a worker, fn-0, fn-1
    server:wait_processes(6, 30)
    assert.equal(0, server:stop())
  end)
end)
