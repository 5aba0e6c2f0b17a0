/*
 * Reads JSON text, token by token: RFC 8259, strictly. No recursion, no Lua, no allocation but for
 * strings with escapes.
 *
 * The grammar is checked here, so whoever takes the tokens sees them in a valid order: an object's
 * values each follow a name, what is opened is closed, and JSON_END comes after one whole value.
 */
#ifndef PERIGEE_JSON_READER_H
#define PERIGEE_JSON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

#define JSON_DEPTH_DEFAULT 128  /* arrays and objects in each other; a setting of its user */
#define JSON_DEPTH_MOST    1024 /* what a reader can be told */

enum json_token {
	JSON_ERROR = -1, /* reader->problem says what; every further call says it again */
	JSON_END = 0,    /* after the value and the blanks behind it */
	JSON_NULL,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NUMBER,  /* reader->number */
	JSON_INTEGER, /* reader->integer: a whole number beyond 2^53, within 64 bits */
	JSON_STRING,  /* reader->text */
	JSON_NAME,    /* reader->text; the member's value follows */
	JSON_ARRAY,
	JSON_ARRAY_END,
	JSON_OBJECT,
	JSON_OBJECT_END
};

struct json_reader {
	const char *begin;
	const char *at; /* the next byte; where the problem is after JSON_ERROR */
	const char *end;
	const char *problem; /* what is wrong, as a sentence without the place */
	double number;
	int64_t integer;
	struct slice text;       /* UTF-8; in the input, or in `unescaped` until the next token */
	struct buffer unescaped; /* kept from string to string */
	uint32_t depth;          /* containers open */
	uint32_t depth_most;     /* <= JSON_DEPTH_MOST */
	uint8_t expect;          /* enum expectation, of reader.c */
	uint64_t objects[JSON_DEPTH_MOST / 64]; /* a bit for each open container: it is an object */
};

/*
 * Begins to read `size` bytes at `text`, which must stay until the last token. A zeroed struct may
 * be begun; one that was begun may be begun again, and keeps its memory.
 */
void json_reader_begin(
	struct json_reader *reader, const char *text, size_t size, uint32_t depth_most);

/* The next token; see enum json_token for what is set with it. */
enum json_token json_reader_next(struct json_reader *reader);

/* After JSON_ERROR: the line, and the character in it, both from 1, where reading stopped. */
void json_reader_place(const struct json_reader *reader, size_t *line, size_t *column);

void json_reader_free(struct json_reader *reader);

#endif
