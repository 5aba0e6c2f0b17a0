/*
 * Content codings: choosing one, saying so in the header, and making it.
 *
 * The buffers that hold what was made are the server's. Used by workers.
 */
#include "http/coding.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "http/server_state.h"

#define KEPT_BODY 65536 /* bytes of a compressed body for which memory is kept */

#define UNNAMED    (-1)
#define MALFORMED  (-2)
#define WHOLE      1000 /* q=1 in thousandths */
#define NO_OPINION 1    /* identity's, where it is not named: less than any that is */

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

/* ---- Accept-Encoding ----------------------------------------------------------------------- */

/* RFC 9110, 12.4.2: "0.5" in thousandths, or MALFORMED. */
static int read_quality(struct slice text)
{
	int value;
	int unit = WHOLE;

	if (text.size == 0 || text.size > 5 || (text.data[0] != '0' && text.data[0] != '1') ||
		(text.size > 1 && text.data[1] != '.'))
		return MALFORMED;
	value = (text.data[0] - '0') * WHOLE;
	for (size_t i = 2; i < text.size; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return MALFORMED;
		unit /= 10;
		value += (text.data[i] - '0') * unit;
	}
	return value > WHOLE ? MALFORMED : value;
}

/* The quality of an element whose coding was taken off: WHOLE when it has none. */
static int element_quality(struct slice parameters)
{
	struct slice parameter;

	if (parameters.size == 0)
		return WHOLE;
	parameter = take(&parameters, ';');
	if (parameters.size != 0 || parameter.size < 2 || strncasecmp(parameter.data, "q=", 2) != 0)
		return MALFORMED;
	return read_quality((struct slice){.data = parameter.data + 2, .size = parameter.size - 2});
}

/* What a client takes, in thousandths. */
struct wishes {
	int gzip;
	int brotli;
	int identity;
};

/* What the elements so far say. */
struct named {
	int gzip;
	int brotli;
	int identity;
	int any;
};

static void read_element(struct slice element, struct named *named)
{
	struct slice coding = take(&element, ';');
	int quality = element_quality(element);

	if (quality == MALFORMED)
		quality = 0;
	if (is_word(coding, "gzip") || is_word(coding, "x-gzip"))
		named->gzip = quality;
	else if (is_word(coding, "br"))
		named->brotli = quality;
	else if (is_word(coding, "identity"))
		named->identity = quality;
	else if (is_word(coding, "*"))
		named->any = quality;
}

/*
 * Reads all Accept-Encoding fields of a request. Without one nothing but identity is wished for. A
 * coding with a malformed quality is not taken.
 */
static void read_wishes(const struct http_exchange *exchange, struct wishes *ret_wishes)
{
	struct named named = {UNNAMED, UNNAMED, UNNAMED, UNNAMED};
	struct slice field;
	int others;

	for (uint32_t nth = 0;
		(field.data = http_request_header(&exchange->view, exchange->view.serial,
			 "accept-encoding", 15, nth, &field.size)) != NULL;
		nth++) {
		while (field.size != 0)
			read_element(take(&field, ','), &named);
	}
	others = named.any == UNNAMED ? 0 : named.any;
	ret_wishes->gzip = named.gzip == UNNAMED ? others : named.gzip;
	ret_wishes->brotli = named.brotli == UNNAMED ? others : named.brotli;
	if (named.identity != UNNAMED)
		ret_wishes->identity = named.identity;
	else
		ret_wishes->identity = named.any == 0 ? 0 : NO_OPINION;
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
 * The coding for an answer with this status, prebuilt type (enum http_type) and checked header
 * lines. Only texts of 2xx, 4xx and 5xx are touched, and none that is encoded, a part
 * (Content-Range), a stream of events, or marked no-transform.
 */
static enum http_coding choose(
	const struct http_exchange *exchange, int status, int type, struct slice lines)
{
	struct fields fields = {0};
	struct wishes wishes;

	if (status < 200 || status == 204 || status == 205 || status == 206 ||
		(status >= 300 && status < 400))
		return HTTP_CODING_UNTOUCHED;
	read_fields(lines, &fields);
	if (fields.untouchable)
		return HTTP_CODING_UNTOUCHED;
	if (fields.type.size == 0 ? type == HTTP_TYPE_NONE : !is_text(fields.type))
		return HTTP_CODING_UNTOUCHED;
	read_wishes(exchange, &wishes);
	if (wishes.brotli != 0 && wishes.brotli >= wishes.gzip && wishes.brotli >= wishes.identity)
		return HTTP_CODING_BROTLI;
	if (wishes.gzip != 0 && wishes.gzip >= wishes.identity)
		return HTTP_CODING_GZIP;
	if (wishes.identity != 0)
		return HTTP_CODING_IDENTITY;
	/* RFC 9110, 12.5.3. What a POST has done is not to be hidden behind a 406. */
	if (status < 300 && (exchange->is_head || is_get(exchange)))
		return HTTP_CODING_REFUSED;
	return HTTP_CODING_IDENTITY;
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
	if (coding == HTTP_CODING_GZIP)
		return add(to, SLICE("Content-Encoding: gzip\r\n"));
	if (coding == HTTP_CODING_BROTLI)
		return add(to, SLICE("Content-Encoding: br\r\n"));
	return 0;
}

/* ---- Making it ----------------------------------------------------------------------------- */

static bool is_coded(enum http_coding coding)
{
	return coding == HTTP_CODING_GZIP || coding == HTTP_CODING_BROTLI;
}

static struct compressor *open_compressor(
	const struct http_exchange *exchange, enum http_coding coding)
{
	return compressor_new(coding == HTTP_CODING_GZIP ? COMPRESSOR_GZIP : COMPRESSOR_BROTLI,
		(int)exchange->connection->server->config->compress_level);
}

/* Replaces the lines by those of a coding. Returns it, or HTTP_CODING_UNTOUCHED without memory. */
static enum http_coding replace_lines(
	struct http_exchange *exchange, enum http_coding coding, struct slice *lines)
{
	struct buffer *to = &exchange->connection->server->coded_lines;

	to->size = 0;
	if (write_lines(coding, *lines, to) != 0)
		return HTTP_CODING_UNTOUCHED;
	*lines = (struct slice){.data = to->data, .size = to->size};
	return coding;
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

enum http_coding http_coding_whole(struct http_exchange *exchange, int status, int type,
	struct slice *lines, struct slice *body)
{
	enum http_coding coding = choose(exchange, status, type, *lines);
	struct slice plain = *body;

	if (coding == HTTP_CODING_UNTOUCHED || coding == HTTP_CODING_REFUSED)
		return coding;
	if (is_coded(coding) && !exchange->is_head)
		coding = compress_body(exchange, coding, body);
	coding = replace_lines(exchange, coding, lines);
	if (coding == HTTP_CODING_UNTOUCHED)
		*body = plain;
	return coding;
}

enum http_coding http_coding_stream(
	struct http_exchange *exchange, int status, int type, struct slice *lines)
{
	enum http_coding coding = choose(exchange, status, type, *lines);
	struct compressor *compressor = NULL;

	if (coding == HTTP_CODING_UNTOUCHED || coding == HTTP_CODING_REFUSED)
		return coding;
	if (is_coded(coding) && !exchange->is_head) {
		compressor = open_compressor(exchange, coding);
		if (compressor == NULL)
			coding = HTTP_CODING_IDENTITY;
	}
	coding = replace_lines(exchange, coding, lines);
	if (coding == HTTP_CODING_UNTOUCHED) {
		compressor_free(compressor);
		compressor = NULL;
	}
	exchange->compressor = compressor;
	return coding;
}

int http_coding_piece(
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

void http_coding_done(struct http_exchange *exchange)
{
	struct buffer *body = &exchange->connection->server->coded_body;

	if (body->capacity > KEPT_BODY)
		buffer_free(body);
}
