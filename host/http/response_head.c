/* The head of an answer: see response_head.h. Used by workers. */
#include "http/response_head.h"

#include <string.h>
#include <strings.h>

#include "base/check.h"
#include "http/body.h"
#include "http/server_state.h"
#include "http/status.h"

/* ---- The handler's header lines ------------------------------------------------------------ */

/* RFC 9110, 5.6.2: the characters of a token. */
static const bool token[256] = {
	['!'] = true,
	['#'] = true,
	['$'] = true,
	['%'] = true,
	['&'] = true,
	['\''] = true,
	['*'] = true,
	['+'] = true,
	['-'] = true,
	['.'] = true,
	['^'] = true,
	['_'] = true,
	['`'] = true,
	['|'] = true,
	['~'] = true,
	['0' ... '9'] = true,
	['A' ... 'Z'] = true,
	['a' ... 'z'] = true,
};

static bool is_name(struct slice name, const char *word)
{
	return strncasecmp(name.data, word, name.size) == 0;
}

/* Looks at one line of the handler's. Returns HTTP_OK or HTTP_BAD_HEADER. */
static int check_own(struct slice name, struct slice value, struct http_response_head *head)
{
	switch (name.size) {
	case sizeof("Date") - 1:
		return is_name(name, "date") ? HTTP_BAD_HEADER : HTTP_OK;
	case sizeof("Content-Length") - 1:
		return is_name(name, "content-length") ? HTTP_BAD_HEADER : HTTP_OK;
	case sizeof("Transfer-Encoding") - 1:
		return is_name(name, "transfer-encoding") ? HTTP_BAD_HEADER : HTTP_OK;
	case sizeof("Connection") - 1:
		if (!is_name(name, "connection"))
			return HTTP_OK;
		if (value.size == 7 && strncasecmp(value.data, "upgrade", 7) == 0)
			return HTTP_OK; /* goes with 426 and Upgrade */
		if (value.size != 5 || strncasecmp(value.data, "close", 5) != 0)
			return HTTP_BAD_HEADER;
		head->says_close = true;
		head->closes = true;
		return HTTP_OK;
	default:
		return HTTP_OK;
	}
}

/* Takes "Name: value\r\n" from the front of *lines. Returns HTTP_OK or HTTP_BAD_HEADER. */
static int check_line(struct slice *lines, struct http_response_head *head)
{
	const char *at = lines->data;
	const char *end = lines->data + lines->size;
	const char *line_end = memchr(at, '\n', lines->size);
	struct slice name = {.data = at};
	struct slice value;

	if (line_end == NULL || line_end == at || line_end[-1] != '\r')
		return HTTP_BAD_HEADER;
	while (token[(unsigned char)*at])
		at++;
	name.size = (size_t)(at - name.data);
	if (name.size == 0 || *at != ':')
		return HTTP_BAD_HEADER;
	at++;
	while (*at == ' ' || *at == '\t')
		at++;
	value.data = at;
	value.size = (size_t)(line_end - 1 - at);
	if (memchr(value.data, '\r', value.size) != NULL ||
		memchr(value.data, '\0', value.size) != NULL)
		return HTTP_BAD_HEADER;
	lines->data = line_end + 1;
	lines->size = (size_t)(end - lines->data);
	return check_own(name, value, head);
}

int http_response_head_check(const char *headers, size_t size, struct http_response_head *head)
{
	struct slice lines = {.data = headers, .size = size};

	while (lines.size != 0) {
		int result = check_line(&lines, head);

		if (result != HTTP_OK)
			return result;
	}
	return HTTP_OK;
}

/* ---- The head ------------------------------------------------------------------------------ */

static inline char *put(char *at, const char *data, size_t size)
{
	memcpy(at, data, size);
	return at + size;
}

#define PUT(at, literal) put(at, literal, sizeof(literal) - 1)

#define NUMBER_SIZE_MAX 20 /* 2^64 - 1 */

static char *put_number(char *at, uint64_t number)
{
	char *end = at + 1;

	for (uint64_t limit = 10; number >= limit && end - at < NUMBER_SIZE_MAX; limit *= 10)
		end++;
	at = end;
	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	return end;
}

static char *put_status(char *at, int status)
{
	struct slice line = http_status_line(status);

	if (line.size != 0)
		return put(at, line.data, line.size);
	at = PUT(at, "HTTP/1.1 ");
	at = put_number(at, (uint64_t)status);
	return PUT(at, " \r\n");
}

/* Status line, Date and Content-Type: the same for most answers of a second. */
__attribute__((noinline)) static void write_start(
	struct http_server *server, const struct http_response_head *head)
{
	struct http_response_start *start = &server->start;
	struct slice type = http_type_line(head->type);
	char *at = put_status(start->data, head->status);

	at = put(at, server->date.line, HTTP_DATE_LINE_SIZE);
	if (type.size != 0)
		at = put(at, type.data, type.size);
	start->status = head->status;
	start->type = head->type;
	start->second = server->date.second;
	start->size = (size_t)(at - start->data);
}

size_t http_response_head_write(
	struct http_exchange *exchange, const struct http_response_head *head, char *to)
{
	struct http_server *server = exchange->connection->server;
	const struct http_response_start *start = &server->start;
	char *at;

	(void)http_date_line(&server->date, uv_now(server->loop));
	if (start->status != head->status || start->type != head->type ||
		start->second != server->date.second)
		write_start(server, head);
	at = put(to, start->data, start->size);
	if (head->has_length) {
		at = PUT(at, "Content-Length: ");
		at = put_number(at, head->length);
		at = PUT(at, "\r\n");
	} else if (head->framing == HTTP_FRAMING_CHUNKED) {
		at = PUT(at, "Transfer-Encoding: chunked\r\n");
	}
	if (head->closes && !head->says_close)
		at = PUT(at, "Connection: close\r\n");
	else if (!head->closes && exchange->view.version_minor == 0)
		at = PUT(at, "Connection: keep-alive\r\n");
	CHECK((size_t)(at - to) <= HTTP_PREFIX_SIZE);
	return (size_t)(at - to);
}

static bool has_no_body(const struct http_exchange *exchange, int status)
{
	return exchange->is_head || status == 204 || status == 205 || status == 304;
}

void http_response_head_plan(
	struct http_exchange *exchange, int64_t length, struct http_response_head *head)
{
	head->framing = HTTP_FRAMING_LENGTH;
	head->has_length = length >= 0;
	head->length = length < 0 ? 0 : (uint64_t)length;
	if (head->status == 204 || head->status == 304) {
		head->has_length = false;
	} else if (head->status == 205) {
		head->has_length = true;
		head->length = 0;
	}
	if (has_no_body(exchange, head->status))
		head->framing = HTTP_FRAMING_NONE;
	else if (length < 0)
		head->framing = exchange->view.version_minor == 0 ? HTTP_FRAMING_CLOSE
								  : HTTP_FRAMING_CHUNKED;
	if (!exchange->keep_alive || head->framing == HTTP_FRAMING_CLOSE ||
		http_connection_is_ending(exchange->connection) ||
		(!exchange->complete && !http_body_may_drop(exchange)))
		head->closes = true;
	exchange->keep_alive = !head->closes;
	exchange->framing = (uint8_t)head->framing;
	exchange->status = head->status;
	exchange->sent = head->framing == HTTP_FRAMING_LENGTH ? head->length : 0;
}
