/*
 * Cells: numbers of 1, 4 or 8 bytes that change atomically, for values, arrays and metrics.
 *
 * Each change is one store of the processor's, so a process killed at any instruction leaves the
 * old number or the new one. A double is kept as its bits. All are sequentially consistent.
 */
#ifndef PERIGEE_SHM_CELL_H
#define PERIGEE_SHM_CELL_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline double cell_double(int64_t bits)
{
	double number;

	memcpy(&number, &bits, sizeof number);
	return number;
}

static inline int64_t cell_bits(double number)
{
	int64_t bits;

	memcpy(&bits, &number, sizeof bits);
	return bits;
}

/* `width` is 8, 4 (signed) or 1 (unsigned) bytes: a constant where these are called. */
static inline int64_t cell_load(const void *cell, unsigned width)
{
	if (width == 8)
		return __atomic_load_n((const int64_t *)cell, __ATOMIC_SEQ_CST);
	if (width == 4)
		return __atomic_load_n((const int32_t *)cell, __ATOMIC_SEQ_CST);
	return __atomic_load_n((const uint8_t *)cell, __ATOMIC_SEQ_CST);
}

static inline void cell_store(void *cell, unsigned width, int64_t number)
{
	if (width == 8)
		__atomic_store_n((int64_t *)cell, number, __ATOMIC_SEQ_CST);
	else if (width == 4)
		__atomic_store_n((int32_t *)cell, (int32_t)number, __ATOMIC_SEQ_CST);
	else
		__atomic_store_n((uint8_t *)cell, (uint8_t)number, __ATOMIC_SEQ_CST);
}

/* Returns the old number. */
static inline int64_t cell_exchange(void *cell, unsigned width, int64_t number)
{
	if (width == 8)
		return __atomic_exchange_n((int64_t *)cell, number, __ATOMIC_SEQ_CST);
	if (width == 4)
		return __atomic_exchange_n((int32_t *)cell, (int32_t)number, __ATOMIC_SEQ_CST);
	return __atomic_exchange_n((uint8_t *)cell, (uint8_t)number, __ATOMIC_SEQ_CST);
}

/* Returns the new number. Wraps at the ends of the range, as the processor's addition does. */
static inline int64_t cell_add(void *cell, unsigned width, int64_t number)
{
	if (width == 8)
		return __atomic_add_fetch((int64_t *)cell, number, __ATOMIC_SEQ_CST);
	if (width == 4)
		return __atomic_add_fetch((int32_t *)cell, (int32_t)number, __ATOMIC_SEQ_CST);
	return __atomic_add_fetch((uint8_t *)cell, (uint8_t)number, __ATOMIC_SEQ_CST);
}

/* Puts `number` in the place of *expected; else returns false with what is there in *expected. */
static inline bool cell_cas(void *cell, unsigned width, int64_t *expected, int64_t number)
{
	int32_t expected4 = (int32_t)*expected;
	uint8_t expected1 = (uint8_t)*expected;
	bool done;

	if (width == 8)
		return __atomic_compare_exchange_n((int64_t *)cell, expected, number, false,
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (width == 4) {
		done = __atomic_compare_exchange_n((int32_t *)cell, &expected4, (int32_t)number,
			false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		*expected = expected4;
		return done;
	}
	done = __atomic_compare_exchange_n((uint8_t *)cell, &expected1, (uint8_t)number, false,
		__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	*expected = expected1;
	return done;
}

/* The greater one stays; returns what is there then. `sign` 1: the greater, -1: the lesser. */
static inline int64_t cell_keep(void *cell, unsigned width, int64_t number, int sign)
{
	int64_t old = cell_load(cell, width);

	while (sign > 0 ? number > old : number < old) {
		if (cell_cas(cell, width, &old, number))
			return number;
	}
	return old;
}

static inline double cell_add_double(void *cell, double number)
{
	int64_t old = cell_load(cell, 8);
	double sum;

	do
		sum = cell_double(old) + number;
	while (!cell_cas(cell, 8, &old, cell_bits(sum)));
	return sum;
}

static inline double cell_keep_double(void *cell, double number, int sign)
{
	int64_t old = cell_load(cell, 8);

	while (sign > 0 ? number > cell_double(old) : number < cell_double(old)) {
		if (cell_cas(cell, 8, &old, cell_bits(number)))
			return number;
	}
	return cell_double(old);
}

/* Returns what was there; it is `number` now when that equals `expected`, as numbers do. */
static inline double cell_cas_double(void *cell, double expected, double number)
{
	int64_t old = cell_load(cell, 8);

	while (cell_double(old) == expected) {
		if (cell_cas(cell, 8, &old, cell_bits(number)))
			break;
	}
	return cell_double(old);
}

#endif
