-- scripts/apps/upload.lua, as people use it: with curl, and as other programs send forms.
-- (A browser does in browser_spec.lua.)
local client = require "spec.support.client"
local host = require "spec.support.host"
local json = require "cjson"
local run = require "spec.support.run"
local uv = require "luv"

local server

local function url(path) return "http://127.0.0.1:" .. server.port .. (path or "/") end

local function curl(...)
  local text, status = run { "curl", "--silent", "--show-error", "--max-time", "30", ... }
  assert.equal(0, status, text)
  return text
end

--- What the example has kept: the end of each name → content.
local function kept()
  local list, scan = {}, uv.fs_scandir(server.dir .. "/kept")
  for name in function() return uv.fs_scandir_next(scan) end do
    list[name:match "%-(.*)$"] = host.read_file(server.dir .. "/kept/" .. name)
  end
  return list
end

local function part(disposition, content)
  return ("--B\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"):format(disposition, content)
end

local function post(body)
  return client.request(server.target, "POST", "/", { ["Content-Type"] = "multipart/form-data; boundary=B" },
    body .. "--B--\r\n")
end

describe("the upload example", function()
  before_each(function()
    server = host.serve { app = host.read_file "scripts/apps/upload.lua", flags = { "--workers", "1" },
      env = { UPLOADS = "@DIR@/kept" } }
  end)
  after_each(host.finish)

  it("takes files from curl, whatever their size, and gives them back", function()
    local large = ("0123456789\0\r\n--"):rep(80000) -- goes through a temporary file
    host.write_file(server.dir .. "/large.bin", large)
    host.write_file(server.dir .. "/small.txt", "hello\n")
    local answer = json.decode(curl("-F", "title=Two", "-F", "file=@" .. server.dir .. "/large.bin", "-F",
      "file=@" .. server.dir .. "/small.txt;type=text/plain", url()))
    assert.same({ title = "Two", files = { { name = "large.bin", type = "application/octet-stream",
      size = #large }, { name = "small.txt", type = "text/plain", size = 6 } } }, answer)
    assert.same({ ["large.bin"] = large, ["small.txt"] = "hello\n" }, kept())
    local path = curl(url()):match 'href="(/files/[^"]*small.txt)"'
    assert.equal("hello\n", curl(url(path)))
    assert.matches("attachment", server:get(path).headers["content-disposition"])
  end)

  it("waits for a large body until it is asked for it, and refuses one that is too large", function()
    host.write_file(server.dir .. "/huge.bin", ("x"):rep(21 * 2 ^ 20))
    local text = curl("-F", "file=@" .. server.dir .. "/huge.bin", "-H", "Expect: 100-continue", "-o",
      server.dir .. "/answer", "-w", "%{http_code}", url())
    assert.equal("413", text)
    assert.same({}, kept())
  end)

  it("keeps no file where its name wants it", function()
    local form = ""
    for i, name in ipairs { "../../escape", ".hidden", "a b/ü.txt" } do
      form = form .. part(('name="file"; filename="%s"'):format(name), tostring(i))
    end
    assert.equal(201, post(form).status)
    assert.same({ "1", "2", "3" }, (function()
      local contents = {}
      for name, content in pairs(kept()) do
        assert.matches("^[%w._-]+$", name)
        contents[#contents + 1] = content
      end
      table.sort(contents)
      return contents
    end)())
    assert.equal(404, server:get("/files/..%2f..%2fapp.lua").status)
    assert.equal(422, post(part('name="title"', "no file")).status)
    assert.equal(400, post("--B\r\nnonsense").status)
  end)
end)
