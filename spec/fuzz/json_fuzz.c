/*
 * Fuzzes the JSON reader and writer: what is read is written again, and read again as the same.
 *
 * Built with PERIGEE_FUZZ (clang, libFuzzer); run as json_fuzz spec/fuzz/corpus/json.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "json/reader.h"
#include "json/writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DEPTH_MOST 64

/* Writes a token behind what was written. */
static void write_token(struct buffer *to, const struct json_reader *reader, enum json_token token)
{
	char text[32];

	switch (token) {
	case JSON_NULL:
		CHECK(buffer_add(to, "null", 4) == 0);
		break;
	case JSON_TRUE:
		CHECK(buffer_add(to, "true", 4) == 0);
		break;
	case JSON_FALSE:
		CHECK(buffer_add(to, "false", 5) == 0);
		break;
	case JSON_NUMBER:
		CHECK(json_write_number(to, reader->number) == JSON_WRITTEN);
		break;
	case JSON_INTEGER:
		(void)snprintf(text, sizeof text, "%lld", (long long)reader->integer);
		CHECK(buffer_add(to, text, strlen(text)) == 0);
		break;
	case JSON_STRING:
	case JSON_NAME:
		CHECK(json_write_string(to, reader->text) == JSON_WRITTEN);
		break;
	default:
		CHECK(json_write_byte(to, "[]{}"[token - JSON_ARRAY]) == JSON_WRITTEN);
		break;
	}
}

static bool opens(enum json_token token)
{
	return token == JSON_ARRAY || token == JSON_OBJECT;
}

static bool closes(enum json_token token)
{
	return token == JSON_ARRAY_END || token == JSON_OBJECT_END;
}

/* Reads a text and writes it again. Returns the last token: JSON_END or JSON_ERROR. */
static enum json_token copy(struct json_reader *reader, struct buffer *to)
{
	enum json_token token;
	enum json_token before = JSON_ARRAY;

	to->size = 0;
	while ((token = json_reader_next(reader)) > JSON_END) {
		if (before == JSON_NAME)
			CHECK(json_write_byte(to, ':') == JSON_WRITTEN);
		else if (!opens(before) && !closes(token))
			CHECK(json_write_byte(to, ',') == JSON_WRITTEN);
		write_token(to, reader, token);
		before = token;
	}
	return token;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct json_reader reader;
	static struct buffer once;
	static struct buffer twice;
	size_t line;
	size_t column;

	/* A copy of its own, so that a read behind its end is seen. */
	char *text = malloc(size + (size == 0));

	CHECK(text != NULL);
	memcpy(text, data, size);
	json_reader_begin(&reader, text, size, DEPTH_MOST);
	if (copy(&reader, &once) == JSON_ERROR) {
		CHECK(json_reader_next(&reader) == JSON_ERROR);
		json_reader_place(&reader, &line, &column);
		CHECK(line >= 1 && column >= 1 && reader.at <= reader.end);
	} else {
		CHECK(json_reader_next(&reader) == JSON_END);
		json_reader_begin(&reader, once.data, once.size, DEPTH_MOST);
		CHECK(copy(&reader, &twice) == JSON_END);
		CHECK(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
	}
	free(text);
	return 0;
}
