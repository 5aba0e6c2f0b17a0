-- Workers that are used up: replaced first, then drained, one slot after the other, and no request lost.

local host = require "spec.support.host"
local load = require "spec.support.load"
local wait = require "spec.support.wait"

local function serve(flags, more)
  local arguments = { "--workers", "2" }
  for _, flag in ipairs(flags) do arguments[#arguments + 1] = flag end
  return host.serve { app = host.versioned_app("v1", more), flags = arguments, binary = host.release_binary }
end

describe("a worker that is used up", function()
  after_each(host.finish)

  it("is replaced after max_requests, under load, and no request is lost", function()
    local server = serve { "--max-requests", "300", "--max-requests-jitter", "300" }
    server:wait_version("v1", 2)
    local run = load.start { target = server.target, keep_alive = 8, one_shot = 2, seconds = 4 }
    for _ = 1, 3 do
      local line = server:expect "manager.*worker %d gen 1 pid %d+ is used up: it has served %d+ requests"
      assert.truthy(line:find("(max_requests)", 1, true))
      local served = tonumber(line:match "served (%d+)")
      assert.is_true(served >= 300 and served <= 600)
      server:expect("worker %d gen 1 pid " .. line:match "pid (%d+)" .. " exited with status 0")
    end
    local result = run:result()
    assert.equal(0, result.failures, table.concat(result.examples, "\n"))
    assert.is_true(result.ok > 900)
    local first = server:matching "is used up"
    local limits = {}
    for _, line in ipairs(first) do limits[line:match "served (%d+)"] = true end
    assert.truthy(next(limits, (next(limits))), "the jitter is no jitter") -- two limits at the least
  end)

  it("is replaced after max_lifetime", function()
    local server = host.serve { app = host.versioned_app("v1"),
      flags = { "--workers", "4", "--max-lifetime", "1", "--max-lifetime-jitter", "500ms" } }
    local before = server:wait_version("v1", 4)
    for _ = 1, 4 do server:expect "is used up: it has served for %d.* s %(max_lifetime%)" end
    for _ = 1, 4 do server:expect "worker %d gen 1 pid %d+ exited with status 0" end
    wait.till(10, "other workers", function()
      local now = server:answering().v1
      for _, pid in ipairs(before) do if now[pid] then return false end end
      return true
    end)
    assert.equal(0, #server:matching "failed to start")
  end)

  it("waits while another slot's successor is not ready", function()
    -- A start takes a second, and both are used up at once.
    local server = host.serve { app = host.versioned_app("v1", [[
app:before_server_start(function() perigee.sleep(1) end)]]),
      flags = { "--workers", "2", "--max-lifetime", "3" } }
    server:wait_version("v1", 2)
    local first = server:expect("worker %d gen 1 pid %d+ is used up", 10):match "worker (%d)"
    local second = server:expect("worker %d gen 1 pid %d+ is used up", 10):match "worker (%d)"
    assert.are_not.equal(first, second)
    server:expect("worker " .. first .. " gen 1 pid %d+ exited with status 0")
    local gone = wait.now()
    server:expect("worker " .. second .. " gen 1 pid %d+ exited with status 0", 10)
    assert.is_true(wait.now() - gone > 0.5, "both were replaced at once")
  end)

  it("is replaced above max_memory, which is soft: what it is at goes on", function()
    local server = serve({ "--max-memory", "64M" }, [[
local kept = {}
app:get("/eat", function()
  for i = 1, 96 do kept[#kept + 1] = ("x"):rep(2^20 - i) end
  perigee.sleep(2.5)
  return "full\n"
end)]])
    assert.equal("full\n", server:get("/eat").body)
    assert.equal(1, #server:matching "is used up: it uses %d+%.%d MiB %(max_memory is 64%.0 MiB%)")
    server:expect "worker %d gen 1 pid %d+ exited with status 0"
    server:wait_version("v1", 2)
  end)

  it("does not go round in circles when max_memory is less than a worker is born with", function()
    local server = serve { "--max-memory", "1M" }
    server:expect "warn: max_memory, 1%.0 MiB, is less than a worker has at its start, .* and is not heeded"
    local pids = server:wait_version("v1", 2)
    wait.pause(2.5) -- two looks
    table.sort(pids)
    local now = server:wait_version("v1", 2)
    table.sort(now)
    assert.same(pids, now)
    assert.equal(0, #server:matching "is used up")
  end)

  it("is left alone by default", function()
    local server = serve {}
    for _ = 1, 200 do assert.equal(200, server:get("/").status) end
    assert.equal(0, #server:matching "is used up")
  end)
end)
