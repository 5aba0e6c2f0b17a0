-- No request is lost: under load while code changes, workers come and go, and workers are killed.
--
-- The release binary, two workers, 64 keep-alive and 64 one-shot clients. LOSSLESS_SECONDS makes the
-- runs longer than CI's.

local host = require "spec.support.host"
local load = require "spec.support.load"
local uv = require "luv"
local wait = require "spec.support.wait"

local seconds = tonumber(os.getenv "LOSSLESS_SECONDS") or 8
local clients = 64

local function serve(workers, flag)
  local server = host.serve { app = host.versioned_app("v1"), binary = host.release_binary,
    flags = { "--workers", tostring(workers), flag } }
  return server, server:wait_version("v1", workers), #server:processes()
end

local function start_load(server)
  return load.start { target = server.target, keep_alive = clients, one_shot = clients, seconds = seconds }
end

local function told(result)
  return ("%d of %d requests failed:\n%s"):format(result.failures, result.ok + result.failures,
    table.concat(result.examples, "\n"))
end

local function keys(set)
  local count = 0
  for _ in pairs(set) do count = count + 1 end
  return count
end

describe("under load", function()
  after_each(host.finish)

  it("a reload every second loses nothing, and its code answers on every worker", function()
    local server, _, count = serve(2)
    local run = start_load(server)
    local version = 1
    while run:is_going(1) do
      version = version + 1
      server:reload(host.versioned_app("v" .. version))
      wait.pause(1)
    end
    local result = run:result()
    assert.equal(0, result.failures, told(result))
    for number = 1, version do
      local entry = assert(result.versions["v" .. number], "v" .. number .. " never answered")
      assert.is_true(keys(entry.pids) >= 2, "v" .. number .. " did not answer on every worker")
    end
    server:wait_version("v" .. version, 2)
    server:wait_processes(count)
    print(("    %d requests, %d reloads, longest %.0f ms"):format(result.ok, version - 1, result.longest))
  end)

  it("a reload loses nothing where all workers share one socket", function()
    local server = serve(2, "--no-reuse-port")
    local run = start_load(server)
    local version = 1
    while run:is_going(1) do
      version = version + 1
      server:reload(host.versioned_app("v" .. version))
      wait.pause(1)
    end
    local result = run:result()
    assert.equal(0, result.failures, told(result))
    server:wait_version("v" .. version, 2)
  end)

  it("scaling 2 → 8 → 2 again and again loses nothing", function()
    local server, _, count = serve(2)
    local run = start_load(server)
    while run:is_going(2) do
      for _ = 1, 6 do server:signal "sigttin" wait.pause(0.08) end
      wait.pause(0.5)
      for _ = 1, 6 do server:signal "sigttou" wait.pause(0.08) end
      wait.pause(0.5)
    end
    local result = run:result()
    assert.equal(0, result.failures, told(result))
    assert.is_true(keys(result.versions.v1.pids) > 8, "there were never more than two workers")
    server:wait_processes(count, 20)
    server:wait_version("v1", 2)
    print(("    %d requests, longest %.0f ms"):format(result.ok, result.longest))
  end)

  it("killing a worker every second fails only what was in flight on it", function()
    local server, pids = serve(2)
    local run = start_load(server)
    local kills = {}
    while run:is_going(1.5) do
      wait.pause(1)
      local victim = pids[#kills % 2 + 1]
      kills[#kills + 1] = { pid = tostring(victim), at = wait.now() }
      uv.kill(victim, "sigkill")
      pids = wait.till(10, "two workers again", function()
        local found = {}
        for pid in pairs(server:answering(20).v1) do
          if pid ~= victim then found[#found + 1] = pid end
        end
        return #found == 2 and found
      end)
    end
    local result = run:result()
    local others = {}
    for _, event in ipairs(result.events) do
      local explained = false
      for _, kill in ipairs(kills) do
        -- In flight on the killed worker: failed at the kill, with a request from before its news had
        -- come, on a connection that is this worker's as far as its answers tell.
        if event.asked_at - kill.at < 0.05 and math.abs(event.at - kill.at) < 0.25
          and (event.pid == nil or event.pid == kill.pid)
          and (event.kind == "reset" or event.kind == "lost" or event.kind == "short") then
          explained = true
        end
      end
      if not explained then others[#others + 1] = event.kind .. " at " .. event.at end
    end
    assert.same({}, others, told(result))
    assert.is_true(result.failures <= #kills * 2 * clients, told(result))
    print(("    %d requests, %d kills, %d in flight on the killed, longest %.0f ms"):format(result.ok,
      #kills, result.failures, result.longest))
  end)

  it("a bad reload in between loses nothing", function()
    local server = serve(2)
    local run = start_load(server)
    local version, round = 1, 0
    while run:is_going(1) do
      round = round + 1
      if round % 2 == 1 then
        server:reload "this is not Lua"
      else
        version = version + 1
        server:reload(host.versioned_app("v" .. version))
      end
      wait.pause(0.5)
    end
    local result = run:result()
    assert.equal(0, result.failures, told(result))
    server:wait_version("v" .. version, 2)
  end)
end)
