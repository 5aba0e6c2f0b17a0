-- The real binary, driven as a user would: started in a fresh directory with an app given as a string,
-- its output read line by line, and, at the end of every spec, held to having left nothing behind.
--
--   local host = require "spec.support.host"
--   after_each(host.finish)
--   it("answers", function()
--     local server = host.serve { app = [[ … return app ]], flags = { "--workers", "2" } }
--     assert.equal("hello\n", server:get("/").body)
--   end)
--
-- PERIGEE names the binary (build/asan-ubsan/perigee); PERIGEE_RELEASE the one for figures and heavy
-- loads (build/release/perigee).

local client = require "spec.support.client"
local load = require "spec.support.load"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"

local host = {}

local instance_methods = {}
local instance_mt = { __name = "host.instance", __index = instance_methods }

local instances = {}  -- of the spec that runs now
local words = ""      -- what the instances of the last finished spec said

local start_patience = 20 -- seconds for a sanitized binary on a busy machine
local lines_shown = 60
local line_shown = 300 -- bytes

local root = uv.cwd()

local function absolute(path)
  return path:sub(1, 1) == "/" and path or root .. "/" .. path
end

host.binary = absolute(os.getenv "PERIGEE" or "build/asan-ubsan/perigee")
host.release_binary = absolute(os.getenv "PERIGEE_RELEASE" or "build/release/perigee")

if not uv.fs_stat(host.binary) then
  error(host.binary .. " is not there; scripts/build asan-ubsan makes it, PERIGEE names another", 0)
end

--- Whether the binary under test is slowed down by a sanitizer.
host.sanitized = host.binary:find("asan", 1, true) ~= nil

function host.write_file(path, text)
  local file = assert(io.open(path, "w"))
  assert(file:write(text))
  file:close()
end

function host.read_file(path)
  local file = io.open(path, "r")
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

--- Whether we may become `user`, and it may run the binary under test.
function host.may_run_as(user)
  return os.execute(("setpriv --reuid %s --regid %s --clear-groups test -x %s 2>/dev/null")
    :format(user, user == "nobody" and "nogroup" or user, host.binary)) == 0
end

--- The source of an example app of scripts/apps.
function host.example(name)
  return assert(host.read_file("scripts/apps/" .. name .. ".lua"))
end

local reserved = {} -- UDP sockets: of all test runs on this machine, one can have a number
local next_port = uv.os_getpid() * 37

local function try_reserve(port)
  local mark, socket = uv.new_udp(), uv.new_tcp()
  local free = mark:bind("127.0.0.1", port) and socket:bind("127.0.0.1", port)
    and socket:listen(1, function() end)
  socket:close()
  if free then reserved[#reserved + 1] = mark else mark:close() end
  uv.run "nowait"
  return free
end

--- A port of 127.0.0.1 that nobody has, nor gets from here before this process ends. It is below those
-- that the kernel gives to outgoing connections.
function host.free_port()
  for _ = 1, 20000 do
    next_port = next_port + 1
    local port = 12000 + next_port % 20000
    if try_reserve(port) then return port end
  end
  error "there is no free port"
end

--- An app whose every answer is "VERSION PID\n", as load.lua wants it.
function host.versioned_app(version, more)
  return ([[
local perigee = require "perigee"
local ffi = require "ffi"
ffi.cdef "int getpid(void);"
local app = perigee.app "versioned"
app:get("/", function() return "%s " .. ffi.C.getpid() .. "\n" end)
%s
return app
]]):format(version, more or "")
end

-- A sanitizer's report goes to a file, where it cannot be taken for the program's output.
local function environment(self, extra)
  local variables = {
    PATH = os.getenv "PATH", HOME = self.dir, LANG = "C.UTF-8", TMPDIR = self.dir,
    SPEC_INSTANCE = self.dir,
    ASAN_OPTIONS = "detect_leaks=1:exitcode=99:log_path=" .. self.dir .. "/sanitizer",
    UBSAN_OPTIONS = "print_stacktrace=1:exitcode=99:log_path=" .. self.dir .. "/sanitizer",
    LSAN_OPTIONS = "print_suppressions=0:suppressions=" .. root .. "/spec/support/lsan.supp",
    PERIGEE_LUA_PATH = os.getenv "PERIGEE_LUA_PATH",
  }
  for name, value in pairs(extra or {}) do variables[name] = value:gsub("@DIR@", self.dir) end
  local list = {}
  for name, value in pairs(variables) do list[#list + 1] = name .. "=" .. value end
  return list
end

local function read_lines(self, pipe, stream)
  local rest = ""
  pipe:read_start(function(_, chunk)
    rest = rest .. (chunk or "")
    local from = 1
    while true do
      local at = rest:find("\n", from, true)
      if not at then break end
      self.lines[#self.lines + 1] = rest:sub(from, at - 1)
      self[stream][#self[stream] + 1] = rest:sub(from, at - 1)
      from = at + 1
    end
    rest = rest:sub(from)
    if not chunk then
      if rest ~= "" then
        self.lines[#self.lines + 1] = rest
        self[stream][#self[stream] + 1] = rest
      end
      pipe:close()
      self.open_pipes = self.open_pipes - 1
    end
  end)
end

--- Starts the binary with `arguments` and returns at once.
-- @tparam table options app: source of app.lua in the new directory; files: { name = text } beside it, with
-- their folders;
-- env: { NAME = value }, where "@DIR@" is the new directory, as in arguments; binary; wrapper: argv before
-- the binary; stdio: { [fd] = handle } to inherit; open: other users may write to the
-- directory; deaf: output stays in the pipes until hear() is called
-- @return instance: { dir, pid, port, lines, stdout, stderr (lists of lines), status when it has ended }
function host.start(arguments, options)
  options = options or {}
  local self = setmetatable({
    dir = assert(uv.fs_mkdtemp "/tmp/perigee-spec-XXXXXX"),
    lines = {}, stdout = {}, stderr = {}, cursor = 1, open_pipes = 2, allowed = {},
  }, instance_mt)
  instances[#instances + 1] = self
  if options.open then uv.fs_chmod(self.dir, 511) end -- 0777
  if options.app then self:write(options.app) end
  for name, text in pairs(options.files or {}) do
    for at in name:gmatch "()/" do uv.fs_mkdir(self.dir .. "/" .. name:sub(1, at - 1), 493) end
    host.write_file(self.dir .. "/" .. name, text)
  end

  -- A test run that is killed takes its hosts with it.
  local argv = { "setpriv", "--pdeathsig", "KILL" }
  for _, word in ipairs(options.wrapper or {}) do argv[#argv + 1] = word end
  argv[#argv + 1] = options.binary or host.binary
  for _, word in ipairs(arguments) do argv[#argv + 1] = (word:gsub("@DIR@", self.dir)) end

  local out, err = uv.new_pipe(false), uv.new_pipe(false)
  local stdio = { nil, out, err }
  for fd, handle in pairs(options.stdio or {}) do stdio[fd + 1] = handle end
  self.began = wait.now()
  local handle, pid = uv.spawn(argv[1], {
    args = { unpack(argv, 2) }, cwd = self.dir, env = environment(self, options.env), stdio = stdio,
    detached = true,
  }, function(code, signal)
    self.status = signal ~= 0 and 128 + signal or code
    self.ended = wait.now()
    self.handle:close()
  end)
  if not handle then error(("cannot start %s: %s"):format(argv[1], pid), 2) end
  self.handle, self.pid = handle, pid
  function self.hear()
    read_lines(self, out, "stdout")
    read_lines(self, err, "stderr")
    self.hear = function() end
  end
  if not options.deaf then self.hear() end
  return self
end

--- Starts `perigee serve app.lua` on a free port and returns when it answers.
-- @tparam table options as host.start, and flags: a list; bind: in place of a port of 127.0.0.1, the
-- spec then waits itself
function host.serve(options)
  local arguments = { "serve", "app.lua" }
  local port = not options.bind and host.free_port()
  for _, word in ipairs { "--bind", options.bind or "127.0.0.1:" .. port } do
    arguments[#arguments + 1] = word
  end
  for _, word in ipairs(options.flags or {}) do arguments[#arguments + 1] = word end
  local self = host.start(arguments, options)
  if port then
    self.port, self.target = port, port
    self:wait_answering()
  end
  return self
end

--- Runs the binary to its end. Returns the instance ({ status, stdout, stderr, … }) and the seconds
-- it took.
function host.run(arguments, options)
  local self = host.start(arguments, options)
  self:wait_exit((options or {}).seconds or start_patience)
  return self, self.ended - self.began
end

--- Waits until the server answers, or fails as soon as it has ended.
function instance_methods:wait_answering(seconds)
  local function what() return "an answer; it said:\n" .. self:text() end
  wait.till(seconds or start_patience, what, function()
    if self.status then
      error(("it ended with status %d and said:\n%s"):format(self.status, self:text()))
    end
    -- A connection alone says nothing: the manager listens before a worker is ready.
    return client.try(self.target, "GET", "/") ~= nil
  end)
end

--- All it has said so far.
function instance_methods:text()
  return table.concat(self.lines, "\n")
end

--- Waits for a line that matches `pattern`, beginning after the one found last. Returns the line.
function instance_methods:expect(pattern, seconds)
  local function scan()
    while self.cursor <= #self.lines do
      local line = self.lines[self.cursor]
      self.cursor = self.cursor + 1
      if line:find(pattern) then return line end
    end
  end
  local from = self.cursor
  return wait.till(seconds or 10, function()
    return ("a line like %q; since the last one it said:\n%s"):format(pattern,
      table.concat(self.lines, "\n", from))
  end, scan)
end

--- The lines that match `pattern`, of all so far.
function instance_methods:matching(pattern)
  local list = {}
  for _, line in ipairs(self.lines) do
    if line:find(pattern) then list[#list + 1] = line end
  end
  return list
end

function instance_methods:signal(name)
  uv.kill(self.pid, name)
end

--- Waits for the end and for the last of its output. Returns the exit status, 128 + N for signal N.
function instance_methods:wait_exit(seconds)
  wait.till(seconds or 20, function() return "its end; it said:\n" .. self:text() end, function()
    return self.status
  end)
  wait.try(3, function() return self.open_pipes == 0 end)
  return self.status
end

--- SIGTERM, and the exit status.
function instance_methods:stop(seconds)
  self:signal "sigterm"
  return self:wait_exit(seconds)
end

--- GET on a connection of its own.
function instance_methods:get(path, headers)
  return client.get(self.target, path, headers)
end

--- Replaces app.lua, whole at once as an editor does.
function instance_methods:write(app)
  host.write_file(self.dir .. "/app.lua.new", app)
  assert(uv.fs_rename(self.dir .. "/app.lua.new", self.dir .. "/app.lua"))
end

--- Replaces app.lua and sends SIGHUP.
function instance_methods:reload(app)
  self:write(app)
  self:signal "sighup"
end

--- The pids that answer "/" with "VERSION PID" on `tries` (40) new connections, by version.
function instance_methods:answering(tries)
  local versions = {}
  for _ = 1, tries or 40 do
    local version, pid = self:get("/").body:match "^(%S+) (%d+)"
    if not version then error "the app does not answer VERSION PID" end
    versions[version] = versions[version] or {}
    versions[version][tonumber(pid)] = true
  end
  return versions
end

--- Waits until `version` answers on `workers` processes and nothing else does. Returns their pids.
function instance_methods:wait_version(version, workers, seconds)
  local seen
  return wait.till(seconds or 10, function()
    local parts = {}
    for name, pids in pairs(seen) do
      local list = {}
      for pid in pairs(pids) do list[#list + 1] = pid end
      parts[#parts + 1] = name .. " on " .. table.concat(list, ", ")
    end
    return ("%s on %d workers; there was %s; it said:\n%s"):format(version, workers,
      table.concat(parts, "; "), self:text())
  end, function()
    seen = self:answering()
    local pids = {}
    for pid in pairs(seen[version] or {}) do pids[#pids + 1] = pid end
    return next(seen) == version and next(seen, version) == nil and #pids == workers and pids
  end)
end

--- Every process of this instance, whoever its parent is by now.
function instance_methods:processes()
  local mark = "SPEC_INSTANCE=" .. self.dir
  return proc.list(function(process)
    if process.state == "Z" and process.parent == 1 then return false end -- dead; init will notice
    return process.pid == self.pid and not self.status or process.session == self.pid
      or process.parent == self.pid and not self.status
      or proc.environment_has(process.pid, mark)
  end)
end

--- Waits until there are exactly `count` processes, and returns them.
function instance_methods:wait_processes(count, seconds)
  return wait.till(seconds or 10, function()
    return ("%d processes; there are:\n%s"):format(count, proc.describe(self:processes()))
  end, function()
    local list = self:processes()
    return #list == count and list
  end)
end

--- Lets a spec provoke what finish would take for a bug: lines that match `pattern`.
function instance_methods:allow(pattern)
  self.allowed[#self.allowed + 1] = pattern
end

local function is_allowed(self, line)
  for _, pattern in ipairs(self.allowed) do
    if line:find(pattern) then return true end
  end
  return false
end

local function end_instance(self, complaints)
  if not self.pid then return end -- it could not be started
  self.hear()
  if not self.status then
    self:signal "sigterm"
    if not wait.try(20, function() return self.status end) then
      complaints[#complaints + 1] = "it did not end within 20 s of SIGTERM"
      self:signal "sigkill"
      wait.try(5, function() return self.status end)
    elseif self.status ~= 0 then
      complaints[#complaints + 1] = "it ended with status " .. self.status .. " after SIGTERM"
    end
  end
  local left
  if not wait.try(4, function() left = self:processes() return #left == 0 end) then
    complaints[#complaints + 1] = "it left processes behind:\n" .. proc.describe(left)
    for _, process in ipairs(left) do uv.kill(process.pid, "sigkill") end
  end
  wait.try(2, function() return self.open_pipes == 0 end)
end

local function check_reports(self, complaints)
  local scan = uv.fs_scandir(self.dir)
  while scan do
    local name = uv.fs_scandir_next(scan)
    if not name then break end
    if name:find "^sanitizer" then
      local text = host.read_file(self.dir .. "/" .. name)
      complaints[#complaints + 1] = "a sanitizer reports:\n" .. text:sub(1, 8000)
    end
  end
  for _, line in ipairs(self.lines) do
    local bug = line:find("bug at ", 1, true) or line:find("ERROR: AddressSanitizer", 1, true)
      or line:find("runtime error:", 1, true)
    if bug and not is_allowed(self, line) then complaints[#complaints + 1] = "it said: " .. line end
  end
end

-- The directory has files only, and folders of files: nothing here is worth a recursive delete that errs.
local function remove(dir)
  local scan = uv.fs_scandir(dir)
  while scan do
    local name, kind = uv.fs_scandir_next(scan)
    if not name then break end
    if kind == "directory" then remove(dir .. "/" .. name) else uv.fs_unlink(dir .. "/" .. name) end
  end
  return uv.fs_rmdir(dir)
end

--- After each spec: ends what is running and raises an error when anything is not as it should be.
function host.finish()
  load.finish()
  local complaints = {}
  for _, self in ipairs(instances) do
    local ok, message = pcall(end_instance, self, complaints)
    if not ok then complaints[#complaints + 1] = message end
    check_reports(self, complaints)
    local removed, why = remove(self.dir)
    if not removed then complaints[#complaints + 1] = "its directory cannot be removed: " .. why end
  end
  words = host.last_words()
  instances = {}
  if #complaints > 0 then error(table.concat(complaints, "\n"), 0) end
end

--- What the instances of this spec, or of the one just finished, said last.
function host.last_words()
  local parts = {}
  for _, self in ipairs(instances) do
    local last = {}
    for i = math.max(1, #self.lines - lines_shown + 1), #self.lines do
      last[#last + 1] = self.lines[i]:sub(1, line_shown)
    end
    parts[#parts + 1] = ("---- pid %d, status %s\n%s\n----\n"):format(self.pid or 0,
      tostring(self.status), table.concat(last, "\n"))
  end
  return #parts > 0 and table.concat(parts) or words
end

return host
