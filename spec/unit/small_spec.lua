--- The modules that need one paragraph each.
local cpus = require "perigee.cpus"
local nearest = require "perigee.nearest"
local record = require "perigee.record"
local traceback = require "perigee.traceback"
local urlencoded = require "perigee.urlencoded"
local uv = require "luv"

describe("nearest", function()
  it("finds what was meant, or nothing", function()
    local names = { "workers", "worker_timeout", "bind" }
    assert.equal("workers", nearest.find("wokers", names))
    assert.equal("workers", nearest.find("wrokers", names))
    assert.equal("bind", nearest.find("bnid", names))
    assert.is_nil(nearest.find("zzzzzz", names))
    assert.equal("", nearest.hint("zzzzzz", names))
  end)
end)

describe("a record block", function()
  it("is read as it was written", function()
    local pieces = {}
    record.add(pieces, "a", "1")
    record.add(pieces, "b", "")
    record.add(pieces, "a", "x y")
    local block = record.block(pieces)
    assert.equal("a\0001\0b\0\0a\0x y\0", block)
    assert.same({ a = { "1", "x y" }, b = { "" } }, record.parse(block))
    assert.has_error(function() record.add(pieces, "a", "x\0y") end)
  end)
end)

describe("percent-decoding", function()
  it("happens once, and leaves what is no escape", function()
    assert.equal("a b+c%2", urlencoded.decode("a%20b+c%2"))
    assert.equal("a b c", urlencoded.decode("a%20b+c", true))
    assert.equal("%41", urlencoded.decode("%2541"))
    assert.equal("/\255", urlencoded.decode("%2F%fF"))
  end)
end)

describe("a traceback", function()
  it("keeps the user's frames and drops ours", function()
    local text = traceback.trim("stack traceback:\n\t[C]: in function 'error'\n\tapp.lua:3: in function 'f'\n"
      .. "\tperigee/dispatch.lua:9: in function <perigee/dispatch.lua:1>\n\t[C]: in function 'xpcall'")
    assert.equal("stack traceback:\n\tapp.lua:3: in function 'f'", text)
    assert.equal("", traceback.trim("stack traceback:\n\t[C]: in ?\n\tperigee/x.lua:9: in function 'f'"))
  end)

  it("tells errors of every kind", function()
    assert.equal("x", traceback.message("x"))
    assert.equal("from a table", traceback.message({ message = "from a table" }))
    assert.equal("shown", traceback.message(setmetatable({}, { __tostring = function() return "shown" end })))
    assert.truthy(traceback.message({}):find("without __tostring", 1, true))
    assert.equal("nil", traceback.message(nil))
    local co = coroutine.create(function() local t = {} return t.x.y end)
    local _, problem = coroutine.resume(co)
    local text = traceback.text(traceback.of(co, problem))
    assert.truthy(text:find("^[^\n]+small_spec.lua:%d+: attempt to index.-\nstack traceback:\n\t.-:%d+: in"),
      text)
  end)
end)

describe("the CPUs to use", function()
  local root

  local function write(path, text)
    local folder = root
    for part in path:match("^(.*)/[^/]*$"):gmatch("[^/]+") do
      folder = folder .. "/" .. part
      uv.fs_mkdir(folder, 511)
    end
    local file = assert(io.open(root .. "/" .. path, "w"))
    file:write(text)
    file:close()
  end

  before_each(function() root = assert(uv.fs_mkdtemp("/tmp/perigee-cpus-XXXXXX")) end)

  after_each(function() os.execute("rm -r '" .. root .. "'") end)

  it("are limited by the smallest quota of a cgroup v2 and those above it", function()
    write("proc/self/cgroup", "0::/a/b\n")
    write("sys/fs/cgroup/a/cpu.max", "150000 100000\n")
    write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
    assert.equal(1.5, cpus.quota(root))
  end)

  it("are limited by a cgroup v1's quota", function()
    write("proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/c\n")
    write("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "200000")
    write("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000")
    assert.equal(2, cpus.quota(root))
  end)

  it("have no limit without one", function()
    assert.is_nil(cpus.quota(root))
    assert.is_true(cpus.count() >= 1)
  end)
end)
