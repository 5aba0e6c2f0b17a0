/*
 * Writes JSON text into a buffer, piece by piece; the order of the pieces is the caller's. No Lua.
 */
#ifndef PERIGEE_JSON_WRITER_H
#define PERIGEE_JSON_WRITER_H

#include "base/buffer.h"
#include "base/slice.h"

/* What a writer's function returns. */
enum json_written {
	JSON_WRITTEN = 0,
	JSON_NO_MEMORY = -1, /* part of the piece may have been added */
	JSON_NO_UTF8 = -2,   /* a string is no UTF-8; part of it may have been added */
	JSON_NO_NUMBER = -3  /* NaN or infinite; nothing was added */
};

/* Adds `text` in quotes, escaped as far as JSON wants it. */
enum json_written json_write_string(struct buffer *to, struct slice text);

/* Adds a number: shortest text that reads as the same double. */
enum json_written json_write_number(struct buffer *to, double number);

/* Adds one byte: a brace, a comma. */
static inline enum json_written json_write_byte(struct buffer *to, char byte)
{
	if (to->size == to->capacity && buffer_reserve(to, 1) != 0)
		return JSON_NO_MEMORY;
	to->data[to->size++] = byte;
	return JSON_WRITTEN;
}

#endif
