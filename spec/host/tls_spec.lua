-- TLS: what is bound with "tls:", against OpenSSL through Python's ssl.
local client = require "spec.support.client"
local host = require "spec.support.host"
local run = require "spec.support.run"
local uv = require "luv"

local app = [[
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "secure"
app:get("/", function(req) return req.scheme .. " " .. req.ip end)
app:post("/size", function(req) return tostring(#req.body) end)
app:get("/stream", function()
  return http.stream(function(write)
    for i = 1, 50 do write(("%d"):format(i % 10):rep(20000)) end
  end)
end)
app:get("/break", function()
  return http.stream(function(write)
    write(("x"):rep(1000))
    error "in the middle"
  end)
end)
app:get("/slow", function() perigee.sleep(0.5) return "slow" end)
app:get("/generation", function(req) return tostring(req.app.m.generation) end)
app:static("/files", "files")
app:websocket("/echo", function(_, ws) for message in ws:messages() do ws:send(message) end end)
return app
]]

--- What every client script begins with: context, port, and a connection that knows HTTP.
local prelude = [[
import hashlib, http.client, os, signal, socket, ssl, sys, time
port, manager, plain = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
context = ssl.create_default_context(cafile="certificate.pem")
def connect(**options):
    for name, value in options.items(): setattr(context, name, value)
    return http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
def get(connection, path):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer, answer.read()
]]

local openssl = run { "openssl", "version" }
local python = run { "/usr/bin/python3", "-c", "import ssl; print('ssl')" }

local function certificate(dir)
  local text, status = run { "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
    "-keyout", dir .. "/key.pem",
    "-out", dir .. "/certificate.pem" }
  assert.equal(0, status, text)
end

describe("TLS", function()
  local made, big

  setup(function()
    if not openssl:find("^OpenSSL 3") or python ~= "ssl\n" then return end
    made = assert(uv.fs_mkdtemp "/tmp/perigee-tls-XXXXXX")
    certificate(made)
    big = ("0123456789abcdef"):rep(200000)
  end)
  teardown(function()
    if made then run { "rm", "-r", made } end
  end)
  after_each(host.finish)

  local function files(more)
    local all = { ["certificate.pem"] = host.read_file(made .. "/certificate.pem"),
      ["key.pem"] = host.read_file(made .. "/key.pem"), ["files/small.txt"] = "small" }
    for name, text in pairs(more or {}) do all[name] = text end
    return all
  end

  local flags = { "--tls-certificate", "certificate.pem", "--tls-key", "key.pem", "--workers", "2" }

  --- A server with a plain and a secure address.
  local function serve(more)
    local secure = host.free_port()
    local all = { "--bind", "tls:127.0.0.1:" .. secure, unpack(flags) }
    local server = host.serve { app = app, flags = all, files = files(more) }
    server.secure = secure
    return server
  end

  --- Runs a client script in the server's folder; it must end well. Returns what it printed.
  local function ask(server, script)
    host.write_file(server.dir .. "/client.py", prelude .. script)
    local text, status = run { "sh", "-c", 'cd "$0" && exec /usr/bin/python3 client.py "$@"', server.dir,
      tostring(server.secure), tostring(server.pid), tostring(server.port) }
    assert.equal(0, status, text)
    return text
  end

  local function case(name, body)
    it(name, function()
      if not made then
        pending("OpenSSL 3 or Python's ssl is not installed")
        return
      end
      body()
    end)
  end

  case("serves requests, bodies, streams and files, of 1.2 and 1.3, kept alive", function()
    local server = serve { ["files/big.bin"] = big }
    assert.equal("https 127.0.0.1\n3200000\n1000000\nsmall\nTrue\nabc 206\nTLSv1.3\nTLSv1.2\n", ask(server, [[
connection = connect()
print(get(connection, "/")[1].decode())
connection.request("POST", "/size", b"x" * 3200000)
print(connection.getresponse().read().decode())
print(len(get(connection, "/stream")[1]))
print(get(connection, "/files/small.txt")[1].decode())
print(get(connection, "/files/big.bin")[1] == b"0123456789abcdef" * 200000)
connection.request("GET", "/files/big.bin", headers={"Range": "bytes=1600010-1600012"})
answer = connection.getresponse()
print(answer.read().decode(), answer.status)
print(connection.sock.version())
connection = connect(maximum_version=ssl.TLSVersion.TLSv1_2)
get(connection, "/")
print(connection.sock.version())
]]))
    assert.equal("http 127.0.0.1", client.try(server.port, "GET", "/").body)
    assert.truthy(server:text():find("https://127.0.0.1:" .. server.secure, 1, true))
  end)

  case("answers what is pipelined, and what comes byte by byte", function()
    assert.equal("3\n200\n", ask(serve(), [[
wrapped = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
wrapped.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)
data = b""
while data.count(b"https 127.0.0.1") < 3: data += wrapped.recv(65536)
print(data.count(b"HTTP/1.1 200 OK"))
for byte in b"GET / HTTP/1.1\r\nHost: a\r\n\r\n": wrapped.sendall(bytes([byte]))
print(wrapped.recv(65536).split()[1].decode())
]]))
  end)

  case("ends with close_notify when an answer is whole, and without it when it is broken off", function()
    assert.equal("whole b''\nbroken\n", ask(serve(), [[
def ask(path):
    wrapped = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost",
        suppress_ragged_eofs=False)
    wrapped.sendall(b"GET " + path + b" HTTP/1.0\r\n\r\n")
    last = b"-"
    while last: last = wrapped.recv(65536)
    return last
print("whole", ask(b"/"))
try:
    print(ask(b"/break"))
except OSError:
    print("broken")
]]))
  end)

  case("has clients that do not speak it go, and others not notice", function()
    local server = serve()
    assert.equal("alert\nhttps 127.0.0.1\n", ask(server, [[
raw = socket.create_connection(("127.0.0.1", port))
raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
raw.settimeout(20)
data = b""
try:
    while True:
        more = raw.recv(4096)
        if not more: break
        data += more
except ConnectionResetError: pass
print("alert" if data[:1] in (b"\x15", b"") else data)
print(get(connect(), "/")[1].decode())
]]))
  end)

  case("closes a handshake that takes longer than header_timeout", function()
    local server = serve()
    server:stop()
    local secure = host.free_port()
    server = host.serve { app = app, files = files(),
      flags = { "--bind", "tls:127.0.0.1:" .. secure, "--header-timeout", "100ms", unpack(flags) } }
    server.secure = secure
    assert.equal("b''\n", ask(server, [[
raw = socket.create_connection(("127.0.0.1", port))
raw.sendall(b"\x16\x03\x01")
raw.settimeout(20)
print(raw.recv(10))
]]))
  end)

  case("resumes sessions with every worker", function()
    assert.equal("True\n", ask(serve(), [[
context.maximum_version = ssl.TLSVersion.TLSv1_2
def session(old):
    wrapped = context.wrap_socket(socket.create_connection(("127.0.0.1", port)),
        server_hostname="localhost", session=old)
    wrapped.sendall(b"GET / HTTP/1.0\r\n\r\n")
    while wrapped.recv(4096): pass
    return wrapped
first = session(None).session
print(all(session(first).session_reused for _ in range(12)))
]]))
  end)

  case("loses no request at a reload: answers in flight are finished, the next one is the last", function()
    local server = serve()
    assert.equal("slow close\n2\n", ask(server, [[
connection, idle = connect(), connect()
get(idle, "/")
get(connection, "/")
connection.request("GET", "/slow")
os.kill(manager, signal.SIGHUP)
end = time.monotonic() + 30
while get(connect(), "/generation")[1] != b"2": assert time.monotonic() < end
answer = connection.getresponse()
print(answer.read().decode(), answer.headers["Connection"])
assert idle.sock.recv(10) == b"" # it had its time of grace
print(get(connection, "/generation")[1].decode())
]]))
  end)

  it("half configured is refused, saying what is missing", function()
    local wrong = {
      ["needs tls_certificate and tls_key"] = { "--bind", "tls:127.0.0.1:0" },
      ["no address in bind begins with 'tls:'"] = { "--bind", "127.0.0.1:0", "--tls-key", "key.pem" },
      ["cannot read the certificate none.pem"] = { "--bind", "tls:127.0.0.1:0", "--tls-key", "key.pem",
        "--tls-certificate", "none.pem" },
      ["an address: host:port"] = { "--bind", "tls:unix:x.sock" },
    }
    for text, arguments in pairs(wrong) do
      local ended = host.run({ "serve", "app.lua", unpack(arguments) },
        { app = app, files = { ["files/x"] = "" } })
      assert.not_equal(0, ended.status)
      assert.truthy(ended:text():find(text, 1, true), ended:text())
    end
  end)
end)
