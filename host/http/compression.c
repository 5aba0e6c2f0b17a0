/*
 * Compressed answers: which are, what their header says, and their bodies.
 *
 * The buffers that hold what was made are the server's. Used by workers.
 */
#include "http/compression.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "http/coding.h"
#include "http/server_state.h"

#define KEPT_BODY 65536 /* bytes of a compressed body for which memory is kept */

static bool is_word(struct slice text, const char *word)
{
	return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

static struct slice trim(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	while (at < end && is_blank(end[-1]))
		end--;
	return (struct slice){.data = at, .size = (size_t)(end - at)};
}

/* Takes what lies before the next `separator` from the front of *rest. */
static struct slice take(struct slice *rest, char separator)
{
	const char *end = rest->data + rest->size;
	const char *stop = memchr(rest->data, separator, rest->size);
	struct slice part = trim(rest->data, stop == NULL ? end : stop);

	rest->data = stop == NULL ? end : stop + 1;
	rest->size = (size_t)(end - rest->data);
	return part;
}

/* ---- The client ---------------------------------------------------------------------------- */

/*
 * The elements of all Accept-Encoding fields, in the server's buffer when there are several. Empty
 * when there is none, or no memory for them.
 */
static struct slice read_wishes(const struct http_exchange *exchange)
{
	struct buffer *joined = &exchange->connection->server->coded_lines;
	struct slice field;
	struct slice first = {0};

	joined->size = 0;
	for (uint32_t nth = 0;
		(field.data = http_request_header(&exchange->view, exchange->view.serial,
			 "accept-encoding", 15, nth, &field.size)) != NULL;
		nth++) {
		if (nth == 0)
			first = field;
		else if (buffer_add(joined, ",", 1) != 0)
			return first;
		if (buffer_add(joined, field.data, field.size) != 0)
			return first;
	}
	return (struct slice){.data = joined->data, .size = joined->size};
}

static bool is_get(const struct http_exchange *exchange)
{
	return exchange->view.method_size == 3 && memcmp(exchange->view.method, "GET", 3) == 0;
}

/* ---- The answer ---------------------------------------------------------------------------- */

/* The header lines that matter here. */
struct fields {
	struct slice type;
	bool untouchable;
	bool varies; /* Vary names Accept-Encoding, or everything, already */
};

/* Whether a list of a header's value has a word. */
static bool has_word(struct slice list, const char *word)
{
	while (list.size != 0)
		if (is_word(take(&list, ','), word))
			return true;
	return false;
}

/* Takes a line, checked before, from the front of *lines. */
static struct slice take_line(struct slice *lines, struct slice *name, struct slice *value)
{
	const char *end = memchr(lines->data, '\n', lines->size);
	struct slice line = {.data = lines->data, .size = (size_t)(end + 1 - lines->data)};
	struct slice rest = {.data = line.data, .size = line.size - 2};

	*name = take(&rest, ':');
	*value = trim(rest.data, rest.data + rest.size);
	lines->data += line.size;
	lines->size -= line.size;
	return line;
}

static void read_fields(struct slice lines, struct fields *fields)
{
	struct slice name;
	struct slice value;

	while (lines.size != 0) {
		(void)take_line(&lines, &name, &value);
		if (is_word(name, "content-type"))
			fields->type = value;
		else if (is_word(name, "content-encoding") || is_word(name, "content-range") ||
			 (is_word(name, "cache-control") && has_word(value, "no-transform")))
			fields->untouchable = true;
		else if (is_word(name, "vary"))
			fields->varies = fields->varies || has_word(value, "accept-encoding") ||
					 has_word(value, "*");
	}
}

static bool ends_with(struct slice text, const char *end)
{
	size_t size = strlen(end);

	return text.size >= size && strncasecmp(text.data + text.size - size, end, size) == 0;
}

/* Whether a media type is text, in whatever syntax. */
static bool is_text(struct slice type)
{
	static const char *const names[] = {"application/json", "application/javascript",
		"application/xml", "application/wasm", "image/svg+xml"};
	struct slice media = take(&type, ';');

	if (media.size > 5 && strncasecmp(media.data, "text/", 5) == 0)
		return !is_word(media, "text/event-stream");
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (is_word(media, names[i]))
			return true;
	return ends_with(media, "+json") || ends_with(media, "+xml");
}

/*
 * What is done to an answer with this status, prebuilt type (enum http_type) and checked header
 * lines; *ret_coding is set when it is PLAIN or CODED. Only texts of 2xx, 4xx and 5xx are touched,
 * and none that is encoded, a part (Content-Range), a stream of events, or marked no-transform.
 */
static enum http_compression choose(const struct http_exchange *exchange, int status, int type,
	struct slice lines, enum http_coding *ret_coding)
{
	struct fields fields = {0};
	struct slice accepted;

	if (status < 200 || status == 204 || status == 205 || status == 206 ||
		(status >= 300 && status < 400))
		return HTTP_COMPRESSION_UNTOUCHED;
	read_fields(lines, &fields);
	if (fields.untouchable)
		return HTTP_COMPRESSION_UNTOUCHED;
	if (fields.type.size == 0 ? type == HTTP_TYPE_NONE : !is_text(fields.type))
		return HTTP_COMPRESSION_UNTOUCHED;
	accepted = read_wishes(exchange);
	*ret_coding =
		http_coding_choose(accepted, 1u << HTTP_CODING_BROTLI | 1u << HTTP_CODING_GZIP);
	if (*ret_coding != HTTP_CODING_IDENTITY)
		return HTTP_COMPRESSION_CODED;
	/* RFC 9110, 12.5.3. What a POST has done is not to be hidden behind a 406. */
	if (status < 300 && (exchange->is_head || is_get(exchange)) &&
		http_coding_refuses_identity(accepted))
		return HTTP_COMPRESSION_REFUSED;
	return HTTP_COMPRESSION_PLAIN;
}

static int add(struct buffer *to, struct slice text)
{
	return buffer_add(to, text.data, text.size);
}

/* A line of the answer; the bytes of a coded body are others than those that a strong ETag names.
 */
static int add_line(enum http_coding coding, struct slice line, struct slice name,
	struct slice value, struct buffer *to)
{
	if (coding == HTTP_CODING_IDENTITY || !is_word(name, "etag") || value.size == 0 ||
		value.data[0] != '"')
		return add(to, line);
	if (add(to, SLICE("ETag: W/")) != 0 || add(to, value) != 0)
		return -1;
	return add(to, SLICE("\r\n"));
}

/*
 * Writes the header lines of an answer in a coding: the old ones, a strong ETag made weak,
 * Content-Encoding and Vary. Returns 0, or -1 when memory is out.
 */
static int write_lines(enum http_coding coding, struct slice lines, struct buffer *to)
{
	struct fields fields = {0};

	read_fields(lines, &fields);
	while (lines.size != 0) {
		struct slice name;
		struct slice value;
		struct slice line = take_line(&lines, &name, &value);

		if (add_line(coding, line, name, value, to) != 0)
			return -1;
	}
	if (!fields.varies && add(to, SLICE("Vary: Accept-Encoding\r\n")) != 0)
		return -1;
	if (coding == HTTP_CODING_IDENTITY)
		return 0;
	if (add(to, SLICE("Content-Encoding: ")) != 0 || add(to, http_coding_name(coding)) != 0)
		return -1;
	return add(to, SLICE("\r\n"));
}

/* ---- Making it ----------------------------------------------------------------------------- */

static struct compressor *open_compressor(
	const struct http_exchange *exchange, enum http_coding coding)
{
	return compressor_new(coding == HTTP_CODING_GZIP ? COMPRESSOR_GZIP : COMPRESSOR_BROTLI,
		(int)exchange->connection->server->config->compress_level);
}

/* Replaces the lines by those of a coding. Returns what has been done to the answer then. */
static enum http_compression replace_lines(
	struct http_exchange *exchange, enum http_coding coding, struct slice *lines)
{
	struct buffer *to = &exchange->connection->server->coded_lines;

	to->size = 0;
	if (write_lines(coding, *lines, to) != 0)
		return HTTP_COMPRESSION_UNTOUCHED;
	*lines = (struct slice){.data = to->data, .size = to->size};
	return coding == HTTP_CODING_IDENTITY ? HTTP_COMPRESSION_PLAIN : HTTP_COMPRESSION_CODED;
}

/* Compresses a whole body. Returns the coding it is in then. */
static enum http_coding compress_body(
	struct http_exchange *exchange, enum http_coding coding, struct slice *body)
{
	struct buffer *to = &exchange->connection->server->coded_body;
	struct compressor *compressor = open_compressor(exchange, coding);
	int result;

	if (compressor == NULL)
		return HTTP_CODING_IDENTITY;
	to->size = 0;
	result = compressor_write(compressor, *body, COMPRESSOR_FINISH, to);
	compressor_free(compressor);
	if (result != 0 || to->size >= body->size)
		return HTTP_CODING_IDENTITY;
	*body = (struct slice){.data = to->data, .size = to->size};
	return coding;
}

enum http_compression http_compression_whole(struct http_exchange *exchange, int status, int type,
	struct slice *lines, struct slice *body)
{
	enum http_coding coding = HTTP_CODING_IDENTITY;
	enum http_compression result = choose(exchange, status, type, *lines, &coding);
	struct slice plain = *body;

	if (result == HTTP_COMPRESSION_UNTOUCHED || result == HTTP_COMPRESSION_REFUSED)
		return result;
	if (result == HTTP_COMPRESSION_CODED && !exchange->is_head)
		coding = compress_body(exchange, coding, body);
	result = replace_lines(exchange, coding, lines);
	if (result == HTTP_COMPRESSION_UNTOUCHED)
		*body = plain;
	return result;
}

enum http_compression http_compression_stream(
	struct http_exchange *exchange, int status, int type, struct slice *lines)
{
	enum http_coding coding = HTTP_CODING_IDENTITY;
	enum http_compression result = choose(exchange, status, type, *lines, &coding);
	struct compressor *compressor = NULL;

	if (result == HTTP_COMPRESSION_UNTOUCHED || result == HTTP_COMPRESSION_REFUSED)
		return result;
	if (result == HTTP_COMPRESSION_CODED && !exchange->is_head) {
		compressor = open_compressor(exchange, coding);
		if (compressor == NULL)
			coding = HTTP_CODING_IDENTITY;
	}
	result = replace_lines(exchange, coding, lines);
	if (result == HTTP_COMPRESSION_UNTOUCHED) {
		compressor_free(compressor);
		compressor = NULL;
	}
	exchange->compressor = compressor;
	return result;
}

int http_compression_piece(
	struct http_exchange *exchange, struct slice *piece, enum compressor_flush flush)
{
	struct buffer *to = &exchange->connection->server->coded_body;
	int result;

	to->size = 0;
	result = compressor_write(exchange->compressor, *piece, flush, to);
	*piece = (struct slice){.data = to->data, .size = to->size};
	if (flush == COMPRESSOR_FINISH || result != 0) {
		compressor_free(exchange->compressor);
		exchange->compressor = NULL;
	}
	return result;
}

void http_compression_done(struct http_exchange *exchange)
{
	struct buffer *body = &exchange->connection->server->coded_body;

	if (body->capacity > KEPT_BODY)
		buffer_free(body);
}
