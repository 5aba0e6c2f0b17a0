-- What users of another application server rely on, and what went wrong there: the places where each is
-- proved here.
--
-- `behaviours` has what that server's own tests assert, as far as it has a meaning here; `faults` what was
-- seen to fail in it; `without` what has no spec, and why. A row is the behaviour, and { file, `it` } for
-- each spec that proves it; the first `it` below fails when one of them is not there. The specs that follow
-- are those for which no other file is the place.

local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "perigee.json"
local load = require "spec.support.load"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"

local here = "parity"

local behaviours = {
  -- The manager.
  { "there is no serving without workers", { "control", "refuses absurd numbers without harm" },
    { here, "refuses to start without workers" } },
  { "the first signal stops every process gracefully, the second at once",
    { "signals", 'name:upper() .. " drains, and forces when it comes again"' },
    { "start", '"is forced by a second " .. signal:upper()' } },
  { "a restart of all ends each process once, and names stay",
    { "control", "restarts all, one at a time, its own last" },
    { "state", "tells the truth after a restart, a death and a reload" } },
  { "a restart by name touches that one only",
    { "control", "puts a fresh process in the place of one, by either spelling of its name" } },
  { "an unknown name harms nobody", { "control", "names the nearest name, and harms nobody" } },
  { "both restart orders are passed on",
    { "control", "in the order shutdown_first says so when its own process goes before the end" },
    { "reload", "works the other way round: shutdown_first" } },
  { "scaling 1, 3, 2, 1, and to the same number", { "control", "returns when the workers serve" } },
  { "managed processes have their defaults, options and combinations",
    { "manage", "names the line of what is wrong, also in perigee check" },
    { "manage", "is restarted by its policy, later and later, until it is given up" } },
  { "a name is given once, and transient is restartable",
    { "manage", "names the line of what is wrong, also in perigee check" } },
  { "what is not tracked is forgotten when it is over, what is tracked is not",
    { "manage", "forgets what is over and not tracked, and keeps the row of what is" } },
  -- app.m.
  { "app.m is there in a worker, and not where there is no manager",
    { "single_process", "has no manager, and says so when one is asked for" } },
  { "a worker that is ready says so in its row",
    { "state", "has a row for the main process and each worker, with all that is known" } },
  { "restart of oneself, of a name, of all, in either order",
    { "control", "restarts its own process when no name is given, and has its answer first" },
    { "control", "restarts all, one at a time, its own last" } },
  { "reload, terminate, scale and manage reach the manager",
    { "control", "returns when the new code serves everywhere, or before its own worker goes" },
    { "control", "ends the host with app.m:terminate" },
    { "manage",
      "starts commands, registered functions and functions of modules, and answers when they are ready" } },
  { "name, pid, the rows of all and one's own state can be read",
    { "state", "has a row for the main process and each worker, with all that is known" } },
  -- State.
  { "keys of one's own are set, read and forgotten",
    { "state", "takes keys that all processes read, until the process ends" },
    { "state", "forgets a key that is set to nil" } },
  { "restricted keys are refused", { "state",
    "refuses what is Perigee's, what has no form, and what is too large, at the caller's line" } },
  -- Restarts of managed processes.
  { "a restart of all takes what is transient, never what is not",
    { here, "restarts what is transient with the workers, and nothing else" },
    { "manage", "replaces what is transient, and lets what is not go on with its old code" } },
  { "what is not transient is restarted by name only when it is over",
    { "manage", "is not started before it is asked for with auto_start = false" },
    { here, "restarts what is transient with the workers, and nothing else" } },
  -- Reload.
  { "one start and one end for each process", { here, "starts and ends each process once in a reload" } },
  { "a new process that does not become ready in time fails, and the old one serves",
    { "reload", "keeps the old generation after an endless loop at load" } },
  { "requests that come together are one reload",
    { "reload", "merges requests that come while one is under way" },
    { "control", "merges what comes meanwhile, and answers every asker" } },
  { "changed modules are loaded anew", { "reload", "picks up changed modules beside the app" } },
  -- Start.
  { "settings reach the workers", { "command",
    "takes settings from flags before environment before config script before defaults" } },
  { "an app is named by its file or its folder", { "cli", "finds app.lua in a folder", "unit" } },
  { "a start that fails says why, with status 1",
    { "start", "exits 1 with file, line and traceback of an error" },
    { "start", "exits 1 when before_server_start raises" },
    { "start", "exits 1 when main_process_start raises" },
    { "start", "names address and owner of a port in use" } },
  { "there is a process for each worker", { "start", "serves, and says where, with whom and how" },
    { "supervise", "stands a storm of signals and deaths" } },
  { "auto is as many workers as there are CPUs to use",
    { "command", "takes as many workers as it may use CPUs when told auto" } },
  { "single_process refuses what needs a manager",
    { "single_process", "refuses what needs a manager, and names it" } },
  { "shared objects only, and none after the fork",
    { "app", "shares only shared objects, and only before the fork", "unit" } },
  { "the command line is checked", { "command", "suggests the flag that was meant" },
    { "command", "refuses a value that is none" },
    { "cli", '"is told in one line: " .. row[2]', "unit" } },
  { "the banner tells where, with whom and how", { "start", "serves, and says where, with whom and how" } },
  -- Listeners.
  { "all listeners run, in order, once each where they belong",
    { "start", "runs the listeners in their order, each in its process" },
    { "single_process", "is one process, with listeners in their order and everything in it" },
    { "app", "runs start listeners in order, stop listeners backwards, and names the one that fails",
      "unit" } },
  { "a blueprint has listeners", { "blueprint", "adds its listeners to the app's, once", "unit" } },
  { "an unknown event is refused", { "app", '"says at the caller\'s line: " .. message', "unit" } },
  -- Stop.
  { "a request in flight at the stop is answered, and logged after the stop has begun",
    { here, "answers what is in flight within the grace, and stops in order" } },
  { "an interrupted run still runs its stop listeners, and removes its unix socket",
    { "single_process", "says where, and removes its unix socket" },
    { here, "answers what is in flight within the grace, and stops in order" } },
  -- Unix sockets.
  { "the path is there while it serves, and gone at the end",
    { "sockets", "serves, with its mode, and removes the file at the end" } },
  { "a dead socket is replaced", { "sockets", "replaces one that nobody listens on" } },
  { "a file or a link is never replaced, and a missing folder is an error",
    { "sockets", "refuses to replace a file that is no socket" },
    { here, "refuses a link and a missing folder" } },
  { "a path that is deleted or replaced meanwhile does not disturb the stop",
    { here, "takes away its own file only" } },
  { "restarts under load on a unix socket lose nothing",
    { here, "loses nothing on a unix socket while it is restarted" } },
  -- Connections.
  { "keep-alive is used, and ends after its timeout", { "http", "is kept alive" },
    { "http", "closes a connection that idles beyond keep_alive_timeout" } },
  { "a request and its answer have their time",
    { "http", "answers a head or a body that does not come with 408" },
    { "http", "answers 503 for a handler beyond response_timeout, and cancels it" } },
  { "a client that goes away cancels its handler",
    { "request", "that goes away cancels its handler, which is told" } },
  { "pipelined requests are answered in order", { "http", "may be pipelined" } },
  -- Tasks.
  { "tasks are named, listed, cancelled, and end with the worker",
    { "background", "run, are listed, cancelled, and end in order when the worker stops" } },
  -- Daemon and log.
  { "a daemon reports its start, detaches, and has a locked pid file",
    { "daemon", "returns 0 when the app serves, and goes on without terminal or parent" },
    { "daemon", "keeps a second one out, which leaves it alone" },
    { "daemon", "that nobody holds is replaced, whoever has its pid by now" } },
  { "users are checked, and changed to",
    { "user", "is named when there is none" }, { "user", "serves on through scaling, reloads and stops" } },
  { "the log can be redirected and opened anew", { "logs", "go to --log-file, which SIGUSR1 opens anew" } },
  -- The inspector.
  { "it tells of all processes, as a table and as JSON; who cannot reach it ends with 1",
    { "inspector", "tells of every process" }, { "inspector", "shows tables, and JSON" },
    { "inspector", "ends with 0 only when it has happened" } },
  { "reload, shutdown and scale are done once, and answered",
    { "inspector", "does what it is asked for, and says what became of it" } },
  { "commands of the app's own, with arguments",
    { "inspector", "runs the app's own commands in its process" } },
  { "a key is asked for, and let in with", { "inspector", "wants a key for all but its page" } },
  { "an app refuses routes once it serves", { "app", "refuses routes once it is served", "unit" } },
}

local faults = {
  { "kill -9 of the main process leaves orphans that serve",
    { "supervise", "ends every process within three seconds, under load, and frees the port" } },
  { "a worker that crashes, or is sent SIGTERM, is not replaced",
    { "supervise", "tells that a worker was killed, and replaces it" },
    { here, "replaces a worker that was told to end by hand" } },
  { "with all workers dead connections hang", { here, "comes back when all workers are killed at once" } },
  { "all of a unix socket's traffic goes to one worker, whose death ends the service",
    { here, "shares a unix socket among four workers, and survives the death of any" } },
  { "a failed start has status 137 and kills the process group it is in",
    { here, "leaves the processes beside it alone, and exits 1, when it cannot start" } },
  { "main_process_stop does not run after a failed start",
    { here, "undoes what the main process began when a worker cannot start" } },
  { "a signal during the start is lost, and the main process spins",
    { "signals", 'name:upper() .. " during the start ends it, and leaves nothing"' },
    { "signals", 'name:upper() .. " during the start leaves it to go on"' } },
  { "the second signal kills the process group",
    { here, "leaves the processes beside it alone when it is forced" } },
  { "fifteen seconds of grace are ten, and what is cut leaves its listeners out",
    { here, "answers what is in flight within the grace, and stops in order" },
    { "signals", 'name:upper() .. " during a stop leaves it to go on"' } },
  { "main_process_stop runs before the workers have ended",
    { here, "answers what is in flight within the grace, and stops in order" } },
  { "a connection without a request, or with half of one, holds the stop for all of the grace",
    { here, "does not wait for clients that ask nothing" } },
  { "an error in before_server_stop is swallowed, and the other listeners are left out",
    { here, "runs all stop listeners, and tells of each that raises" } },
  { "SIGHUP, SIGUSR1 and SIGQUIT kill the main process",
    { "signals", 'name:upper() .. " during a stop leaves it to go on"' },
    { "signals", 'name:upper() .. " drains, and forces when it comes again"' },
    { "logs", "go to --log-file, which SIGUSR1 opens anew" } },
  { "scale(-3) takes the server down", { "control", "refuses absurd numbers without harm" } },
  { "scaling down leaves rows behind",
    { "state", "leaves nothing behind of workers that are scaled away" } },
  { "a process shows two starts at its first",
    { "manage", "is not started before it is asked for with auto_start = false" } },
  { "serving is false after a restart",
    { "state", "tells the truth after a restart, a death and a reload" } },
  { "a reload to broken code leaves nobody to answer, in the default order",
    { "reload", "keeps the old generation after a syntax error" },
    { "reload", "keeps the old generation after an error at load" },
    { "reload", "keeps the old generation when a worker cannot start" } },
  { "… and in the other order", { here, '"goes on serving when new code is broken: " .. order' } },
  { "an old worker stays for ever after a reload that failed, and serves old code beside new",
    { here, '"goes on serving when new code is broken: " .. order' } },
  { "requests are lost in a restart, in either order",
    { "lossless", "a reload every second loses nothing, and its code answers on every worker" },
    { "reload", "passes idle connections to the new workers, and none is closed" },
    { here, "loses nothing on a unix socket while it is restarted" } },
  { "a WebSocket is closed with 1000 and at once",
    { "websocket", "are closed with 1012 at a reload, and their handlers may finish" },
    { "websocket", "are closed with 1001 when the host stops" } },
  { "restarts that race leave a worker away", { "control", "answers every asker" },
    { "cycles", "lose nothing but what a killed worker had in flight, and leak nothing" } },
  { "a restart kills a managed process without a chance to clean up",
    { "manage", "is told to stop, by name, by a restart and when the host stops, and has time for it" } },
  { "commands are not answered", { "control", "says that a new worker cannot start, and goes on trying" } },
  { "the inspector answers the app's requests", { "inspector", "is off unless it is asked for" },
    { "inspector", "listens at a unix socket that only its owner opens, and takes it away at the end" } },
  { "an unknown or a wrong action is answered 200 or 500",
    { "inspector", "runs the app's own commands in its process" },
    { "inspector", "ends with 0 only when it has happened" } },
  { "objects may be shared too late, and are then one per worker",
    { "app", "shares only shared objects, and only before the fork", "unit" } },
  { "rights are dropped before the sockets are bound",
    { "user", "serves on through scaling, reloads and stops" } },
  { "a traceback points at the wrong source",
    { "http", "is 500 when the handler raises; the log has the traceback, connection and worker live on" } },
  { "a command that does nothing has status 0", { "command", "suggests the command that was meant" } },
}

local without = {
  { "pickling, start methods, the messages on the pipe", "processes are forked from the main process" },
  { "shutdown of one worker at random", "scale says how many, restart says which" },
  { "removing a tracked process by hand", "app.m:stop ends it, and its row tells how" },
  { "a factory, a module's attribute, arguments for them", "an app is what its file returns" },
  { "signals that can be registered or left out", "the manager has them, and no user code" },
  { "named events inside a process", "hooks and exception handlers are functions of the app" },
  { "a prompt beside the running server", "the inspector runs commands that the app declares" },
  { "file watching: what is looked at, listeners around the reload", "the watcher is not there yet" },
  { "several apps in one host", "they come with specs of their own" },
}

-- Whether `text` stands in the file as the name of an `it`: quoted, or as the expression that makes it.
local function has_it(file, text)
  for at in file:gmatch "%f[%w_]it[%w_]*%(%s*()" do
    local given = file:sub(at, at + #text + 1)
    if given:sub(2, -2) == text and given:find '^["\']' or given:sub(1, #text) == text then return true end
  end
  -- Or it is made of a table's key, or by a function that adds a condition.
  return file:find('["' .. text .. '"] = function', 1, true) ~= nil
end

describe("the table of what is proved", function()
  it("names specs that are there", function()
    local missing = {}
    for _, list in ipairs { behaviours, faults } do
      for _, row in ipairs(list) do
        if #row < 2 then missing[#missing + 1] = "nothing for: " .. row[1] end
        for i = 2, #row do
          local name, text, folder = unpack(row[i])
          local path = ("spec/%s/%s_spec.lua"):format(folder or "host", name)
          local file = host.read_file(path)
          if not file or not has_it(file, text) then
            missing[#missing + 1] = ("%s has no `it` %s"):format(path, text)
          end
        end
      end
    end
    assert.same({}, missing)
    for _, row in ipairs(without) do assert.equal(2, #row) end
  end)
end)

local app = [[
local perigee = require "perigee"
local app = perigee.app "parity"
local dir = os.getenv "SPEC_INSTANCE"
local function exists(name)
  local file = io.open(dir .. "/" .. name)
  if file then file:close() end
  return file ~= nil
end
local function said(ok, message, code)
  return ("%s %s|%s\n"):format(tostring(ok), code or "-", message or "")
end
MORE
app:get("/", function() return "VERSION " .. app.m.pid .. "\n" end)
app:get("/rows", function() return app.m.workers end)
app:get("/restart", function(req) return said(app.m:restart(req.query.name, { order = req.query.order })) end)
app:get("/reload", function() return said(app.m:reload()) end)
app:get("/hold", function()
  while exists "hold" do perigee.sleep(0.02) end
  return "held\n"
end)
return app
]]

local function make(more, version)
  return (app:gsub("MORE", function() return more or "" end):gsub("VERSION", version or "v1"))
end

local function serve(workers, options)
  options = options or {}
  options.app = options.app or make(options.more)
  options.flags = { "--workers", tostring(workers), unpack(options.flags or {}) }
  local server = host.serve(options)
  if options.bind then
    server.target = server.dir .. "/" .. options.bind:match "^unix:(.*)"
    server:wait_answering()
  end
  return server
end

local function rows(server)
  local by_name = {}
  for _, row in ipairs(json.decode(server:get("/rows").body)) do by_name[row.name] = row end
  return by_name
end

--- A request to /hold, which is answered when the file "hold" is removed.
local function hold(server)
  host.write_file(server.dir .. "/hold", "")
  local connection = client.connect(server.target)
  connection:request("GET", "/hold")
  wait.till(10, "the request to arrive", function()
    for _, row in pairs(rows(server)) do
      if row.connections > 1 or row.connections == 1 and row.requests == 0 then return true end
    end
  end)
  return connection
end

local function index_of(server, pattern)
  for i, line in ipairs(server.lines) do
    if line:find(pattern) then return i end
  end
  error(("no line like %q in:\n%s"):format(pattern, server:text()), 2)
end

describe("a start", function()
  after_each(host.finish)

  it("refuses to start without workers", function()
    for _, number in ipairs { "0", "-3" } do
      local run = host.run({ "serve", "app.lua", "--workers=" .. number }, { app = make() })
      assert.are_not.equal(0, run.status)
      assert.truthy(run:text():find("workers", 1, true), run:text())
    end
  end)

  -- In the process group of a shell, as a script starts it.
  local in_a_shell = { "sh", "-c", '"$0" "$@"; echo "its status is $?"' }

  it("leaves the processes beside it alone, and exits 1, when it cannot start", function()
    for _, event in ipairs { "main_process_start", "before_server_start" } do
      local run = host.run({ "serve", "app.lua", "--workers", "2", "--bind",
        "127.0.0.1:" .. host.free_port() }, { wrapper = in_a_shell,
        app = make("app:" .. event .. "(function() error 'not today' end)") })
      assert.truthy(run:text():find("not today", 1, true), run:text())
      assert.same({ "its status is 1" }, run:matching "^its status")
    end
  end)

  it("leaves the processes beside it alone when it is forced", function()
    local server = serve(2, { wrapper = in_a_shell })
    local held = hold(server)
    local manager
    for _, process in ipairs(server:processes()) do
      if process.parent == server.pid then manager = process.pid end
    end
    uv.kill(manager, "sigint")
    server:expect "SIGINT: stopping"
    uv.kill(manager, "sigint")
    server:expect "^its status is 130"
    assert.equal(0, server:wait_exit())
    held:close()
  end)

  it("undoes what the main process began when a worker cannot start", function()
    local more = [[
app:main_process_start(function() print "MARK begun" end)
app:main_process_stop(function() print "MARK undone" end)
app:before_server_start(function() if exists "broken" then error "not today" end end)
]]
    local address = "127.0.0.1:" .. host.free_port()
    local run = host.run({ "serve", "app.lua", "--workers", "2", "--bind", address },
      { app = make(more), files = { broken = "" } })
    assert.equal(1, run.status)
    assert.is_true(index_of(run, "MARK begun") < index_of(run, "MARK undone"))

    local server = serve(2, { more = more })
    run = host.run({ "serve", "app.lua", "--bind", "127.0.0.1:" .. server.port }, { app = make(more) })
    assert.equal(1, run.status)
    assert.equal(1, #run:matching "MARK undone")

    server:wait_version("v1", 2)
    host.write_file(server.dir .. "/broken", "")
    assert.truthy(server:get("/reload").body:find "^nil failed|")
    server:expect "main gen 2 | MARK undone"
    assert.equal(0, #server:matching "main gen 1 | MARK undone")
    server:wait_version("v1", 2)
  end)
end)

describe("a stop", function()
  after_each(host.finish)

  it("answers what is in flight within the grace, and stops in order", function()
    local server = serve(2, { flags = { "--access-log", "common", "--graceful-timeout", "20" }, more = [[
app:before_server_stop(function() print "MARK before_server_stop" end)
app:after_server_stop(function() print "MARK after_server_stop" end)
app:main_process_stop(function() print "MARK main_process_stop" end)
]] })
    local held = hold(server)
    local began = wait.now()
    server:signal "sigterm"
    server:expect "SIGTERM: stopping"
    wait.pause(1.2)
    assert.is_nil(server.status)
    os.remove(server.dir .. "/hold")
    assert.equal("held\n", held:response().body)
    assert.equal(0, server:wait_exit())
    assert.is_true(wait.now() - began < 15)
    assert.is_true(index_of(server, "SIGTERM: stopping") < index_of(server, '"GET /hold HTTP/1.1" 200'))
    assert.equal(2, #server:matching "MARK before_server_stop")
    assert.equal(2, #server:matching "MARK after_server_stop")
    local last = index_of(server, "MARK main_process_stop")
    for i = last, #server.lines do assert.is_nil(server.lines[i]:find("MARK after_server", 1, true)) end
    held:close()
  end)

  it("does not wait for clients that ask nothing", function()
    local server = serve(2, { flags = { "--graceful-timeout", "60" } })
    local silent, half, idle = {}, {}, {}
    for i = 1, 6 do
      silent[i], half[i], idle[i] = client.connect(server.target), client.connect(server.target),
        client.connect(server.target)
      half[i]:send "GET / HT"
      assert.equal(200, idle[i]:get("/").status)
    end
    assert.equal(0, server:stop(25))
    for i = 1, 6 do
      silent[i]:close()
      half[i]:close()
      idle[i]:close()
    end
  end)

  it("runs all stop listeners, and tells of each that raises", function()
    local server = serve(1, { more = [[
for _, event in ipairs { "before_server_stop", "after_server_stop", "main_process_stop" } do
  app[event](app, function() print("MARK first " .. event) end)
  app[event](app, function() error("one of " .. event) end)
  app[event](app, function() error("another of " .. event) end)
end
]] })
    assert.equal(0, server:stop())
    for _, event in ipairs { "before_server_stop", "after_server_stop", "main_process_stop" } do
      index_of(server, "MARK first " .. event)
      assert.is_true(index_of(server, "app.lua:%d+: another of " .. event .. " %(in the " .. event)
        < index_of(server, "app.lua:%d+: one of " .. event .. " %(in the " .. event))
    end
  end)
end)

describe("a worker's end", function()
  after_each(host.finish)

  it("replaces a worker that was told to end by hand", function()
    local server = serve(1)
    local pid = server:wait_version("v1", 1)[1]
    local held = hold(server)
    uv.kill(pid, "sigterm")
    wait.till(10, "another worker", function()
      local pids = server:answering(4).v1
      return not pids[pid] and next(pids)
    end)
    os.remove(server.dir .. "/hold")
    assert.equal("held\n", held:response().body)
    held:close()
    wait.till(10, "its end", function() return not proc.get(pid) end)
    server:wait_version("v1", 1)
  end)

  it("comes back when all workers are killed at once", function()
    local server = serve(3)
    for _, pid in ipairs(server:wait_version("v1", 3)) do uv.kill(pid, "sigkill") end
    local connections = {}
    for i = 1, 12 do
      connections[i] = client.connect(server.target)
      connections[i]:request("GET", "/")
    end
    for _, connection in ipairs(connections) do
      assert.equal(200, assert(connection:response(20)).status)
      connection:close()
    end
    server:wait_version("v1", 3)
  end)
end)

describe("a unix socket", function()
  after_each(host.finish)

  --- How many of `count` connections that are open at once each process has.
  local function share(server, count)
    local connections, by_pid, workers = {}, {}, 0
    for i = 1, count do connections[i] = client.connect(server.target) end
    for _, connection in ipairs(connections) do connection:request("GET", "/") end
    for _, connection in ipairs(connections) do
      local pid = assert(connection:response()).body:match " (%d+)"
      workers = workers + (by_pid[pid] and 0 or 1)
      by_pid[pid] = (by_pid[pid] or 0) + 1
    end
    for _, connection in ipairs(connections) do connection:close() end
    return by_pid, workers
  end

  it("shares a unix socket among four workers, and survives the death of any", function()
    local server = serve(4, { bind = "unix:perigee.sock", flags = { "--set", "restart_delay_min=0.01" } })
    local by_pid, workers = share(server, 400)
    assert.equal(4, workers)
    for pid, count in pairs(by_pid) do
      assert.is_true(count >= 40 and count <= 200, pid .. " has " .. count .. " of 400")
    end
    for pid in pairs(by_pid) do
      uv.kill(tonumber(pid), "sigkill")
      server:expect("pid " .. pid .. " was killed")
      for _ = 1, 20 do assert.equal(200, server:get("/").status) end
    end
    wait.till(20, "four workers", function() return select(2, share(server, 100)) == 4 end)
  end)

  it("refuses a link and a missing folder", function()
    local run = host.start({ "serve", "app.lua", "--bind", "unix:@DIR@/link" }, { app = make(),
      wrapper = { "sh", "-c", 'ln -s nowhere link; exec "$0" "$@"' } })
    assert.equal(1, run:wait_exit())
    assert.truthy(run:text():find(run.dir .. "/link", 1, true), run:text())
    assert.equal("nowhere", uv.fs_readlink(run.dir .. "/link"))
    run = host.run({ "serve", "app.lua", "--bind", "unix:@DIR@/missing/sock" }, { app = make() })
    assert.equal(1, run.status)
    assert.truthy(run:text():find("/missing/sock", 1, true), run:text())
  end)

  it("takes away its own file only", function()
    local server = serve(1, { bind = "unix:perigee.sock" })
    os.remove(server.target)
    assert.equal(0, server:stop())

    server = serve(1, { bind = "unix:perigee.sock" })
    os.remove(server.target)
    host.write_file(server.target, "precious")
    assert.equal(0, server:stop())
    assert.equal("precious", host.read_file(server.target))

    local old = serve(1, { bind = "unix:perigee.sock" })
    os.remove(old.target)
    local new = host.serve { app = make(nil, "v2"), bind = "unix:" .. old.target }
    new.target = old.target
    new:wait_answering()
    assert.equal(0, old:stop())
    assert.truthy(new:get("/").body:find "^v2 ")
  end)

  it("loses nothing on a unix socket while it is restarted", function()
    local server = serve(2, { bind = "unix:perigee.sock", binary = host.release_binary })
    local count = #server:processes()
    local run = load.start { target = server.target, keep_alive = 16, one_shot = 16, seconds = 600 }
    for version = 2, 6 do
      assert.truthy(server:get("/restart?name=all").body:find "^true")
      server:write(make(nil, "v" .. version))
      assert.truthy(server:get("/reload").body:find "^true")
    end
    run:stop()
    local result = run:result()
    assert.equal(0, result.failures, table.concat(result.examples, "\n"))
    assert.is_true(result.versions.v1.count > 0 and result.versions.v6 ~= nil)
    server:wait_version("v6", 2)
    server:wait_processes(count)
  end)
end)

describe("a reload or restart", function()
  after_each(host.finish)

  for _, order in ipairs { "startup_first", "shutdown_first" } do
    it("goes on serving when new code is broken: " .. order, function()
      local server = serve(2, { flags = { "--restart-order", order, "--start-timeout", "2" } })
      local before = server:wait_version("v1", 2)
      local count = #server:processes()
      table.sort(before)
      for _, broken in ipairs { "local x = = 1\n", "error 'not today'\n", "while true do end\n",
        make("app:before_server_start(function() error 'not today' end)", "v2"),
        make("app:before_server_start(function() perigee.sleep(60) end)", "v2") } do
        server:reload(broken)
        server:expect("reload failed, generation 1 goes on serving", 20)
        server:wait_processes(count)
        local after = server:wait_version("v1", 2)
        table.sort(after)
        -- The other order has ended one by then, for which the old code was started again.
        if order == "startup_first" then assert.same(before, after) end
      end
      server:reload(make(nil, "v3"))
      server:wait_version("v3", 2)
      server:wait_processes(count)
    end)
  end

  it("starts and ends each process once in a reload", function()
    local server = serve(3)
    server:wait_version("v1", 3)
    local before = rows(server)
    server:write(make(nil, "v2"))
    assert.truthy(server:get("/reload").body:find "^true")
    server:wait_version("v2", 3)
    wait.till(10, "the old ones' end", function() return #server:matching "gen 1 pid .* exited" == 4 end)
    local after = rows(server)
    for name, row in pairs(before) do
      assert.equal(row.starts + 1, after[name].starts)
      assert.equal(1, #server:matching("pid " .. row.pid .. " exited with status 0"))
    end
    assert.equal(4, #server:matching "exited")
  end)

  it("restarts what is transient with the workers, and nothing else", function()
    local server = serve(1, { more = [[
app.manager:manage("goes", function(process) process:wait() end, { transient = true })
app.manager:manage("stays", function(process) process:wait() end, { restartable = true })
]] })
    wait.till(10, "both to run", function()
      local now = rows(server)
      return now.goes.state == "ACKED" and now.stays.state == "ACKED"
    end)
    for _, order in ipairs { "startup_first", "shutdown_first" } do
      local before = rows(server)
      assert.truthy(server:get("/restart?name=all&order=" .. order).body:find "^true")
      local after
      wait.till(10, "another of what goes", function()
        after = rows(server)
        return after.goes.pid ~= before.goes.pid and after.goes.state == "ACKED"
          and after["worker-0"].pid ~= before["worker-0"].pid
      end)
      assert.equal(before.stays.pid, after.stays.pid)
      assert.equal(1, after.stays.starts)
    end
    assert.truthy(server:get("/restart?name=stays").body:find "^nil EBUSY|")
    assert.equal(1, rows(server).stays.starts)
  end)
end)
