-- A load on a server, made by a process of its own (load_client.lua) so that a spec can go on doing
-- things to the server meanwhile.
--
-- The server answers GET with "VERSION PID\n". What is counted, see load_client.lua.

local cjson = require "cjson"
local uv = require "luv"
local wait = require "spec.support.wait"

local load = {}

local run_methods = {}
local run_mt = { __name = "load.run", __index = run_methods }

local running = {}

--- Starts a load and returns when its first requests are under way.
-- @tparam table options port or path of a unix socket as target; keep_alive and one_shot: numbers of
-- clients; think: ms that every second keep-alive client rests between requests (10); seconds
function load.start(options)
  local self = setmetatable({ seconds = options.seconds, output = "" }, run_mt)
  local stdout = uv.new_pipe(false)
  self.handle, self.pid = uv.spawn("luajit", {
    args = { "spec/support/load_client.lua", cjson.encode {
      target = options.target, keep_alive = options.keep_alive or 0, one_shot = options.one_shot or 0,
      think = options.think or 10, seconds = options.seconds,
    } },
    stdio = { nil, stdout, 2 },
  }, function(code, signal)
    self.status = signal ~= 0 and 128 + signal or code
    self.handle:close()
    running[self] = nil
  end)
  assert(self.handle, self.pid)
  running[self] = true
  stdout:read_start(function(_, chunk)
    if chunk then self.output = self.output .. chunk return end
    self.ended = true
    stdout:close()
  end)
  wait.till(5, "the load to start", function() return self.output:find("started", 1, true) end)
  self.began = wait.now()
  return self
end

--- Whether there are more than `seconds` (0) of load to come.
function run_methods:is_going(seconds)
  return wait.now() - self.began < self.seconds - (seconds or 0)
end

--- Ends it before its time: what is under way is waited for, nothing more is asked.
function run_methods:stop()
  self.seconds = wait.now() - self.began
  uv.kill(self.pid, "sigterm")
end

--- Waits for the end and returns the counts; each is a number unless stated:
-- ok; refused, reset, lost, short, wrong, timeout, local_failure (see load_client.lua); failures: their
-- sum; examples: the first failures as text; events: each failure with its time; longest: ms;
-- versions: by version { count, pids, first, last }.
function run_methods:result()
  wait.till(self.seconds + 20, "the load to end", function() return self.status and self.ended end)
  assert(self.status == 0, "the load client failed with status " .. self.status)
  return cjson.decode(self.output:match "started\n(.*)$")
end

--- Ends loads that a failed spec has left running.
function load.finish()
  for run in pairs(running) do
    uv.kill(run.pid, "sigkill")
    wait.try(2, function() return run.status end)
  end
end

return load
