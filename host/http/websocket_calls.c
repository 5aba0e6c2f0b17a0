/*
 * The functions of websocket_abi.h but those about topics.
 *
 * Called out of compiled Lua, so nothing here calls the handler: see server_state.h.
 * Used by workers.
 */
#include <stdlib.h>

#include "base/check.h"
#include "http/export.h"
#include "http/response.h"
#include "http/server_state.h"
#include "http/websocket.h"
#include "http/websocket_deflate.h"
#include "http/websocket_handshake.h"
#include "http/websocket_topic.h"

struct http_websocket *http_websocket_of(struct http_request *request, uint64_t serial)
{
	struct http_exchange *exchange = (struct http_exchange *)(void *)request;

	if (request->serial != serial || request->state != HTTP_REQUEST_UPGRADED)
		return NULL;
	return exchange->websocket;
}

HTTP_EXPORT int http_websocket_accept(
	struct http_request *request, uint64_t serial, const char *headers, size_t headers_size)
{
	struct http_exchange *exchange = (struct http_exchange *)(void *)request;
	struct slice lines = {.data = headers, .size = headers_size};
	char accept[WEBSOCKET_ACCEPT_SIZE + 1];
	char extensions[WEBSOCKET_ANSWER_MAX] = "";
	struct http_websocket *websocket;
	struct http_server *server;
	int result;

	if (request->serial != serial || request->state != HTTP_REQUEST_WAITING)
		return HTTP_OVER;
	websocket = calloc(1, sizeof *websocket);
	if (websocket == NULL)
		return HTTP_NO_MEMORY;
	server = exchange->connection->server;
	websocket_accept_key(request, serial, accept);
	if (server->config->websocket_compression)
		websocket->window_bits =
			(uint8_t)websocket_agree_extensions(request, serial, extensions);
	result = http_response_upgrade(exchange, accept, extensions, lines);
	if (result != HTTP_OK) {
		free(websocket);
		return result;
	}
	(void)http_request_ip(request, serial); /* while there is a socket to ask */
	websocket->server = server;
	websocket->exchange = exchange;
	list_init(&websocket->subscriptions);
	list_append(&server->websockets, &websocket->link);
	server->counters->websockets++;
	exchange->websocket = websocket;
	if (server->draining)
		http_websocket_drain(websocket);
	return HTTP_OK;
}

/* Has the loop read on if it has stopped because of the message that is taken now. */
static void read_on(struct http_websocket *websocket)
{
	struct http_exchange *exchange = websocket->exchange;

	if (exchange->connection == NULL)
		return;
	if ((exchange->connection->events & UV_READABLE) == 0 || http_exchange_has_rest(exchange))
		http_exchange_queue(exchange);
}

static void tell_closing(const struct http_websocket *websocket, struct http_websocket_event *event)
{
	*event = (struct http_websocket_event){.kind = HTTP_WEBSOCKET_CLOSED,
		.code = websocket->close_code,
		.data = websocket->reason,
		.size = websocket->reason_size};
}

HTTP_EXPORT int http_websocket_receive(
	struct http_request *request, uint64_t serial, struct http_websocket_event *event)
{
	struct http_websocket *websocket = http_websocket_of(request, serial);

	if (websocket == NULL)
		return HTTP_OVER;
	*event = (struct http_websocket_event){.kind = websocket->ready_kind};
	if (websocket->ready_kind != 0) {
		event->data = websocket->ready.data;
		event->size = websocket->ready.size;
		websocket->ready_kind = 0;
		read_on(websocket);
	} else if (websocket->state != WEBSOCKET_OPEN) {
		tell_closing(websocket, event);
	}
	return HTTP_OK;
}

/* The WebSocket to send on, or NULL when it is closed; *full when the client is slow. */
static struct http_websocket *open_one(struct http_request *request, uint64_t serial, bool *full)
{
	struct http_websocket *websocket = http_websocket_of(request, serial);
	struct http_exchange *exchange = (struct http_exchange *)(void *)request;

	*full = false;
	if (websocket == NULL || websocket->state != WEBSOCKET_OPEN || exchange->connection->broken)
		return NULL;
	*full = http_websocket_pending(websocket) > websocket->server->config->write_buffer_limit;
	if (*full)
		exchange->full = true;
	return websocket;
}

HTTP_EXPORT int http_websocket_send(
	struct http_request *request, uint64_t serial, int kind, const char *data, size_t size)
{
	bool full;
	struct http_websocket *websocket = open_one(request, serial, &full);
	struct slice payload = {.data = data, .size = size};
	struct slice shorter = {0};
	enum websocket_opcode opcode =
		kind == HTTP_WEBSOCKET_BINARY ? WEBSOCKET_BINARY : WEBSOCKET_TEXT;

	if (opcode == WEBSOCKET_TEXT && !websocket_utf8_valid(data, size))
		return HTTP_BAD_TEXT;
	if (websocket == NULL)
		return HTTP_OVER;
	if (full)
		return HTTP_FULL;
	if (websocket->window_bits != 0 &&
		size >= websocket->server->config->websocket_compression_min)
		shorter = websocket_deflate(websocket->window_bits, data, size);
	http_websocket_send_frame(
		websocket, opcode, shorter.data != NULL, shorter.data != NULL ? shorter : payload);
	return HTTP_OK;
}

HTTP_EXPORT int http_websocket_ping(
	struct http_request *request, uint64_t serial, const char *data, size_t size)
{
	bool full;
	struct http_websocket *websocket = open_one(request, serial, &full);

	CHECK(size <= WEBSOCKET_CONTROL_MAX);
	if (websocket == NULL)
		return HTTP_OVER;
	if (full)
		return HTTP_FULL;
	http_websocket_send_frame(
		websocket, WEBSOCKET_PING, false, (struct slice){.data = data, .size = size});
	return HTTP_OK;
}

HTTP_EXPORT int http_websocket_close(struct http_request *request, uint64_t serial, int code,
	const char *reason, size_t reason_size)
{
	bool full;
	struct http_websocket *websocket = open_one(request, serial, &full);

	CHECK(websocket_code_valid(code) && reason_size <= WEBSOCKET_REASON_MAX);
	if (!websocket_utf8_valid(reason, reason_size))
		return HTTP_BAD_TEXT;
	if (websocket == NULL)
		return HTTP_OVER;
	websocket->told = true;
	http_websocket_begin_close(
		websocket, code, (struct slice){.data = reason, .size = reason_size});
	return HTTP_OK;
}

HTTP_EXPORT int http_websocket_closing(
	struct http_request *request, uint64_t serial, struct http_websocket_event *event)
{
	const struct http_websocket *websocket = http_websocket_of(request, serial);

	if (websocket == NULL)
		return HTTP_OVER;
	if (websocket->state == WEBSOCKET_OPEN)
		return 0;
	tell_closing(websocket, event);
	return 1;
}

HTTP_EXPORT int http_websocket_code_valid(int code)
{
	return websocket_code_valid(code);
}

HTTP_EXPORT int http_websocket_finish(struct http_request *request, uint64_t serial, int code)
{
	bool full;
	struct http_websocket *websocket = http_websocket_of(request, serial);

	if (websocket == NULL || websocket->handler_done)
		return HTTP_OVER;
	if (open_one(request, serial, &full) != NULL)
		http_websocket_begin_close(websocket, code, (struct slice){0});
	websocket->handler_done = true;
	websocket->ready_kind = 0;
	websocket_topic_leave_all(websocket);
	if (websocket->exchange->connection == NULL)
		http_websocket_free(websocket);
	else
		http_exchange_queue(websocket->exchange);
	return HTTP_OK;
}
