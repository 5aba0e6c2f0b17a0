-- Nothing grows: memory and descriptors after many requests. The release binary, whose memory is its own.

local client = require "spec.support.client"
local host = require "spec.support.host"
local proc = require "spec.support.proc"
local wait = require "spec.support.wait"

local requests = tonumber(os.getenv "STEADY_REQUESTS") or 200000
local batch_size = 100

local app = [[
local app = require "perigee".app "steady"
app:get("/", function() return "hello\n" end)
app:get("/json", function(req) return { path = req.path, agent = req.headers["user-agent"] } end)
app:post("/echo", function(req) return req.body end)
-- Strings and tables of all sizes, which grow, shrink and are collected meanwhile.
app:get("/sizes", function()
  local kept = {}
  for round = 1, 3 do
    for size = 0, 700 do
      local list, set = {}, {}
      for i = 1, size % 40 do
        list[i] = size
        set["k" .. i] = size
      end
      for i = 1, size % 40, 2 do list[i], set["k" .. i] = nil, nil end
      kept[size] = { text = (string.char(97 + size % 26)):rep(size) .. round, list = list, set = set }
    end
    collectgarbage()
    for size = 0, 700 do
      local one = kept[size]
      if one.text ~= (string.char(97 + size % 26)):rep(size) .. round then return "text " .. size end
      for i = 2, size % 40, 2 do
        if one.list[i] ~= size or one.set["k" .. i] ~= size then return "table " .. size end
      end
    end
  end
  return "intact"
end)
return app
]]

local batch = ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):rep(batch_size - 10)
  .. ("GET /json?x=1 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: spec\r\n\r\n"):rep(5)
  .. ("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000\r\n\r\n" .. ("e"):rep(2000)):rep(5)

-- Sends `count` requests in pipelines of batch_size, on a new connection after every hundred of them.
local function ask(server, count)
  for _ = 1, count / batch_size / 100 do
    local connection = client.connect(server.target)
    for _ = 1, 100 do
      connection:send(batch)
      local answers = 0
      while answers < batch_size do
        assert.equal(200, assert(connection:response()).status)
        answers = answers + 1
      end
    end
    connection:close()
  end
end

describe("many requests", function()
  after_each(host.finish)

  it("find their values as they left them, whatever their sizes", function()
    local server = host.serve { app = app, flags = { "--workers", "1" }, binary = host.release_binary }
    for _ = 1, 5 do assert.equal("intact", client.request(server.target, "GET", "/sizes").body) end
  end)

  it("grow neither memory nor descriptors", function()
    local server = host.serve { app = app, flags = { "--workers", "1" }, binary = host.release_binary }
    ask(server, requests / 4)
    local before = {}
    local list = server:processes()
    for _, process in ipairs(list) do
      before[process.pid] = { memory = proc.memory(process.pid, "Private_Dirty"),
        descriptors = proc.descriptors(process.pid) }
    end
    ask(server, requests)
    for _, process in ipairs(list) do
      local grown = proc.memory(process.pid, "Private_Dirty") - before[process.pid].memory
      assert.is_true(grown < 1024 * 1024, ("%s grew by %d KiB"):format(process.command, grown / 1024))
      -- The last connection's end may be still on its way to the worker.
      wait.till(5, process.command .. " to have no more descriptors than before", function()
        return proc.descriptors(process.pid) <= before[process.pid].descriptors
      end)
    end
  end)
end)
