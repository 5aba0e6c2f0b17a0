local settings = require "perigee.settings"

local function error_of(fn, ...)
  local ok, text = pcall(fn, ...)
  assert.is_false(ok)
  return text
end

describe("settings", function()
  local normal = {
    { "graceful_timeout", 15, "15000" }, { "graceful_timeout", "500ms", "500" },
    { "graceful_timeout", "2m", "120000" }, { "graceful_timeout", "1.5", "1500" },
    { "graceful_timeout", "1 h", "3600000" }, { "body_limit", "64 KiB", "65536" },
    { "body_limit", "100M", "104857600" }, { "body_limit", 10, "10" }, { "body_limit", "1.5k", "1536" },
    { "workers", "auto", "auto" }, { "workers", "4", "4" }, { "reuse_port", false, "0" },
    { "reuse_port", "yes", "1" }, { "mode", "development", "development" }, { "backlog", "128", "128" },
  }
  for _, row in ipairs(normal) do
    it(("take %s = %s as %s"):format(row[1], tostring(row[2]), row[3]), function()
      assert.equal(row[3], settings.normal(row[1], row[2], "here"))
    end)
  end

  local refused = {
    { "workers", 0, "from 1 to 256" }, { "workers", 1.5, "a whole number" },
    { "workers", "many", "\"auto\"" },
    { "graceful_timeout", "-1", "a time from 0" }, { "graceful_timeout", "5x", "\"500ms\"" },
    { "body_limit", "1..2", "a size" }, { "body_limit", "12 parsecs", "a size" },
    { "mode", "prod", "one of production, development" }, { "reuse_port", "perhaps", "true or false" },
    { "bind", "nowhere", "an address" }, { "bind", {}, "an address or a list" },
    { "log_file", "", "not empty" },
  }
  for _, row in ipairs(refused) do
    it(("refuse %s = %s, saying what is allowed"):format(row[1], tostring(row[2])), function()
      local text = error_of(settings.normal, row[1], row[2], "flag --x")
      assert.truthy(text:find("flag --x: setting '" .. row[1] .. "' cannot be", 1, true), text)
      assert.truthy(text:find(row[3], 1, true), text)
    end)
  end

  it("name the nearest known name", function()
    local text = error_of(settings.normal, "wokers", 1, "perigee.conf.lua:3")
    assert.equal("perigee.conf.lua:3: unknown setting 'wokers'; did you mean 'workers'?", text)
  end)

  it("keep the strongest source", function()
    local given = settings.given()
    settings.give(given, "workers", "3", "flag --workers")
    settings.give_environment(given, { PERIGEE_WORKERS = "5", PERIGEE_BACKLOG = "9", OTHER = "x" })
    settings.give_all(given, { backlog = 7, mode = "development" }, "perigee.conf.lua:1")
    settings.give_defaults(given)
    assert.equal("3", given.values.workers)
    assert.equal("flag --workers", given.origins.workers)
    assert.equal("9", given.values.backlog)
    assert.equal("environment PERIGEE_BACKLOG", given.origins.backlog)
    assert.equal("development", given.values.mode)
    assert.equal("75000", given.values.keep_alive_timeout)
  end)

  it("check weaker sources too", function()
    local given = settings.given()
    settings.give(given, "workers", "3", "flag --workers")
    local text = error_of(settings.give_all, given, { workers = "x" }, "app.lua:1")
    assert.truthy(text:find("app.lua:1", 1, true))
  end)

  it("read lists in the environment, refuse unknown names, and leave Kubernetes' alone", function()
    local given = settings.given()
    settings.give_environment(given, { PERIGEE_BIND = ":80, unix:/x", PERIGEE_LUA_PATH = "/x",
      PERIGEE_SERVICE_HOST = "10.0.0.1", PERIGEE_PORT = "tcp://10.0.0.1:80", PERIGEE_PORT_80_TCP = "x" })
    assert.same({ ":80", "unix:/x" }, given.values.bind)
    local text = error_of(settings.give_environment, given, { PERIGEE_WORKER = "1" })
    assert.equal("environment PERIGEE_WORKER: there is no such setting; did you mean 'PERIGEE_WORKERS'?",
      text)
  end)

  it("make auto a number", function()
    local given = settings.given()
    settings.give_defaults(given)
    assert.truthy(tonumber(given.values.workers) >= 1)
  end)

  it("give users seconds, bytes and booleans", function()
    local given = settings.given()
    settings.give_all(given, { graceful_timeout = "500ms", body_limit = "1k", reuse_port = "no" }, "x")
    settings.give_defaults(given)
    local config = settings.config(given.values)
    assert.equal(0.5, config.graceful_timeout)
    assert.equal(1024, config.body_limit)
    assert.is_false(config.reuse_port)
    assert.same({ "127.0.0.1:8000" }, config.bind)
  end)
end)
