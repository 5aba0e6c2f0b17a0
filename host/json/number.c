/* Numbers between text and double. No state but the C locale. Runs where Lua does. */
#include "json/number.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "json/shortest.h"

#define EXACT_POWER 22 /* 10^22 is the last power of ten that is a double exactly */
#define DIGITS_MOST 19 /* that fit in 64 bits */
#define ZEROS_MOST  5  /* between point and first digit; smaller numbers get an exponent */
#define TEXT_MOST   64 /* bytes of a number's text that need no malloc */

static const double powers[EXACT_POWER + 1] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* ---- Reading ------------------------------------------------------------------------------- */

/* glibc's, which rounds correctly, in a locale whose point is a point. */
static double read_slowly(const char *text, size_t size)
{
	static locale_t c_locale;
	char small[TEXT_MOST];
	char *copy = size < sizeof small ? small : malloc(size + 1);
	double number;

	if (c_locale == (locale_t)0)
		c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	CHECK(copy != NULL && c_locale != (locale_t)0);
	memcpy(copy, text, size);
	copy[size] = '\0';
	number = strtod_l(copy, NULL, c_locale);
	if (copy != small)
		free(copy);
	return number;
}

double json_number_read(const struct json_decimal *decimal, const char *text, size_t size)
{
	double number;

	/* Two exact doubles and one rounding make the nearest double (Clinger). */
	if (decimal->digits > JSON_EXACT || decimal->count > DIGITS_MOST ||
		decimal->exponent < -EXACT_POWER || decimal->exponent > EXACT_POWER)
		return read_slowly(text, size);
	number = (double)decimal->digits;
	if (decimal->exponent < 0)
		number /= powers[-decimal->exponent];
	else
		number *= powers[decimal->exponent];
	return decimal->negative ? -number : number;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
			    "25262728293031323334353637383940414243444546474849"
			    "50515253545556575859606162636465666768697071727374"
			    "75767778798081828384858687888990919293949596979899";

size_t json_number_write_unsigned(uint64_t number, char *to)
{
	char digits[20];
	size_t at = sizeof digits;

	while (number >= 100) {
		at -= 2;
		memcpy(digits + at, pairs + number % 100 * 2, 2);
		number /= 100;
	}
	if (number >= 10) {
		at -= 2;
		memcpy(digits + at, pairs + number * 2, 2);
	} else {
		digits[--at] = (char)('0' + number);
	}
	memcpy(to, digits + at, sizeof digits - at);
	return sizeof digits - at;
}

/* Digits with a point: `point` (less than count) of them before it, or -point zeros behind it. */
static size_t write_fixed(const char *digits, int count, int point, char *to)
{
	char *at = to;

	if (point <= 0) {
		*at++ = '0';
		*at++ = '.';
		memset(at, '0', (size_t)-point);
		at += -point;
		memcpy(at, digits, (size_t)count);
		return (size_t)(at - to) + (size_t)count;
	}
	memcpy(at, digits, (size_t)point);
	at[point] = '.';
	memcpy(at + point + 1, digits + point, (size_t)(count - point));
	return (size_t)count + 1;
}

static size_t write_scientific(const char *digits, int count, int exponent, char *to)
{
	char *at = to;

	*at++ = digits[0];
	if (count > 1) {
		*at++ = '.';
		memcpy(at, digits + 1, (size_t)count - 1);
		at += count - 1;
	}
	*at++ = 'e';
	*at++ = exponent < 0 ? '-' : '+';
	at += json_number_write_unsigned((uint64_t)abs(exponent), at);
	return (size_t)(at - to);
}

static size_t write_fraction(double number, char *to)
{
	char digits[20];
	int exponent;
	uint64_t significand = json_shortest(number, &exponent);
	int count = (int)json_number_write_unsigned(significand, digits);
	int point = count + exponent;

	/* A whole number here is above 2^53, and must not look like an integer. */
	if (exponent < 0 && point >= -ZEROS_MOST)
		return write_fixed(digits, count, point, to);
	return write_scientific(digits, count, point - 1, to);
}

size_t json_number_write(double number, char *to)
{
	char *at = to;

	if (signbit(number)) {
		*at++ = '-';
		number = -number;
	}
	if (number <= (double)JSON_EXACT && number == (double)(uint64_t)number)
		at += json_number_write_unsigned((uint64_t)number, at);
	else
		at += write_fraction(number, at);
	return (size_t)(at - to);
}
