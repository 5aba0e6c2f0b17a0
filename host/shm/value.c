/*
 * Shared values: one atomic cell of 8 bytes each. A process killed at any instruction leaves the
 * old number or the new one. Runs in every process that runs Lua.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
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
	return __atomic_load_n(&value->bits, __ATOMIC_SEQ_CST);
}

void shm_value_set_int64(struct shm_value *value, int64_t number)
{
	__atomic_store_n(&value->bits, number, __ATOMIC_SEQ_CST);
}

/* Wraps at the ends of the range, as the hardware's addition does. */
int64_t shm_value_add_int64(struct shm_value *value, int64_t number)
{
	return __atomic_add_fetch(&value->bits, number, __ATOMIC_SEQ_CST);
}

static double as_double(int64_t bits)
{
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

static int64_t as_bits(double number)
{
	int64_t bits;

	memcpy(&bits, &number, sizeof bits);
	return bits;
}

double shm_value_get_double(const struct shm_value *value)
{
	return as_double(shm_value_get_int64(value));
}

void shm_value_set_double(struct shm_value *value, double number)
{
	shm_value_set_int64(value, as_bits(number));
}

double shm_value_add_double(struct shm_value *value, double number)
{
	int64_t old = shm_value_get_int64(value);
	double sum;

	do
		sum = as_double(old) + number;
	while (!__atomic_compare_exchange_n(
		&value->bits, &old, as_bits(sum), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST));
	return sum;
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
