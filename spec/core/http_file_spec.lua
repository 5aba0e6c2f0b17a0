-- Files as answers: validators, conditions, ranges, codings, paths that lead out, files that change.
local ffi = require "ffi"
local raw = require "spec.support.raw"
local uv = require "luv"

ffi.cdef [[
void *mmap(void *address, size_t size, int protection, int flags, int fd, long offset);
int munmap(void *address, size_t size);
]]

local PROT_READ, PROT_WRITE, MAP_SHARED = 1, 2, 1

local DOTFILES, NO_SYMLINKS, PRECOMPRESSED = 1, 2, 4
local MISSING, DENIED, DIRECTORY = "refused -20\n", "refused -21\n", "refused -22\n"
local DATE, SOON, EARLIER = "Tue, 01 Sep 2026 12:00:00 GMT", "Tue, 01 Sep 2026 12:00:01 GMT",
  "Tue, 01 Sep 2026 11:59:59 GMT"
local TIME = 1788264000 -- DATE

local dir -- of the spec that runs

local function path(name)
  return dir .. "/" .. name
end

local function write(name, text, time)
  local file = assert(io.open(path(name), "w"))
  assert(file:write(text))
  file:close()
  assert(uv.fs_utime(path(name), time or TIME, time or TIME))
end

local function remove(folder)
  local scan = uv.fs_scandir(folder)
  for name, kind in function() return uv.fs_scandir_next(scan) end do
    if kind == "directory" then remove(folder .. "/" .. name) else uv.fs_unlink(folder .. "/" .. name) end
  end
  uv.fs_rmdir(folder)
end

-- A spec with a folder "www" in a directory of its own, and a host that serves it.
local function with_host(settings, body, wrap)
  return function()
    dir = assert(uv.fs_mkdtemp "/tmp/perigee-file-XXXXXX")
    assert(uv.fs_mkdir(path "www", 493))
    write("www/a.txt", "0123456789")
    write("outside.txt", "secret")
    local all = { root = path "www" }
    for name, value in pairs(settings) do all[name] = value end
    local host = raw.host(all, nil, wrap)
    local ok, err = pcall(body, host)
    local drained = host:count "^drained" > 0
    if not ok and not drained then host:tell "stop" end
    local ended, why = pcall(ok and not drained and host.stop or host.wait_exit, host)
    remove(dir)
    if not ok then error(err, 0) end
    if not ended then error(why, 0) end
  end
end

local function message(target, headers, method)
  return (method or "GET") .. " " .. target .. " HTTP/1.1\r\nHost: x\r\n" .. (headers or "") .. "\r\n"
end

-- One request on a connection of its own.
local function ask(host, target, headers, method)
  local client = raw.connect(host.port)
  local response = client:ask(message(target, headers, method), method)
  client:close()
  return response
end

local function fd_count(host)
  local scan, count = uv.fs_scandir("/proc/" .. host.process:get_pid() .. "/fd"), 0
  while uv.fs_scandir_next(scan) do count = count + 1 end
  return count
end

describe("http: a file", function()
  it("is sent with what describes it; HEAD says the same", with_host({}, function(host)
    local response = ask(host, "/f/a.txt")
    assert.equal(200, response.status)
    assert.equal("0123456789", response.body)
    assert.equal("text/plain; charset=utf-8", response.headers["content-type"])
    assert.equal("10", response.headers["content-length"])
    assert.equal(DATE, response.headers["last-modified"])
    assert.equal("bytes", response.headers["accept-ranges"])
    assert.matches('^"[%x-]+"$', response.headers.etag)
    assert.is_nil(response.headers.vary)
    local head = ask(host, "/f/a.txt", nil, "HEAD")
    response.headers.date, head.headers.date = nil, nil
    assert.same(response.headers, head.headers)
    assert.equal(200, ask(host, "/f/a.txt", "Range: bytes=2-3\r\n", "HEAD").status)
  end))

  it("has a type by its name", with_host({}, function(host)
    for name, kind in pairs {
      ["x.html"] = "text/html; charset=utf-8", ["x.CSS"] = "text/css; charset=utf-8",
      ["x.min.js"] = "text/javascript; charset=utf-8", ["x.json"] = "application/json",
      ["x.svg"] = "image/svg+xml", ["x.woff2"] = "font/woff2", ["x.wasm"] = "application/wasm",
      ["x"] = "application/octet-stream", ["x.unheardof"] = "application/octet-stream",
      ["x.html.verylongextension"] = "application/octet-stream",
    } do
      write("www/" .. name, "x")
      assert.equal(kind, ask(host, "/f/" .. name).headers["content-type"])
    end
    write("www/empty.txt", "")
    local empty = ask(host, "/f/empty.txt")
    assert.equal("0", empty.headers["content-length"])
    assert.equal("text/plain; charset=utf-8", empty.headers["content-type"])
  end))

  it("is sent with the handler's own lines and status", with_host({}, function(host)
    local response = ask(host, "/h/a.txt")
    assert.equal("max-age=60", response.headers["cache-control"])
    assert.equal("x/own", response.headers["content-type"])
    local part = ask(host, "/h/a.txt", "Range: bytes=1-2\r\n")
    assert.equal(206, part.status)
    assert.equal("x/own", part.headers["content-type"])
    assert.equal("12", part.body)
    assert.equal(200, ask(host, "/h/a.txt", "Range: bytes=1-2,4-5\r\n").status)
    response = ask(host, "/t" .. path "outside.txt", "Range: bytes=1-2\r\nIf-None-Match: *\r\n")
    assert.equal(404, response.status)
    assert.equal("secret", response.body)
    assert.equal("refused -20\n", ask(host, "/t/nowhere/at/all").body)
  end))

  it("comes from an open descriptor alike", with_host({ file_memory_limit = 0 }, function(host)
    assert.equal("0123456789", ask(host, "/f/a.txt").body)
    assert.equal("345", ask(host, "/f/a.txt", "Range: bytes=3-5\r\n").body)
    assert.equal("", ask(host, "/f/a.txt", nil, "HEAD").body)
    assert.equal(304, ask(host, "/f/a.txt", "If-Modified-Since: " .. DATE .. "\r\n").status)
    local client = raw.connect(host.port)
    client:send(message("/f/a.txt"):rep(3) .. message "/hello" .. message("/f/a.txt", "Range: bytes=-1\r\n"))
    for _ = 1, 3 do assert.equal("0123456789", client:response().body) end
    assert.equal("hello\n", client:response().body)
    assert.equal("9", client:response().body)
    local old = client:ask "GET /f/a.txt HTTP/1.0\r\n\r\n"
    assert.equal("0123456789", old.body)
    client:wait_end()
    client:close()
    assert.equal(0, host:stat().busy)
  end))
end)

describe("http: a condition", function()
  it("on the entity-tag", with_host({}, function(host)
    local etag = ask(host, "/f/a.txt").headers.etag
    local function status(headers) return ask(host, "/f/a.txt", headers).status end
    assert.equal(304, status("If-None-Match: " .. etag .. "\r\n"))
    assert.equal(304, status("If-None-Match: W/" .. etag .. "\r\n"))
    assert.equal(304, status('If-None-Match: "x", W/"y" ,' .. etag .. "\r\n"))
    assert.equal(304, status('If-None-Match: "x"\r\nIf-None-Match: ' .. etag .. "\r\n"))
    assert.equal(304, status "If-None-Match: *\r\n")
    assert.equal(200, status 'If-None-Match: "x"\r\n')
    assert.equal(200, status "If-None-Match: nonsense\r\n")
    assert.equal(200, status("If-None-Match: " .. etag:sub(1, -2) .. "\r\n"))
    assert.equal(200, status("If-Match: " .. etag .. "\r\n"))
    assert.equal(200, status "If-Match: *\r\n")
    assert.equal(412, status 'If-Match: "x"\r\n')
    assert.equal(412, status("If-Match: W/" .. etag .. "\r\n"))
    local not_modified = ask(host, "/h/a.txt", "If-None-Match: *\r\n")
    assert.equal(etag, not_modified.headers.etag)
    assert.equal(DATE, not_modified.headers["last-modified"])
    assert.equal("max-age=60", not_modified.headers["cache-control"])
    assert.is_nil(not_modified.headers["content-length"])
  end))

  it("on the date, in each of its forms", with_host({}, function(host)
    local function status(headers) return ask(host, "/f/a.txt", headers).status end
    for _, date in ipairs { DATE, SOON, "Tuesday, 01-Sep-26 12:00:00 GMT", "Tue Sep  1 12:00:00 2026" } do
      assert.equal(304, status("If-Modified-Since: " .. date .. "\r\n"))
      assert.equal(200, status("If-Unmodified-Since: " .. date .. "\r\n"))
    end
    for _, date in ipairs { EARLIER, "Tuesday, 01-Sep-99 12:00:00 GMT", "Sun Nov  6 08:49:37 1994" } do
      assert.equal(200, status("If-Modified-Since: " .. date .. "\r\n"))
      assert.equal(412, status("If-Unmodified-Since: " .. date .. "\r\n"))
    end
    for _, date in ipairs { "yesterday", "Tue, 01 Foo 2026 12:00:00 GMT", "Tue, 01 Sep 2026 12:00:00",
      "Tue, 41 Sep 2026 12:00:00 GMT", "" } do
      assert.equal(200, status("If-Modified-Since: " .. date .. "\r\n"))
      assert.equal(200, status("If-Unmodified-Since: " .. date .. "\r\n"))
    end
    -- The tag goes before the date (RFC 9110, 13.2.2).
    assert.equal(200, status("If-None-Match: \"x\"\r\nIf-Modified-Since: " .. DATE .. "\r\n"))
    assert.equal(200, status("If-Match: *\r\nIf-Unmodified-Since: " .. EARLIER .. "\r\n"))
  end))

  it("on a range: If-Range", with_host({}, function(host)
    local etag = ask(host, "/f/a.txt").headers.etag
    local function status(value)
      return ask(host, "/f/a.txt", "Range: bytes=0-1\r\nIf-Range: " .. value .. "\r\n").status
    end
    assert.equal(206, status(etag))
    assert.equal(206, status(DATE))
    assert.equal(200, status("W/" .. etag))
    assert.equal(200, status '"other"')
    assert.equal(200, status(SOON))
    assert.equal(200, status(EARLIER))
    assert.equal(200, status "nonsense")
    write("www/new.txt", "0123456789", os.time())
    local fresh = ask(host, "/f/new.txt").headers["last-modified"]
    assert.equal(200, ask(host, "/f/new.txt", "Range: bytes=0-1\r\nIf-Range: " .. fresh .. "\r\n").status)
  end))
end)

describe("http: a range", function()
  local function part(host, value)
    local response = ask(host, "/f/a.txt", "Range: " .. value .. "\r\n")
    return response.status, response.body, response.headers["content-range"]
  end

  it("is one part of a file", with_host({}, function(host)
    for value, expected in pairs {
      ["bytes=0-0"] = { "0", "0-0" }, ["bytes=2-5"] = { "2345", "2-5" }, ["bytes=7-"] = { "789", "7-9" },
      ["bytes=-3"] = { "789", "7-9" }, ["bytes=-99"] = { "0123456789", "0-9" },
      ["bytes=5-99"] = { "56789", "5-9" }, ["Bytes=1-1"] = { "1", "1-1" },
      ["bytes= 1-2 , "] = { "12", "1-2" }, ["bytes=9-99999999999999999999999"] = { "9", "9-9" },
    } do
      local status, body, range = part(host, value)
      assert.same({ 206, expected[1], "bytes " .. expected[2] .. "/10" }, { status, body, range }, value)
    end
  end))

  it("outside of the file is 416", with_host({}, function(host)
    for _, value in ipairs { "bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99-,10-11",
      "bytes=99999999999999999999-" } do
      local status, _, range = part(host, value)
      assert.same({ 416, "bytes */10" }, { status, range }, value)
    end
    write("www/empty.txt", "")
    local response = ask(host, "/f/empty.txt", "Range: bytes=0-\r\n")
    assert.equal(416, response.status)
    assert.equal("bytes */0", response.headers["content-range"])
  end))

  it("that is none is ignored", with_host({}, function(host)
    for _, value in ipairs { "bytes=", "bytes", "bytes=x", "bytes=5-2", "bytes=-", "lines=1-2", "bytes=1-2;3",
      "bytes=1-2 3-4", "bytes=--1", "bytes=0-0," .. ("1-1,"):rep(16), "bytes=" .. ("0-,"):rep(500) } do
      local status, body, range = part(host, value)
      assert.same({ 200, "0123456789" }, { status, body, range }, value)
    end
    local twice = ask(host, "/f/a.txt", "Range: bytes=0-1\r\nRange: bytes=2-3\r\n")
    assert.equal(200, twice.status)
  end))

  local function several(host)
    local response = ask(host, "/f/a.txt", "Range: bytes=8-, 0-1,99-,4-5\r\n")
    assert.equal(206, response.status)
    local boundary = response.headers["content-type"]:match "^multipart/byteranges; boundary=(%w+)$"
    local function one(range, text)
      return "--" .. boundary .. "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes "
        .. range .. "/10\r\n\r\n" .. text .. "\r\n"
    end
    assert.equal(one("8-9", "89") .. one("0-1", "01") .. one("4-5", "45") .. "--" .. boundary .. "--\r\n",
      response.body)
    local again = ask(host, "/f/a.txt", "Range: bytes=0-1,4-5\r\n")
    assert.is_nil(again.headers["content-type"]:find(boundary, 1, true))
    -- Parts that touch or overlap are one, so nobody gets a byte twice (RFC 9110, 14.2).
    for value, expected in pairs { ["bytes=0-3,2-6"] = "0123456", ["bytes=0-1,2-3"] = "0123",
      ["bytes=0-,0-,0-,0-"] = "0123456789", ["bytes=6-7,0-1,1-6"] = "01234567", ["bytes=-2,9-9"] = "89" } do
      local status, body = part(host, value)
      assert.same({ 206, expected }, { status, body }, value)
    end
  end

  it("may be several, from memory", with_host({}, several))
  it("may be several, from a descriptor", with_host({ file_memory_limit = 0 }, several))

  it("of a sparse gigabyte is quick and right", with_host({}, function(host)
    local fd = assert(uv.fs_open(path "www/big.bin", "w", 420))
    assert(uv.fs_ftruncate(fd, 2 ^ 30))
    assert(uv.fs_write(fd, "needle", 2 ^ 29))
    assert(uv.fs_write(fd, "end", 2 ^ 30 - 3))
    uv.fs_close(fd)
    assert.equal("1073741824", ask(host, "/f/big.bin", nil, "HEAD").headers["content-length"])
    local response = ask(host, "/f/big.bin", "Range: bytes=536870912-536870917\r\n")
    assert.equal("needle", response.body)
    assert.equal("bytes 536870912-536870917/1073741824", response.headers["content-range"])
    assert.equal("end", ask(host, "/f/big.bin", "Range: bytes=-3\r\n").body)
    response = ask(host, "/f/big.bin", "Range: bytes=536870912-536870917,1073741821-\r\n")
    assert.truthy(response.body:find("\r\n\r\nneedle\r\n", 1, true))
    assert.truthy(response.body:find("\r\n\r\nend\r\n", 1, true))
  end))
end)

describe("http: precompressed siblings", function()
  local function make()
    write("www/a.js", "plain")
    write("www/a.js.br", "brotli")
    write("www/a.js.gz", "gzipped")
  end

  local function get(host, accepted, more)
    local response = ask(host, "/f/a.js", (accepted and "Accept-Encoding: " .. accepted .. "\r\n" or "")
      .. (more or ""))
    assert.equal("text/javascript; charset=utf-8", response.headers["content-type"])
    assert.equal("Accept-Encoding", response.headers.vary)
    return response.body, response.headers["content-encoding"], response.headers.etag
  end

  it("are sent to who prefers them", with_host({ flags = PRECOMPRESSED }, function(host)
    make()
    local etags = {}
    for accepted, expected in pairs {
      ["br"] = { "brotli", "br" }, ["gzip"] = { "gzipped", "gzip" },
      ["gzip, deflate, br"] = { "brotli", "br" },
      ["gzip;q=1.0, br;q=0.5"] = { "gzipped", "gzip" }, ["br;q=0, gzip"] = { "gzipped", "gzip" },
      ["br;q=0,*"] = { "gzipped", "gzip" }, ["*"] = { "brotli", "br" }, ["GZIP"] = { "gzipped", "gzip" },
      ["*;q=0"] = { "plain" }, ["gzip;q=0"] = { "plain" }, ["identity"] = { "plain" },
      ["deflate, zstd"] = { "plain" }, ["br;q=0.5, identity"] = { "plain" },
      ["br;q=5, gzip;q=x"] = { "plain" },
      ["br;q=0.001"] = { "brotli", "br" }, [""] = { "plain" },
    } do
      local body, coding, etag = get(host, accepted)
      assert.same(expected, { body, coding }, accepted)
      etags[etag] = true
    end
    assert.equal("plain", (get(host)))
    local count = 0
    for _ in pairs(etags) do count = count + 1 end
    assert.equal(3, count)
    assert.equal("zip", (get(host, "gzip", "Range: bytes=1-3\r\n")))
  end))

  it("are no part of a site that has none or wants none", with_host({}, function(host)
    make()
    local response = ask(host, "/f/a.js", "Accept-Encoding: br\r\n")
    assert.equal("plain", response.body)
    assert.is_nil(response.headers.vary)
  end))

  it("that are older than the file are not sent", with_host({ flags = PRECOMPRESSED }, function(host)
    make()
    write("www/a.js", "plain", TIME + 60)
    local response = ask(host, "/f/a.js", "Accept-Encoding: br\r\n")
    assert.equal("plain", response.body)
  end))

  it("that come and go are seen", with_host({ flags = PRECOMPRESSED, file_cache_time = 0 }, function(host)
    write("www/a.js", "plain")
    assert.equal("plain", ask(host, "/f/a.js", "Accept-Encoding: br\r\n").body)
    make()
    assert.equal("brotli", (get(host, "br")))
    uv.fs_unlink(path "www/a.js.br")
    assert.equal("gzipped", (get(host, "gzip, br")))
  end))
end)

describe("http: a path", function()
  it("cannot leave the root", with_host({}, function(host)
    assert(uv.fs_mkdir(path "www/sub", 493))
    write("www/sub/b.txt", "b")
    write("www/.env", "secret")
    assert(uv.fs_mkdir(path "www/.git", 493))
    write("www/.git/config", "secret")
    assert(uv.fs_mkdir(path "www2", 493))
    write("www2/x.txt", "secret")
    assert.equal("b", ask(host, "/f/sub/b.txt").body)
    for _, target in ipairs {
      "/f/../outside.txt", "/f/%2e%2e/outside.txt", "/f/.%2e/outside.txt", "/f/..%2foutside.txt",
      "/f/sub/../../outside.txt", "/f/sub/../a.txt", "/f/./a.txt", "/f//a.txt", "/f/sub//b.txt", "/f/sub/",
      "/f/..", "/f/.", "/f//etc/passwd", "/f/%2fetc/passwd", "/f/..%5coutside.txt", "/f/..\\outside.txt",
      "/f/sub%5cb.txt", "/f/../www2/x.txt", "/f/%252e%252e/outside.txt", "/f/a.txt/", "/f/a.txt/..",
      "/f/...", "/f/.env", "/f/.git/config", "/f/%2eenv", "/f/sub/.hidden", "/f/" .. ("a/"):rep(3000),
      "/f/%c0%ae%c0%ae/outside.txt", "/f/..;/outside.txt", "/f/" .. ("../"):rep(20) .. "etc/passwd",
    } do
      local response = ask(host, target)
      assert.is_nil(response.body:find("secret", 1, true), target)
      assert.truthy(response.body == MISSING or response.status == 400 or response.status == 414,
        target .. ": " .. response.body)
    end
    assert.equal(400, ask(host, "/f/a.txt%00.png").status)
  end))

  it("may lead to dotfiles where that is asked for", with_host({ flags = DOTFILES }, function(host)
    write("www/.env", "shown")
    assert.equal("shown", ask(host, "/f/.env").body)
    assert.equal(MISSING, ask(host, "/f/../outside.txt").body)
    assert.equal(MISSING, ask(host, "/f/.").body)
  end))

  local function make_links()
    assert(uv.fs_mkdir(path "www/sub", 493))
    assert(uv.fs_symlink("a.txt", path "www/inside"))
    assert(uv.fs_symlink("../a.txt", path "www/sub/up"))
    assert(uv.fs_symlink("../outside.txt", path "www/out"))
    assert(uv.fs_symlink(path "outside.txt", path "www/absolute"))
    assert(uv.fs_symlink("..", path "www/parent"))
    assert(uv.fs_symlink("/proc/self/root", path "www/magic"))
    assert(uv.fs_symlink("loop", path "www/loop"))
  end

  it("follows links that stay inside", with_host({}, function(host)
    make_links()
    assert.equal("0123456789", ask(host, "/f/inside").body)
    assert.equal("0123456789", ask(host, "/f/sub/up").body)
    for _, name in ipairs { "out", "absolute", "parent/outside.txt", "parent/www/a.txt",
      "magic/etc/passwd", "loop" } do
      assert.equal(MISSING, ask(host, "/f/" .. name).body, name)
    end
  end))

  it("follows no link where that is asked for", with_host({ flags = NO_SYMLINKS }, function(host)
    make_links()
    for _, name in ipairs { "inside", "sub/up", "out" } do
      assert.equal(MISSING, ask(host, "/f/" .. name).body, name)
    end
    assert.equal("0123456789", ask(host, "/f/a.txt").body)
  end))

  it("leads to the same files and no link where the kernel has no openat2", function()
    with_host({}, function(host)
      make_links()
      write("www/sub/b.txt", "b")
      assert.equal("0123456789", ask(host, "/f/a.txt").body)
      assert.equal("b", ask(host, "/f/sub/b.txt").body)
      assert.equal(DIRECTORY, ask(host, "/f/sub").body)
      for _, name in ipairs { "inside", "sub/up", "out", "absolute", "parent/outside.txt", "none",
        "magic/etc/passwd", "a.txt/b", ("x"):rep(300) } do
        assert.equal(MISSING, ask(host, "/f/" .. name).body, name)
      end
    end, { "env", "ASAN_OPTIONS=exitcode=99:detect_leaks=0", -- which a tracer is in the way of
      "strace", "-f", "-o", "/dev/null", "-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS" })()
  end)

  it("to what is no file is refused, and nothing is waited for", with_host({}, function(host)
    assert(uv.fs_mkdir(path "www/sub", 493))
    assert(os.execute("mkfifo " .. path "www/fifo") == 0)
    assert.equal(MISSING, ask(host, "/f/fifo").body)
    assert.equal(DIRECTORY, ask(host, "/f/sub").body)
    assert.equal(MISSING, ask(host, "/t/dev/null").body)
    assert.equal(MISSING, ask(host, "/f/none").body)
    assert.equal(MISSING, ask(host, "/f/a.txt/b").body)
    if uv.getuid() ~= 0 then
      write("www/locked", "x")
      uv.fs_chmod(path "www/locked", 0)
      assert.equal(DENIED, ask(host, "/f/locked").body)
    end
  end))

  it("of a listing is held to the same rules", with_host({}, function(host)
    make_links()
    write("www/.env", "secret")
    assert(os.execute("mkfifo " .. path "www/fifo") == 0)
    local names = {}
    for kind, name in ask(host, "/l/").body:gmatch "(%l) %d+ %d+ ([^\n]+)\n" do names[name] = kind end
    assert.same({ ["a.txt"] = "f", sub = "d", inside = "f" }, names)
    assert.equal("f 10 1788264000 up\n", ask(host, "/l/sub").body)
    for _, target in ipairs { "/l/..", "/l/parent", "/l/a.txt", "/l/none", "/l/.git", "/l/sub/" } do
      assert.equal(404, ask(host, target).status, target)
    end
  end))
end)

describe("http: a file that changes", function()
  it("is served anew after the cache's time", with_host({ file_cache_time = 60000 }, function(host)
    assert.equal("0123456789", ask(host, "/f/a.txt").body)
    write("www/a.txt", "changed")
    assert.equal("0123456789", ask(host, "/f/a.txt").body)
  end))

  local function replaced(host)
    local before = ask(host, "/f/a.txt")
    assert.equal("0123456789", before.body)
    write("new.txt", "replacedby")
    assert(uv.fs_rename(path "new.txt", path "www/a.txt"))
    local after = ask(host, "/f/a.txt")
    assert.equal("replacedby", after.body)
    write("www/a.txt", "in place, and longer", TIME + 1)
    after = ask(host, "/f/a.txt", "If-None-Match: " .. before.headers.etag .. "\r\n")
    assert.equal("in place, and longer", after.body)
    write("www/a.txt", "short", TIME + 2)
    assert.equal("short", ask(host, "/f/a.txt").body)
    uv.fs_unlink(path "www/a.txt")
    assert.equal(MISSING, ask(host, "/f/a.txt").body)
    write("www/a.txt", "back")
    assert.equal("back", ask(host, "/f/a.txt").body)
    -- Another directory in the root's place, as a deployment does it.
    assert(uv.fs_rename(path "www", path "old"))
    assert.equal(MISSING, ask(host, "/f/a.txt").body)
    assert(uv.fs_mkdir(path "www", 493))
    write("www/a.txt", "second release")
    assert.equal("second release", ask(host, "/f/a.txt").body)
  end

  -- The first byte that is written through memory sets the file's time, the second does not; so does a
  -- write that is seen between its time and its bytes.
  it("is seen though its time does not say so", with_host({ file_cache_time = 0 }, function(host)
    local fd = assert(uv.fs_open(path "www/a.txt", "r+", 420))
    local bytes = ffi.cast("char *", ffi.C.mmap(nil, 10, PROT_READ + PROT_WRITE, MAP_SHARED, fd, 0))
    assert(ffi.cast("intptr_t", bytes) ~= -1)
    uv.fs_close(fd)
    bytes[0] = ("x"):byte()
    assert.equal("x123456789", ask(host, "/f/a.txt").body)
    bytes[1] = ("y"):byte()
    assert.equal("xy23456789", ask(host, "/f/a.txt").body)
    ffi.C.munmap(bytes, 10)
  end))

  it("is seen at each request when that is asked for", with_host({ file_cache_time = 0 }, replaced))
  it("is seen when it is kept open too", with_host({ file_cache_time = 0, file_memory_limit = 0 }, replaced))

  it("in place is never sent with a length or tag that is not its own",
    with_host({ file_cache_time = 60000, file_memory_limit = 0 }, function(host)
      local first = ask(host, "/f/a.txt")
      write("www/a.txt", "shorter", TIME + 5)
      local second = ask(host, "/f/a.txt")
      assert.equal("shorter", second.body)
      assert.not_equal(first.headers.etag, second.headers.etag)
    end))

  -- A client that does not read, so that the file is in the middle of being sent.
  local function start_download(host, size)
    local fd = assert(uv.fs_open(path "www/big.bin", "w", 420))
    assert(uv.fs_ftruncate(fd, size))
    uv.fs_close(fd)
    local client = raw.connect(host.port, { paused = true })
    client:send(message "/f/big.bin")
    host:wait_stat(function(stat) return stat.busy == 1 end)
    return client
  end

  -- Reads on, for `size` bytes of body or to the end. Returns the body and whether it is whole.
  local function finish_download(client, size)
    local parts, total, head = {}, 0, nil
    client.tcp:read_start(function(err, chunk)
      client.eof = client.eof or err or not chunk
      if not chunk then return end
      if not head then
        head, chunk = chunk:match "^(.-\r\n\r\n)(.*)$"
      end
      parts[#parts + 1] = chunk
      total = total + #chunk
    end)
    raw.wait(function() return total >= size or client.eof end, "the file")
    client:close()
    assert.truthy(head:find("Content-Length: " .. size .. "\r\n", 1, true))
    return table.concat(parts), total == size
  end

  local SIZE = 24 * 2 ^ 20 -- more than the kernel holds for a client that does not read

  it("and shrinks while it is sent closes the connection unterminated", with_host({}, function(host)
    local client = start_download(host, SIZE)
    local fd = assert(uv.fs_open(path "www/big.bin", "r+", 420))
    assert(uv.fs_ftruncate(fd, 2 ^ 20))
    uv.fs_close(fd)
    local _, whole = finish_download(client, SIZE)
    assert.is_false(whole)
    assert.equal(200, ask(host, "/f/a.txt").status)
    host:wait_stat(function(stat) return stat.busy == 0 and stat.connections == 0 end)
  end))

  it("and is written over while it is sent likewise", with_host({}, function(host)
    local client = start_download(host, SIZE)
    local fd = assert(uv.fs_open(path "www/big.bin", "r+", 420))
    assert(uv.fs_write(fd, "other", SIZE - 100))
    uv.fs_close(fd)
    local _, whole = finish_download(client, SIZE)
    assert.is_false(whole)
  end))

  it("by growing at its end is sent as announced", with_host({}, function(host)
    local client = start_download(host, SIZE)
    local fd = assert(uv.fs_open(path "www/big.bin", "a", 420))
    assert(uv.fs_write(fd, "more"))
    uv.fs_close(fd)
    local body, whole = finish_download(client, SIZE)
    assert.is_true(whole)
    assert.is_nil(body:find("more", 1, true))
  end))

  -- A write first sets the file's time, then its size; who looks in between sees this.
  it("by growing, seen in the midst of it, is sent as announced too", with_host({}, function(host)
    local client = start_download(host, SIZE)
    local got, length = 0, nil
    assert(uv.fs_utime(path "www/big.bin", TIME + 5, TIME + 5))
    client.tcp:read_start(function(err, chunk)
      client.eof = client.eof or err or not chunk
      got = got + #(chunk or "")
      length = length or chunk and chunk:find("\r\n\r\n", 1, true) + 3 + SIZE
    end)
    repeat
      local before = got
      raw.pass(100)
    until got == before
    assert.is_nil(client.eof or nil)
    local fd = assert(uv.fs_open(path "www/big.bin", "a", 420))
    assert(uv.fs_write(fd, "more"))
    uv.fs_close(fd)
    raw.wait(function() return got >= length or client.eof end, "the file")
    client:close()
    assert.equal(length, got)
  end))

  it("by a rename while it is sent is sent as it was", with_host({}, function(host)
    local client = start_download(host, SIZE)
    write("new.bin", "new")
    assert(uv.fs_rename(path "new.bin", path "www/big.bin"))
    local body, whole = finish_download(client, SIZE)
    assert.is_true(whole)
    assert.is_nil(body:find("new", 1, true))
  end))

  it("does not hold others while a client is slow, and is given up in time",
    with_host({ write_timeout = 200 }, function(host)
      local client = start_download(host, SIZE)
      for _ = 1, 20 do assert.equal(200, ask(host, "/f/a.txt").status) end
      host:line "^cancel /f/big.bin 2"
      host:wait_stat(function(stat) return stat.connections == 0 and stat.busy == 0 end)
      client:close()
    end))

  it("is let go when the client goes", with_host({}, function(host)
    local count = fd_count(host)
    for _ = 1, 5 do
      start_download(host, SIZE):reset()
      host:wait_stat(function(stat) return stat.connections == 0 and stat.busy == 0 end)
    end
    -- The file stays open, and so does the directory.
    assert.is_true(fd_count(host) <= count + 2)
  end))

  it("is sent to its end by a host that drains", with_host({}, function(host)
    local client = start_download(host, SIZE)
    host:tell "drain shutdown"
    raw.pass(400) -- longer than idle connections are given
    assert.equal(0, host:count "^drained")
    local _, whole = finish_download(client, SIZE)
    assert.is_true(whole)
    host:line "^drained"
  end))
end)

describe("http: many files", function()
  it("beyond the cache's limits are all served, and descriptors do not pile up",
    with_host({ file_memory_limit = 4, file_cache_open = 8, file_cache_memory = 20000 }, function(host)
      for i = 1, 500 do
        write(("www/open%d.txt"):format(i), "content " .. i)
        write(("www/%d.txt"):format(i), tostring(i))
      end
      local count = fd_count(host)
      local client = raw.connect(host.port)
      for round = 1, 2 do
        for i = 1, 500 do
          local open = client:ask(message(("/f/open%d.txt"):format(i)))
          assert.equal("content " .. i, open.body, round)
          assert.equal(tostring(i), client:ask(message(("/f/%d.txt"):format(i))).body)
        end
        assert.is_true(fd_count(host) <= count + 1 + 1 + 8, "descriptors: " .. fd_count(host))
      end
      client:close()
    end))
end)
