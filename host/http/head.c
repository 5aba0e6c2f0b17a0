/*
 * The check of a head: a second reading, after llhttp's.
 *
 * llhttp finds the structure, but lets pass what another parser may read differently: bare LF in
 * some places, folded lines, several spaces in the request line, a request line without version.
 * So this walks the complete head and accounts for every byte as exactly one thing. What the two
 * readings do not agree on is refused, so there is never a second interpretation of a byte stream.
 *
 * No state of its own; used by workers.
 */
#include "http/head.h"

#include <string.h>

#include "http/server_state.h"
#include "http/target.h"

#define VERSION_SIZE    (sizeof(" HTTP/1.1\r\n") - 1)
#define EMPTY_LINE_SIZE (sizeof("\r\n") - 1)
#define METHOD_SIZE_MAX 32 /* bytes of an unknown method until it is no method at all */

static const struct http_config *config_of(const struct http_exchange *exchange)
{
	return exchange->connection->server->config;
}

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

/* Whether a text is a word, which is in lower case. Not by strncasecmp: most differ at once. */
static bool same_word(struct slice text, const char *word, size_t size)
{
	if (text.size != size)
		return false;
	for (size_t i = 0; i < size; i++) {
		int other = text.data[i] ^ word[i]; /* 0x20 between a letter's cases */

		if (other != 0 && (other != 0x20 || word[i] < 'a' || word[i] > 'z'))
			return false;
	}
	return true;
}

/* What the fields of a head say together. */
struct summary {
	uint32_t hosts;
	uint32_t lengths;
	uint32_t codings;
	bool chunked; /* the transfer coding is "chunked" and nothing else */
	bool unknown_expectation;
	uint64_t length;
	struct http_field *host; /* the last one; NULL when there is none */
};

static int check_request_line(struct http_exchange *exchange, const char **at, const char *end)
{
	const char *start = exchange->base + exchange->method.at;
	char minor;

	if (exchange->method.at != 0 &&
		(exchange->method.at != EMPTY_LINE_SIZE || memcmp(exchange->base, "\r\n", 2) != 0))
		return http_exchange_refuse(
			exchange, 400, "there are bytes before the request line");
	*at = start + exchange->method.size;
	if (!take(at, end, " ", 1) || *at != exchange->base + exchange->target.at)
		return http_exchange_refuse(exchange, 400, "the request line is malformed");
	*at += exchange->target.size;
	if ((size_t)(*at - start) + VERSION_SIZE - EMPTY_LINE_SIZE >
		config_of(exchange)->request_line_limit)
		return http_exchange_refuse(exchange, 414, "the request line is too long");
	if (!take(at, end, " HTTP/", 6) || end - *at < 3)
		return http_exchange_refuse(exchange, 400, "the request line has no HTTP version");
	minor = (*at)[2];
	if ((*at)[0] != '1' || (*at)[1] != '.' || (minor != '0' && minor != '1'))
		return http_exchange_refuse(
			exchange, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
	*at += 3;
	if (!take(at, end, "\r\n", 2))
		return http_exchange_refuse(exchange, 400, "the request line is malformed");
	exchange->view.version_major = 1;
	exchange->view.version_minor = (uint8_t)(minor - '0');
	return 0;
}

static int note_length(struct http_exchange *exchange, struct summary *summary, struct slice value)
{
	uint64_t length = 0;

	if (value.size == 0 || value.size > 19)
		return http_exchange_refuse(exchange, 400, "the Content-Length is no number");
	for (size_t i = 0; i < value.size; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return http_exchange_refuse(
				exchange, 400, "the Content-Length is no number");
		length = length * 10 + (uint64_t)(value.data[i] - '0');
	}
	if (summary->lengths++ != 0)
		return http_exchange_refuse(exchange, 400, "there is more than one Content-Length");
	summary->length = length;
	return 0;
}

/* Takes a field that matters for framing into account. Returns 0 or -1. */
static int note_field(
	struct http_exchange *exchange, struct summary *summary, struct http_field *field)
{
	struct slice name = {.data = exchange->base + field->name_at, .size = field->name_size};
	struct slice value = value_of(exchange, field);

	switch (name.size) {
	case sizeof("Host") - 1:
		if (!same_word(name, "host", name.size))
			break;
		summary->hosts++;
		summary->host = field;
		if (!http_host_valid(value))
			return http_exchange_refuse(exchange, 400, "the Host is malformed");
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
		return http_exchange_refuse(exchange, 400, "a header line is malformed");
	*at += field->name_size;
	if (!take(at, end, ":", 1))
		return http_exchange_refuse(
			exchange, 400, "a header name is not followed by a colon");
	skip_blanks(at, end);
	if (field->value_size == 0)
		field->value_at = (uint32_t)(*at - base);
	if (*at != base + field->value_at)
		return http_exchange_refuse(exchange, 400, "a header line is malformed");
	*at += field->value_size;
	skip_blanks(at, end);
	if (!take(at, end, "\r\n", 2))
		return http_exchange_refuse(exchange, 400, "a header line does not end in CRLF");
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
		return http_exchange_refuse(
			exchange, 400, "there are Transfer-Encoding and Content-Length");
	if (summary->codings != 0 && exchange->view.version_minor == 0)
		return http_exchange_refuse(exchange, 400, "HTTP/1.0 has no Transfer-Encoding");
	if (summary->codings > 1)
		return http_exchange_refuse(
			exchange, 400, "there is more than one Transfer-Encoding");
	if (summary->codings != 0 && !summary->chunked)
		return http_exchange_refuse(
			exchange, 501, "the only transfer coding known here is chunked");
	if (summary->chunked != ((parser->flags & F_CHUNKED) != 0) ||
		(summary->lengths != 0) != ((parser->flags & F_CONTENT_LENGTH) != 0) ||
		summary->length != parser->content_length)
		return http_exchange_refuse(exchange, 400, "the length of the body is ambiguous");
	exchange->chunked = summary->chunked;
	exchange->length = summary->length;
	if (summary->length > config_of(exchange)->body_limit)
		return http_exchange_refuse(exchange, 413, "the body is too long");
	return 0;
}

static int check_meaning(struct http_exchange *exchange, const struct summary *summary)
{
	if (exchange->parser.method == HTTP_CONNECT)
		return http_exchange_refuse(exchange, 501, "CONNECT is not served here");
	if (summary->hosts > 1 || (summary->hosts == 0 && exchange->view.version_minor == 1))
		return http_exchange_refuse(exchange, 400, "there has to be exactly one Host");
	if (check_body_framing(exchange, summary) != 0)
		return -1;
	if (exchange->view.version_minor == 0)
		exchange->expects_continue = false;
	else if (summary->unknown_expectation)
		return http_exchange_refuse(
			exchange, 417, "the only expectation met here is 100-continue");
	return 0;
}

/* RFC 9112, 3.2.2: the authority of an absolute target replaces what Host says. */
static void note_authority(
	struct http_exchange *exchange, struct slice authority, struct http_field *host)
{
	if (host == NULL)
		return;
	host->value_at = (uint32_t)(authority.data - exchange->base);
	host->value_size = (uint32_t)authority.size;
}

static int note_target(struct http_exchange *exchange, struct http_field *host)
{
	struct http_target parts;
	bool is_options = exchange->parser.method == HTTP_OPTIONS;

	if (http_target_split(span_slice(exchange, exchange->target), is_options, &parts) != 0)
		return http_exchange_refuse(exchange, 400, "the request target is malformed");
	if (parts.authority.size != 0)
		note_authority(exchange, parts.authority, host);
	exchange->path.size = (uint32_t)parts.path.size;
	if (parts.escaped) {
		char *decoded = arena_alloc(&exchange->arena, parts.path.size);
		long size;

		if (decoded == NULL)
			return http_exchange_refuse(exchange, 503, "memory is out");
		size = http_target_decode(parts.path, decoded);
		if (size < 0)
			return http_exchange_refuse(
				exchange, 400, "the path has an invalid escape");
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

int http_head_check(struct http_exchange *exchange, const char *end)
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
		return http_exchange_refuse(exchange, 431, "the header fields are too long");
	if (!take(&at, end, "\r\n", 2))
		return http_exchange_refuse(
			exchange, 400, "the head does not end in an empty line");
	exchange->head_size = (uint32_t)(at - exchange->base);
	exchange->checked = at;
	if (check_meaning(exchange, &summary) != 0)
		return -1;
	return note_target(exchange, summary.host);
}

int http_head_check_unfinished(struct http_exchange *exchange, const char *end)
{
	const struct http_config *config = config_of(exchange);
	const char *start = exchange->base;
	const char *line;

	/* A blank line before the request is taken; more is somebody wasting our time. */
	if (end - start >= 2 && memcmp(start, "\r\n", 2) == 0)
		start += 2;
	if (start < end && *start == '\n')
		return http_exchange_refuse(
			exchange, 400, "there are bytes before the request line");
	if (start + 1 < end && *start == '\r')
		return http_exchange_refuse(
			exchange, 400, "there are bytes before the request line");
	line = memchr(start, '\n', (size_t)(end - start));
	if (line == NULL) {
		size_t size = (size_t)(end - start);

		if (size != 0 && start[size - 1] == '\r')
			size--;
		if (size > config->request_line_limit)
			return http_exchange_refuse(exchange, 414, "the request line is too long");
		return 0;
	}
	if ((size_t)(line - start) > (size_t)config->request_line_limit + 1)
		return http_exchange_refuse(exchange, 414, "the request line is too long");
	if ((size_t)(end - line - 1) > (size_t)config->header_limit + EMPTY_LINE_SIZE)
		return http_exchange_refuse(exchange, 431, "the header fields are too long");
	return 0;
}

enum http_unknown_method http_head_unknown_method(
	const struct http_exchange *exchange, const char *end)
{
	const char *at = exchange->base;

	while (at < end && at - exchange->base < METHOD_SIZE_MAX && *at >= 'A' && *at <= 'Z')
		at++;
	if (at == end)
		return HTTP_METHOD_UNFINISHED;
	return at > exchange->base && *at == ' ' ? HTTP_METHOD_UNKNOWN : HTTP_METHOD_MALFORMED;
}

bool http_head_has_unknown_version(const struct http_exchange *exchange, const char *end)
{
	const char *at = exchange->base + exchange->target.at + exchange->target.size;

	if (!take(&at, end, " HTTP/", 6) || at == end || *at < '0' || *at > '9')
		return false;
	return *at != '1' || (end - at > 2 && at[1] == '.' && at[2] >= '2' && at[2] <= '9');
}
