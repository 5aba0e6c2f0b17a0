/*
 * Answers: from status, type, headers and body to bytes.
 *
 * Called out of compiled Lua, so nothing here calls the handler: see server_state.h.
 * Used by workers.
 */
#include "http/response.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "http/body.h"
#include "http/compression.h"
#include "http/export.h"
#include "http/response_head.h"
#include "http/server_state.h"
#include "http/status.h"

#define CHUNK_SIZE_MAX 20 /* "ffffffffffffffff\r\n" */

/* ---- Moving on ----------------------------------------------------------------------------- */

static void complete(struct http_exchange *exchange)
{
	exchange->view.state = HTTP_REQUEST_ANSWERED;
	exchange->connection->server->counters->busy--;
	http_exchange_queue(exchange);
}

static inline char *add(char *at, struct slice part)
{
	if (part.size == 0)
		return at; /* its data may be NULL then, which memcpy must not be given */
	memcpy(at, part.data, part.size);
	return at + part.size;
}

/* Sends an answer that does not go into the batch. */
static void send_parts(struct http_exchange *exchange, const struct http_response_head *head,
	struct slice headers, struct slice body)
{
	char prefix[HTTP_PREFIX_SIZE];
	struct slice parts[HTTP_PARTS_MAX];

	parts[0].data = prefix;
	parts[0].size = http_response_head_write(exchange, head, prefix);
	parts[1] = head->own;
	parts[2] = head->more;
	parts[3] = headers;
	parts[4] = SLICE("\r\n");
	parts[5] = body;
	http_output_add(exchange->connection, parts, 6);
}

static void send_answer(struct http_exchange *exchange, const struct http_response_head *head,
	struct slice headers, struct slice body)
{
	size_t most =
		HTTP_PREFIX_SIZE + head->own.size + head->more.size + headers.size + 2 + body.size;
	char *start = http_output_room(exchange->connection, most);
	char *at;

	if (start == NULL) {
		send_parts(exchange, head, headers, body);
		return;
	}
	at = start + http_response_head_write(exchange, head, start);
	at = add(at, head->own);
	at = add(at, head->more);
	at = add(at, headers);
	at = add(at, SLICE("\r\n"));
	at = add(at, body);
	http_output_put(exchange->connection, (size_t)(at - start));
}

static int check_answer(struct http_exchange *exchange, const char *headers, size_t size,
	struct http_response_head *head)
{
	if (exchange->view.state != HTTP_REQUEST_WAITING)
		return HTTP_BAD_STATE;
	if (head->status < HTTP_STATUS_FIRST || head->status > HTTP_STATUS_LAST)
		return HTTP_BAD_STATUS;
	return http_response_head_check(headers, size, head);
}

static bool is_worth_coding(const struct http_exchange *exchange, size_t size)
{
	const struct http_config *config = exchange->connection->server->config;

	return size >= config->compress_minimum && size <= config->compress_maximum &&
	       config->compress != 0;
}

/* Answers 406: the client has ruled out every form that there is of the answer. */
static int refuse_coding(struct http_exchange *exchange)
{
	http_response_refuse(exchange, 406, "no content coding that is accepted can be sent");
	complete(exchange);
	return HTTP_OK;
}

/* The length to announce of a whole answer; -1 when it is not known. */
static int64_t length_of(
	enum http_compression done, const struct http_exchange *exchange, struct slice body)
{
	return done == HTTP_COMPRESSION_CODED && exchange->is_head ? -1 : (int64_t)body.size;
}

HTTP_EXPORT int http_response_send(struct http_request *request, uint64_t serial, int status,
	int type, const char *headers, size_t headers_size, const char *body, size_t body_size)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);
	struct http_response_head head = {.status = status, .type = type};
	struct slice lines = {.data = headers, .size = headers_size};
	struct slice content = {.data = body, .size = body_size};
	enum http_compression done = HTTP_COMPRESSION_UNTOUCHED;
	int result;

	if (exchange == NULL)
		return HTTP_OVER;
	result = check_answer(exchange, headers, headers_size, &head);
	if (result != HTTP_OK)
		return result;
	if (is_worth_coding(exchange, body_size))
		done = http_compression_whole(exchange, status, type, &lines, &content);
	if (done == HTTP_COMPRESSION_REFUSED)
		return refuse_coding(exchange);
	http_response_head_plan(exchange, length_of(done, exchange, content), &head);
	if (head.framing == HTTP_FRAMING_NONE)
		content = (struct slice){0};
	send_answer(exchange, &head, lines, content);
	if (done != HTTP_COMPRESSION_UNTOUCHED)
		http_compression_done(exchange);
	complete(exchange);
	return HTTP_OK;
}

int http_response_answer(struct http_exchange *exchange, const struct http_answer *answer)
{
	struct http_response_head head = {.status = answer->status,
		.type = answer->type,
		.own = answer->own,
		.more = answer->more};
	struct slice body = answer->body;
	int result = check_answer(exchange, answer->lines.data, answer->lines.size, &head);

	if (result != HTTP_OK)
		return result;
	http_response_head_plan(exchange, answer->length, &head);
	if (head.framing == HTTP_FRAMING_NONE)
		body = (struct slice){0};
	send_answer(exchange, &head, answer->lines, body);
	if (head.framing == HTTP_FRAMING_NONE || answer->body.data != NULL) {
		complete(exchange);
		return HTTP_OK;
	}
	exchange->owed = head.length;
	exchange->view.state = HTTP_REQUEST_STREAMING;
	http_exchange_queue(exchange);
	return HTTP_OK;
}

/* What a function that wrote part of an answer returns. */
static int result_of(struct http_exchange *exchange)
{
	struct http_connection *connection = exchange->connection;

	if (connection->broken) {
		http_exchange_queue(exchange);
		return HTTP_OVER;
	}
	if (connection->output.size == 0)
		return HTTP_OK;
	http_exchange_queue(exchange); /* the loop has to wait for the client now */
	if (connection->output.size - connection->output_at <=
		connection->server->config->write_buffer_limit)
		return HTTP_OK;
	exchange->full = true;
	return HTTP_FULL;
}

HTTP_EXPORT int http_response_begin(struct http_request *request, uint64_t serial, int status,
	int type, const char *headers, size_t headers_size, int64_t length)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);
	struct http_response_head head = {.status = status, .type = type};
	struct slice lines = {.data = headers, .size = headers_size};
	int result;

	if (exchange == NULL)
		return HTTP_OVER;
	result = check_answer(exchange, headers, headers_size, &head);
	if (result != HTTP_OK)
		return result;
	if (length < 0 && exchange->connection->server->config->compress != 0 &&
		http_compression_stream(exchange, status, type, &lines) == HTTP_COMPRESSION_REFUSED)
		return refuse_coding(exchange);
	http_response_head_plan(exchange, length, &head);
	exchange->owed = head.length;
	exchange->view.state = HTTP_REQUEST_STREAMING;
	send_answer(exchange, &head, lines, (struct slice){0});
	http_exchange_queue(exchange); /* its response_timeout is over */
	return result_of(exchange);
}

static void send_chunk(struct http_exchange *exchange, struct slice data)
{
	char line[CHUNK_SIZE_MAX];
	struct slice parts[3] = {{.data = line}, data, SLICE("\r\n")};

	if (data.size == 0)
		return; /* an empty chunk would be the last */
	exchange->chunk_begun = false;
	parts[0].size = (size_t)snprintf(line, sizeof line, "%zx\r\n", data.size);
	http_output_add(exchange->connection, parts, 3);
}

/* Ends an answer whose body is not whole, such that the client can tell. */
static void break_off(struct http_exchange *exchange)
{
	exchange->keep_alive = false;
	exchange->sent -= exchange->framing == HTTP_FRAMING_LENGTH ? exchange->owed : 0;
	exchange->connection->closing = HTTP_CLOSING_PLAIN;
	if (exchange->framing == HTTP_FRAMING_CLOSE)
		exchange->connection->closing = HTTP_CLOSING_RESET;
	complete(exchange);
}

HTTP_EXPORT int http_response_write(
	struct http_request *request, uint64_t serial, const char *data, size_t size)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);
	struct slice piece = {.data = data, .size = size};

	if (exchange == NULL)
		return HTTP_OVER;
	if (request->state != HTTP_REQUEST_STREAMING || exchange->file_body != NULL)
		return HTTP_BAD_STATE;
	if (size == 0)
		return result_of(exchange);
	if (exchange->compressor != NULL &&
		http_compression_piece(exchange, &piece, COMPRESSOR_FLUSH) != 0) {
		break_off(exchange);
		return HTTP_NO_MEMORY;
	}
	if (exchange->framing == HTTP_FRAMING_CHUNKED || exchange->framing == HTTP_FRAMING_CLOSE)
		exchange->sent += piece.size;
	switch ((enum http_framing)exchange->framing) {
	case HTTP_FRAMING_NONE:
		break;
	case HTTP_FRAMING_LENGTH:
		if (size > exchange->owed)
			return HTTP_TOO_LONG;
		exchange->owed -= size;
		http_output_add(exchange->connection, &piece, 1);
		break;
	case HTTP_FRAMING_CHUNKED:
		send_chunk(exchange, piece);
		break;
	case HTTP_FRAMING_CLOSE:
		http_output_add(exchange->connection, &piece, 1);
		break;
	}
	return result_of(exchange);
}

/* What a compressor still has of a body that is at its end. Returns 0, or -1 without memory. */
static int send_last_piece(struct http_exchange *exchange)
{
	struct slice piece = {0};

	if (http_compression_piece(exchange, &piece, COMPRESSOR_FINISH) != 0)
		return -1;
	exchange->sent += piece.size;
	if (exchange->framing == HTTP_FRAMING_CHUNKED)
		send_chunk(exchange, piece);
	else
		http_output_add(exchange->connection, &piece, 1);
	http_compression_done(exchange);
	return 0;
}

HTTP_EXPORT int http_response_end(struct http_request *request, uint64_t serial)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);

	if (exchange == NULL)
		return HTTP_OVER;
	if (request->state != HTTP_REQUEST_STREAMING || exchange->file_body != NULL)
		return HTTP_BAD_STATE;
	if (exchange->framing == HTTP_FRAMING_LENGTH && exchange->owed != 0) {
		break_off(exchange);
		return HTTP_OK;
	}
	if (exchange->compressor != NULL && send_last_piece(exchange) != 0) {
		break_off(exchange);
		return HTTP_NO_MEMORY;
	}
	if (exchange->framing == HTTP_FRAMING_CHUNKED)
		http_output_add(exchange->connection, &SLICE("0\r\n\r\n"), 1);
	complete(exchange);
	return HTTP_OK;
}

HTTP_EXPORT int http_response_abort(struct http_request *request, uint64_t serial)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);

	if (exchange == NULL)
		return HTTP_OVER;
	break_off(exchange);
	return HTTP_OK;
}

/* ---- The server's own ---------------------------------------------------------------------- */

void http_response_refuse(struct http_exchange *exchange, int status, const char *reason)
{
	struct http_response_head head = {.status = status, .type = HTTP_TYPE_TEXT};
	struct slice words = http_status_reason(status);
	char text[256];
	int size = snprintf(text, sizeof text, "%d %.*s: %s\n", status, (int)words.size, words.data,
		reason == NULL ? "refused" : reason);
	struct slice body = {
		.data = text, .size = (size_t)size < sizeof text ? (size_t)size : sizeof text - 1};

	http_response_head_plan(exchange, (int64_t)body.size, &head);
	if (head.framing == HTTP_FRAMING_NONE)
		body = (struct slice){0};
	send_answer(exchange, &head, (struct slice){0}, body);
}

int http_response_upgrade(struct http_exchange *exchange, const char *accept,
	const char *extensions, struct slice headers)
{
	struct http_response_head head = {.status = 101};
	struct http_server *server = exchange->connection->server;
	struct slice parts[3];
	char prefix[HTTP_PREFIX_SIZE];
	int result = http_response_head_check(headers.data, headers.size, &head);
	int size;

	if (result != HTTP_OK || head.closes)
		return HTTP_BAD_HEADER;
	size = snprintf(prefix, sizeof prefix,
		"HTTP/1.1 101 Switching Protocols\r\n%.*sUpgrade: websocket\r\n"
		"Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s",
		HTTP_DATE_LINE_SIZE, http_date_line(&server->date, uv_now(server->loop)), accept,
		extensions);
	CHECK(size > 0 && (size_t)size < sizeof prefix);
	parts[0] = (struct slice){.data = prefix, .size = (size_t)size};
	parts[1] = headers;
	parts[2] = SLICE("\r\n");
	http_output_add(exchange->connection, parts, 3);
	exchange->view.state = HTTP_REQUEST_UPGRADED;
	exchange->status = head.status;
	exchange->sent = 0;
	http_exchange_queue(exchange); /* its response_timeout is over */
	return HTTP_OK;
}

void http_response_continue(struct http_exchange *exchange)
{
	http_output_add(exchange->connection, &SLICE("HTTP/1.1 100 Continue\r\n\r\n"), 1);
}

void http_response_begin_chunk(struct http_exchange *exchange)
{
	if (exchange->framing != HTTP_FRAMING_CHUNKED || exchange->chunk_begun)
		return;
	exchange->chunk_begun = true;
	http_output_add(exchange->connection, &SLICE("0"), 1);
}
