/* The JSON reader: a loop over tokens with a stack of bits. Owned by its caller. Runs where Lua
 * does. */
#include "json/reader.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "json/number.h"
#include "json/text.h"

#define EXPONENT_MOST 1000000000000000 /* where an exponent stops counting: no text is as long */
#define DIGITS_MOST   19               /* that fit in 64 bits */

/* What may come next. */
enum expectation {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* just behind "[" */
	EXPECT_NAME,         /* behind a comma in an object */
	EXPECT_NAME_OR_END,  /* just behind "{" */
	EXPECT_COMMA_OR_END, /* behind a value */
	EXPECT_NOTHING       /* the outermost value is complete */
};

static enum json_token fail(struct json_reader *reader, const char *at, const char *problem)
{
	reader->at = at;
	reader->problem = problem;
	return JSON_ERROR;
}

/* ---- Containers ---------------------------------------------------------------------------- */

static bool in_object(const struct json_reader *reader)
{
	uint32_t top = reader->depth - 1;

	return (reader->objects[top / 64] >> top % 64 & 1) != 0;
}

static void value_is_complete(struct json_reader *reader)
{
	reader->expect = reader->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
}

static enum json_token open_container(struct json_reader *reader, bool object)
{
	uint32_t top = reader->depth;
	uint64_t bit = (uint64_t)1 << top % 64;

	if (top == reader->depth_most)
		return fail(reader, reader->at, "nested too deeply");
	reader->at++;
	reader->depth++;
	if (object) {
		reader->objects[top / 64] |= bit;
		reader->expect = EXPECT_NAME_OR_END;
		return JSON_OBJECT;
	}
	reader->objects[top / 64] &= ~bit;
	reader->expect = EXPECT_VALUE_OR_END;
	return JSON_ARRAY;
}

static enum json_token close_container(struct json_reader *reader, bool object)
{
	reader->at++;
	reader->depth--;
	value_is_complete(reader);
	return object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

/* ---- Strings ------------------------------------------------------------------------------- */

/* The value of four hexadecimal digits, or -1. */
static int32_t hexadecimal(const char *at, const char *end)
{
	int32_t value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		unsigned char digit = (unsigned char)at[i];
		unsigned char letter = digit | 0x20;

		if (digit >= '0' && digit <= '9')
			value = value << 4 | (digit - '0');
		else if (letter >= 'a' && letter <= 'f')
			value = value << 4 | (letter - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* Reads what follows "\u" at `at`. Returns the bytes read with *code_point, or 0 after fail. */
static size_t read_unicode_escape(struct json_reader *reader, const char *at, uint32_t *code_point)
{
	int32_t high = hexadecimal(at, reader->end);
	int32_t low = -1;

	if (high < 0) {
		(void)fail(reader, at - 2, "\\u must be followed by four hexadecimal digits");
		return 0;
	}
	*code_point = (uint32_t)high;
	if (high < 0xd800 || high > 0xdfff)
		return 4;
	if (high <= 0xdbff && reader->end - at >= 10 && at[4] == '\\' && at[5] == 'u')
		low = hexadecimal(at + 6, reader->end);
	if (low < 0xdc00 || low > 0xdfff) {
		(void)fail(reader, at - 2, "half of a surrogate pair is no character");
		return 0;
	}
	*code_point = 0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
	return 10;
}

/* Appends what the escape at `at` (a backslash) stands for. Returns its end, or NULL after fail. */
static const char *read_escape(struct json_reader *reader, const char *at)
{
	static const char plain[256] = {['"'] = '"',
		['\\'] = '\\',
		['/'] = '/',
		['b'] = '\b',
		['f'] = '\f',
		['n'] = '\n',
		['r'] = '\r',
		['t'] = '\t'};
	char bytes[4];
	uint32_t code_point;
	size_t size;

	if (reader->end - at < 2) {
		(void)fail(reader, reader->end, "a string does not end");
		return NULL;
	}
	bytes[0] = plain[(unsigned char)at[1]];
	if (bytes[0] != '\0') {
		CHECK(buffer_add(&reader->unescaped, bytes, 1) == 0);
		return at + 2;
	}
	if (at[1] != 'u') {
		(void)fail(
			reader, at, "a backslash must be followed by one of \" \\ / b f n r t u");
		return NULL;
	}
	size = read_unicode_escape(reader, at + 2, &code_point);
	if (size == 0)
		return NULL;
	CHECK(buffer_add(&reader->unescaped, bytes, json_text_encode(code_point, bytes)) == 0);
	return at + 2 + size;
}

/* Goes on after the first plain run of a string that lies from `run`. Returns the byte behind the
 * closing quote, with reader->text set, or NULL after fail. */
static const char *read_rest_of_string(struct json_reader *reader, const char *run, const char *at)
{
	bool escaped = false;
	size_t size;

	reader->unescaped.size = 0;
	for (;;) {
		if (at == reader->end) {
			(void)fail(reader, at, "a string does not end");
			return NULL;
		}
		if (*at == '"')
			break;
		if (*at == '\\') {
			CHECK(buffer_add(&reader->unescaped, run, (size_t)(at - run)) == 0);
			escaped = true;
			run = at = read_escape(reader, at);
			if (at == NULL)
				return NULL;
		} else if ((unsigned char)*at < 0x20) {
			(void)fail(reader, at, "control characters in a string must be escaped");
			return NULL;
		} else {
			size = json_text_character(at, reader->end);
			if (size == 0) {
				(void)fail(reader, at, "this is no UTF-8");
				return NULL;
			}
			at += size;
		}
		at = json_text_plain(at, reader->end);
	}
	reader->text = (struct slice){.data = run, .size = (size_t)(at - run)};
	if (escaped) {
		CHECK(buffer_add(&reader->unescaped, run, (size_t)(at - run)) == 0);
		reader->text = (struct slice){
			.data = reader->unescaped.data, .size = reader->unescaped.size};
	}
	return at + 1;
}

/* Reads the string whose quote is at reader->at. Returns 0, or -1 after fail. */
static int read_string(struct json_reader *reader)
{
	const char *run = reader->at + 1;
	const char *at = json_text_plain(run, reader->end);

	if (at < reader->end && *at == '"') {
		reader->text = (struct slice){.data = run, .size = (size_t)(at - run)};
		reader->at = at + 1;
		return 0;
	}
	at = read_rest_of_string(reader, run, at);
	if (at == NULL)
		return -1;
	reader->at = at;
	return 0;
}

static enum json_token read_name(struct json_reader *reader)
{
	if (read_string(reader) != 0)
		return JSON_ERROR;
	while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
						   *reader->at == '\t' || *reader->at == '\r'))
		reader->at++;
	if (reader->at == reader->end || *reader->at != ':')
		return fail(reader, reader->at, "a name must be followed by a colon");
	reader->at++;
	reader->expect = EXPECT_VALUE;
	return JSON_NAME;
}

/* ---- Numbers ------------------------------------------------------------------------------- */

/* A byte below `end`, or NUL, which no number holds. */
static inline char byte_at(const char *at, const char *end)
{
	return at < end ? *at : '\0';
}

static inline bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

/* Takes the digits at `at` into *decimal. Returns their end. */
static const char *read_digits(const char *at, const char *end, struct json_decimal *decimal)
{
	for (; is_digit(byte_at(at, end)); at++) {
		if (decimal->count != 0 || *at != '0')
			decimal->count++;
		if (decimal->count <= DIGITS_MOST)
			decimal->digits = decimal->digits * 10 + (uint64_t)(*at - '0');
	}
	return at;
}

/* Takes "e-12" at `at`. Returns its end, or NULL when no digit follows. */
static const char *read_exponent(const char *at, const char *end, struct json_decimal *decimal)
{
	bool negative = false;
	int64_t exponent = 0;

	at++;
	if (byte_at(at, end) == '+' || byte_at(at, end) == '-')
		negative = *at++ == '-';
	if (!is_digit(byte_at(at, end)))
		return NULL;
	for (; is_digit(byte_at(at, end)); at++)
		if (exponent < EXPONENT_MOST)
			exponent = exponent * 10 + (*at - '0');
	decimal->exponent += negative ? -exponent : exponent;
	decimal->integer = false;
	return at;
}

/* Takes a number apart. Returns its end, or NULL after fail. */
static const char *scan_number(struct json_reader *reader, struct json_decimal *decimal)
{
	const char *at = reader->at;
	const char *end = reader->end;
	const char *digits;

	decimal->negative = *at == '-';
	if (decimal->negative)
		at++;
	digits = at;
	at = read_digits(at, end, decimal);
	if (at == digits) {
		(void)fail(reader, at, "a minus must be followed by a digit");
		return NULL;
	}
	if (*digits == '0' && at - digits > 1) {
		(void)fail(reader, digits, "a number must not begin with 0");
		return NULL;
	}
	if (byte_at(at, end) == '.') {
		digits = ++at;
		at = read_digits(at, end, decimal);
		if (at == digits) {
			(void)fail(reader, at, "a point must be followed by a digit");
			return NULL;
		}
		decimal->exponent -= at - digits;
		decimal->integer = false;
	}
	if ((byte_at(at, end) | 0x20) == 'e') {
		digits = at;
		at = read_exponent(at, end, decimal);
		if (at == NULL)
			(void)fail(reader, digits, "an exponent must have a digit");
	}
	return at;
}

/* An integer beyond 2^53: in 64 bits, or refused rather than changed. */
static enum json_token large_integer(
	struct json_reader *reader, const struct json_decimal *decimal, const char *start)
{
	uint64_t most = (uint64_t)INT64_MAX + decimal->negative;

	if (decimal->count > DIGITS_MOST || decimal->digits > most)
		return fail(reader, start, "an integer does not fit in 64 bits");
	reader->integer =
		decimal->negative ? (int64_t)(0 - decimal->digits) : (int64_t)decimal->digits;
	return JSON_INTEGER;
}

static enum json_token read_number(struct json_reader *reader)
{
	struct json_decimal decimal = {.integer = true};
	const char *start = reader->at;
	const char *at = scan_number(reader, &decimal);

	if (at == NULL)
		return JSON_ERROR;
	reader->at = at;
	value_is_complete(reader);
	if (decimal.integer && (decimal.count > DIGITS_MOST || decimal.digits > JSON_EXACT))
		return large_integer(reader, &decimal, start);
	reader->number = json_number_read(&decimal, start, (size_t)(at - start));
	if (isinf(reader->number))
		return fail(reader, start, "a number is too large");
	return JSON_NUMBER;
}

/* ---- Tokens -------------------------------------------------------------------------------- */

static enum json_token read_word(
	struct json_reader *reader, const char *word, size_t size, enum json_token token)
{
	if ((size_t)(reader->end - reader->at) < size || memcmp(reader->at, word, size) != 0)
		return fail(reader, reader->at, "a value must come here");
	reader->at += size;
	value_is_complete(reader);
	return token;
}

static enum json_token read_value(struct json_reader *reader)
{
	switch (*reader->at) {
	case '"':
		if (read_string(reader) != 0)
			return JSON_ERROR;
		value_is_complete(reader);
		return JSON_STRING;
	case '{':
		return open_container(reader, true);
	case '[':
		return open_container(reader, false);
	case 't':
		return read_word(reader, "true", 4, JSON_TRUE);
	case 'f':
		return read_word(reader, "false", 5, JSON_FALSE);
	case 'n':
		return read_word(reader, "null", 4, JSON_NULL);
	case '-':
	case '0' ... '9':
		return read_number(reader);
	default:
		return fail(reader, reader->at, "a value must come here");
	}
}

/* Skips blanks, and the comma where one must be. Returns false at the end of the text. */
static bool skip_between(struct json_reader *reader)
{
	const char *at = reader->at;

	for (; at < reader->end; at++) {
		if (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')
			continue;
		if (*at != ',' || reader->expect != EXPECT_COMMA_OR_END)
			break;
		reader->expect = in_object(reader) ? EXPECT_NAME : EXPECT_VALUE;
	}
	reader->at = at;
	return at < reader->end;
}

enum json_token json_reader_next(struct json_reader *reader)
{
	if (reader->problem != NULL)
		return JSON_ERROR;
	if (!skip_between(reader)) {
		if (reader->expect == EXPECT_NOTHING)
			return JSON_END;
		return fail(reader, reader->at, "the text ends too early");
	}
	switch ((enum expectation)reader->expect) {
	case EXPECT_VALUE_OR_END:
		if (*reader->at == ']')
			return close_container(reader, false);
		return read_value(reader);
	case EXPECT_VALUE:
		return read_value(reader);
	case EXPECT_NAME_OR_END:
		if (*reader->at == '}')
			return close_container(reader, true);
		if (*reader->at != '"')
			return fail(reader, reader->at, "a name in quotes or \"}\" must come here");
		return read_name(reader);
	case EXPECT_NAME:
		if (*reader->at != '"')
			return fail(reader, reader->at, "a name in quotes must come here");
		return read_name(reader);
	case EXPECT_COMMA_OR_END:
		if (in_object(reader)) {
			if (*reader->at == '}')
				return close_container(reader, true);
			return fail(reader, reader->at, "a comma or \"}\" must come here");
		}
		if (*reader->at == ']')
			return close_container(reader, false);
		return fail(reader, reader->at, "a comma or \"]\" must come here");
	case EXPECT_NOTHING:
		break;
	}
	return fail(reader, reader->at, "nothing may follow the value");
}

void json_reader_begin(
	struct json_reader *reader, const char *text, size_t size, uint32_t depth_most)
{
	CHECK(depth_most <= JSON_DEPTH_MOST);
	reader->begin = reader->at = size == 0 ? "" : text;
	reader->end = reader->begin + size;
	reader->problem = NULL;
	reader->depth = 0;
	reader->depth_most = depth_most;
	reader->expect = EXPECT_VALUE;
}

void json_reader_place(const struct json_reader *reader, size_t *line, size_t *column)
{
	*line = 1;
	*column = 1;
	for (const char *at = reader->begin; at < reader->at; at++) {
		if (*at == '\n') {
			++*line;
			*column = 1;
		} else if (((unsigned char)*at & 0xc0) != 0x80) {
			++*column;
		}
	}
}

void json_reader_free(struct json_reader *reader)
{
	buffer_free(&reader->unescaped);
}
