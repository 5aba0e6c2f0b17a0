/* The JSON writer. The buffer is its caller's. Runs where Lua does. */
#include "json/writer.h"

#include <math.h>
#include <string.h>

#include "json/number.h"
#include "json/text.h"

#define ESCAPE_SIZE 6 /* "\u001f", the longest escape */

static size_t write_escape(unsigned char byte, char *to)
{
	static const char letters[256] = {['"'] = '"',
		['\\'] = '\\',
		['\b'] = 'b',
		['\f'] = 'f',
		['\n'] = 'n',
		['\r'] = 'r',
		['\t'] = 't'};
	static const char digits[] = "0123456789abcdef";

	to[0] = '\\';
	if (letters[byte] != '\0') {
		to[1] = letters[byte];
		return 2;
	}
	to[1] = 'u';
	to[2] = '0';
	to[3] = '0';
	to[4] = digits[byte >> 4];
	to[5] = digits[byte & 0xf];
	return ESCAPE_SIZE;
}

enum json_written json_write_string(struct buffer *to, struct slice text)
{
	const char *run = text.size == 0 ? "" : text.data;
	const char *end = run + text.size;
	const char *at = run;
	char *out;

	/* Room for the rest of the text without an escape, at all times. */
	if (buffer_reserve(to, text.size + 2) != 0)
		return JSON_NO_MEMORY;
	out = to->data + to->size;
	*out++ = '"';
	for (;;) {
		size_t character;

		at = json_text_plain(at, end);
		if (at < end && (unsigned char)*at > 0x7f) {
			character = json_text_character(at, end);
			if (character == 0)
				return JSON_NO_UTF8;
			at += character;
			continue;
		}
		memcpy(out, run, (size_t)(at - run));
		out += at - run;
		to->size = (size_t)(out - to->data);
		if (at == end)
			break;
		if (buffer_reserve(to, (size_t)(end - at) + ESCAPE_SIZE + 1) != 0)
			return JSON_NO_MEMORY;
		out = to->data + to->size;
		out += write_escape((unsigned char)*at++, out);
		run = at;
	}
	*out++ = '"';
	to->size = (size_t)(out - to->data);
	return JSON_WRITTEN;
}

enum json_written json_write_number(struct buffer *to, double number)
{
	if (!isfinite(number))
		return JSON_NO_NUMBER;
	if (buffer_reserve(to, JSON_NUMBER_SIZE) != 0)
		return JSON_NO_MEMORY;
	to->size += json_number_write(number, to->data + to->size);
	return JSON_WRITTEN;
}
