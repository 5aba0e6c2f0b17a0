-- All shared objects together, used by eight processes of which one is killed every 50 ms.
-- TORTURE_SECONDS (60): for how long.
local cjson = require "cjson"
local host = require "spec.support.host"
local wait = require "spec.support.wait"

local SECONDS = tonumber(os.getenv "TORTURE_SECONDS") or 60
local HANG = 1 -- second

local function describe_figures(report)
  local lines = {}
  for name, call in pairs(report.calls) do
    lines[#lines + 1] = ("  %-18s %10d, longest %6.1f ms"):format(name, call.count, call.longest * 1e3)
  end
  table.sort(lines)
  return ("torture: %d s, %d kills, %d calls; %d cut short, %d undone by others, %d locks abandoned, "
    .. "%d permits and %d messages back, %d of %d plain ones lost; longest call %.0f ms (%s), "
    .. "longest seen running %.0f ms; a process that slept was %.0f ms late\n%s\n"):format(
    SECONDS, report.kills, report.operations, report.cut_short, report.undone, report.abandoned,
    report.revived, report.returned, report.plain.missing, report.plain.put, report.longest * 1e3,
    report.longest_call, report.hung * 1e3, report.late * 1e3, table.concat(lines, "\n"))
end

describe("shared objects whose processes are killed all the time", function()
  after_each(host.finish)

  it("stay whole, and keep nobody waiting", function()
    local server = host.serve {
      app = assert(host.read_file "spec/support/torture_app.lua"), binary = host.release_binary,
      env = { TORTURE_SECONDS = tostring(SECONDS) },
      flags = { "--workers", "1", "--shared-memory", "512MiB", "--restart-delay-min", "0.001",
        "--restart-delay-max", "0.001" },
    }
    local report
    wait.till(SECONDS + 120, function() return "the report; it said:\n" .. server:text() end, function()
      if #server:matching "WRONG" > 100 then error(host.last_words()) end
      wait.pause(0.5)
      report = server:get("/report").body
      return report ~= ""
    end)
    report = cjson.decode(report)
    local text = describe_figures(report)
    io.write(text)
    assert.same({}, server:matching "WRONG")
    assert.equal(0, report.wrongs)
    -- What a process waited for a CPU is left out of its own times; who has what it waits for may have
    -- waited as well, for about as long as a process that only sleeps did.
    assert.is_true(report.longest < HANG + report.late, text)
    assert.is_true(report.hung < HANG + report.late, text)
    -- On a busy machine processes may not come as fast as they could be killed.
    assert.is_true(report.kills > SECONDS * 5, text)
    assert.is_true(report.operations > report.kills * 100, text)
    for _, call in pairs(report.calls) do assert.is_true(call.count > 0, text) end
  end)
end)
