-- WebSockets over the C server alone: the handshake, every rule for frames, closing, slow and lost
-- clients, compression, topics.
local ffi = require "ffi"
local frames = require "spec.support.frames"
local raw = require "spec.support.raw"

-- zlib as a client would have it: raw deflate of one message.
ffi.cdef [[
typedef struct { const uint8_t *next_in; unsigned int avail_in; unsigned long total_in;
  uint8_t *next_out; unsigned int avail_out; unsigned long total_out; const char *msg; void *state;
  void *zalloc; void *zfree; void *opaque; int data_type; unsigned long adler;
  unsigned long reserved; } spec_z_stream;
const char *zlibVersion(void);
int deflateInit2_(spec_z_stream *stream, int level, int method, int window_bits, int memory_level,
  int strategy, const char *version, int stream_size);
int deflate(spec_z_stream *stream, int flush);
int deflateEnd(spec_z_stream *stream);
int inflateInit2_(spec_z_stream *stream, int window_bits, const char *version, int stream_size);
int inflate(spec_z_stream *stream, int flush);
int inflateEnd(spec_z_stream *stream);
]]
local z = ffi.load "libz.so.1"
local SYNC_FLUSH = 2

local function deflate(text)
  local stream, room = ffi.new "spec_z_stream", #text + 1024
  local out = ffi.new("uint8_t[?]", room)
  assert(z.deflateInit2_(stream, 9, 8, -15, 8, 0, z.zlibVersion(), ffi.sizeof(stream)) == 0)
  stream.next_in, stream.avail_in = ffi.cast("const uint8_t *", text), #text
  stream.next_out, stream.avail_out = out, room
  assert(z.deflate(stream, SYNC_FLUSH) == 0)
  local size = room - stream.avail_out
  z.deflateEnd(stream)
  return ffi.string(out, size - 4)
end

local function inflate(text, bits)
  local stream, room = ffi.new "spec_z_stream", 4 * 1024 * 1024
  local out, all = ffi.new("uint8_t[?]", room), text .. "\0\0\255\255"
  assert(z.inflateInit2_(stream, -(bits or 15), z.zlibVersion(), ffi.sizeof(stream)) == 0)
  stream.next_in, stream.avail_in = ffi.cast("const uint8_t *", all), #all
  stream.next_out, stream.avail_out = out, room
  local code = z.inflate(stream, SYNC_FLUSH)
  local size = room - stream.avail_out
  z.inflateEnd(stream)
  assert(code == 0, code)
  return ffi.string(out, size)
end

local with_host = raw.with_host

-- An open WebSocket: a raw connection whose handshake is done.
local function open(host, headers, path, options)
  local client = raw.connect(host.port, options)
  client:send(frames.handshake(path or "/echo-socket", headers))
  client:read()
  raw.wait(function() return client.data:find("\r\n\r\n", 1, true) end, "the handshake")
  local head, rest = client.data:match "^(.-\r\n)\r\n(.*)$"
  assert(head:find "^HTTP/1%.1 101 ", head)
  client.head, client.data = head, rest
  return client
end

local function next_frame(client)
  local frame, rest
  raw.wait(function()
    frame, rest = frames.take(client.data)
    return frame or client.eof or client.failure
  end, "a frame")
  if frame then client.data = rest end
  return frame
end

-- Sends, and expects a close frame with `code` and then the end.
local function refused(client, bytes, code)
  client:start_send(bytes)
  local frame = next_frame(client)
  while frame and frame.opcode ~= frames.CLOSE do frame = next_frame(client) end
  assert.is_truthy(frame, "no close frame")
  assert.equal(code, frame.code)
  client:half_close()
  client:wait_end()
  client:close()
end

describe("a WebSocket's handshake", function()
  it("answers 101 with the key's proof", with_host({}, function(host)
    local client = open(host)
    assert.matches("\r\nSec%-WebSocket%-Accept: " .. frames.accept:gsub("%p", "%%%0") .. "\r\n", client.head)
    assert.matches("\r\nUpgrade: websocket\r\n", client.head)
    assert.matches("\r\nConnection: Upgrade\r\n", client.head)
    assert.is_nil(client.head:find "Content%-Length")
    assert.is_nil(client.head:find "Sec%-WebSocket%-Extensions")
    client:close()
  end))

  it("reads tokens in any case and anywhere in their lists", with_host({}, function(host)
    local client = open(host, { Connection = { "keep-alive, foo", "bar , uPGRADE" },
      Upgrade = "h2c, WebSocket" })
    client:close()
  end))

  local refusals = {
    { "no upgrade at all", 426, { Upgrade = false, Connection = false } },
    { "another protocol", 426, { Upgrade = "websockets" } },
    { "no word in Connection", 426, { Connection = "keep-alive" } },
    { "no version", 426, { ["Sec-WebSocket-Version"] = false } },
    { "another version", 426, { ["Sec-WebSocket-Version"] = "8" } },
    { "two versions", 426, { ["Sec-WebSocket-Version"] = { "13", "13" } } },
    { "no key", 400, { ["Sec-WebSocket-Key"] = false } },
    { "two keys", 400, { ["Sec-WebSocket-Key"] = { frames.key, frames.key } } },
    { "a key of 15 bytes", 400, { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25j" } },
    { "a key of 17 bytes", 400, { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZWU=" } },
    { "a key that is no base64", 400, { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub-5jZQ==" } },
    { "a key with bits left over", 400, { ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZR==" } },
    { "HTTP/1.0", 426, {}, "GET /echo-socket HTTP/1.0" },
    { "another method", 426, {}, "POST /echo-socket HTTP/1.1" },
  }
  for _, refusal in ipairs(refusals) do
    it("refuses " .. refusal[1], with_host({}, function(host)
      local client = raw.connect(host.port)
      assert.equal(refusal[2],
        client:ask(frames.handshake("/echo-socket", refusal[3], refusal[4])).status)
      client:close()
    end))
  end

  it("refuses a body", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(frames.handshake("/echo-socket", { ["Content-Length"] = "2" }) .. "hi")
    assert.equal(400, client:response().status)
    client:close()
  end))

  it("takes what is sent right behind it as frames", with_host({}, function(host)
    local client = raw.connect(host.port)
    client:send(frames.handshake "/echo-socket" .. frames.text "early" .. frames.text "bird")
    raw.wait(function() return client.data:find("bird", 1, true) end, "the echo")
    client.data = client.data:match "\r\n\r\n(.*)$"
    assert.equal("early", next_frame(client).payload)
    assert.equal("bird", next_frame(client).payload)
    client:close()
  end))
end)

describe("a WebSocket's frames", function()
  it("carry messages of every length", with_host({ websocket_message_limit = 200000 }, function(host)
    local client = open(host)
    for _, size in ipairs { 0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 70000, 200000 } do
      local payload = ("0123456789abcdef"):rep(math.ceil(size / 16)):sub(1, size)
      client:start_send(frames.make(frames.BINARY, payload))
      local frame = next_frame(client)
      assert.equal(frames.BINARY, frame.opcode)
      assert.is_true(frame.payload == payload, size)
    end
    client:close()
  end))

  it("may come byte by byte", with_host({}, function(host)
    local client = open(host)
    client:drip(frames.text "slow" .. frames.make(frames.PING, "p") .. frames.text(("x"):rep(130)))
    assert.equal("slow", next_frame(client).payload)
    assert.same({ frames.PONG, "p" }, (function(f) return { f.opcode, f.payload } end)(next_frame(client)))
    assert.equal(("x"):rep(130), next_frame(client).payload)
    client:close()
  end))

  it("make one message of fragments, with control frames between them", with_host({}, function(host)
    local client = open(host)
    client:send(frames.text("a\195", { fin = false }) .. frames.make(frames.PING, "1")
      .. frames.make(frames.CONTINUATION, "", { fin = false }) .. frames.make(frames.PONG, "unasked")
      .. frames.make(frames.CONTINUATION, "\164b", { fin = false })
      .. frames.make(frames.PING, "2") .. frames.make(frames.CONTINUATION, "c"))
    assert.equal("1", next_frame(client).payload)
    assert.equal("2", next_frame(client).payload)
    local frame = next_frame(client)
    assert.same({ frames.TEXT, "aäbc" }, { frame.opcode, frame.payload })
    client:close()
  end))

  local broken = {
    { "without a mask", frames.text("x", { mask = false }), 1002 },
    { "with a reserved bit", frames.text("x", { rsv = 2 }), 1002 },
    { "compressed though that was not agreed on", frames.text("x", { rsv = 4 }), 1002 },
    { "with an unknown opcode", frames.make(3, "x"), 1002 },
    { "with an unknown control opcode", frames.make(11, "x"), 1002 },
    { "of a fragmented ping", frames.make(frames.PING, "x", { fin = false }), 1002 },
    { "of a long ping", frames.make(frames.PING, ("x"):rep(126)), 1002 },
    { "that continue nothing", frames.make(frames.CONTINUATION, "x"), 1002 },
    { "that begin a message in another",
      frames.text("x", { fin = false }) .. frames.text "y", 1002 },
    { "with a length in two bytes for one", frames.text("x", { wide = 2 }), 1002 },
    { "with a length in eight bytes for two", frames.text(("x"):rep(200), { wide = 8 }), 1002 },
    { "with a length of 64 bits", "\129\255\255\255\255\255\255\255\255\255....", 1002 },
    { "with text that is no UTF-8", frames.text "a\255", 1007 },
    { "with a surrogate", frames.text "\237\160\128", 1007 },
    { "with an overlong form", frames.text "\192\175", 1007 },
    { "with a text that ends in a character", frames.text(("x"):rep(20) .. "\226\130"), 1007 },
    { "with fragments that together are no UTF-8",
      frames.text("\226", { fin = false }) .. frames.make(frames.CONTINUATION, "x"), 1007 },
    { "of more than the limit, told at the header", frames.text("", { length = 1001 }), 1009 },
    { "of more than the limit in fragments", frames.text(("x"):rep(600), { fin = false })
      .. frames.make(frames.CONTINUATION, ("x"):rep(401)), 1009 },
    { "of a close with one byte", frames.make(frames.CLOSE, "x"), 1002 },
    { "of a close with the code 999", frames.close(999), 1002 },
    { "of a close with the code 1005", frames.close(1005), 1002 },
    { "of a close with the code 1006", frames.close(1006), 1002 },
    { "of a close with the code 1015", frames.close(1015), 1002 },
    { "of a close with the code 2999", frames.close(2999), 1002 },
    { "of a close with the code 5000", frames.close(5000), 1002 },
    { "with a fragment that is no UTF-8, whatever follows", frames.text("ab\255c", { fin = false }), 1007 },
    { "with fragments that cannot become UTF-8", frames.text("a\226\130", { fin = false })
      .. frames.make(frames.CONTINUATION, "\226x", { fin = false }), 1007 },
    { "of a close with a reason that is no UTF-8", frames.close(1000, "\255"), 1007 },
  }
  for _, case in ipairs(broken) do
    it(("%s close with %d"):format(case[1], case[3]),
      with_host({ websocket_message_limit = 1000 }, function(host)
        refused(open(host), case[2], case[3])
        refused(open(host), frames.text "good" .. case[2], case[3])
        assert.equal(case[3], tonumber((host:line "^closed (%d+)")))
        host:wait_stat(function(stat) return stat.busy == 0 and stat.connections == 0 end)
      end))
  end

  it("hold every length of text to UTF-8", with_host({}, function(host)
    local client = open(host)
    for _, text in ipairs { "ä", "€", "\240\159\152\128", "\244\143\191\191", "\237\159\191",
      ("x"):rep(15) .. "€", ("€"):rep(100) } do
      client:send(frames.text(text))
      assert.equal(text, next_frame(client).payload)
    end
    client:close()
  end))
end)

describe("a WebSocket's end", function()
  for _, code in ipairs { 1000, 1001, 1003, 1011, 1014, 3000, 4999 } do
    it("repeats the client's code " .. code, with_host({}, function(host)
      local client = open(host)
      client:send(frames.close(code, "so long"))
      local frame = next_frame(client)
      assert.equal(code, frame.code)
      client:wait_end()
      client:close()
      assert.same({ tostring(code), "so long" }, { host:line "^closed (%d+) (.*)$" })
    end))
  end

  it("may be without a code", with_host({}, function(host)
    local client = open(host)
    client:send(frames.close())
    assert.equal("", next_frame(client).payload)
    client:wait_end()
    client:close()
    assert.equal("1005", (host:line "^closed (%d+)"))
  end))

  it("is ours to begin, drops what comes meanwhile, and waits for the client", with_host({}, function(host)
    local client = open(host)
    client:send(frames.text "bye")
    assert.equal(1000, next_frame(client).code)
    client:send(frames.text "too late" .. frames.make(frames.PING, "p"))
    raw.pass(30)
    assert.is_falsy(client.eof)
    client:send(frames.close(1000))
    assert.equal("", (client:wait_end()))
    client:close()
  end))

  it("does not wait for ever", with_host({ websocket_close_timeout = 50 }, function(host)
    local client = open(host)
    client:send(frames.text "bye")
    assert.equal(1000, next_frame(client).code)
    client:wait_end()
    client:close()
  end))

  it("is seen when the client is gone, half or whole", with_host({}, function(host)
    open(host):half_close()
    host:line("^closed 1006", 1)
    open(host):reset()
    host:line("^closed 1006", 2)
    local client = open(host)
    client:send(frames.text("never finished", { length = 100 }))
    client:close()
    host:line("^closed 1006", 3)
    host:wait_stat(function(stat) return stat.busy == 0 end)
  end))

  it("comes when a client does not answer pings", with_host(
    { websocket_ping_interval = 40, websocket_ping_timeout = 60 }, function(host)
      local silent, lively = open(host), open(host)
      assert.equal(frames.PING, next_frame(silent).opcode)
      for _ = 1, 4 do
        assert.equal(frames.PING, next_frame(lively).opcode)
        lively:send(frames.make(frames.PONG, ""))
      end
      silent:wait_end()
      host:line "^closed 1006 no answer to a ping"
      lively:send(frames.text "here")
      local frame = next_frame(lively)
      while frame.opcode == frames.PING do frame = next_frame(lively) end
      assert.equal("here", frame.payload)
      lively:close()
      silent:close()
    end))

  for how, code in pairs { replaced = 1012, retired = 1012, shutdown = 1001 } do
    it(("is announced with %d when the server is %s"):format(code, how), function()
      local host = raw.host {}
      local client, slow = open(host), open(host)
      host:tell("drain " .. how)
      assert.equal(code, next_frame(client).code)
      assert.equal(code, next_frame(slow).code)
      client:send(frames.close(code))
      client:wait_end()
      client:close()
      assert.equal(0, host:count "^drained")
      slow:send(frames.close())
      slow:half_close()
      slow:wait_end()
      slow:close()
      host:line "^drained"
      host:wait_exit()
    end)
  end

  it("stops with the server", with_host({}, function(host)
    open(host)
    open(host, nil, "/deaf-socket"):send(frames.text "unread")
  end))
end)

describe("a WebSocket", function()
  it("is not read while its handler takes nothing", with_host({}, function(host)
    local client = open(host, nil, "/deaf-socket")
    local data = frames.make(frames.BINARY, ("x"):rep(60000))
    local sent = 0
    local function push()
      client.tcp:write(data, function(err)
        if not err then
          sent = sent + 1
          push()
        end
      end)
    end
    push()
    raw.pass(200)
    local before = sent
    raw.pass(100)
    assert.equal(before, sent) -- the kernel's buffers are full, and ours do not grow
    client:reset()
    host:wait_stat(function(stat) return stat.connections == 0 end)
  end))

  it("answers no pings of a client that takes nothing", with_host({ write_buffer_limit = 10000 },
    function(host)
      local client = open(host, nil, nil, { receive_buffer = 4096, paused = true })
      client.tcp:read_stop()
      local pings, sent = frames.make(frames.PING, ("p"):rep(125)):rep(500), 0
      local function push()
        client.tcp:write(pings, function(err)
          if not err then
            sent = sent + 1
            push()
          end
        end)
      end
      push()
      raw.pass(300)
      local before = sent
      raw.pass(100)
      assert.equal(before, sent)
      client:reset()
      host:wait_stat(function(stat) return stat.connections == 0 end)
    end))

  it("gets what is published, and is closed with 1013 when it is too slow for it", with_host(
    { websocket_buffer_limit = 100000 }, function(host)
      local client = open(host)
      local slow = open(host, nil, nil, { receive_buffer = 4096 })
      slow.tcp:read_stop()
      host:tell "publish hello"
      host:line "^published 2"
      assert.equal("hello", next_frame(client).payload)
      assert.same({ 2, 0 }, { host:stat().websockets, host:stat().slow })
      local text, count = ("x"):rep(450), 0
      while host:count "^published 1" == 0 do
        count = count + 1
        for _ = 1, 200 do host:tell("publish " .. text) end
        for _ = 1, 200 do assert.equal(text, next_frame(client).payload) end
        assert(count < 400, "it is never too slow")
      end
      host:line "^closed 1013"
      slow:read()
      local frame = next_frame(slow)
      while frame.opcode == frames.TEXT do frame = next_frame(slow) end
      assert.equal(1013, frame.code)
      slow:send(frames.close(1013))
      slow:wait_end()
      slow:close()
      host:wait_stat(function(stat) return stat.websockets == 1 and stat.slow == 1 end)
      client:close()
    end))
end)

describe("a WebSocket's compression", function()
  local function agreed(host, offer)
    local client = open(host, { ["Sec-WebSocket-Extensions"] = offer })
    return client.head:match "Sec%-WebSocket%-Extensions: ([^\r]*)", client
  end

  it("is agreed on without context takeover", with_host({}, function(host)
    local usual = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
    for offer, answer in pairs {
      ["permessage-deflate"] = usual,
      ["permessage-deflate; client_max_window_bits"] = usual,
      ["x-foo, permessage-deflate; client_max_window_bits=10;server_no_context_takeover"] = usual,
      ["permessage-deflate; server_max_window_bits=10"] = usual .. "; server_max_window_bits=10",
      ["permessage-deflate; server_max_window_bits=8, permessage-deflate"] = usual,
      ["permessage-deflate; server_max_window_bits=8"] = false,
      ["permessage-deflate; server_max_window_bits=16"] = false,
      ["permessage-deflate; server_max_window_bits"] = false,
      ["permessage-deflate; client_max_window_bits=7"] = false,
      ["permessage-deflate; client_no_context_takeover=1"] = false,
      ["permessage-deflate; server_no_context_takeover; server_no_context_takeover"] = false,
      ["permessage-deflate; unknown"] = false,
      ["x-webkit-deflate-frame"] = false,
    } do
      local got, client = agreed(host, offer)
      assert.equal(answer or nil, got, offer)
      client:close()
    end
  end))

  it("can be switched off", with_host({ websocket_compression = 0 }, function(host)
    local got, client = agreed(host, "permessage-deflate")
    assert.is_nil(got)
    client:close()
  end))

  it("goes both ways, for messages that are long enough", with_host({}, function(host)
    local _, client = agreed(host, "permessage-deflate; server_max_window_bits=9")
    for _ = 1, 3 do
      local text = ("all work and no play makes a dull boy. "):rep(100)
      client:send(frames.text(deflate(text), { rsv = 4 }))
      local frame = next_frame(client)
      assert.equal(4, frame.rsv)
      assert.is_true(#frame.payload < #text / 4)
      assert.equal(text, inflate(frame.payload, 9))
    end
    client:send(frames.text(deflate "short", { rsv = 4 }))
    local frame = next_frame(client)
    assert.same({ 0, "short" }, { frame.rsv, frame.payload })
    client:send(frames.text "plain")
    assert.equal("plain", next_frame(client).payload)
    client:send(frames.text("", { rsv = 4, fin = false }) .. frames.make(frames.PING, "between")
      .. frames.make(0, "\0"))
    assert.equal("between", next_frame(client).payload)
    assert.equal("", next_frame(client).payload)
    client:send(frames.text("\243\72\205\201\201\7\0\0", { rsv = 4 })) -- RFC 7692, 7.2.3.4
    assert.equal("Hello", next_frame(client).payload)
    client:close()
  end))

  it("sends what does not get shorter as it is", with_host({ websocket_compression_min = 1 }, function(host)
    local _, client = agreed(host, "permessage-deflate")
    local parts = {}
    for i = 1, 3000 do parts[i] = string.char(math.random(0, 255)) end
    local noise = table.concat(parts)
    client:send(frames.make(frames.BINARY, noise))
    local frame = next_frame(client)
    assert.equal(0, frame.rsv)
    assert.is_true(frame.payload == noise)
    client:close()
  end))

  it("is no way around the limits", with_host({ websocket_message_limit = 100000 }, function(host)
    local _, client = agreed(host, "permessage-deflate")
    refused(client, frames.text(deflate(("\0"):rep(100001)), { rsv = 4 }), 1009)
    _, client = agreed(host, "permessage-deflate")
    client:start_send(frames.make(frames.BINARY, deflate(("\0"):rep(100000)), { rsv = 4 }))
    assert.equal(4, next_frame(client).rsv)
    refused(client, frames.text("\7\7\7 no deflate", { rsv = 4 }), 1007)
    _, client = agreed(host, "permessage-deflate")
    refused(client, frames.text(deflate "\255", { rsv = 4 }), 1007)
    _, client = agreed(host, "permessage-deflate")
    refused(client, frames.make(frames.PING, "x", { rsv = 4 }), 1002)
    _, client = agreed(host, "permessage-deflate")
    refused(client, frames.text("x", { fin = false }) .. frames.make(0, "x", { rsv = 4 }), 1002)
  end))
end)
