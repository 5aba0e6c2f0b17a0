-- perigee.shared.pipe as apps use it, between two workers.
local host = require "spec.support.host"
local support = require "spec.support.shared"
local uv = require "luv"

local make = [[ app.shared.line = shared.pipe("line", { size = 1000 }) ]]
local names = "local line = objects.line\n"

describe("perigee.shared.pipe", function()
  local server, connections, pids

  local function start(worker, chunk) return support.start(server, names .. chunk, connections[worker]) end
  local function run(worker, chunk) return start(worker, chunk)() end

  before_each(function()
    server = support.serve(make, { workers = 2 })
    connections, pids = support.two_workers(server)
  end)

  after_each(function()
    for i = 1, 2 do connections[i]:close() end
    host.finish()
  end)

  it("carries more than it has room for, while one waits for the other, to its end", function()
    local written = start(1, [[
      local text = ("0123456789"):rep(20000)
      local ok = line:write(text)
      line:close()
      return ok, #text
    ]])
    assert.equal("200000 | true | the shared pipe 'line' is closed: its writer closed it | CLOSED", run(2, [[
      local parts = {}
      while true do
        local part, message, code = line:read(777, 10)
        if not part then
          local all = table.concat(parts)
          return #all, all == ("0123456789"):rep(20000), message, code
        end
        parts[#parts + 1] = part
      end
    ]]))
    assert.equal("true | 200000", written())
  end)

  it("says that its writer died, within a second, and goes on with another", function()
    assert.equal("true", run(1, "return line:write 'half'"))
    local reading = start(2, [[
      local first = line:read()
      local second, message, code = line:read()
      return first, second, message, code
    ]])
    uv.kill(pids[1], "sigkill")
    assert.equal("half | null | the shared pipe 'line' is closed: the process that wrote it died | DIED",
      reading(5))
    assert.equal("true | next", run(2, "return line:write 'next', line:read()"))
  end)

  it("says what does not work", function()
    assert.equal("null | timeout: reading the shared pipe 'line' took too long | TIMEOUT",
      run(1, "return line:read(10, 0.01)"))
    assert.equal("null | another process is reading the shared pipe 'line' | BUSY",
      run(2, "return line:read()"))
    assert.equal("null | timeout: writing the shared pipe 'line' took too long | TIMEOUT | 1000",
      run(2, "return line:write(('x'):rep(1001), 0.01)"))
    assert.equal("null | another process is writing the shared pipe 'line' | BUSY | 0",
      run(1, "return line:write 'x'"))
    local stat = '{"reading":1,"size_bytes":1000,"undone":0,"used_bytes":1000,"writing":1,"written":1000}'
    assert.equal(stat, run(1, [[
      local stat, keys = line:stat(), {}
      for key in pairs(stat) do keys[#keys + 1] = key end
      table.sort(keys)
      for i, key in ipairs(keys) do keys[i] = ('"%s":%d'):format(key, stat[key]) end
      return "{" .. table.concat(keys, ",") .. "}"
    ]]))
    run(1, "line:close()")
    assert.equal("null | the shared pipe 'line' is closed: its reader closed it | CLOSED | 0",
      run(2, "return line:write 'x'"))
    for chunk, message in pairs {
      ["line:write(7)"] = "wrong type: a shared pipe takes strings, not a number",
      ["line:read(0)"] = "1 or more, not 0",
      ["shared.pipe('line', { sise = 3 })"] = "unknown option 'sise'; did you mean 'size'?",
      ["shared.pipe('line', { size = 3 })"] = "exists as pipe of 1000 bytes, not as pipe of 3 bytes",
      ["shared.pipe('other')"] = "make it in main_process_start",
    } do
      assert.matches(message, run(1, "local _, problem = pcall(function() " .. chunk
        .. " end) return problem"), 1, true)
    end
  end)
end)
