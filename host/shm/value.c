/*
 * Shared values: one atomic cell of 8 bytes each. A process killed at any instruction leaves the
 * old number or the new one. Runs in every process that runs Lua.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "shm/cell.h"
#include "shm/last_error.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/shm_abi.h"
#pragma GCC visibility pop

struct shm_value {
	int64_t bits; /* an int64, a bool as 0 or 1, or a double's bits */
};

int64_t shm_value_get_int64(const struct shm_value *value)
{
	return cell_load(&value->bits, 8);
}

void shm_value_set_int64(struct shm_value *value, int64_t number)
{
	cell_store(&value->bits, 8, number);
}

int64_t shm_value_add_int64(struct shm_value *value, int64_t number)
{
	return cell_add(&value->bits, 8, number);
}

int64_t shm_value_exchange_int64(struct shm_value *value, int64_t number)
{
	return cell_exchange(&value->bits, 8, number);
}

int64_t shm_value_cas_int64(struct shm_value *value, int64_t expected, int64_t number)
{
	(void)cell_cas(&value->bits, 8, &expected, number);
	return expected;
}

int64_t shm_value_max_int64(struct shm_value *value, int64_t number)
{
	return cell_keep(&value->bits, 8, number, 1);
}

int64_t shm_value_min_int64(struct shm_value *value, int64_t number)
{
	return cell_keep(&value->bits, 8, number, -1);
}

double shm_value_get_double(const struct shm_value *value)
{
	return cell_double(cell_load(&value->bits, 8));
}

void shm_value_set_double(struct shm_value *value, double number)
{
	cell_store(&value->bits, 8, cell_bits(number));
}

double shm_value_add_double(struct shm_value *value, double number)
{
	return cell_add_double(&value->bits, number);
}

double shm_value_exchange_double(struct shm_value *value, double number)
{
	return cell_double(cell_exchange(&value->bits, 8, cell_bits(number)));
}

double shm_value_cas_double(struct shm_value *value, double expected, double number)
{
	return cell_cas_double(&value->bits, expected, number);
}

double shm_value_max_double(struct shm_value *value, double number)
{
	return cell_keep_double(&value->bits, number, 1);
}

double shm_value_min_double(struct shm_value *value, double number)
{
	return cell_keep_double(&value->bits, number, -1);
}

struct shm_value *shm_value_open(const char *name, const char *kind, int64_t initial, int create)
{
	struct error error;
	struct shm_value *value;
	struct shm_want want;
	int is_new = 0;

	if (strcmp(kind, "int64") != 0 && strcmp(kind, "double") != 0 &&
		strcmp(kind, "bool") != 0) {
		(void)shm_fail(error_set(&error, EINVAL,
				       "a shared value is \"int64\", \"double\" or \"bool\", not "
				       "\"%.40s\"",
				       kind),
			&error);
		return NULL;
	}
	want = (struct shm_want){
		.name = name, .kind = "value", .shape = kind, .size = sizeof *value};
	value = create ? shm_region_make(&want, &is_new, &error)
		       : shm_region_find(name, "value", kind, NULL, &error);
	if (value == NULL) {
		(void)shm_fail(-1, &error);
		return NULL;
	}
	if (is_new) {
		value->bits = initial;
		shm_region_publish(name);
	}
	return value;
}
