-- Where it listens: addresses, unix sockets, descriptors it was given.

local client = require "spec.support.client"
local host = require "spec.support.host"
local uv = require "luv"

local hello = [[
local app = require "perigee".app "hello"
app:get("/", function(req) return "hello " .. tostring(req.ip) .. "\n" end)
return app
]]

describe("binding", function()
  after_each(host.finish)

  it("takes several addresses", function()
    local ports = { host.free_port(), host.free_port() }
    local server = host.serve { app = hello, bind = "127.0.0.1:" .. ports[1],
      flags = { "--bind", "127.0.0.1:" .. ports[2] } }
    for _, port in ipairs(ports) do
      server.target = port
      server:wait_answering()
      assert.equal("hello 127.0.0.1\n", server:get("/").body)
    end
  end)

  it("takes an IPv6 address", function()
    local port = host.free_port()
    local probe = uv.new_tcp()
    local possible = probe:bind("::1", 0)
    probe:close()
    if not possible then pending "this machine has no ::1" return end
    local server = host.serve { app = hello, bind = "[::1]:" .. port }
    server.target = "[::1]:" .. port
    server:wait_answering()
    assert.equal("hello ::1\n", server:get("/").body)
    server:expect("http://%[::1%]:" .. port)
  end)

  it("refuses an address that is none", function()
    for _, address in ipairs { "127.0.0.1:99999", "nowhere.invalid:80", "unix:", "fd:77", "127.0.0.1" } do
      local server = host.run({ "serve", "app.lua", "--bind", address }, { app = hello })
      assert.is_true(server.status == 1 or server.status == 2, address .. ": " .. server:text())
      assert.truthy(server:text():find(address, 1, true), server:text())
    end
  end)

  describe("a unix socket", function()
    it("serves, with its mode, and removes the file at the end", function()
      local server = host.serve { app = hello, bind = "unix:perigee.sock?mode=0640",
        flags = { "--workers", "2" } }
      local path = server.dir .. "/perigee.sock"
      server.target = path
      server:wait_answering()
      assert.truthy(server:get("/").body:find "^hello")
      local stat = uv.fs_stat(path)
      assert.equal("socket", stat.type)
      assert.equal(tonumber("640", 8), stat.mode % 512)
      assert.equal(0, server:stop())
      assert.is_nil(uv.fs_stat(path))
    end)

    it("goes on through a reload", function()
      local server = host.serve { app = host.versioned_app("v1"), bind = "unix:perigee.sock",
        flags = { "--workers", "2" } }
      server.target = server.dir .. "/perigee.sock"
      server:wait_answering()
      server:reload(host.versioned_app("v2"))
      server:wait_version("v2", 2)
    end)

    it("replaces one that nobody listens on", function()
      local server = host.serve { app = hello, bind = "unix:perigee.sock" }
      local path = server.dir .. "/perigee.sock"
      server.target = path
      server:wait_answering()
      server:signal "sigkill"
      server:wait_exit()
      assert.truthy(uv.fs_stat(path), "the killed one left its socket")
      local again = host.serve { app = hello, bind = "unix:" .. path }
      again.target = path
      again:wait_answering()
      assert.truthy(again:get("/").body:find "^hello")
    end)

    it("refuses to take one that is in use", function()
      local server = host.serve { app = hello, bind = "unix:perigee.sock" }
      local path = server.dir .. "/perigee.sock"
      server.target = path
      server:wait_answering()
      local second = host.run({ "serve", "app.lua", "--bind", "unix:" .. path }, { app = hello })
      assert.equal(1, second.status)
      assert.truthy(second:text():find(path, 1, true), second:text())
      assert.truthy(server:get("/").body:find "^hello")
    end)

    it("refuses to replace a file that is no socket", function()
      local server = host.run({ "serve", "app.lua", "--bind", "unix:data.txt" },
        { app = hello, files = { ["data.txt"] = "precious" } })
      assert.equal(1, server.status)
      assert.equal("precious", host.read_file(server.dir .. "/data.txt"))
    end)
  end)

  describe("a descriptor", function()
    -- A listening socket on a free port, to be inherited.
    local function listening()
      local socket = uv.new_tcp()
      assert(socket:bind("127.0.0.1", 0))
      assert(socket:listen(128, function() end))
      return socket, socket:getsockname().port
    end

    it("is served when it is named fd:N", function()
      local socket, port = listening()
      local server = host.serve { app = host.versioned_app("v1"), bind = "fd:3", stdio = { [3] = socket },
        flags = { "--workers", "2" } }
      socket:close()
      uv.run "nowait"
      server.target = port
      server:wait_answering()
      server:reload(host.versioned_app("v2"))
      server:wait_version("v2", 2)
    end)

    it("is served when LISTEN_FDS hands it over", function()
      local socket, port = listening()
      local server = host.start({ "serve", "app.lua", "--workers", "2" }, { app = host.versioned_app("v1"),
        stdio = { [3] = socket }, wrapper = { "sh", "-c", 'LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh" } })
      socket:close()
      uv.run "nowait"
      server.target = port
      server:wait_answering()
      assert.truthy(server:answering().v1)
    end)

    it("is not taken when LISTEN_PID is another's", function()
      local socket = listening()
      local port = host.free_port()
      local server = host.start({ "serve", "app.lua", "--bind", "127.0.0.1:" .. port },
        { app = hello, stdio = { [3] = socket }, env = { LISTEN_FDS = "1", LISTEN_PID = "1" } })
      socket:close()
      server.target = port
      server:wait_answering()
      assert.equal("hello 127.0.0.1\n", client.get(port, "/").body)
    end)
  end)
end)
