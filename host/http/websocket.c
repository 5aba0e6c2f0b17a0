/* WebSockets: their life, from the 101 to the last word. Owned by the server; used by workers. */
#include "http/websocket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/server_state.h"
#include "http/websocket_read.h"
#include "http/websocket_topic.h"

#define KEPT_MESSAGE 4096 /* bytes that an idle WebSocket may keep for its next message */

/* ---- Sending ------------------------------------------------------------------------------- */

size_t http_websocket_pending(const struct http_websocket *websocket)
{
	const struct http_connection *connection = websocket->exchange->connection;

	return connection->output.size - connection->output_at;
}

void http_websocket_send_frame(struct http_websocket *websocket, enum websocket_opcode opcode,
	bool compressed, struct slice payload)
{
	struct http_exchange *exchange = websocket->exchange;
	uint8_t header[WEBSOCKET_HEADER_MAX];
	struct slice parts[2] = {{.data = (const char *)header}, payload};

	exchange->sent += payload.size;
	parts[0].size = websocket_frame_write(header, opcode, compressed, payload.size);
	http_output_add(exchange->connection, parts, 2);
	if (exchange->connection->broken || exchange->connection->output.size != 0)
		http_exchange_queue(exchange); /* the loop has to wait for the client now */
}

static void send_close(struct http_websocket *websocket, int code, struct slice reason)
{
	char payload[WEBSOCKET_CONTROL_MAX];

	CHECK(reason.size <= WEBSOCKET_REASON_MAX);
	payload[0] = (char)(code >> 8);
	payload[1] = (char)code;
	if (reason.size != 0)
		memcpy(payload + 2, reason.data, reason.size);
	http_websocket_send_frame(websocket, WEBSOCKET_CLOSE, false,
		(struct slice){.data = payload, .size = 2 + reason.size});
}

static void note_close(struct http_websocket *websocket, int code, struct slice reason)
{
	websocket->close_code = code;
	websocket->reason_size = (uint8_t)reason.size;
	if (reason.size != 0)
		memcpy(websocket->reason, reason.data, reason.size);
}

void http_websocket_begin_close(struct http_websocket *websocket, int code, struct slice reason)
{
	CHECK(websocket->state == WEBSOCKET_OPEN);
	websocket->state = WEBSOCKET_CLOSING;
	note_close(websocket, code, reason);
	websocket_topic_leave_all(websocket);
	send_close(websocket, code, reason);
	http_exchange_queue(websocket->exchange);
}

void http_websocket_set_closed(struct http_websocket *websocket)
{
	websocket->state = WEBSOCKET_CLOSED;
	websocket_topic_leave_all(websocket);
	if (websocket->exchange->connection->closing == HTTP_CLOSING_NOT)
		websocket->exchange->connection->closing = HTTP_CLOSING_LINGER;
}

void http_websocket_fail(struct http_websocket *websocket, int code, const char *reason)
{
	struct slice text = {.data = reason, .size = strlen(reason)};

	if (websocket->state == WEBSOCKET_OPEN) {
		note_close(websocket, code, text);
		send_close(websocket, code, text);
	}
	http_websocket_set_closed(websocket);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static bool may_read(const struct http_websocket *websocket)
{
	const struct http_connection *connection = websocket->exchange->connection;

	return websocket->ready_kind == 0 && websocket->state != WEBSOCKET_CLOSED &&
	       !connection->broken &&
	       http_websocket_pending(websocket) <= websocket->server->config->write_buffer_limit;
}

static void tell(struct http_websocket *websocket)
{
	struct http_server *server = websocket->server;

	if (!websocket->handler_done)
		server->handler->on_websocket(server->context, &websocket->exchange->view);
	else
		websocket->ready_kind = 0;
}

static void tell_end(struct http_websocket *websocket)
{
	if (websocket->state == WEBSOCKET_OPEN || websocket->told)
		return;
	websocket->told = true;
	tell(websocket);
}

/* Works on bytes that were read, message by message. Returns how many are done with. */
static size_t work_on(struct http_websocket *websocket, char *data, size_t size)
{
	struct http_connection *connection = websocket->exchange->connection;
	struct http_server *server = websocket->server;
	size_t used = 0;

	http_output_begin(connection);
	server->dispatching = websocket->exchange;
	while (used < size && may_read(websocket)) {
		used += websocket_read(websocket, data + used, size - used);
		if (websocket->ready_kind != 0)
			tell(websocket);
	}
	if (websocket_keep_ready(websocket) != 0)
		connection->broken = true;
	server->dispatching = NULL;
	http_output_finish(connection);
	return websocket->state == WEBSOCKET_CLOSED ? size : used;
}

static void drop_rest(struct http_exchange *exchange)
{
	buffer_free(&exchange->rest);
	exchange->rest_at = 0;
}

/* Goes on with what was read behind a message that waited, or behind the request. */
static void work_on_rest(struct http_websocket *websocket)
{
	struct http_exchange *exchange = websocket->exchange;

	if (!http_exchange_has_rest(exchange) || !may_read(websocket))
		return;
	exchange->rest_at += work_on(websocket, exchange->rest.data + exchange->rest_at,
		exchange->rest.size - exchange->rest_at);
	if (!http_exchange_has_rest(exchange))
		drop_rest(exchange);
}

static void read_some(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;
	struct http_websocket *websocket = exchange->websocket;
	char *input = connection->server->input;
	ssize_t size;
	size_t used;

	if (http_exchange_has_rest(exchange) || !may_read(websocket))
		return;
	size = http_connection_receive(connection);
	if (size == 0 || (size < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
		connection->broken = true;
	if (size <= 0)
		return;
	if (connection->wait == HTTP_WAIT_PONG)
		http_connection_forget_wait(connection); /* whatever it sends, it lives */
	used = work_on(websocket, input, (size_t)size);
	if (used < (size_t)size &&
		buffer_add(&exchange->rest, input + used, (size_t)size - used) != 0)
		connection->broken = true;
}

/* ---- Events -------------------------------------------------------------------------------- */

static void choose_wait(struct http_connection *connection)
{
	const struct http_websocket *websocket = connection->exchange->websocket;

	if (connection->output.size != 0)
		http_connection_wait(connection, HTTP_WAIT_CLIENT);
	else if (websocket->state == WEBSOCKET_CLOSING)
		http_connection_wait(connection, HTTP_WAIT_CLOSE);
	else if (connection->wait != HTTP_WAIT_PONG)
		http_connection_wait(connection, HTTP_WAIT_PING);
}

static void choose_events(struct http_connection *connection)
{
	const struct http_websocket *websocket = connection->exchange->websocket;
	int events = connection->output.size != 0 ? UV_WRITABLE : 0;

	if (may_read(websocket))
		events |= UV_READABLE;
	else if (!websocket->hung_up)
		events |= UV_DISCONNECT;
	/* Most clients send nothing while their last message is at work: read_some sees to the
	 * others, which saves turning the polling off and on again for each message. */
	if (events == UV_DISCONNECT && connection->events == UV_READABLE && !websocket->paused)
		return;
	http_connection_want(connection, events);
}

void http_websocket_settle(struct http_connection *connection)
{
	struct http_websocket *websocket = connection->exchange->websocket;

	if (!connection->broken)
		work_on_rest(websocket);
	tell_end(websocket);
	if (connection->broken) {
		http_connection_cancel(connection, HTTP_CANCEL_DISCONNECT);
		return;
	}
	if (websocket->ready_kind == 0 && websocket->opcode == 0 &&
		websocket->message.capacity > KEPT_MESSAGE)
		buffer_free(&websocket->message);
	if (websocket->state == WEBSOCKET_CLOSED && connection->output.size == 0) {
		http_connection_end(connection);
		return;
	}
	choose_events(connection);
	choose_wait(connection);
}

void http_websocket_on_event(struct http_connection *connection, int events)
{
	struct http_exchange *exchange = connection->exchange;
	struct http_websocket *websocket = exchange->websocket;

	if ((events & UV_WRITABLE) != 0 && connection->output.size != 0) {
		if (http_output_flush(connection) != 0)
			http_connection_forget_wait(connection);
		if (connection->output.size == 0 && exchange->full && !connection->broken)
			http_connection_tell_writable(connection);
	}
	if ((events & UV_DISCONNECT) != 0)
		websocket->hung_up = true;
	websocket->paused = (events & UV_READABLE) != 0 && !may_read(websocket);
	if ((events & UV_READABLE) != 0 && !connection->broken)
		read_some(connection);
	http_websocket_settle(connection);
}

void http_websocket_expire(struct http_connection *connection)
{
	struct http_websocket *websocket = connection->exchange->websocket;

	switch ((enum http_wait)connection->wait) {
	case HTTP_WAIT_PING:
		http_connection_wait(connection, HTTP_WAIT_PONG);
		http_websocket_send_frame(websocket, WEBSOCKET_PING, false, (struct slice){0});
		break;
	case HTTP_WAIT_PONG:
		/* The answer may lie behind a message that the handler does not take. */
		if (!may_read(websocket)) {
			http_connection_forget_wait(connection);
			break;
		}
		note_close(websocket, WEBSOCKET_CODE_LOST, SLICE("no answer to a ping"));
		websocket->state = WEBSOCKET_CLOSED;
		connection->broken = true;
		break;
	case HTTP_WAIT_CLOSE:
	default:
		connection->broken = true;
		break;
	}
	http_websocket_settle(connection);
}

void http_websocket_lose(struct http_exchange *exchange)
{
	struct http_websocket *websocket = exchange->websocket;

	if (websocket->state == WEBSOCKET_OPEN)
		note_close(websocket, WEBSOCKET_CODE_LOST, SLICE("the client went away"));
	websocket->state = WEBSOCKET_CLOSED;
	websocket_topic_leave_all(websocket);
	tell_end(websocket);
}

/* ---- The ends ------------------------------------------------------------------------------ */

void http_websocket_free(struct http_websocket *websocket)
{
	struct http_server *server = websocket->server;
	struct http_exchange *exchange = websocket->exchange;

	websocket_topic_leave_all(websocket);
	list_remove(&websocket->link);
	buffer_free(&websocket->message);
	free(websocket);
	exchange->websocket = NULL;
	server->counters->websockets--;
	server->counters->busy--;
	http_exchange_free(exchange);
	http_server_later(server); /* a drain may wait for this */
}

void http_websocket_detach(struct http_exchange *exchange)
{
	struct http_websocket *websocket = exchange->websocket;

	if (websocket->server->access != NULL)
		http_access_end(exchange);
	exchange->connection = NULL;
	list_remove(&exchange->ready);
	drop_rest(exchange);
	if (websocket->handler_done)
		http_websocket_free(websocket);
}

void http_websocket_drain(struct http_websocket *websocket)
{
	if (websocket->server->draining == HTTP_DRAIN_SHUTDOWN)
		http_websocket_begin_close(
			websocket, WEBSOCKET_CODE_GOING_AWAY, SLICE("the server stops"));
	else
		http_websocket_begin_close(
			websocket, WEBSOCKET_CODE_RESTART, SLICE("the server restarts"));
}

void http_websocket_drain_all(struct http_server *server)
{
	LIST_EACH(node, &server->websockets)
	{
		struct http_websocket *websocket = LIST_ENTRY(node, struct http_websocket, link);

		if (websocket->state == WEBSOCKET_OPEN && websocket->exchange->connection != NULL)
			http_websocket_drain(websocket);
	}
}

void http_websocket_stop_detached(struct http_server *server)
{
	while (!list_empty(&server->websockets)) {
		struct http_websocket *websocket = LIST_ENTRY(
			list_take_first(&server->websockets), struct http_websocket, link);

		websocket->handler_done = true;
		server->handler->on_cancel(
			server->context, &websocket->exchange->view, HTTP_CANCEL_STOP);
		http_websocket_free(websocket);
	}
}
