/*
 * The parser: llhttp's callbacks note where things are, then the head is gone over once more.
 *
 * llhttp finds the structure, but lets pass what another parser may read differently: bare LF in
 * some places, folded lines, several spaces in the request line, a request line without version.
 * So check_head() walks the complete head and accounts for every byte as exactly one thing, and
 * lines_ok() does the same for the lines between the chunks of a body. What the two parsers do not
 * agree on is refused, so there is never a second interpretation of a byte stream.
 *
 * The head is parsed where it was read. If it spans reads it is collected in exchange->head, and
 * as everything is noted as an offset from the head's first byte, nothing has to be moved.
 *
 * Used by workers.
 */
#include "http/parser.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "http/server_state.h"
#include "http/target.h"

#define VERSION_SIZE    (sizeof(" HTTP/1.1\r\n") - 1)
#define EMPTY_LINE_SIZE (sizeof("\r\n") - 1)
#define METHOD_SIZE_MAX 32 /* bytes of an unknown method until it is no method at all */

static const struct http_config *config_of(const struct http_exchange *exchange)
{
	return exchange->connection->server->config;
}

static int refuse(struct http_exchange *exchange, int status, const char *reason)
{
	exchange->refusal = status;
	exchange->reason = reason;
	return -1;
}

static struct http_exchange *exchange_of(llhttp_t *parser)
{
	return parser->data;
}

/* ---- Lines between body bytes -------------------------------------------------------------- */

/* Whether every CR is followed by LF, every LF follows CR, and no line starts with a blank. */
static bool lines_ok(struct http_exchange *exchange, const char *from, const char *to)
{
	char last = exchange->last_byte;

	for (const char *at = from; at < to; at++) {
		if ((last == '\r') != (*at == '\n'))
			return false;
		if (last == '\n' && (*at == ' ' || *at == '\t'))
			return false;
		last = *at;
	}
	exchange->last_byte = last;
	return true;
}

/* Checks and counts the bytes up to `to` that are neither head nor body. Returns 0 or -1. */
static int check_framing(struct http_exchange *exchange, const char *to)
{
	const char *from = exchange->checked;

	exchange->checked = to;
	if (!exchange->chunked || from == to)
		return 0;
	if (!lines_ok(exchange, from, to))
		return refuse(exchange, 400, "a line of the body's framing does not end in CRLF");
	exchange->framing_bytes += (uint32_t)(to - from);
	if (exchange->framing_bytes <= config_of(exchange)->header_limit)
		return 0;
	if (exchange->trailer_count != 0)
		return refuse(exchange, 431, "the trailer fields are too long");
	return refuse(exchange, 400, "too many bytes between two chunks");
}

/* ---- The head ------------------------------------------------------------------------------ */

static bool take(const char **at, const char *end, const char *text, size_t size)
{
	if ((size_t)(end - *at) < size || memcmp(*at, text, size) != 0)
		return false;
	*at += size;
	return true;
}

static void skip_blanks(const char **at, const char *end)
{
	while (*at < end && (**at == ' ' || **at == '\t'))
		(*at)++;
}

static struct slice span_slice(const struct http_exchange *exchange, struct http_span span)
{
	return (struct slice){.data = exchange->base + span.at, .size = span.size};
}

static struct slice value_of(const struct http_exchange *exchange, const struct http_field *field)
{
	return (struct slice){.data = exchange->base + field->value_at, .size = field->value_size};
}

static bool same_word(struct slice text, const char *word, size_t size)
{
	return text.size == size && strncasecmp(text.data, word, size) == 0;
}

/* What the fields of a head say together. */
struct summary {
	uint32_t hosts;
	uint32_t lengths;
	uint32_t codings;
	bool chunked; /* the transfer coding is "chunked" and nothing else */
	bool unknown_expectation;
	uint64_t length;
};

static int check_request_line(struct http_exchange *exchange, const char **at, const char *end)
{
	const char *start = exchange->base + exchange->method.at;
	char minor;

	if (exchange->method.at != 0 &&
		(exchange->method.at != EMPTY_LINE_SIZE || memcmp(exchange->base, "\r\n", 2) != 0))
		return refuse(exchange, 400, "there are bytes before the request line");
	*at = start + exchange->method.size;
	if (!take(at, end, " ", 1) || *at != exchange->base + exchange->target.at)
		return refuse(exchange, 400, "the request line is malformed");
	*at += exchange->target.size;
	if ((size_t)(*at - start) + VERSION_SIZE - EMPTY_LINE_SIZE >
		config_of(exchange)->request_line_limit)
		return refuse(exchange, 414, "the request line is too long");
	if (!take(at, end, " HTTP/", 6) || end - *at < 3)
		return refuse(exchange, 400, "the request line has no HTTP version");
	minor = (*at)[2];
	if ((*at)[0] != '1' || (*at)[1] != '.' || (minor != '0' && minor != '1'))
		return refuse(exchange, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	*at += 3;
	if (!take(at, end, "\r\n", 2))
		return refuse(exchange, 400, "the request line is malformed");
	exchange->view.version_major = 1;
	exchange->view.version_minor = (uint8_t)(minor - '0');
	return 0;
}

static int note_length(struct http_exchange *exchange, struct summary *summary, struct slice value)
{
	uint64_t length = 0;

	if (value.size == 0 || value.size > 19)
		return refuse(exchange, 400, "the Content-Length is no number");
	for (size_t i = 0; i < value.size; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return refuse(exchange, 400, "the Content-Length is no number");
		length = length * 10 + (uint64_t)(value.data[i] - '0');
	}
	if (summary->lengths++ != 0)
		return refuse(exchange, 400, "there is more than one Content-Length");
	summary->length = length;
	return 0;
}

/* Takes a field that matters for framing into account. Returns 0 or -1. */
static int note_field(
	struct http_exchange *exchange, struct summary *summary, const struct http_field *field)
{
	struct slice name = {.data = exchange->base + field->name_at, .size = field->name_size};
	struct slice value = value_of(exchange, field);

	switch (name.size) {
	case sizeof("Host") - 1:
		if (!same_word(name, "host", name.size))
			break;
		summary->hosts++;
		if (!http_host_valid(value))
			return refuse(exchange, 400, "the Host is malformed");
		break;
	case sizeof("Expect") - 1:
		if (!same_word(name, "expect", name.size))
			break;
		if (same_word(value, "100-continue", 12))
			exchange->expects_continue = true;
		else
			summary->unknown_expectation = true;
		break;
	case sizeof("Content-Length") - 1:
		if (same_word(name, "content-length", name.size))
			return note_length(exchange, summary, value);
		break;
	case sizeof("Transfer-Encoding") - 1:
		if (!same_word(name, "transfer-encoding", name.size))
			break;
		summary->codings++;
		summary->chunked = same_word(value, "chunked", 7);
		break;
	default:
		break;
	}
	return 0;
}

/* Walks "Name: value CRLF" from *at on. Returns 0 or -1. */
static int check_field(struct http_exchange *exchange, struct http_field *field, const char **at,
	const char *end, struct summary *summary)
{
	const char *base = exchange->base;

	if (*at != base + field->name_at || field->name_size == 0)
		return refuse(exchange, 400, "a header line is malformed");
	*at += field->name_size;
	if (!take(at, end, ":", 1))
		return refuse(exchange, 400, "a header name is not followed by a colon");
	skip_blanks(at, end);
	if (field->value_size == 0)
		field->value_at = (uint32_t)(*at - base);
	if (*at != base + field->value_at)
		return refuse(exchange, 400, "a header line is malformed");
	*at += field->value_size;
	skip_blanks(at, end);
	if (!take(at, end, "\r\n", 2))
		return refuse(exchange, 400, "a header line does not end in CRLF");
	while (field->value_size != 0) {
		char last = base[field->value_at + field->value_size - 1];

		if (last != ' ' && last != '\t')
			break;
		field->value_size--;
	}
	return note_field(exchange, summary, field);
}

/* How the body is framed: our reading of the fields and llhttp's have to be the same. */
static int check_body_framing(struct http_exchange *exchange, const struct summary *summary)
{
	const llhttp_t *parser = &exchange->parser;

	if (summary->codings != 0 && summary->lengths != 0)
		return refuse(exchange, 400, "there are Transfer-Encoding and Content-Length");
	if (summary->codings != 0 && exchange->view.version_minor == 0)
		return refuse(exchange, 400, "HTTP/1.0 has no Transfer-Encoding");
	if (summary->codings > 1)
		return refuse(exchange, 400, "there is more than one Transfer-Encoding");
	if (summary->codings != 0 && !summary->chunked)
		return refuse(exchange, 501, "the only transfer coding known here is chunked");
	if (summary->chunked != ((parser->flags & F_CHUNKED) != 0) ||
		(summary->lengths != 0) != ((parser->flags & F_CONTENT_LENGTH) != 0) ||
		summary->length != parser->content_length)
		return refuse(exchange, 400, "the length of the body is ambiguous");
	exchange->chunked = summary->chunked;
	if (summary->length > config_of(exchange)->body_limit)
		return refuse(exchange, 413, "the body is too long");
	return 0;
}

static int check_meaning(struct http_exchange *exchange, const struct summary *summary)
{
	if (exchange->parser.method == HTTP_CONNECT)
		return refuse(exchange, 501, "CONNECT is not served here");
	if (summary->hosts > 1 || (summary->hosts == 0 && exchange->view.version_minor == 1))
		return refuse(exchange, 400, "there has to be exactly one Host");
	if (check_body_framing(exchange, summary) != 0)
		return -1;
	if (exchange->view.version_minor == 0)
		exchange->expects_continue = false;
	else if (summary->unknown_expectation)
		return refuse(exchange, 417, "the only expectation met here is 100-continue");
	return 0;
}

static int note_target(struct http_exchange *exchange)
{
	struct http_target parts;
	bool is_options = exchange->parser.method == HTTP_OPTIONS;

	if (http_target_split(span_slice(exchange, exchange->target), is_options, &parts) != 0)
		return refuse(exchange, 400, "the request target is malformed");
	exchange->path.size = (uint32_t)parts.path.size;
	if (parts.escaped) {
		char *decoded = arena_alloc(&exchange->arena, parts.path.size);
		long size;

		if (decoded == NULL)
			return refuse(exchange, 503, "memory is out");
		size = http_target_decode(parts.path, decoded);
		if (size < 0)
			return refuse(exchange, 400, "the path has an invalid escape");
		exchange->decoded = decoded;
		exchange->path.size = (uint32_t)size;
	} else if (parts.path.data < exchange->base + exchange->target.at ||
		   parts.path.data >=
			   exchange->base + exchange->target.at + exchange->target.size) {
		exchange->decoded = parts.path.data; /* the constant "/" */
	} else {
		exchange->path.at = (uint32_t)(parts.path.data - exchange->base);
	}
	exchange->query.size = (uint32_t)parts.query.size;
	exchange->query.at =
		parts.query.size == 0 ? 0 : (uint32_t)(parts.query.data - exchange->base);
	return 0;
}

/* Accounts for every byte of the complete head, which ends at `end` or before. */
static int check_head(struct http_exchange *exchange, const char *end)
{
	struct summary summary = {0};
	const char *at;
	const char *fields;

	if (check_request_line(exchange, &at, end) != 0)
		return -1;
	fields = at;
	for (uint32_t i = 0; i < exchange->field_count; i++)
		if (check_field(exchange, &exchange->fields[i], &at, end, &summary) != 0)
			return -1;
	if ((size_t)(at - fields) > config_of(exchange)->header_limit)
		return refuse(exchange, 431, "the header fields are too long");
	if (!take(&at, end, "\r\n", 2))
		return refuse(exchange, 400, "the head does not end in an empty line");
	exchange->head_size = (uint32_t)(at - exchange->base);
	exchange->checked = at;
	if (check_meaning(exchange, &summary) != 0)
		return -1;
	return note_target(exchange);
}

/* The limits of a head that goes on: what is there already may be too much. */
static int check_unfinished_head(struct http_exchange *exchange, const char *end)
{
	const struct http_config *config = config_of(exchange);
	const char *start = exchange->base;
	const char *line;

	/* A blank line before the request is taken; more is somebody wasting our time. */
	if (end - start >= 2 && memcmp(start, "\r\n", 2) == 0)
		start += 2;
	if (start < end && *start == '\n')
		return refuse(exchange, 400, "there are bytes before the request line");
	if (start + 1 < end && *start == '\r')
		return refuse(exchange, 400, "there are bytes before the request line");
	line = memchr(start, '\n', (size_t)(end - start));
	if (line == NULL) {
		size_t size = (size_t)(end - start);

		if (size != 0 && start[size - 1] == '\r')
			size--;
		if (size > config->request_line_limit)
			return refuse(exchange, 414, "the request line is too long");
		return 0;
	}
	if ((size_t)(line - start) > (size_t)config->request_line_limit + 1)
		return refuse(exchange, 414, "the request line is too long");
	if ((size_t)(end - line - 1) > (size_t)config->header_limit + EMPTY_LINE_SIZE)
		return refuse(exchange, 431, "the header fields are too long");
	return 0;
}

/* ---- llhttp's callbacks -------------------------------------------------------------------- */

/* A span comes in pieces that lie one behind the other, or it was folded over lines. */
static int extend(struct http_exchange *exchange, uint32_t *span_at, uint32_t *span_size,
	const char *at, size_t size)
{
	uint32_t offset = (uint32_t)(at - exchange->base);

	if (*span_size == 0)
		*span_at = offset;
	else if (*span_at + *span_size != offset)
		return refuse(exchange, 400, "a header line is folded");
	*span_size += (uint32_t)size;
	return 0;
}

static int on_method(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);

	return extend(exchange, &exchange->method.at, &exchange->method.size, at, size);
}

static int on_url(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);

	return extend(exchange, &exchange->target.at, &exchange->target.size, at, size);
}

static int grow_fields(struct http_exchange *exchange)
{
	uint32_t capacity = exchange->field_capacity * 2;
	bool is_inline = exchange->fields == exchange->inline_fields;
	struct http_field *fields;

	fields = realloc(is_inline ? NULL : exchange->fields, capacity * sizeof *fields);
	if (fields == NULL)
		return refuse(exchange, 503, "memory is out");
	if (is_inline)
		memcpy(fields, exchange->inline_fields, sizeof exchange->inline_fields);
	exchange->fields = fields;
	exchange->field_capacity = capacity;
	return 0;
}

static int start_field(struct http_exchange *exchange)
{
	exchange->in_value = false;
	if (exchange->head_complete) {
		if (exchange->field_count + ++exchange->trailer_count >
			config_of(exchange)->header_count_limit)
			return refuse(exchange, 431, "there are too many trailer fields");
		return 0;
	}
	if (exchange->field_count == config_of(exchange)->header_count_limit)
		return refuse(exchange, 431, "there are too many header fields");
	if (exchange->field_count == exchange->field_capacity && grow_fields(exchange) != 0)
		return -1;
	exchange->fields[exchange->field_count++] = (struct http_field){0};
	return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);
	struct http_field *field;

	if (exchange->in_value && start_field(exchange) != 0)
		return -1;
	if (exchange->head_complete)
		return 0;
	field = &exchange->fields[exchange->field_count - 1];
	return extend(exchange, &field->name_at, &field->name_size, at, size);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);
	struct http_field *field;

	exchange->in_value = true;
	if (exchange->head_complete)
		return 0;
	field = &exchange->fields[exchange->field_count - 1];
	return extend(exchange, &field->value_at, &field->value_size, at, size);
}

static int on_headers_complete(llhttp_t *parser)
{
	struct http_exchange *exchange = exchange_of(parser);

	exchange->keep_alive = llhttp_should_keep_alive(parser) != 0;
	exchange->client_closes = !exchange->keep_alive;
	exchange->is_head = parser->method == HTTP_HEAD;
	if (check_head(exchange, exchange->input_end) != 0)
		return -1;
	exchange->head_complete = true;
	exchange->in_value = true; /* the next name is a trailer's */
	exchange->last_byte = '\n';
	return 0;
}

static uint64_t body_size(const struct http_exchange *exchange)
{
	return exchange->placed != NULL ? exchange->placed_size : exchange->body.size;
}

static int move_body(struct http_exchange *exchange)
{
	if (exchange->placed == NULL)
		return 0;
	if (buffer_add(&exchange->body, exchange->placed, exchange->placed_size) != 0)
		return refuse(exchange, 503, "memory is out");
	exchange->placed = NULL;
	return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);

	if (check_framing(exchange, at) != 0)
		return -1;
	exchange->checked = at + size;
	exchange->framing_bytes = 0;
	if (size > config_of(exchange)->body_limit - body_size(exchange))
		return refuse(exchange, 413, "the body is too long");
	if (exchange->placed == NULL && exchange->body.size == 0) {
		exchange->placed = at;
		exchange->placed_size = size;
		return 0;
	}
	if (exchange->placed != NULL && exchange->placed + exchange->placed_size == at) {
		exchange->placed_size += size;
		return 0;
	}
	if (move_body(exchange) != 0)
		return -1;
	if (buffer_add(&exchange->body, at, size) != 0)
		return refuse(exchange, 503, "memory is out");
	return 0;
}

static int on_chunk_header(llhttp_t *parser)
{
	struct http_exchange *exchange = exchange_of(parser);

	if (parser->content_length > config_of(exchange)->body_limit - body_size(exchange))
		return refuse(exchange, 413, "the body is too long");
	return 0;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);

	(void)at;
	exchange->extension_bytes += (uint32_t)size;
	if (exchange->extension_bytes > config_of(exchange)->header_limit)
		return refuse(exchange, 400, "the chunk extensions are too long");
	return 0;
}

static int on_message_complete(llhttp_t *parser)
{
	exchange_of(parser)->complete = true;
	return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
	.on_method = on_method,
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_chunk_header = on_chunk_header,
	.on_chunk_extension_name = on_chunk_extension,
	.on_chunk_extension_value = on_chunk_extension,
	.on_message_complete = on_message_complete,
};

/* ---- Feeding ------------------------------------------------------------------------------- */

void http_parser_start(struct http_exchange *exchange)
{
	llhttp_init(&exchange->parser, HTTP_REQUEST, &settings);
	exchange->parser.data = exchange;
	exchange->head_size = 0;
	exchange->method.size = 0;
	exchange->target.size = 0;
	exchange->decoded = NULL;
	exchange->field_count = 0;
	exchange->trailer_count = 0;
	exchange->framing_bytes = 0;
	exchange->extension_bytes = 0;
	exchange->placed = NULL;
	exchange->refusal = 0;
	exchange->begun = false;
	exchange->in_value = true; /* the next name starts a field */
	exchange->head_complete = false;
	exchange->complete = false;
	exchange->chunked = false;
	exchange->expects_continue = false;
	exchange->keep_alive = false;
	exchange->client_closes = false;
	exchange->is_head = false;
	exchange->framing = HTTP_FRAMING_NONE;
	exchange->full = false;
}

static void fill_view(struct http_exchange *exchange)
{
	struct http_request *view = &exchange->view;
	const char *base = exchange->base;

	view->method = base + exchange->method.at;
	view->method_size = exchange->method.size;
	view->target = base + exchange->target.at;
	view->target_size = exchange->target.size;
	view->path = exchange->decoded != NULL ? exchange->decoded : base + exchange->path.at;
	view->path_size = exchange->path.size;
	view->query = base + exchange->query.at;
	view->query_size = exchange->query.size;
	view->body_size = body_size(exchange);
	view->body = exchange->placed != NULL ? exchange->placed : exchange->body.data;
	if (view->body_size == 0)
		view->body = NULL;
	view->header_count = exchange->field_count;
}

/* What a method is that llhttp does not know. */
enum unknown_method { METHOD_MALFORMED, METHOD_UNKNOWN, METHOD_UNFINISHED };

static enum unknown_method unknown_method(const struct http_exchange *exchange, const char *end)
{
	const char *at = exchange->base;

	while (at < end && at - exchange->base < METHOD_SIZE_MAX && *at >= 'A' && *at <= 'Z')
		at++;
	if (at == end)
		return METHOD_UNFINISHED;
	return at > exchange->base && *at == ' ' ? METHOD_UNKNOWN : METHOD_MALFORMED;
}

/* Whether the request line ends in an HTTP version, if an unknown one. */
static bool is_unknown_version(const struct http_exchange *exchange, const char *end)
{
	const char *at = exchange->base + exchange->target.at + exchange->target.size;

	if (!take(&at, end, " HTTP/", 6) || at == end || *at < '0' || *at > '9')
		return false;
	return *at != '1' || (end - at > 2 && at[1] == '.' && at[2] >= '2' && at[2] <= '9');
}

static enum http_parsed go_on(struct http_exchange *exchange, const char *data, size_t size);

static enum http_parsed fail(
	struct http_exchange *exchange, llhttp_errno_t code, const char *data, size_t size)
{
	const char *end = exchange->input_end;

	if (exchange->refusal != 0)
		return HTTP_PARSED_ERROR;
	if (code == HPE_INVALID_METHOD) {
		switch (unknown_method(exchange, end)) {
		case METHOD_UNFINISHED:
			return go_on(exchange, data, size); /* llhttp says it again then */
		case METHOD_UNKNOWN:
			(void)refuse(exchange, 501, "the method is unknown");
			return HTTP_PARSED_ERROR;
		case METHOD_MALFORMED:
			break;
		}
	}
	if (code == HPE_PAUSED_H2_UPGRADE ||
		(code == HPE_INVALID_VERSION && is_unknown_version(exchange, end)))
		(void)refuse(exchange, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	else
		(void)refuse(exchange, 400, llhttp_get_error_reason(&exchange->parser));
	return HTTP_PARSED_ERROR;
}

static bool in_head_buffer(const struct http_exchange *exchange, const char *at)
{
	return exchange->head.size != 0 && at >= exchange->head.data &&
	       at < exchange->head.data + exchange->head.size;
}

/* Collects the head of which more is to come. Returns 0 or -1. */
static int collect_head(struct http_exchange *exchange, const char *data, size_t size)
{
	if (buffer_add(&exchange->head, data, size) != 0)
		return refuse(exchange, 503, "memory is out");
	exchange->base = exchange->head.data;
	return 0;
}

/* After all input is used and the request goes on. */
static enum http_parsed go_on(struct http_exchange *exchange, const char *data, size_t size)
{
	if (!exchange->head_complete) {
		if (check_unfinished_head(exchange, exchange->input_end) != 0)
			return HTTP_PARSED_ERROR;
		if (exchange->head.size == 0 && collect_head(exchange, data, size) != 0)
			return HTTP_PARSED_ERROR;
		return HTTP_PARSED_MORE;
	}
	if (check_framing(exchange, exchange->input_end) != 0)
		return HTTP_PARSED_ERROR;
	if (http_parser_keep(exchange) != 0 || move_body(exchange) != 0)
		return HTTP_PARSED_ERROR;
	return HTTP_PARSED_MORE;
}

enum http_parsed http_parser_feed(
	struct http_exchange *exchange, const char *data, size_t size, size_t *used)
{
	const char *start = data;
	llhttp_errno_t code;

	*used = size;
	exchange->begun = true;
	if (!exchange->head_complete) {
		size_t before = exchange->head.size;

		exchange->base = data;
		if (before != 0 && collect_head(exchange, data, size) != 0)
			return HTTP_PARSED_ERROR;
		start = exchange->base + before;
	}
	exchange->checked = start;
	exchange->input_end = start + size;
	code = llhttp_execute(&exchange->parser, start, size);
	if (code == HPE_OK)
		return go_on(exchange, data, size);
	if (code != HPE_PAUSED || !exchange->complete)
		return fail(exchange, code, data, size);
	*used = (size_t)(llhttp_get_error_pos(&exchange->parser) - start);
	if (check_framing(exchange, start + *used) != 0)
		return HTTP_PARSED_ERROR;
	fill_view(exchange);
	return HTTP_PARSED_REQUEST;
}

int http_parser_keep(struct http_exchange *exchange)
{
	if (exchange->head.size == 0 &&
		collect_head(exchange, exchange->base, exchange->head_size) != 0)
		return -1;
	if (exchange->placed != NULL && !in_head_buffer(exchange, exchange->placed) &&
		move_body(exchange) != 0)
		return -1;
	if (exchange->complete)
		fill_view(exchange);
	return 0;
}
