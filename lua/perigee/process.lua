--- Child processes.
---
---     local sort = assert(perigee.process.start({ "sort", "-u" }, { stdin = "pipe" }))
---     sort:write("b\na\nb\n") sort:close_stdin()
---     for line in sort:lines() do … end
---     local result = sort:wait()                      -- { code = 0 }
---
--- Between the worker and each command is a *shepherd* (host/manager/shepherd.c), which passes
--- signals to the whole tree of processes, and kills what is left of it when the command has ended
--- or the worker is gone, however it went. So nothing a command starts outlives it.
local uv = require "luv"

local caller = require "perigee.caller"
local latch = require "perigee.latch"
local nearest = require "perigee.nearest"
local pipe = require "perigee.pipe"
local signals = require "perigee.signal"
local task = require "perigee.task"

local process = {}

local KILL_TIMEOUT = 5         -- seconds between SIGTERM and SIGKILL, by default
local OUTPUT_LIMIT = 16777216  -- bytes that run keeps of each stream, by default
local PROGRAM = "/proc/self/exe"
local SHEPHERD_FD = 3 -- WIRE_FD_SHEPHERD of wire/role.h

---@class perigee.Process
---@field pid number
---@field stdin perigee.Writer|nil with "pipe"
---@field stdout perigee.Reader|nil with "pipe"
---@field stderr perigee.Reader|nil with "pipe"
local methods = {}
local process_mt = { __name = "perigee.process", __index = methods }

-- ── Arguments ────────────────────────────────────────────────────────────────────────────────

local modes = { pipe = true, inherit = true, null = true }
local option_types = { cwd = "string", env = "table", stdin = "string", stdout = "string", stderr = "string",
  kill_timeout = "number", shell = "boolean" }
local run_types = { input = "string", output_limit = "number", timeout = "number" }

local function check_options(what, options, more)
  if options == nil then return {} end
  caller.check(options, "table", what .. ": the options")
  for key, value in pairs(options) do
    local kind = option_types[key] or more and more[key]
    if not kind then
      local names = {}
      for _, types in ipairs { option_types, more } do
        for name in pairs(types) do names[#names + 1] = name end
      end
      caller.fail("%s: unknown option '%s'%s", what, tostring(key), nearest.hint(tostring(key), names))
    end
    caller.check(value, kind, ("%s: the option '%s'"):format(what, key))
  end
  for _, key in ipairs { "stdin", "stdout", "stderr" } do
    if options[key] and not modes[options[key]] then
      caller.fail("%s: %s must be \"pipe\", \"inherit\" or \"null\", not %q", what, key, options[key])
    end
  end
  return options
end

local function check_argv(what, argv, shell)
  if shell then
    caller.check(argv, "string", what .. ": with shell, the command")
    return { "/bin/sh", "-c", argv }
  end
  if type(argv) == "string" then
    caller.fail("%s: the command must be a list: { \"ls\", \"-l\" }; a string goes to a shell, which must be "
      .. "asked for: { shell = true }", what)
  end
  caller.check(argv, "table", what .. ": the command")
  if #argv == 0 then caller.fail("%s: the command is empty", what) end
  local list = {}
  for i, word in ipairs(argv) do
    if type(word) == "number" then word = tostring(word) end
    caller.check(word, "string", ("%s: word %d of the command"):format(what, i))
    if word:find("%z") then caller.fail("%s: word %d of the command has a NUL", what, i) end
    list[i] = word
  end
  return list
end

--- The environment as libuv wants it: the worker's own with changes; false takes a variable away.
local function environment(what, changes)
  if not changes then return nil end
  local variables, list = uv.os_environ(), {}
  for name, value in pairs(changes) do
    if type(name) ~= "string" or name == "" or name:find("[=%z]") then
      caller.fail("%s: env: %q is no variable's name", what, tostring(name))
    end
    if value == false then
      variables[name] = nil
    else
      variables[name] = tostring(value)
    end
  end
  for name, value in pairs(variables) do list[#list + 1] = name .. "=" .. value end
  return list
end

-- ── Starting ─────────────────────────────────────────────────────────────────────────────────

--- Both ends of what was asked for. `theirs` collects descriptors to close after the spawn.
local function open_stdio(self, options, theirs)
  local stdio = {}
  for fd, name in ipairs { "stdin", "stdout", "stderr" } do
    local mode = options[name]
    if mode == "inherit" then
      stdio[fd] = fd - 1
    elseif mode == "pipe" then
      local make = fd == 1 and pipe.writer or pipe.reader
      local ours, number, code = make()
      if not ours then return nil, number, code end
      self[name], stdio[fd] = ours, number
      theirs[#theirs + 1] = number
    end
  end
  return stdio
end

local function close_ours(self)
  for _, name in ipairs { "stdin", "stdout", "stderr" } do
    if self[name] then self[name]:close() end
  end
end

--- Both the shepherd's last word and its own end have come.
local function check_over(self)
  if self.reaped and self.silent then self.over:open() end
end

--- One line of the shepherd's.
local function on_word(self, line)
  local word, first, second = line:match("^(%a+) (%S+) ?(.*)$")
  if word == "started" then
    self.pid = tonumber(first)
    self.begun:open()
  elseif word == "failed" then
    self.problem, self.problem_code = second, first
  elseif word == "exited" then
    local signal = tonumber(second)
    self.result = signal == 0 and { code = tonumber(first) }
      or { signal = signals.names[signal] or signal }
  end
end

--- The shepherd says no more: it ended, and all it looked after.
local function on_silence(self)
  self.silent = true
  self.control:close()
  self.result = self.result or { signal = "SIGKILL" } -- it was killed itself
  if self.stdin then self.stdin:close() end
  self.begun:open()
  check_over(self)
end

local function listen(self)
  local rest = ""
  self.control:read_start(function(_, chunk)
    if not chunk then return on_silence(self) end
    rest = rest .. chunk
    for line in rest:gmatch("([^\n]*)\n") do on_word(self, line) end
    rest = rest:match("[^\n]*$")
  end)
end

--- Spawns the shepherd. Returns true, or nil, message, code.
local function spawn(self, argv, options, stdio)
  self.control = uv.new_pipe(false)
  stdio[SHEPHERD_FD + 1] = self.control
  local handle, message, code
  handle, message, code = uv.spawn(PROGRAM, {
    args = { "@shepherd", "--", unpack(argv) }, stdio = stdio, cwd = options.cwd, env = self.env,
    detached = true,
  }, function()
    handle:close()
    self.reaped = true
    check_over(self)
  end)
  if handle then return true end
  self.control:close()
  return nil, message, code
end

local function is_directory(path)
  local found, message, code = uv.fs_stat(path)
  if not found then return nil, message, code end
  if found.type ~= "directory" then return nil, "ENOTDIR: not a directory: " .. path, "ENOTDIR" end
  return true
end

local function start(what, argv, options)
  local words = check_argv(what, argv, options.shell)
  local self = setmetatable({ begun = latch.new(), over = latch.new(), reaped = false, silent = false,
    kill_timeout = options.kill_timeout or KILL_TIMEOUT, env = environment(what, options.env) }, process_mt)
  if options.cwd then
    local ok, message, code = is_directory(options.cwd)
    if not ok then return nil, message, code end
  end
  local theirs = {}
  local stdio, message, code = open_stdio(self, options, theirs)
  local ok = stdio ~= nil
  if ok then ok, message, code = spawn(self, words, options, stdio) end
  for _, fd in ipairs(theirs) do uv.fs_close(fd) end
  if not ok then
    close_ours(self)
    return nil, message, code
  end
  listen(self)
  self.begun:wait(nil, what)
  if self.pid then return self end
  close_ours(self)
  self.over:wait(nil, what)
  return nil, ("cannot start %s: %s"):format(words[1], self.problem or "it was killed"),
    self.problem_code or "EIO"
end

--- Starts a command. Raises at the caller's place on wrong arguments. Yields until it runs.
---@param argv string[]|string the program, found in PATH, and its arguments; a string with `shell`
---@param options table|nil cwd; env: changes to the worker's (false: without); stdin ("null"),
---   stdout ("pipe"), stderr ("inherit": the log), each "pipe", "inherit" or "null"; kill_timeout (5 s);
---   shell: give a string to /bin/sh
---@return perigee.Process|nil # or nil, message, code: "ENOENT", "EACCES" …
function process.start(argv, options)
  options = check_options("perigee.process.start", options)
  local given = { stdin = "null", stdout = "pipe", stderr = "inherit" }
  for key, value in pairs(options) do given[key] = value end
  return start("perigee.process.start", argv, given)
end

-- ── Living ───────────────────────────────────────────────────────────────────────────────────

local function piped(self, name)
  return self[name] or caller.fail("this process was not started with %s = \"pipe\"", name)
end

--- See perigee.Reader and perigee.Writer: read, lines and read_all are of stdout. They yield.
function methods:read() return piped(self, "stdout"):read() end
function methods:read_all(limit) return piped(self, "stdout"):read_all(limit) end
function methods:lines(limit) return piped(self, "stdout"):lines(limit) end
function methods:write(data) return piped(self, "stdin"):write(data) end
function methods:close_stdin() return piped(self, "stdin"):close() end

--- Waits for the end of the command and of all that it started. Yields.
---@param timeout number|nil seconds; nil for as long as it takes
---@return { code: number|nil, signal: string|nil }|nil # or nil, message, "timeout"
function methods:wait(timeout)
  if self.over:wait(timeout, "process:wait") then return self.result end
  return nil, ("it runs still after %g s"):format(timeout), "timeout"
end

---@return boolean
function methods:is_running()
  return not self.over.is_open
end

--- Sends a signal to the whole tree: the command, its group, and every process that came of it.
--- Does not yield.
---@param signal string|number|nil "SIGTERM" (default), "kill", 15 …
---@return boolean # false when it has ended
function methods:kill(signal)
  local number = signals.number("process:kill", signal or "SIGTERM")
  if self.silent then return false end
  self.control:write(string.char(number))
  return true
end

--- SIGTERM to the whole tree, and SIGKILL when it has not ended after kill_timeout. Yields.
---@return { code: number|nil, signal: string|nil } # as wait
function methods:stop()
  self:kill("SIGTERM")
  local result = self:wait(self.kill_timeout)
  if result then return result end
  self:kill("SIGKILL")
  return self:wait()
end

--- Gives up the pipes that are still open. The process itself goes on. Does not yield.
function methods:close()
  close_ours(self)
end

-- ── Running ──────────────────────────────────────────────────────────────────────────────────

--- Reads a stream to its end; one that fails or says too much ends the command.
local function keep(self, stream, limit)
  local text, message, code = stream:read_all(limit)
  if not text then self:kill("SIGKILL") end
  return text, message, code
end

--- Reads both streams and feeds stdin, all at once. Returns the result, or nil, message, code.
local function converse(self, options, limit)
  local stdout = task.start(keep, { joined = true }, self, self.stdout, limit)
  local stderr = self.stderr and task.start(keep, { joined = true }, self, self.stderr, limit)
  if self.stdin then
    self.stdin:write(options.input) -- a command may well end without reading all of it
    self.stdin:close()
  end
  local texts, problem, problem_code = {}, nil, nil
  for name, reading in pairs { stdout = stdout, stderr = stderr } do
    local _, text, message, code = reading:join()
    texts[name], problem, problem_code = text, problem or message and name .. ": " .. message,
      problem_code or code
  end
  if problem then return nil, problem, problem_code end
  local result = self:wait()
  return { code = result.code, signal = result.signal, stdout = texts.stdout, stderr = texts.stderr }
end

--- Runs a command to its end and keeps what it says. Raises at the caller's place on wrong
--- arguments. Yields. When the caller is cancelled, or a limit is reached, the command is killed.
---@param argv string[]|string as start
---@param options table|nil as start, and input: a string for stdin; output_limit: bytes of each
---   stream (16 MiB); timeout: seconds; stderr is a "pipe"
---@return { code: number|nil, signal: string|nil, stdout: string, stderr: string|nil }|nil # or nil,
---   message, code: "timeout", "limit", "ENOENT" …
function process.run(argv, options)
  local what = "perigee.process.run"
  options = check_options(what, options, run_types)
  for _, key in ipairs { "stdin", "stdout" } do
    if options[key] then
      caller.fail("%s: %s cannot be set; there is input, and the result has stdout", what, key)
    end
  end
  local given = { stderr = "pipe", stdin = options.input and "pipe" or "null", stdout = "pipe" }
  for key, value in pairs(options) do given[key] = value end
  local self, message, code = start(what, argv, given)
  if not self then return nil, message, code end
  local limit = options.output_limit or OUTPUT_LIMIT
  local ok, result
  if options.timeout then
    ok, result, message, code = pcall(task.timeout, options.timeout, converse, self, options, limit)
  else
    ok, result, message, code = pcall(converse, self, options, limit)
  end
  if ok and result then return result end
  self:kill("SIGKILL")
  close_ours(self)
  if not ok then error(result, 0) end
  self.over:wait(nil, what)
  return nil, message, code
end

return process
