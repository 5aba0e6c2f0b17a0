/*
 * Shared arrays as Lua sees them, through LuaJIT's FFI; see array.c.
 *
 * Plain declarations only: no directive but this guard and the includes, which the build strips.
 */
#ifndef PERIGEE_SHM_ARRAY_ABI_H
#define PERIGEE_SHM_ARRAY_ABI_H

#include <stdint.h>

/* Numbers of one type, in the region. */
struct shm_array;

/*
 * The array called `name` of `count` numbers of `type` ("int64", "double", "int32", "uint8",
 * "bool"), made and all 0 when it does not exist yet; with `create` 0, `type` may be "" and `count`
 * 0 for those it has. NULL when it cannot be had; shm_last_error then says why.
 */
struct shm_array *shm_array_open(const char *name, const char *type, uint64_t count, int create);

uint64_t shm_array_length(const struct shm_array *array);
const char *shm_array_type(const struct shm_array *array);

/*
 * Each is atomic, for the number at `index`, from 0 to less than the length; none waits. Those with
 * _int64 are for all types but double, whose numbers they cut to the type's width. add, max and min
 * return the new number; exchange and cas the old one, which is `expected` when cas has changed it.
 */
int64_t shm_array_get_int64(const struct shm_array *array, uint64_t index);
void shm_array_set_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_add_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_exchange_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_cas_int64(
	struct shm_array *array, uint64_t index, int64_t expected, int64_t number);
int64_t shm_array_max_int64(struct shm_array *array, uint64_t index, int64_t number);
int64_t shm_array_min_int64(struct shm_array *array, uint64_t index, int64_t number);
double shm_array_get_double(const struct shm_array *array, uint64_t index);
void shm_array_set_double(struct shm_array *array, uint64_t index, double number);
double shm_array_add_double(struct shm_array *array, uint64_t index, double number);
double shm_array_exchange_double(struct shm_array *array, uint64_t index, double number);
double shm_array_cas_double(
	struct shm_array *array, uint64_t index, double expected, double number);
double shm_array_max_double(struct shm_array *array, uint64_t index, double number);
double shm_array_min_double(struct shm_array *array, uint64_t index, double number);

/* `count` numbers from `index` on, one after the other: others may come in between. A double is
 * given and taken as its bits. */
void shm_array_read(const struct shm_array *array, uint64_t index, uint64_t count, int64_t *bits);
void shm_array_write(struct shm_array *array, uint64_t index, uint64_t count, const int64_t *bits);
void shm_array_fill(struct shm_array *array, uint64_t index, uint64_t count, int64_t bits);

#endif
