require "spec.support.abi"
local cli = require "perigee.cli"
local record = require "perigee.record"
local uv = require "luv"

local APP = "scripts/apps/hello.lua"

--- Runs a command line: status, the block's records, and what was printed.
local function run(arguments, environment)
  local printed, told = {}, {}
  local real_print, real_stderr = print, io.stderr
  _G.print = function(text) printed[#printed + 1] = text end -- luacheck: ignore 122
  io.stderr = { write = function(_, ...) told[#told + 1] = table.concat { ... } end } -- luacheck: ignore 122
  local ok, status, block = pcall(cli.main, arguments, environment or {})
  _G.print, io.stderr = real_print, real_stderr -- luacheck: ignore 122
  assert(ok, status)
  return status, block and record.parse(block), table.concat(printed, "\n"), table.concat(told)
end

describe("perigee serve", function()
  it("hands flags and environment to the manager, with their origins", function()
    local status, block = run({ "serve", APP, "--bind", ":80", "--bind", "[::1]:80", "--workers=3",
      "--graceful-timeout", "2m", "--no-reuse-port", "--set", "backlog=7" }, { PERIGEE_BODY_LIMIT = "1M" })
    assert.is_nil(status)
    assert.same({ APP }, block.app)
    assert.same({ ":80", "[::1]:80" }, block.bind)
    assert.same({ "3" }, block.workers)
    assert.same({ "120000" }, block.graceful_timeout)
    assert.same({ "0" }, block.reuse_port)
    assert.same({ "7" }, block.backlog)
    assert.same({ "1048576" }, block.body_limit)
    assert.same({ "flag --workers" }, block["origin.workers"])
    assert.same({ "environment PERIGEE_BODY_LIMIT" }, block["origin.body_limit"])
    assert.is_nil(block.mode) -- defaults come later
  end)

  it("takes systemd's sockets, unless told where to listen", function()
    local environment = { LISTEN_FDS = "2", LISTEN_PID = tostring(uv.os_getpid()) }
    local _, block = run({ "serve", APP }, environment)
    assert.same({ "fd:3", "fd:4" }, block.bind)
    _, block = run({ "serve", APP, "--bind", ":80" }, environment)
    assert.same({ ":80" }, block.bind)
    environment.LISTEN_PID = "1"
    _, block = run({ "serve", APP }, environment)
    assert.is_nil(block.bind)
  end)

  it("finds app.lua in a folder", function()
    local folder = assert(uv.fs_mkdtemp("/tmp/perigee-cli-XXXXXX"))
    local status, _, _, told = run({ "serve", folder })
    assert.equal(1, status)
    assert.equal(("perigee: %s: this folder has no app.lua\n"):format(folder), told)
    assert(io.open(folder .. "/app.lua", "w")):close()
    local _, block = run({ "serve", folder .. "/" })
    assert.same({ folder .. "/app.lua" }, block.app)
    os.remove(folder .. "/app.lua")
    uv.fs_rmdir(folder)
  end)
end)

describe("a mistyped command line", function()
  local mistakes = {
    { { "serv", APP }, "there is no command 'serv'; did you mean 'serve'?", 2 },
    { { "serve", APP, "--wokers", "2" }, "unknown option '--wokers'; did you mean '--workers'?", 2 },
    { { "serve", APP, "--workers", "0" }, "flag --workers: setting 'workers' cannot be \"0\"", 2 },
    { { "serve", APP, "--set", "bakclog=1" },
      "flag --set: unknown setting 'bakclog'; did you mean 'backlog'?", 2 },
    { { "serve", APP, "--set", "backlog" }, "flag --set: 'backlog' is not NAME=VALUE", 2 },
    { { "serve" }, "missing argument 'APP'", 2 },
    { {}, "a command is missing", 2 },
    { { "serve", "nothere.lua" }, "nothere.lua: cannot read the app (no such file or directory)", 1 },
  }
  for _, row in ipairs(mistakes) do
    it("is told in one line: " .. row[2], function()
      local status, _, _, told = run(row[1])
      assert.equal(row[3], status)
      assert.equal("perigee: " .. row[2], told:sub(1, 9 + #row[2]))
      assert.is_nil(told:find("traceback", 1, true))
    end)
  end
end)

describe("perigee --version", function()
  it("tells it", function()
    local status, _, printed = run { "--version" }
    assert.equal(0, status)
    assert.equal("perigee 0.0.0", printed)
  end)
end)
