--- The ABI as Lua sees it, without the binary: the real structs, and functions that are Lua's.
---
--- Requiring this puts fakes in the place of perigee.abi and perigee.version.
local ffi = require "ffi"

local function declarations(path)
  local file = assert(io.open(path, "r"))
  local text = file:read("*a")
  file:close()
  return (("\n" .. text):gsub("\n%s*#[^\n]*", "\n"))
end

ffi.cdef(declarations("host/http/http_abi.h"))
ffi.cdef(declarations("host/http/websocket_abi.h"))
ffi.cdef(declarations("host/http/file_abi.h"))
ffi.cdef(declarations("host/shm/shm_abi.h"))
ffi.cdef("union spec_cell { int64_t int64; double number; };")

local fake = {
  C = {},
  state = { current = nil, idle = {}, idle_count = 0, idle_limit = 4, ready = 0 },
  OK = 0, FULL = 1, OVER = -1, BAD_STATUS = -2, BAD_HEADER = -3, BAD_TEXT = -7, NOT_HERE = -100,
  FILE_LAST = -19, FILE_MISSING = -20, FILE_DENIED = -21, FILE_DIRECTORY = -22, FILE_FAILED = -23,
  sent = {},   -- what http_response_* was called with, in order
  result = 0,  -- what they return next
}

local made, codes = 0, {}
local requests = {} -- address → { headers = { { name, value } }, keep = strings }

local function address(pointer)
  return tonumber(ffi.cast("uintptr_t", ffi.cast("void *", pointer)))
end

local function of(pointer)
  return requests[address(pointer)]
end

--- A request as the C side would hold it. Fields: method, target, path, query, body, headers, trailers,
--- ip.
function fake.request(fields)
  local request = ffi.new("struct http_request")
  local keep = { request }
  local function text(field, value)
    keep[#keep + 1] = value
    request[field] = value
    request[field .. "_size"] = #value
  end
  local path, query = (fields.target or "/"):match("^([^?]*)%??(.*)$")
  text("method", fields.method or "GET")
  text("target", fields.target or "/")
  text("path", fields.path or path)
  text("query", fields.query or query)
  text("body", fields.body or "")
  request.version_major, request.version_minor = 1, 1
  request.serial = fields.serial or 1
  request.state = 1
  request.number, made = made, made + 1
  local method = fields.method or "GET"
  codes[method] = codes[method] or made
  request.method_code = codes[method]
  requests[address(request)] = { headers = fields.headers or {}, trailers = fields.trailers,
    ip = fields.ip or "127.0.0.1", keep = keep }
  return request
end

function fake.C.http_request_header(pointer, serial, name, _, nth, size)
  if pointer.serial ~= serial then return nil end
  for _, header in ipairs(of(pointer).headers) do
    if header[1]:lower() == name:lower() then
      if nth == 0 then
        size[0] = #header[2]
        return header[2]
      end
      nth = nth - 1
    end
  end
  return nil
end

function fake.C.http_request_header_at(pointer, serial, index, name, name_size, value, value_size)
  local header = of(pointer).headers[index + 1]
  if pointer.serial ~= serial or not header then return 0 end
  name[0], name_size[0], value[0], value_size[0] = header[1], #header[1], header[2], #header[2]
  return 1
end

--- Bodies are there as a whole; a test may set body_state, and put more in `body_more`.
function fake.C.http_request_body_wait(pointer, serial)
  if pointer.serial ~= serial then return fake.OVER end
  return fake.body_more and fake.body_more(pointer) or 0
end

function fake.C.http_request_body_take(pointer, serial)
  if pointer.serial ~= serial then return fake.OVER end
  pointer.body, pointer.body_size = nil, 0
  return 0
end

function fake.C.http_request_trailer_at(pointer, serial, index, name, name_size, value, value_size)
  local trailer = (of(pointer).trailers or {})[index + 1]
  if pointer.serial ~= serial or not trailer then return 0 end
  name[0], name_size[0], value[0], value_size[0] = trailer[1], #trailer[1], trailer[2], #trailer[2]
  return 1
end

function fake.C.http_request_ip(pointer, serial)
  if pointer.serial ~= serial then return nil end
  return of(pointer).ip
end

function fake.send_json(value, pointer, serial)
  local json = require "perigee.json"
  local text, problem = json.try_encode(value)
  if not text then return nil, problem end
  return fake.C.http_response_send(pointer, serial, 200, 3, nil, 0, text, #text)
end

local function record(call)
  fake.sent[#fake.sent + 1] = call
  return fake.result
end

function fake.C.http_response_send(pointer, serial, status, kind, headers, _, body, size)
  if pointer.serial ~= serial then return fake.OVER end
  return record { call = "send", status = status, type = kind, headers = headers or "",
    body = body:sub(1, size) }
end

function fake.C.http_response_begin(pointer, serial, status, kind, headers)
  if pointer.serial ~= serial then return fake.OVER end
  pointer.state = 2
  return record { call = "begin", status = status, type = kind, headers = headers or "" }
end

function fake.C.http_response_write(pointer, serial, data)
  if pointer.serial ~= serial then return fake.OVER end
  return record { call = "write", data = data }
end

function fake.C.http_response_end(pointer, serial)
  if pointer.serial ~= serial then return fake.OVER end
  return record { call = "end" }
end

function fake.C.http_response_abort()
  return record { call = "abort" }
end

--- What file paths are: fake.files["/dir/a.txt"] = fake.OK, or one of FILE_…; others are missing.
fake.files = {}
local root_directories = {}

function fake.C.http_file_root_open(directory, flags, why)
  if directory:find "nowhere" then
    why[0] = "No such file or directory"
    return nil
  end
  local root = ffi.cast("struct http_file_root *", #root_directories + 1)
  root_directories[#root_directories + 1] = { path = directory, flags = flags }
  return root
end

local function file_result(root, path)
  local directory = root ~= nil and root_directories[address(root)].path .. "/" or ""
  return fake.files[directory .. path] or fake.FILE_MISSING
end

function fake.C.http_file_find(pointer, serial, root, path)
  if pointer.serial ~= serial then return fake.OVER end
  return file_result(root, path)
end

function fake.C.http_response_file(pointer, serial, root, path, _, status, kind, lines)
  if pointer.serial ~= serial then return fake.OVER end
  local result = file_result(root, path)
  if result ~= fake.OK then return result end
  return record { call = "file", path = path, status = status, type = kind, headers = lines or "" }
end

function fake.C.http_file_list() return nil end

local cells, last_error = {}, ""

function fake.C.shm_region_private() return 0 end

function fake.C.shm_value_open(name, kind, initial, create)
  local cell = cells[name]
  if not cell then
    if create == 0 then
      last_error = ("there is no shared object \"%s\": make it in main_process_start"):format(name)
      return nil
    end
    cell = { value = ffi.new("union spec_cell"), kind = kind }
    cell.value.int64 = initial
    cells[name] = cell
  elseif cell.kind ~= kind then
    last_error = "it is of another kind"
    return nil
  end
  return cell.value
end

local leases = {} -- held by "another process" when false

function fake.C.shm_lease_take(name)
  if leases[name] == false then return 0 end
  leases[name] = true
  return 1
end

function fake.C.shm_lease_release(name) leases[name] = nil end

--- Has another process hold a lease, or let go of it.
function fake.hold_lease(name, held)
  leases[name] = nil
  if held then leases[name] = false end
end

function fake.C.shm_last_error() return last_error end
function fake.C.shm_value_get_int64(cell) return cell.int64 end
function fake.C.shm_value_set_int64(cell, number) cell.int64 = number end
function fake.C.shm_value_add_int64(cell, number) cell.int64 = cell.int64 + number return cell.int64 end
function fake.C.shm_value_get_double(cell) return cell.number end
function fake.C.shm_value_set_double(cell, number) cell.number = number end
function fake.C.shm_value_add_double(cell, number) cell.number = cell.number + number return cell.number end

package.loaded["perigee.abi"] = fake
package.loaded["perigee.version"] = "0.0.0"

return fake
