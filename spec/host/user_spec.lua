-- --user and --group: who the application's processes are, and whose what they leave is.

local host = require "spec.support.host"
local json = require "perigee.json"
local uv = require "luv"
local wait = require "spec.support.wait"

local app = [[
local perigee = require "perigee"
local app = perigee.app "who"
local function status(field)
  for line in io.lines "/proc/self/status" do
    local value = line:match("^" .. field .. ":%s*(.*)$")
    if value then return (value:gsub("%s+", " "):gsub(" $", "")) end
  end
end
local loaded = status "Uid"
app:main_process_start(function(app) app.shared.hits = perigee.shared.value("hits", "int64") end)
app:every(60, function() print "the owner ticks" end, { name = "tick", once = "app", immediately = true })
app:get("/", function() return "hello\n" end)
app:get("/who", function()
  app.shared.hits:add(1)
  return { uid = status "Uid", gid = status "Gid", groups = status "Groups", loaded = loaded,
    home = os.getenv "HOME", user = os.getenv "USER" }
end)
app:get("/stderr", function()
  local file = assert(io.open("/dev/stderr", "a"))
  file:write("by its name\n") file:close()
  return "written\n"
end)
return app
]]

local function owner(path)
  local found = assert(uv.fs_stat(path))
  return found.uid, found.gid
end

local function other_processes(server)
  local list = {}
  for _, process in ipairs(server:processes()) do
    local found = uv.fs_stat("/proc/" .. process.pid) -- nil: it has just ended
    if found then list[process.pid == server.pid and "manager" or process.name] = found.uid end
  end
  return list
end

local able = host.may_run_as "nobody"

-- `it` for what only root can try, and only where others may run the binary.
local function it_as_root(name, fn)
  it(name, function()
    if not able then pending "this needs root, and a binary that others may run" return end
    fn()
  end)
end

describe("--user", function()
  after_each(host.finish)

  it_as_root("is whom the app is loaded and served by; the manager stays", function()
    local server = host.serve { app = app, open = true, flags = { "--user", "nobody", "--workers", "2" } }
    local who = json.decode(server:get("/who").body)
    assert.same({ uid = "65534 65534 65534 65534", gid = "65534 65534 65534 65534", groups = "65534",
      loaded = who.uid, home = "/nonexistent", user = "nobody" }, who)
    assert.equal("written\n", server:get("/stderr").body)
    server:expect "by its name"
    assert.equal(1, #server:matching "the owner ticks")
    local uids = other_processes(server)
    assert.equal(0, uids.manager)
    assert.equal(0, uids["perigee-guard"])
    uids.manager, uids["perigee-guard"] = nil, nil
    assert.is_truthy(next(uids))
    for name, uid in pairs(uids) do assert.equal(65534, uid, name) end
  end)

  it_as_root("takes a number, and another group", function()
    local server = host.serve { app = app, open = true,
      flags = { "--user", "12345", "--group", "www-data", "--workers", "1" } }
    local who = json.decode(server:get("/who").body)
    assert.equal("12345 12345 12345 12345", who.uid)
    assert.equal("33 33 33 33", who.gid)
    assert.equal("33", who.groups)
  end)

  it_as_root("owns the log file and the unix sockets", function()
    local server = host.serve { app = app, open = true, bind = "unix:app.sock?mode=0660",
      flags = { "--user", "nobody", "--log-file", "perigee.log", "--workers", "1" } }
    server.target = server.dir .. "/app.sock"
    server:wait_answering()
    assert.same({ 65534, 65534 }, { owner(server.dir .. "/app.sock") })
    assert.same({ 65534, 65534 }, { owner(server.dir .. "/perigee.log") })
    assert.equal(tonumber("660", 8), assert(uv.fs_stat(server.dir .. "/app.sock")).mode % 512)
    assert(os.rename(server.dir .. "/perigee.log", server.dir .. "/perigee.log.1"))
    server:signal "sigusr1"
    wait.till(5, "a new file", function() return uv.fs_stat(server.dir .. "/perigee.log") end)
    assert.same({ 65534, 65534 }, { owner(server.dir .. "/perigee.log") })
    assert.equal(0, server:stop())
  end)

  it_as_root("is who must be able to read the app", function()
    local server = host.run({ "serve", "app.lua", "--user", "nobody" }, { app = app })
    assert.equal(1, server.status)
    assert.truthy(server:text():find("app.lua", 1, true), server:text())
  end)

  it_as_root("makes files in a folder of the manager's, but through no link", function()
    local folder = assert(uv.fs_mkdtemp "/tmp/perigee-user-XXXXXX")
    assert(uv.fs_chmod(folder, tonumber("755", 8)))
    local server = host.serve { app = app, open = true, bind = "unix:" .. folder .. "/app.sock",
      flags = { "--user", "nobody", "--log-file", folder .. "/perigee.log", "--workers", "1" } }
    server.target = folder .. "/app.sock"
    server:wait_answering()
    assert.same({ 65534, 65534 }, { owner(folder .. "/app.sock") })
    assert.same({ 65534, 65534 }, { owner(folder .. "/perigee.log") })
    assert.equal(0, server:stop())
    assert.is_nil(uv.fs_stat(folder .. "/app.sock"))

    -- What that user could have put there to have us write elsewhere.
    os.remove(folder .. "/perigee.log")
    assert(uv.fs_symlink(folder .. "/precious", folder .. "/link"))
    local refused = host.run({ "serve", "app.lua", "--bind", "127.0.0.1:" .. host.free_port(), "--user",
      "nobody", "--log-file", folder .. "/link" }, { app = app, open = true })
    assert.equal(1, refused.status)
    assert.truthy(refused:text():find("cannot open the log file", 1, true), refused:text())
    assert.is_nil(uv.fs_stat(folder .. "/precious"))
    os.remove(folder .. "/link")
    uv.fs_rmdir(folder)
  end)

  it_as_root("serves on through scaling, reloads and stops", function()
    local server = host.serve { app = host.versioned_app "v1", open = true,
      flags = { "--user", "nobody", "--workers", "1" } }
    server:signal "sigttin"
    server:wait_version("v1", 2)
    server:reload(host.versioned_app "v2")
    server:wait_version("v2", 2)
    server:signal "sigusr2" -- the same program once more, as the same user
    server:expect "generation 3 serves"
    assert.equal(65534, other_processes(server)["worker 0 gen 3"])
    assert.equal(0, server:stop())
  end)

  it_as_root("is refused to who may not become it", function()
    local server = host.run({ "serve", "app.lua", "--user", "www-data" }, { app = app, open = true,
      wrapper = { "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups" } })
    assert.equal(1, server.status)
    assert.truthy(server:text():find("cannot become user www-data: only root can", 1, true), server:text())
  end)

  it("is named when there is none", function()
    local function failed(...)
      local server = host.run({ "serve", "app.lua", ... }, { app = app })
      assert.equal(1, server.status)
      return server:text()
    end
    assert.truthy(failed("--user", "nobdy"):find("there is no user 'nobdy'", 1, true))
    assert.truthy(failed("--group", "nogrp"):find("there is no group 'nogrp'", 1, true))
    assert.truthy(failed("--user", "4711"):find("set group too", 1, true))
  end)

  it("is no setting for the files that are read as it", function()
    local server = host.run({ "serve", "app.lua" }, { app = [[
local app = require "perigee".app("late", { user = "nobody" })
return app
]] })
    assert.equal(1, server.status)
    assert.truthy(server:text():find("app.lua:1: setting 'user' counts before", 1, true), server:text())
  end)
end)
