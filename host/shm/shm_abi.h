/*
 * The shared objects as Lua sees them, through LuaJIT's FFI.
 *
 * This file is included by the C that implements it and fed to ffi.cdef as it is, so it holds
 * plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_ABI_H
#define PERIGEE_SHM_ABI_H

#include <stdint.h>

/* A cell of 8 bytes in the region; its kind says how they are read. */
struct shm_value;

/* All are atomic, sequentially consistent, and never wait. add, max and min return the new number;
 * exchange and cas the old one, which is `expected` when cas has changed it. */
int64_t shm_value_get_int64(const struct shm_value *value);
void shm_value_set_int64(struct shm_value *value, int64_t number);
int64_t shm_value_add_int64(struct shm_value *value, int64_t number);
int64_t shm_value_exchange_int64(struct shm_value *value, int64_t number);
int64_t shm_value_cas_int64(struct shm_value *value, int64_t expected, int64_t number);
int64_t shm_value_max_int64(struct shm_value *value, int64_t number);
int64_t shm_value_min_int64(struct shm_value *value, int64_t number);
double shm_value_get_double(const struct shm_value *value);
void shm_value_set_double(struct shm_value *value, double number);
double shm_value_add_double(struct shm_value *value, double number);
double shm_value_exchange_double(struct shm_value *value, double number);
double shm_value_cas_double(struct shm_value *value, double expected, double number);
double shm_value_max_double(struct shm_value *value, double number);
double shm_value_min_double(struct shm_value *value, double number);

/*
 * The value called `name` (1 to 63 bytes, no NUL) of `kind` ("int64", "double", "bool"), made and
 * set to the bits of `initial` when it does not exist yet. NULL when it cannot be had;
 * shm_last_error then says why.
 */
struct shm_value *shm_value_open(const char *name, const char *kind, int64_t initial, int create);

/* Makes the region at least `size` bytes, before the first object is opened by this process.
 * Returns 0, or -1; shm_last_error then says why. */
int shm_region_reserve(uint64_t size);

/* A region that only this process has, if it has none: for `perigee check`. Returns 0, or -1;
 * shm_last_error then says why. */
int shm_region_private(void);

/* How full the region is, and how many objects it has. Returns 0, or -1; shm_last_error. */
struct shm_region_stat {
	uint64_t size; /* bytes */
	uint64_t used; /* bytes, the directory included */
	uint32_t objects;
};
int shm_region_stat(struct shm_region_stat *stat);

/* Object number `index` of the directory; its texts last as long as the region. Returns 0, or -1
 * when there is none. shm_region_stat must have succeeded in this process before. */
struct shm_region_object {
	const char *name;
	const char *kind;
	const char *shape;
	uint64_t size; /* bytes */
};
int shm_region_object(uint32_t index, struct shm_region_object *object);

/* The object of that name and kind, as it is. NULL when there is none; shm_last_error. */
void *shm_region_any(const char *name, const char *kind);

/* What is made from now on is empty (`yes` 1) until shm_region_filled says otherwise, also when the
 * process that made it dies: for what is to be restored into it. */
void shm_region_make_empty(int yes);
int shm_region_is_empty(const char *name); /* 1 or 0 */
void shm_region_filled(const char *name);

/* Takes the lease `name` if no process has it. Returns 1 (also when it is ours already), 0 when
 * another process has it, -1 when it cannot be had; shm_last_error then says why. Never waits. */
int shm_lease_take(const char *name);

/* Gives a lease back; nothing happens when it is not ours. */
void shm_lease_release(const char *name);

/* The sentence for the last failure of this process; "" when there was none. */
const char *shm_last_error(void);

#endif
