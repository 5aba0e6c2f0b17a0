-- The other end of sd_notify(3): a datagram socket that notes what it is told.

local ffi = require "ffi"
local bit = require "bit"
local wait = require "spec.support.wait"

ffi.cdef [[
int socket(int domain, int type, int protocol);
int bind(int fd, const void *address, unsigned size);
int close(int fd);
long recv(int fd, void *data, unsigned long size, int flags);
]]

local AF_UNIX, SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC = 1, 2, 0x800, 0x80000
local ROOM = 65536

local notify_socket = {}
local methods = {}
local mt = { __index = methods }

--- Opens one. `name` is what NOTIFY_SOCKET is to hold: a path, or "@name".
function notify_socket.open(name)
  local address = ffi.new("uint8_t[?]", 2 + #name + 1)
  ffi.cast("uint16_t *", address)[0] = AF_UNIX
  ffi.copy(address + 2, (name:gsub("^@", "\0")), #name)
  local fd = ffi.C.socket(AF_UNIX, bit.bor(SOCK_DGRAM, SOCK_NONBLOCK, SOCK_CLOEXEC), 0)
  assert(fd >= 0 and ffi.C.bind(fd, address, 2 + #name) == 0, "cannot open " .. name)
  return setmetatable({ name = name, fd = fd, said = {}, room = ffi.new("char[?]", ROOM), cursor = 1 }, mt)
end

--- Takes what has come. Each assignment is an element of `said`.
function methods:read()
  while true do
    local size = ffi.C.recv(self.fd, self.room, ROOM, 0)
    if size <= 0 then return end
    for line in ffi.string(self.room, size):gmatch "[^\n]+" do self.said[#self.said + 1] = line end
  end
end

--- Waits for an assignment that matches, after the one found last. Returns it.
function methods:expect(pattern, seconds)
  return wait.till(seconds or 10, function()
    return ("%q; it was told:\n%s"):format(pattern, table.concat(self.said, "\n"))
  end, function()
    self:read()
    while self.cursor <= #self.said do
      local line = self.said[self.cursor]
      self.cursor = self.cursor + 1
      if line:find(pattern) then return line end
    end
  end)
end

--- How many assignments match, of all so far.
function methods:count(pattern)
  self:read()
  local count = 0
  for _, line in ipairs(self.said) do
    if line:find(pattern) then count = count + 1 end
  end
  return count
end

function methods:close()
  ffi.C.close(self.fd)
  if self.name:sub(1, 1) == "/" then os.remove(self.name) end
end

return notify_socket
