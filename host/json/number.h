/*
 * Numbers between text and double, exactly: what is read is the nearest double, what is written
 * is the shortest text that reads as the same double. Neither knows the process's locale.
 */
#ifndef PERIGEE_JSON_NUMBER_H
#define PERIGEE_JSON_NUMBER_H

#include <stddef.h>
#include <stdint.h>

#define JSON_NUMBER_SIZE 32                  /* bytes that any number's text fits in */
#define JSON_EXACT       ((uint64_t)1 << 53) /* integers up to it are exact as doubles */

/* A number's text, taken apart: value = (negative ? -1 : 1) × digits × 10^exponent. */
struct json_decimal {
	uint64_t digits; /* the first 19 significant ones */
	int64_t exponent;
	uint32_t count; /* significant digits in the text; above 19 `digits` is cut */
	_Bool negative;
	_Bool integer; /* neither point nor exponent was written */
};

/* The double nearest to a number whose text is `size` bytes at `text`. May be infinite. */
double json_number_read(const struct json_decimal *decimal, const char *text, size_t size);

/*
 * Writes the shortest text of a finite double, at most JSON_NUMBER_SIZE bytes. Returns its size.
 * Whole numbers up to 2^53 are written as integers, and those above with an exponent, so that a
 * double is read back as a double.
 */
size_t json_number_write(double number, char *to);

/* Writes an integer, at most 20 bytes. Returns its size. */
size_t json_number_write_unsigned(uint64_t number, char *to);

#endif
