-- Child processes of workers: what they say, how they end, and that nothing of them is ever left.

local client = require "spec.support.client"
local host = require "spec.support.host"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"

local source = [[
local perigee = require "perigee"
local process = perigee.process
local app = perigee.app "spec"

local function show(...)
  local parts = {}
  for i = 1, 3 do parts[i] = tostring((select(i, ...))) end
  return table.concat(parts, "|")
end

app:main_process_start(function()
  app.ctx.made = assert(process.run({ "echo", "in main" })).stdout
end)
app:get("/", function() return "hello\n" end)
app:get("/made", function() return app.ctx.made end)
app:get("/run", function()
  local result = assert(process.run({ "sh", "-c", "cat; echo $SPEC_WORD >&2; pwd >&2; exit 3" },
    { input = "in", env = { SPEC_WORD = "moon" }, cwd = "/" }))
  return show(result.code, result.stdout, (result.stderr:gsub("\n", " ")))
end)
app:get("/shell", function() return assert(process.run("echo a b | tr a-z A-Z", { shell = true })).stdout end)
app:get("/none", function() return show(process.start { "/no/such/program" }) end)
app:get("/cwd", function() return show(process.start({ "true" }, { cwd = "/no/such" })) end)
app:get("/limit", function() return show(process.run({ "yes" }, { output_limit = 100000 })) end)
app:get("/time", function() return show(process.run({ "sleep", "1000" }, { timeout = 0.1 })) end)
app:get("/lines", function()
  local child = assert(process.start({ "cat" }, { stdin = "pipe" }))
  assert(child:write "one\ntwo\nthr")
  assert(child:write "ee")
  child:close_stdin()
  local lines = {}
  for line in child:lines() do lines[#lines + 1] = line end
  return table.concat(lines, ",") .. "|" .. child:wait().code
end)
app:get("/stop", function()
  local child = assert(process.start({ "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done" },
    { kill_timeout = 0.2 }))
  child:lines()()
  return child:stop().signal .. "|" .. tostring(child:kill())
end)
-- a tree whose branches leave the group, the session, and their parent
local tree = "sleep 1000 & setsid sleep 1000 & (setsid setsid sleep 1000 & ) ; echo up; exec sleep 1000"
app:get("/tree", function()
  local child = assert(process.start { "sh", "-c", tree })
  child:lines()()
  app.ctx.child = child
  return tostring(child.pid)
end)
app:get("/kill", function() app.ctx.child:kill "KILL" return app.ctx.child:wait().signal end)
app:get("/leave", function()
  local result = assert(process.run { "sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo left" })
  return result.stdout
end)
app:get("/cat/<pieces:int>", function(_, pieces)
  local child = assert(process.start({ "cat" }, { stdin = "pipe" }))
  local size = 0
  local reading = perigee.spawn(function()
    for data in function() return child:read() end do size = size + #data end
  end)
  local piece = ("x"):rep(65536)
  for _ = 1, pieces do assert(child:write(piece)) end
  child:close_stdin()
  reading:join()
  return tostring(size) .. "|" .. child:wait().code
end)
app:get("/many/<count:int>", function(_, count)
  for i = 1, count do
    local child = assert(process.start { "echo", "unread" })
    if i % 2 == 0 then child:wait() end -- the other half is forgotten
  end
  return "done"
end)
app:get("/collect", function() collectgarbage() collectgarbage() return "" end)
app:get("/epipe", function()
  local child = assert(process.start({ "true" }, { stdin = "pipe" }))
  child:wait()
  return show(child:write "x")
end)
return app
]]

local server

local function get(path)
  return client.get(server.target, path).body
end

local function worker()
  local list = proc.list(function(process) return process.command:find("worker 0", 1, true)
    and proc.environment_has(process.pid, "SPEC_INSTANCE=" .. server.dir) end)
  assert.equal(1, #list)
  return list[1].pid
end

describe("a child process", function()
  before_each(function()
    server = host.serve { app = source, flags = { "--workers", "1" }, binary = host.release_binary }
  end)
  after_each(host.finish)

  it("runs with input, environment, directory; its output and status are told", function()
    assert.equal("in main\n", get "/made")
    assert.equal("3|in|moon / ", get "/run")
    assert.equal("A B\n", get "/shell")
    assert.equal("one,two,three|0", get "/lines")
    assert.equal("nil|EPIPE: the pipe is closed|EPIPE", get "/epipe")
  end)

  it("that cannot be started, or says too much, or takes too long, is an error with a code", function()
    assert.equal("nil|cannot start /no/such/program: No such file or directory|ENOENT", get "/none")
    assert.equal("ENOENT", get("/cwd"):match "[^|]*$")
    assert.equal("nil|stdout: it is more than 100000 bytes|limit", get "/limit")
    assert.equal("nil|timed out after 0.1 s|timeout", get "/time")
    server:wait_processes(4) -- manager, guardian, zygote, worker: nothing of them is left
  end)

  it("is ended with its whole tree, wherever its branches went", function()
    assert.equal("SIGKILL|false", get "/stop")
    get "/tree"
    server:wait_processes(4 + 5) -- the shepherd, the command and three branches
    assert.equal("SIGKILL", get "/kill")
    server:wait_processes(4)
    assert.equal("left\n", get "/leave")
    server:wait_processes(4)
  end)

  it("does not outlive its worker", function()
    get "/tree"
    server:wait_processes(4 + 5)
    local pid = worker()
    uv.kill(pid, "sigkill")
    wait.till(10, "the worker's end", function() return not proc.get(pid) end)
    server:wait_processes(4)
    get "/tree"
    server:wait_processes(4 + 5)
    assert.equal(0, server:stop())
    server:wait_processes(0)
  end)

  it("does not outlive the manager by more than 3 s", function()
    get "/tree"
    server:wait_processes(4 + 5)
    server:signal "sigkill"
    local began = wait.now()
    server:wait_exit()
    server:wait_processes(0, 4)
    assert.is_true(wait.now() - began < 3)
  end)

  it("leaves no descriptor, and no memory for what flows through it", function()
    get "/cat/16"
    local pid = worker()
    local before = { proc.descriptors(pid), proc.memory(pid, "Private_Dirty") }
    assert.equal("done", get "/many/200")
    assert.equal("104857600|0", get "/cat/1600")
    wait.till(10, "the descriptors of forgotten processes to be closed", function()
      get "/collect"
      return proc.descriptors(pid) <= before[1]
    end)
    local grown = proc.memory(pid, "Private_Dirty") - before[2]
    assert.is_true(grown < 4 * 1024 * 1024, ("it grew by %d KiB"):format(grown / 1024))
  end)
end)
