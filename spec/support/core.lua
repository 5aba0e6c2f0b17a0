--- The C rooms without a loop, through LuaJIT's FFI.
--
-- Built as the target `perigee_core`; PERIGEE_CORE names the library (default: the one of the
-- preset debug). What a spec needs of a header is declared here once.
local ffi = require "ffi"

ffi.cdef [[
struct error { int code; char text[1024]; };
struct slice { const char *data; size_t size; };
struct buffer { char *data; size_t size; size_t capacity; };
struct arena { void *blocks; char *next; char *end; };

int buffer_reserve(struct buffer *buffer, size_t more);
int buffer_add(struct buffer *buffer, const void *data, size_t size);
void buffer_consume(struct buffer *buffer, size_t size);
void buffer_free(struct buffer *buffer);

void *arena_alloc(struct arena *arena, size_t size);
char *arena_copy(struct arena *arena, const void *data, size_t size);
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);

void clock_duration(uint64_t milliseconds, char *text, size_t size);

int fd_packet_pair(int ret_pair[2]);
int fd_send(int socket, const void *data, size_t size, const int *fds, size_t count, int flags);
ssize_t fd_receive(int socket, void *data, size_t size, int *fds, size_t *count, int flags);

int record_check(struct slice block, struct error *error);
int record_add(struct buffer *block, const char *key, const char *value);
int record_next(struct slice block, size_t *offset, const char **ret_key, const char **ret_value);
const char *record_find(struct slice block, const char *key);
int record_number(struct slice block, const char *key, uint64_t minimum, uint64_t maximum,
  uint64_t *ret_number, struct error *error);

struct wire_message {
  uint16_t version; uint16_t type; uint16_t role; uint16_t slot; uint32_t generation;
  uint32_t size; uint64_t child; int32_t pid; int32_t number;
};
int wire_send(int socket, struct wire_message *message, const void *body, size_t size,
  const int *fds, size_t count, int flags);
int wire_receive(int socket, struct wire_message *message, struct buffer *body, int *fds,
  size_t *count, int flags);

int shm_region_create(uint64_t size, struct error *error);
void shm_region_use(int fd);
int shm_region_reserve(uint64_t size);
int shm_region_private(void);
struct shm_value;
struct shm_value *shm_value_open(const char *name, const char *kind, int64_t initial, int create);
int64_t shm_value_get_int64(const struct shm_value *value);
void shm_value_set_int64(struct shm_value *value, int64_t number);
int64_t shm_value_add_int64(struct shm_value *value, int64_t number);
double shm_value_get_double(const struct shm_value *value);
double shm_value_add_double(struct shm_value *value, double number);
const char *shm_last_error(void);

int getpid(void);
struct shm_process {
  char name[64]; char role[16]; char last_error[256]; uint64_t number; int64_t start_at; int64_t restart_at;
  int32_t pid; uint32_t generation; uint32_t starts; uint32_t state; uint32_t server; uint32_t serving;
};
struct shm_row { struct shm_process process; uint64_t counters[16]; uint32_t keys_size; char keys[2048]; };
struct shm_seat {
  uint64_t heartbeat; uint64_t reserved[7]; uint64_t counters[16]; uint32_t keys_sequence; uint32_t keys_size;
  char keys[2048]; char padding[56];
};
struct shm_slots;
int shm_slots_create(struct error *error);
struct shm_slots *shm_slots_map(int fd, struct error *error);
void shm_slots_take(struct shm_slots *slots, unsigned index);
struct shm_seat *shm_slots_seat(struct shm_slots *slots, unsigned index);
void shm_slots_write(struct shm_slots *slots, unsigned index, const struct shm_process *process);
void shm_slots_retire(struct shm_slots *slots, unsigned index);
void shm_seat_clear(struct shm_seat *seat, uint64_t now);
unsigned shm_state_seats(void);
int shm_state_read(unsigned seat, struct shm_row *row);
void shm_state_totals(uint64_t *totals);
int shm_state_set_keys(const char *block, size_t size);

int close(int fd);
int pipe(int fds[2]);
ssize_t write(int fd, const void *data, size_t size);
ssize_t read(int fd, void *data, size_t size);
]]

local core = { lib = ffi.load(os.getenv "PERIGEE_CORE" or "build/asan-ubsan/libperigee_core.so") }

--- A zeroed `struct error`, and its text.
function core.error()
  return ffi.new "struct error"
end

function core.text(err)
  return ffi.string(err.text)
end

--- A slice over a Lua string, which the caller keeps alive.
function core.slice(text)
  return ffi.new("struct slice", ffi.cast("const char *", text), #text)
end

return core
