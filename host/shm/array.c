/*
 * Shared arrays: cells of one type behind a head that never changes. Each cell changes atomically,
 * and several never do together, so no lock is taken and nothing is left half done by a process
 * that dies. Runs in every process that runs Lua.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "shm/cell.h"
#include "shm/last_error.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/array_abi.h"
#pragma GCC visibility pop

#define COUNT_MAX ((uint64_t)1 << 40) /* numbers of an array: its bytes fit 64 bits */

static const struct type {
	const char *name;
	unsigned width; /* bytes */
} types[] = {
	{"int64", 8},
	{"double", 8},
	{"int32", 4},
	{"uint8", 1},
	{"bool", 1},
};

/* In the region. */
struct shm_array {
	uint64_t type;  /* index of `types` */
	uint64_t width; /* bytes of a cell */
	uint64_t count;
	uint64_t reserved[5];  /* the cells begin a cache line */
	unsigned char cells[]; /* count * width bytes */
};

_Static_assert(sizeof(struct shm_array) == 64, "the head of an array is a cache line");

static const struct type *find_type(const char *name)
{
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	}
	return NULL;
}

static int make(
	const char *name, const char *type_name, uint64_t count, void **ret, struct error *error)
{
	const struct type *type = find_type(type_name);
	char shape[SHM_SHAPE_MAX];
	struct shm_array *array;
	int is_new;

	if (type == NULL)
		return error_set(error, EINVAL, "a shared array has no type \"%.40s\"", type_name);
	if (count == 0 || count > COUNT_MAX)
		return error_set(error, EINVAL,
			"a shared array has 1 to %" PRIu64 " numbers, not %" PRIu64, COUNT_MAX,
			count);
	(void)snprintf(shape, sizeof shape, "%" PRIu64 " %s", count, type->name);
	array = shm_region_make(&(struct shm_want){.name = name,
					.kind = "array",
					.shape = shape,
					.size = sizeof *array + count * type->width},
		&is_new, error);
	*ret = array;
	if (array == NULL || !is_new)
		return array != NULL ? 0 : -1;
	array->type = (uint64_t)(type - types);
	array->width = type->width;
	array->count = count;
	shm_region_publish(name);
	return 0;
}

static int find(
	const char *name, const char *type_name, uint64_t count, void **ret, struct error *error)
{
	char shape[SHM_SHAPE_MAX];

	(void)snprintf(shape, sizeof shape, "%" PRIu64 " %.40s", count, type_name);
	*ret = shm_region_find(name, "array", type_name[0] != '\0' ? shape : NULL, NULL, error);
	return *ret != NULL ? 0 : -1;
}

struct shm_array *shm_array_open(const char *name, const char *type, uint64_t count, int create)
{
	struct error error;
	void *array = NULL;

	if ((create ? make : find)(name, type, count, &array, &error) != 0)
		(void)shm_fail(-1, &error);
	return array;
}

uint64_t shm_array_length(const struct shm_array *array)
{
	return array->count;
}

const char *shm_array_type(const struct shm_array *array)
{
	CHECK(array->type < sizeof types / sizeof *types);
	return types[array->type].name;
}

static void *cell_at(struct shm_array *array, uint64_t index, uint64_t width)
{
	return array->cells + index * width;
}

static const void *const_cell_at(const struct shm_array *array, uint64_t index, uint64_t width)
{
	return array->cells + index * width;
}

/* Calls a cell function with a constant width. */
#define BY_WIDTH(function, array, index, ...)                                                      \
	((array)->width == 8          ? function(cell_at(array, index, 8), 8, __VA_ARGS__)         \
		: (array)->width == 4 ? function(cell_at(array, index, 4), 4, __VA_ARGS__)         \
				      : function(cell_at(array, index, 1), 1, __VA_ARGS__))

int64_t shm_array_get_int64(const struct shm_array *array, uint64_t index)
{
	if (array->width == 8)
		return cell_load(const_cell_at(array, index, 8), 8);
	if (array->width == 4)
		return cell_load(const_cell_at(array, index, 4), 4);
	return cell_load(const_cell_at(array, index, 1), 1);
}

void shm_array_set_int64(struct shm_array *array, uint64_t index, int64_t number)
{
	BY_WIDTH(cell_store, array, index, number);
}

int64_t shm_array_add_int64(struct shm_array *array, uint64_t index, int64_t number)
{
	return BY_WIDTH(cell_add, array, index, number);
}

int64_t shm_array_exchange_int64(struct shm_array *array, uint64_t index, int64_t number)
{
	return BY_WIDTH(cell_exchange, array, index, number);
}

int64_t shm_array_cas_int64(
	struct shm_array *array, uint64_t index, int64_t expected, int64_t number)
{
	(void)BY_WIDTH(cell_cas, array, index, &expected, number);
	return expected;
}

int64_t shm_array_max_int64(struct shm_array *array, uint64_t index, int64_t number)
{
	return BY_WIDTH(cell_keep, array, index, number, 1);
}

int64_t shm_array_min_int64(struct shm_array *array, uint64_t index, int64_t number)
{
	return BY_WIDTH(cell_keep, array, index, number, -1);
}

double shm_array_get_double(const struct shm_array *array, uint64_t index)
{
	return cell_double(cell_load(const_cell_at(array, index, 8), 8));
}

void shm_array_set_double(struct shm_array *array, uint64_t index, double number)
{
	cell_store(cell_at(array, index, 8), 8, cell_bits(number));
}

double shm_array_add_double(struct shm_array *array, uint64_t index, double number)
{
	return cell_add_double(cell_at(array, index, 8), number);
}

double shm_array_exchange_double(struct shm_array *array, uint64_t index, double number)
{
	return cell_double(cell_exchange(cell_at(array, index, 8), 8, cell_bits(number)));
}

double shm_array_cas_double(struct shm_array *array, uint64_t index, double expected, double number)
{
	return cell_cas_double(cell_at(array, index, 8), expected, number);
}

double shm_array_max_double(struct shm_array *array, uint64_t index, double number)
{
	return cell_keep_double(cell_at(array, index, 8), number, 1);
}

double shm_array_min_double(struct shm_array *array, uint64_t index, double number)
{
	return cell_keep_double(cell_at(array, index, 8), number, -1);
}

void shm_array_read(const struct shm_array *array, uint64_t index, uint64_t count, int64_t *bits)
{
	for (uint64_t i = 0; i < count; i++)
		bits[i] = shm_array_get_int64(array, index + i);
}

void shm_array_write(struct shm_array *array, uint64_t index, uint64_t count, const int64_t *bits)
{
	for (uint64_t i = 0; i < count; i++)
		shm_array_set_int64(array, index + i, bits[i]);
}

void shm_array_fill(struct shm_array *array, uint64_t index, uint64_t count, int64_t bits)
{
	for (uint64_t i = 0; i < count; i++)
		shm_array_set_int64(array, index + i, bits);
}
