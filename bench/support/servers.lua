-- What is measured: Perigee, its peers, and the limit of our stack. Each entry writes what it needs
-- into a directory and says how it is started there; all answer the same paths with the same bodies:
--   /          "Hello, World!" as text
--   /json      {"message":"Hello, World!"}, encoded for each request
--   /counter   how often it was asked, as text, from a counter that workers share (not limit)
--   /sleep     "slept" as text, after a millisecond (not limit)
--   /users/ID  {"id":ID,"query":{…},"headers":{…}}: all that was sent (not limit)
--   /echo      the JSON that was posted, decoded and encoded (not limit)
--   /static/   4k.txt and 1m.bin, where the entry has `files`
--   /version   "VERSION PID", where the entry can reload
-- An entry with a page of its own is not for comparing requests.

local uv = require "luv"

local servers = {}

local function write(path, text)
  local file = assert(io.open(path, "w"))
  assert(file:write(text))
  file:close()
end

local function fill(text, values)
  return (text:gsub("@(%u+)@", values))
end

-- The files of /static/, in a directory "static".
local function write_files(dir)
  uv.fs_mkdir(dir .. "/static", 493) -- which a second configure finds there
  write(dir .. "/static/4k.txt", ("0123456789abcdef"):rep(256))
  write(dir .. "/static/1m.bin", ("\0\1\2\3\4\5\6\7"):rep(2 ^ 17))
end

local perigee = { name = "perigee", reloads = true, files = true }

local perigee_app = [[
local perigee = require "perigee"
local ffi = require "ffi"
ffi.cdef "int getpid(void);"

local app = perigee.app "bench"
local counter
app:main_process_start(function() counter = perigee.shared.value("counter", "int64") end)
app:get("/", function() return "Hello, World!" end)
app:get("/counter", function() return tostring(counter:add(1)) end)
app:get("/sleep", function()
  perigee.sleep(0.001)
  return "slept"
end)
app:get("/json", function() return { message = "Hello, World!" } end)
app:get("/users/<id:int>", function(req, id)
  return { id = id, query = req.query, headers = req.headers }
end)
app:post("/echo", function(req) return req.json end)
app:get("/version", function() return "@VERSION@ " .. ffi.C.getpid() end)
app:static("/static", "static")
return app
]]

function perigee.configure(dir, _, version)
  write_files(dir)
  write(dir .. "/app.lua", fill(perigee_app, { VERSION = tostring(version) }))
end

function perigee.command(dir, port, workers)
  return { "build/release/perigee", "serve", dir .. "/app.lua", "--bind", "127.0.0.1:" .. port,
    "--workers", tostring(workers) }
end

-- The showcase, as a newcomer starts it, with one route more.
local showcase = { name = "perigee, showcase", reloads = true, own_page = true, command = perigee.command }

local version_route = [[
local ffi = require "ffi"
ffi.cdef "int getpid(void);"
app:get("/version", function() return "@VERSION@ " .. ffi.C.getpid() end)
return app
]]

function showcase.configure(dir, _, version)
  local file = assert(io.open "scripts/apps/showcase.lua")
  local source = file:read "*a"
  file:close()
  local rest = assert(source:match "^(.*)\nreturn app%s*$", "the showcase does not end with `return app`")
  write(dir .. "/app.lua", rest .. "\n" .. fill(version_route, { VERSION = tostring(version) }))
end

local nginx = { name = "nginx-lua", reloads = true, files = true }

-- Tuned: no access log, no limit on requests per connection, handlers compiled once, files kept open.
local nginx_conf = [[
@USER@
daemon off;
pid @DIR@/nginx.pid;
error_log @DIR@/error.log crit;
worker_processes @WORKERS@;
worker_rlimit_nofile 20000;
load_module modules/ndk_http_module.so;
load_module modules/ngx_http_lua_module.so;
events { worker_connections 18000; multi_accept on; }
http {
  access_log off;
  server_tokens off;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  tcp_nodelay on;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=1000 inactive=60s;
  open_file_cache_valid 60s;
  client_body_temp_path @DIR@/body;
  proxy_temp_path @DIR@/proxy;
  fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi;
  scgi_temp_path @DIR@/scgi;
  lua_package_cpath "@CPATH@;;";
  lua_shared_dict counters 1m;
  init_by_lua_block { cjson = require "cjson" }
  server {
    listen 127.0.0.1:@PORT@ reuseport backlog=4096;
    location = / {
      content_by_lua_block {
        ngx.header.content_type = "text/plain; charset=utf-8"
        ngx.header.content_length = 13
        ngx.print("Hello, World!")
      }
    }
    location = /json {
      content_by_lua_block {
        local body = cjson.encode({ message = "Hello, World!" })
        ngx.header.content_type = "application/json"
        ngx.header.content_length = #body
        ngx.print(body)
      }
    }
    location = /counter {
      content_by_lua_block {
        local body = tostring(ngx.shared.counters:incr("counter", 1, 0))
        ngx.header.content_type = "text/plain; charset=utf-8"
        ngx.header.content_length = #body
        ngx.print(body)
      }
    }
    location = /sleep {
      content_by_lua_block {
        ngx.sleep(0.001)
        ngx.header.content_type = "text/plain; charset=utf-8"
        ngx.header.content_length = 5
        ngx.print("slept")
      }
    }
    location ~ ^/users/(\d+)$ {
      content_by_lua_block {
        local body = cjson.encode({ id = tonumber(ngx.var[1]), query = ngx.req.get_uri_args(),
          headers = ngx.req.get_headers() })
        ngx.header.content_type = "application/json"
        ngx.header.content_length = #body
        ngx.print(body)
      }
    }
    location = /echo {
      client_body_buffer_size 16k;
      content_by_lua_block {
        ngx.req.read_body()
        local body = cjson.encode(cjson.decode(ngx.req.get_body_data()))
        ngx.header.content_type = "application/json"
        ngx.header.content_length = #body
        ngx.print(body)
      }
    }
    location /static/ { root @DIR@; }
    location = /version {
      content_by_lua_block { ngx.print("@VERSION@ " .. ngx.worker.pid()) }
    }
  }
}
]]

function nginx.configure(dir, port, version, workers)
  write_files(dir)
  write(dir .. "/nginx.conf", fill(nginx_conf, {
    DIR = dir, PORT = tostring(port), VERSION = tostring(version), WORKERS = tostring(workers),
    USER = uv.getuid() == 0 and "user root;" or "", CPATH = package.cpath,
  }))
end

function nginx.command(dir)
  return { "nginx", "-p", "/usr/share/nginx", "-c", dir .. "/nginx.conf", "-e", dir .. "/error.log" }
end

local node = { name = "node-http" }

local node_app = [[
const http = require("http");
const text = { "Content-Type": "text/plain; charset=utf-8", "Content-Length": 13 };
function answer(res, value) {
  const body = JSON.stringify(value);
  res.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  res.end(body);
}
const server = http.createServer((req, res) => {
  if (req.url === "/json") {
    answer(res, { message: "Hello, World!" });
  } else if (req.url === "/sleep") {
    setTimeout(() => { res.writeHead(200, { "Content-Type": text["Content-Type"], "Content-Length": 5 });
      res.end("slept"); }, 1);
  } else if (req.url.startsWith("/users/")) {
    const url = new URL(req.url, "http://localhost");
    answer(res, { id: Number(url.pathname.slice(7)), query: Object.fromEntries(url.searchParams),
      headers: req.headers });
  } else if (req.url === "/echo") {
    let text = "";
    req.setEncoding("utf8");
    req.on("data", (chunk) => { text += chunk; });
    req.on("end", () => answer(res, JSON.parse(text)));
  } else {
    res.writeHead(200, text);
    res.end("Hello, World!");
  }
});
server.keepAliveTimeout = 3600000;
server.listen({ host: "127.0.0.1", port: @PORT@, backlog: 4096 });
]]

function node.configure(dir, port)
  write(dir .. "/app.js", fill(node_app, { PORT = tostring(port) }))
end

function node.command(dir)
  return { "node", dir .. "/app.js" }
end

-- For files only: its handlers in mruby are no peer.
local h2o = { name = "h2o", files = true, only_files = true }

local h2o_conf = [[
@USER@
max-connections: 20000
listen: { host: 127.0.0.1, port: @PORT@ }
num-threads: 1
pid-file: @DIR@/h2o.pid
error-log: @DIR@/error.log
hosts:
  default:
    paths:
      "/": { file.dir: "@DIR@/static", file.index: [ "4k.txt" ] }
      "/static": { file.dir: "@DIR@/static" }
]]

function h2o.configure(dir, port)
  write_files(dir)
  write(dir .. "/h2o.conf", fill(h2o_conf, { DIR = dir, PORT = tostring(port),
    USER = uv.getuid() == 0 and "user: root" or "" }))
end

function h2o.command(dir)
  return { "h2o", "-c", dir .. "/h2o.conf" }
end

local limit = { name = "limit" }

function limit.configure() end

function limit.command(_, port)
  return { "build/release/bench/limit/limit", tostring(port) }
end

servers.list = { perigee, showcase, nginx, h2o, node, limit }

--- Those for which `filter` is true, and only those named in BENCH_SERVERS ("limit;perigee") if it is set.
function servers.chosen(filter)
  local names = os.getenv "BENCH_SERVERS"
  local list = {}
  for _, server in ipairs(servers.list) do
    local named = not names or (";" .. names .. ";"):find(";" .. server.name .. ";", 1, true)
    if named and (not filter or filter(server)) then list[#list + 1] = server end
  end
  return list
end

return servers
