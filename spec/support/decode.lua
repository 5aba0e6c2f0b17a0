--- What a client makes of a compressed body, whole or as far as it has come.
local ffi = require "ffi"

ffi.cdef [[
struct spec_z_stream {
  const char *next_in; unsigned avail_in; unsigned long total_in;
  char *next_out; unsigned avail_out; unsigned long total_out;
  const char *msg; void *state; void *zalloc; void *zfree; void *opaque;
  int data_type; unsigned long adler; unsigned long reserved;
};
const char *zlibVersion(void);
int inflateInit2_(struct spec_z_stream *stream, int bits, const char *version, int size);
int inflate(struct spec_z_stream *stream, int flush);
int inflateEnd(struct spec_z_stream *stream);

void *BrotliDecoderCreateInstance(void *alloc, void *free, void *opaque);
int BrotliDecoderDecompressStream(void *decoder, size_t *avail_in, const char **next_in, size_t *avail_out,
  char **next_out, size_t *total_out);
void BrotliDecoderDestroyInstance(void *decoder);
]]

local decode = {}

local ROOM = 1048576

local function gunzip(data)
  local zlib = ffi.load "z.so.1"
  local stream, out = ffi.new "struct spec_z_stream", ffi.new("char[?]", ROOM)
  assert(zlib.inflateInit2_(stream, 31, zlib.zlibVersion(), ffi.sizeof(stream)) == 0)
  stream.next_in, stream.avail_in, stream.next_out, stream.avail_out = data, #data, out, ROOM
  local status = zlib.inflate(stream, 2)
  zlib.inflateEnd(stream)
  assert(status == 0 or status == 1 or status == -5, "no gzip")
  return ffi.string(out, ROOM - stream.avail_out)
end

local function unbrotli(data)
  local brotli = ffi.load "brotlidec.so.1"
  local decoder, out = brotli.BrotliDecoderCreateInstance(nil, nil, nil), ffi.new("char[?]", ROOM)
  local avail_in, avail_out = ffi.new("size_t[1]", #data), ffi.new("size_t[1]", ROOM)
  local next_in, next_out = ffi.new("const char *[1]"), ffi.new("char *[1]", out)
  next_in[0] = data
  local result = brotli.BrotliDecoderDecompressStream(decoder, avail_in, next_in, avail_out, next_out, nil)
  brotli.BrotliDecoderDestroyInstance(decoder)
  assert(result ~= 0, "no brotli")
  return ffi.string(out, ROOM - tonumber(avail_out[0]))
end

--- The text of a body in a content coding: "gzip", "br", or nil for none.
function decode.text(coding, data)
  if coding == "gzip" then return gunzip(data) end
  if coding == "br" then return unbrotli(data) end
  return data
end

--- The complete chunks at the front of a chunked body.
function decode.chunks(text)
  local chunks, at = {}, 1
  while true do
    local _, head_end, size = text:find("^(%x+)\r\n", at)
    size = size and tonumber(size, 16)
    if not size or size == 0 or #text < head_end + size + 2 then return table.concat(chunks) end
    chunks[#chunks + 1] = text:sub(head_end + 1, head_end + size)
    at = head_end + size + 3
  end
end

return decode
