/*
 * The parser: llhttp's callbacks note where things are, head.c then goes over the head once more,
 * and lines_ok() over the lines between the chunks of a body, with the same aim.
 *
 * The head is parsed where it was read. If it spans reads it is collected in exchange->head, and
 * as everything is noted as an offset from the head's first byte, nothing has to be moved.
 *
 * Used by workers.
 */
#include "http/parser.h"

#include <stdlib.h>
#include <string.h>

#include "http/head.h"
#include "http/server_state.h"

static const struct http_config *config_of(const struct http_exchange *exchange)
{
	return exchange->connection->server->config;
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
		return http_exchange_refuse(
			exchange, 400, "a line of the body's framing does not end in CRLF");
	exchange->framing_bytes += (uint32_t)(to - from);
	if (exchange->framing_bytes <= config_of(exchange)->header_limit)
		return 0;
	if (exchange->trailer_count != 0)
		return http_exchange_refuse(exchange, 431, "the trailer fields are too long");
	return http_exchange_refuse(exchange, 400, "too many bytes between two chunks");
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
		return http_exchange_refuse(exchange, 400, "a header line is folded");
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
		return http_exchange_refuse(exchange, 503, "memory is out");
	if (is_inline)
		memcpy(fields, exchange->inline_fields, sizeof exchange->inline_fields);
	exchange->fields = fields;
	exchange->field_capacity = capacity;
	return 0;
}

/* Trailers are copied: they are rare, and the head's bytes may be gone when they come. */
static int add_trailer_text(struct http_exchange *exchange, const char *at, size_t size)
{
	if (buffer_add(&exchange->trailers, at, size) == 0)
		return 0;
	return http_exchange_refuse(exchange, 503, "memory is out");
}

/* Not inlined: it would cost each header field the registers it needs. */
__attribute__((cold, noinline)) static int on_trailer_value(
	struct http_exchange *exchange, const char *at, size_t size)
{
	const struct buffer *trailers = &exchange->trailers;

	if (!exchange->in_value) {
		if (trailers->size == 0 || trailers->data[trailers->size - 1] == '\0')
			return http_exchange_refuse(exchange, 400, "a trailer has no name");
		if (add_trailer_text(exchange, "", 1) != 0)
			return -1;
	}
	exchange->in_value = true;
	return add_trailer_text(exchange, at, size);
}

static int start_trailer(struct http_exchange *exchange)
{
	if (exchange->field_count + ++exchange->trailer_count >
		config_of(exchange)->header_count_limit)
		return http_exchange_refuse(exchange, 431, "there are too many trailer fields");
	return exchange->trailer_count == 1 ? 0 : add_trailer_text(exchange, "", 1);
}

static int start_field(struct http_exchange *exchange)
{
	exchange->in_value = false;
	if (exchange->head_complete)
		return start_trailer(exchange);
	if (exchange->field_count == config_of(exchange)->header_count_limit)
		return http_exchange_refuse(exchange, 431, "there are too many header fields");
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
		return add_trailer_text(exchange, at, size);
	field = &exchange->fields[exchange->field_count - 1];
	return extend(exchange, &field->name_at, &field->name_size, at, size);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);
	struct http_field *field;

	if (exchange->head_complete)
		return on_trailer_value(exchange, at, size);
	exchange->in_value = true;
	field = &exchange->fields[exchange->field_count - 1];
	return extend(exchange, &field->value_at, &field->value_size, at, size);
}

static int on_headers_complete(llhttp_t *parser)
{
	struct http_exchange *exchange = exchange_of(parser);

	exchange->keep_alive = llhttp_should_keep_alive(parser) != 0;
	exchange->client_closes = !exchange->keep_alive;
	exchange->is_head = parser->method == HTTP_HEAD;
	if (http_head_check(exchange, exchange->input_end) != 0)
		return -1;
	exchange->head_complete = true;
	exchange->in_value = true; /* the next name is a trailer's */
	exchange->last_byte = '\n';
	return 0;
}

static int move_body(struct http_exchange *exchange)
{
	if (exchange->placed == NULL)
		return 0;
	if (buffer_add(&exchange->body, exchange->placed, exchange->placed_size) != 0)
		return http_exchange_refuse(exchange, 503, "memory is out");
	exchange->placed = NULL;
	return 0;
}

/* Counts bytes that nobody wants. Returns 0, or -1 when they are not worth the connection. */
static int drop(struct http_exchange *exchange, size_t size)
{
	exchange->dropped += size;
	if (exchange->dropped <= config_of(exchange)->unread_body_limit)
		return 0;
	return http_exchange_refuse(exchange, 413, "the body is too long to be dropped");
}

static int on_body(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);

	if (check_framing(exchange, at) != 0)
		return -1;
	exchange->checked = at + size;
	exchange->framing_bytes = 0;
	if (size > exchange->body_limit - exchange->body_total)
		return http_exchange_refuse(exchange, 413, "the body is too long");
	exchange->body_total += size;
	if (exchange->dropping)
		return drop(exchange, size);
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
		return http_exchange_refuse(exchange, 503, "memory is out");
	return 0;
}

static int on_chunk_header(llhttp_t *parser)
{
	struct http_exchange *exchange = exchange_of(parser);

	if (parser->content_length > exchange->body_limit - exchange->body_total)
		return http_exchange_refuse(exchange, 413, "the body is too long");
	return 0;
}

static int on_chunk_extension(llhttp_t *parser, const char *at, size_t size)
{
	struct http_exchange *exchange = exchange_of(parser);

	(void)at;
	exchange->extension_bytes += (uint32_t)size;
	if (exchange->extension_bytes > config_of(exchange)->header_limit)
		return http_exchange_refuse(exchange, 400, "the chunk extensions are too long");
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

/* Makes the exchange expect the first byte of a request. */
static void start_request(struct http_exchange *exchange)
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
	exchange->body_limit = config_of(exchange)->body_limit;
	exchange->body_total = 0;
	exchange->body_asked = 0;
	exchange->body_waited = 0;
	exchange->refusal = 0;
	exchange->begun = true;
	exchange->in_value = true; /* the next name starts a field */
	exchange->head_complete = false;
	exchange->complete = false;
	exchange->chunked = false;
	exchange->expects_continue = false;
	exchange->dropping = false;
	exchange->keep_alive = false;
	exchange->client_closes = false;
	exchange->is_head = false;
	exchange->framing = HTTP_FRAMING_NONE;
	exchange->full = false;
	exchange->chunk_begun = false;
}

static void show_body(struct http_exchange *exchange)
{
	struct http_request *view = &exchange->view;

	if (exchange->placed != NULL) {
		view->body = exchange->placed;
		view->body_size = exchange->placed_size;
	} else {
		view->body = exchange->body.size == 0 ? NULL : exchange->body.data;
		view->body_size = exchange->body.size;
	}
	view->body_state = exchange->complete ? HTTP_BODY_COMPLETE : HTTP_BODY_COMING;
}

static void fill_view(struct http_exchange *exchange)
{
	struct http_request *view = &exchange->view;
	const char *base = exchange->base;

	view->method = base + exchange->method.at;
	view->method_size = exchange->method.size;
	view->method_code = exchange->parser.method;
	view->target = base + exchange->target.at;
	view->target_size = exchange->target.size;
	view->path = exchange->decoded != NULL ? exchange->decoded : base + exchange->path.at;
	view->path_size = exchange->path.size;
	view->query = base + exchange->query.at;
	view->query_size = exchange->query.size;
	view->header_count = exchange->field_count;
	show_body(exchange);
}

static enum http_parsed go_on(struct http_exchange *exchange, const char *data, size_t size);

static enum http_parsed fail(
	struct http_exchange *exchange, llhttp_errno_t code, const char *data, size_t size)
{
	const char *end = exchange->input_end;

	if (exchange->refusal != 0)
		return HTTP_PARSED_ERROR;
	if (code == HPE_INVALID_METHOD) {
		switch (http_head_unknown_method(exchange, end)) {
		case HTTP_METHOD_UNFINISHED:
			return go_on(exchange, data, size); /* llhttp says it again then */
		case HTTP_METHOD_UNKNOWN:
			(void)http_exchange_refuse(exchange, 501, "the method is unknown");
			return HTTP_PARSED_ERROR;
		case HTTP_METHOD_MALFORMED:
			break;
		}
	}
	if (code == HPE_PAUSED_H2_UPGRADE ||
		(code == HPE_INVALID_VERSION && http_head_has_unknown_version(exchange, end)))
		(void)http_exchange_refuse(
			exchange, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	else
		(void)http_exchange_refuse(
			exchange, 400, llhttp_get_error_reason(&exchange->parser));
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
		return http_exchange_refuse(exchange, 503, "memory is out");
	exchange->base = exchange->head.data;
	return 0;
}

/* After all input is used and the request goes on. */
static enum http_parsed go_on(struct http_exchange *exchange, const char *data, size_t size)
{
	if (!exchange->head_complete) {
		if (http_head_check_unfinished(exchange, exchange->input_end) != 0)
			return HTTP_PARSED_ERROR;
		if (exchange->head.size == 0 && collect_head(exchange, data, size) != 0)
			return HTTP_PARSED_ERROR;
		return HTTP_PARSED_MORE;
	}
	if (check_framing(exchange, exchange->input_end) != 0)
		return HTTP_PARSED_ERROR;
	if (http_parser_keep(exchange) != 0 || move_body(exchange) != 0)
		return HTTP_PARSED_ERROR;
	show_body(exchange);
	return exchange->view.state == 0 && !exchange->dropping ? HTTP_PARSED_HEAD
								: HTTP_PARSED_MORE;
}

enum http_parsed http_parser_feed(
	struct http_exchange *exchange, const char *data, size_t size, size_t *used)
{
	const char *start = data;
	llhttp_errno_t code;

	*used = size;
	if (!exchange->begun)
		start_request(exchange);
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
	if (exchange->head_complete)
		fill_view(exchange);
	return 0;
}
