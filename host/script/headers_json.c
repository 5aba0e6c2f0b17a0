/*
 * A request's header fields as a JSON object, straight from the bytes that were read: no name and
 * no value becomes a Lua value on the way. Called by lua/perigee/request.lua. Runs in workers.
 */
#include "script/script_internal.h"

#include <strings.h>

#include "base/slice.h"
#include "http/http_abi.h"
#include "json/writer.h"

#define KEPT_TEXT 65536 /* bytes for which memory is kept */

struct field {
	struct slice name;
	struct slice value;
};

/* What is being written; one per process, as no call ends inside another one. */
static struct {
	struct buffer text;
	struct buffer joined; /* the values of a name that came more than once */
} output;

/* The request at hand, and which names may have come twice: a bit for each hash of a name. */
struct source {
	const struct http_request *request;
	uint64_t serial;
	uint64_t twice;
};

static bool field_at(const struct source *source, uint32_t index, struct field *field)
{
	return http_request_header_at(source->request, source->serial, index, &field->name.data,
		       &field->name.size, &field->value.data, &field->value.size) == 1;
}

static bool same_name(struct slice a, struct slice b)
{
	return a.size == b.size && strncasecmp(a.data, b.data, a.size) == 0;
}

/* The same for a name in any case; tells those apart that browsers send. */
static uint64_t bit_of(struct slice name)
{
	unsigned first = (unsigned char)name.data[0] | 0x20u;
	unsigned middle = (unsigned char)name.data[name.size - name.size / 4 - 1] | 0x20u;
	unsigned last = (unsigned char)name.data[name.size - 1] | 0x20u;

	return UINT64_C(1) << ((name.size + first * 3 + middle * 13 + last * 7) & 63);
}

static uint64_t find_twice(const struct source *source)
{
	uint64_t seen = 0;
	uint64_t twice = 0;
	struct field field;

	for (uint32_t i = 0; field_at(source, i, &field); i++) {
		twice |= seen & bit_of(field.name);
		seen |= bit_of(field.name);
	}
	return twice;
}

static bool came_before(const struct source *source, uint32_t index, struct slice name)
{
	struct field field;

	for (uint32_t i = 0; i < index && field_at(source, i, &field); i++)
		if (same_name(field.name, name))
			return true;
	return false;
}

/* Joins the values of a name, as req.headers does. Returns 0, or -1 without memory. */
static int join_values(const struct source *source, uint32_t index, struct field *first)
{
	static const struct slice cookie = SLICE("cookie");
	const char *separator = same_name(first->name, cookie) ? "; " : ", ";
	struct field field;

	output.joined.size = 0;
	if (buffer_add(&output.joined, first->value.data, first->value.size) != 0)
		return -1;
	for (uint32_t i = index + 1; field_at(source, i, &field); i++)
		if (same_name(field.name, first->name) &&
			(buffer_add(&output.joined, separator, 2) != 0 ||
				buffer_add(&output.joined, field.value.data, field.value.size) !=
					0))
			return -1;
	first->value = (struct slice){.data = output.joined.data, .size = output.joined.size};
	return 0;
}

/* A token has nothing to escape, so its bytes lie in the text as they came. */
static enum json_written write_name(struct slice name)
{
	size_t start = output.text.size;
	enum json_written written = json_write_string(&output.text, name);

	if (written != JSON_WRITTEN)
		return written;
	for (char *at = output.text.data + start; at < output.text.data + output.text.size; at++)
		if (*at >= 'A' && *at <= 'Z')
			*at |= 0x20;
	return json_write_byte(&output.text, ':');
}

static enum json_written write_field(
	const struct source *source, uint32_t index, struct field *field)
{
	enum json_written written;

	if ((source->twice & bit_of(field->name)) != 0) {
		if (came_before(source, index, field->name))
			return JSON_WRITTEN;
		if (join_values(source, index, field) != 0)
			return JSON_NO_MEMORY;
	}
	if (output.text.size > 1 && json_write_byte(&output.text, ',') != JSON_WRITTEN)
		return JSON_NO_MEMORY;
	written = write_name(field->name);
	return written == JSON_WRITTEN ? json_write_string(&output.text, field->value) : written;
}

int script_headers_json(
	const struct http_request *request, uint64_t serial, const char **text, size_t *size)
{
	struct source source = {.request = request, .serial = serial};
	enum json_written written;
	struct field field;

	if (request->serial != serial || request->state == 0)
		return HTTP_OVER;
	source.twice = find_twice(&source);
	if (output.text.capacity > KEPT_TEXT)
		buffer_free(&output.text);
	output.text.size = 0;
	written = json_write_byte(&output.text, '{');
	for (uint32_t i = 0; written == JSON_WRITTEN && field_at(&source, i, &field); i++)
		written = write_field(&source, i, &field);
	if (written == JSON_WRITTEN)
		written = json_write_byte(&output.text, '}');
	buffer_free(&output.joined);
	*text = output.text.data;
	*size = output.text.size;
	if (written == JSON_NO_UTF8)
		return HTTP_BAD_TEXT;
	return written == JSON_WRITTEN ? HTTP_OK : HTTP_NO_MEMORY;
}
