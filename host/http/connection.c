/*
 * Connections: the state machine between a socket and the handler.
 *
 * There is no state variable: what a connection is doing follows from what it holds.
 *   exchange NULL                    idle
 *   exchange->view.state 0           reading a request, or dropping what is left of one
 *   … WAITING, STREAMING             the handler has it, or with a file_body the loop sends it
 *   … and body_asked                 it waits for the body, which is read only then
 *   output not empty                 the client is slow; nothing is read or parsed meanwhile
 *   closing                          when the output is gone the connection goes too
 *   exchange->websocket              it is a WebSocket: websocket.c decides
 *   lingering                        all is sent; waits for the client to close
 * Every entry from the loop ends in settle(), the one place that decides, from these, what to poll
 * for and what deadline runs.
 *
 * Owned by the server; used by workers.
 */
#include "http/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/fd.h"
#include "http/body.h"
#include "http/file_body.h"
#include "http/parser.h"
#include "http/response.h"
#include "http/secure.h"
#include "http/server_state.h"
#include "http/websocket.h"

static void on_event(uv_poll_t *poll, int status, int events);

void http_connection_want(struct http_connection *connection, int events)
{
	if (connection->events == events)
		return;
	connection->events = (uint8_t)events;
	if (events == 0)
		CHECK(uv_poll_stop(&connection->poll) == 0);
	else
		CHECK(uv_poll_start(&connection->poll, events, on_event) == 0);
}

/* ---- Settling ------------------------------------------------------------------------------ */

/* The answer's body is a file that the loop sends. */
static bool is_sending_file(const struct http_connection *connection)
{
	const struct http_exchange *exchange = connection->exchange;

	return exchange != NULL && exchange->file_body != NULL && http_exchange_is_open(exchange);
}

/* The handler has the request. Reading is left on: most clients send nothing now, and to one that
 * does, on_readable has an answer. */
static void settle_open(struct http_connection *connection)
{
	bool asked = connection->exchange->body_asked != 0;

	if (is_sending_file(connection) && connection->exchange->file_body->in_doubt) {
		http_connection_want(connection, 0);
		http_connection_wait(connection, HTTP_WAIT_WRITER);
		return;
	}
	if (is_sending_file(connection)) {
		http_connection_want(connection, UV_WRITABLE);
		http_connection_wait(connection, HTTP_WAIT_CLIENT);
		return;
	}
	if (asked || connection->events == UV_WRITABLE)
		http_connection_want(connection, UV_READABLE);
	if (asked)
		http_connection_wait(connection, HTTP_WAIT_BODY);
	else if (connection->wait == HTTP_WAIT_PROBE)
		return;
	else if (connection->exchange->view.state != HTTP_REQUEST_WAITING)
		http_connection_wait(connection, HTTP_WAIT_NOTHING);
	else
		http_connection_wait(connection, HTTP_WAIT_ANSWER);
}

static void settle_reading(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	http_connection_want(connection, UV_READABLE);
	if (!exchange->begun && !http_exchange_has_rest(exchange)) {
		http_exchange_free(exchange);
		connection->exchange = NULL;
		http_connection_wait_idle(connection);
		return;
	}
	http_connection_wait(connection,
		exchange->begun && exchange->head_complete ? HTTP_WAIT_BODY : HTTP_WAIT_HEAD);
}

static void settle(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;
	bool open;

	if (connection->closed)
		return;
	if (exchange != NULL && exchange->websocket != NULL) {
		http_websocket_settle(connection);
		return;
	}
	if (is_sending_file(connection) && connection->output.size == 0 && !connection->broken &&
		connection->wait != HTTP_WAIT_WRITER) {
		if (http_file_body_send(exchange) != 0)
			http_connection_forget_wait(connection);
		if (exchange->view.state == HTTP_REQUEST_ANSWERED)
			return; /* which is queued: http_connection_resume comes next */
	}
	open = exchange != NULL && http_exchange_is_open(exchange);
	if (connection->broken) {
		http_connection_cancel(connection, HTTP_CANCEL_DISCONNECT);
	} else if (connection->output.size != 0) {
		http_connection_want(connection, UV_WRITABLE);
		http_connection_wait(connection, HTTP_WAIT_CLIENT);
	} else if (connection->closing != HTTP_CLOSING_NOT && !open) {
		http_connection_end(connection);
	} else if (open) {
		settle_open(connection);
	} else if (exchange != NULL) {
		settle_reading(connection);
	} else {
		http_connection_want(connection, UV_READABLE);
		if (http_secure_is_opening(connection))
			http_connection_wait(connection, HTTP_WAIT_HEAD);
		else
			http_connection_wait_idle(connection);
	}
}

/* ---- Requests ------------------------------------------------------------------------------ */

static void drop_rest(struct http_exchange *exchange)
{
	exchange->rest.size = 0;
	exchange->rest_at = 0;
}

/* Answers an error and ends the connection: what follows cannot be understood. */
static void refuse(struct http_connection *connection, int status, const char *reason)
{
	struct http_exchange *exchange = connection->exchange;

	exchange->keep_alive = false;
	http_response_refuse(exchange, status, reason);
	connection->closing = HTTP_CLOSING_LINGER;
	drop_rest(exchange);
	http_exchange_reset(exchange);
	http_connection_forget_wait(connection);
}

static void dispatch(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = connection->exchange;

	exchange->view.state = HTTP_REQUEST_WAITING;
	exchange->dispatched = uv_now(server->loop);
	http_access_begin(exchange);
	server->counters->requests++;
	server->counters->busy++;
	server->dispatching = exchange;
	server->handler->on_request(server->context, &exchange->view);
	server->dispatching = NULL;
}

/* The request is answered before its body has come. */
__attribute__((cold, noinline)) static void finish_unread(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (exchange->keep_alive && connection->closing == HTTP_CLOSING_NOT &&
		http_body_may_drop(exchange)) {
		http_exchange_drop(exchange);
		return;
	}
	if (connection->closing == HTTP_CLOSING_NOT)
		connection->closing = HTTP_CLOSING_LINGER;
	http_exchange_reset(exchange);
}

/* The request is answered. `more`: the client has sent something behind it. */
static void finish(struct http_connection *connection, bool more)
{
	struct http_exchange *exchange = connection->exchange;

	http_connection_forget_wait(connection);
	if (!exchange->complete) {
		finish_unread(connection);
		return;
	}
	if (!exchange->keep_alive && connection->closing == HTTP_CLOSING_NOT)
		connection->closing =
			exchange->client_closes && !more ? HTTP_CLOSING_PLAIN : HTTP_CLOSING_LINGER;
	http_exchange_reset(exchange);
}

/* The rest of an unread body has come. */
static void finish_dropping(struct http_connection *connection)
{
	http_exchange_reset(connection->exchange);
	http_connection_forget_wait(connection);
}

/* What comes cannot be understood, or is not worth being read. */
static void refuse_input(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (!exchange->dropping) {
		refuse(connection, exchange->refusal, exchange->reason);
		return;
	}
	connection->closing = HTTP_CLOSING_LINGER;
	drop_rest(exchange);
	finish_dropping(connection);
}

static bool may_parse(const struct http_connection *connection)
{
	return !connection->broken && connection->closing == HTTP_CLOSING_NOT &&
	       connection->output.size == 0;
}

/*
 * Parses and dispatches what is in `data`, request by request, until it is used up or something
 * has to be waited for. Returns how many bytes are done with.
 */
static size_t advance(struct http_connection *connection, const char *data, size_t size)
{
	struct http_exchange *exchange = connection->exchange;
	size_t used = 0;

	while (used < size && may_parse(connection)) {
		size_t taken;
		enum http_parsed parsed =
			http_parser_feed(exchange, data + used, size - used, &taken);

		if (parsed == HTTP_PARSED_ERROR) {
			refuse_input(connection);
			return size;
		}
		used += taken;
		if (parsed == HTTP_PARSED_MORE)
			break;
		if (exchange->dropping) {
			finish_dropping(connection);
			continue;
		}
		dispatch(connection);
		if (exchange->view.state != HTTP_REQUEST_ANSWERED) {
			if (http_parser_keep(exchange) != 0)
				connection->broken = true;
			break;
		}
		finish(connection, used < size || http_exchange_has_rest(exchange));
	}
	return used;
}

/* Goes on with the bytes that were read behind an earlier request. */
static void advance_rest(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (exchange == NULL || exchange->view.state != 0 || !http_exchange_has_rest(exchange) ||
		!may_parse(connection))
		return;
	http_output_begin(connection);
	exchange->rest_at += advance(connection, exchange->rest.data + exchange->rest_at,
		exchange->rest.size - exchange->rest_at);
	http_output_finish(connection);
	if (exchange->rest_at >= exchange->rest.size)
		drop_rest(exchange);
}

void http_connection_resume(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (exchange != NULL && exchange->view.state == HTTP_REQUEST_ANSWERED) {
		finish(connection, http_exchange_has_rest(exchange));
		advance_rest(connection);
	}
	settle(connection);
}

/* ---- Events -------------------------------------------------------------------------------- */

ssize_t http_connection_receive(struct http_connection *connection)
{
	ssize_t size;

	if (connection->tls != NULL)
		return http_secure_receive(connection);
	do
		size = recv(connection->fd, connection->server->input, HTTP_INPUT_SIZE, 0);
	while (size < 0 && errno == EINTR);
	return size;
}

static void work_on(struct http_connection *connection, const char *data, size_t size)
{
	struct http_exchange *exchange = connection->exchange;
	size_t used;

	if (exchange == NULL)
		exchange = connection->exchange = http_exchange_new(connection);
	if (exchange == NULL) {
		http_connection_close(connection);
		return;
	}
	http_output_begin(connection);
	used = advance(connection, data, size);
	if (used < size && connection->closing == HTTP_CLOSING_NOT &&
		buffer_add(&exchange->rest, data + used, size - used) != 0)
		connection->broken = true;
	http_output_finish(connection);
	settle(connection);
}

static bool is_busy(const struct http_connection *connection)
{
	const struct http_exchange *exchange = connection->exchange;

	if (exchange == NULL)
		return false;
	return (exchange->view.state != 0 && exchange->body_asked == 0) ||
	       http_exchange_has_rest(exchange);
}

static void on_readable(struct http_connection *connection)
{
	ssize_t size;

	if (connection->lingering) {
		http_connection_drop_input(connection);
		return;
	}
	if (is_busy(connection)) {
		http_connection_watch(connection);
		return;
	}
	size = http_connection_receive(connection);
	if (size > 0 && connection->exchange != NULL && http_exchange_is_open(connection->exchange))
		http_connection_take_body(connection, connection->server->input, (size_t)size);
	else if (size > 0)
		work_on(connection, connection->server->input, (size_t)size);
	else if (size == 0 || (errno != EAGAIN && errno != EWOULDBLOCK))
		http_connection_cancel(connection, HTTP_CANCEL_DISCONNECT);
	else if (connection->tls != NULL)
		settle(connection); /* the handshake may have something to say */
}

void http_connection_tell_writable(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = connection->exchange;

	exchange->full = false;
	server->dispatching = exchange;
	http_output_begin(connection);
	server->handler->on_writable(server->context, &exchange->view);
	http_output_finish(connection);
	server->dispatching = NULL;
}

static void on_client_takes(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (http_output_flush(connection) != 0)
		http_connection_forget_wait(connection);
	if (connection->output.size == 0 && !connection->broken) {
		if (exchange != NULL && exchange->full && http_exchange_is_open(exchange))
			http_connection_tell_writable(connection);
		if (exchange != NULL && exchange->view.state == HTTP_REQUEST_ANSWERED)
			finish(connection, http_exchange_has_rest(exchange));
		advance_rest(connection);
	}
	settle(connection);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct http_connection *connection = LIST_ENTRY(poll, struct http_connection, poll);

	if (status < 0)
		http_connection_cancel(connection, HTTP_CANCEL_DISCONNECT);
	else if (connection->exchange != NULL && connection->exchange->websocket != NULL)
		http_websocket_on_event(connection, events);
	else if (connection->output.size != 0)
		on_client_takes(connection);
	else if (is_sending_file(connection))
		settle(connection);
	else if ((events & UV_READABLE) != 0)
		on_readable(connection);
	else
		http_connection_watch(connection);
}

static void time_out_answer(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = connection->exchange;

	http_response_refuse(exchange, 503, "the handler took too long");
	exchange->view.state = HTTP_REQUEST_ANSWERED;
	server->counters->busy--;
	server->handler->on_cancel(server->context, &exchange->view, HTTP_CANCEL_TIMEOUT);
	http_connection_resume(connection);
}

void http_connection_expire(struct http_connection *connection)
{
	switch ((enum http_wait)connection->wait) {
	case HTTP_WAIT_HEAD:
		if (connection->exchange == NULL) { /* the handshake took too long */
			http_connection_close(connection);
			break;
		}
		refuse(connection, 408, "the request took too long");
		settle(connection);
		break;
	case HTTP_WAIT_BODY:
		http_connection_time_out_body(connection);
		break;
	case HTTP_WAIT_PROBE:
		http_connection_probe(connection);
		break;
	case HTTP_WAIT_ANSWER:
		time_out_answer(connection);
		break;
	case HTTP_WAIT_CLIENT:
		http_connection_cancel(connection, HTTP_CANCEL_DISCONNECT);
		break;
	case HTTP_WAIT_WRITER:
		http_connection_wait(connection, HTTP_WAIT_CLIENT);
		settle(connection);
		break;
	case HTTP_WAIT_REQUEST:
	case HTTP_WAIT_GRACE:
	case HTTP_WAIT_LINGER:
		http_connection_close(connection);
		break;
	case HTTP_WAIT_PING:
	case HTTP_WAIT_PONG:
	case HTTP_WAIT_CLOSE:
		http_websocket_expire(connection);
		break;
	case HTTP_WAIT_NOTHING:
	case HTTP_WAITS:
		UNREACHABLE("these waits have no deadline");
	}
}

int http_connection_open(struct http_server *server, int fd, struct tls_context *tls, uint8_t app)
{
	struct http_connection *connection = http_connection_pool_take(&server->connections);

	if (connection == NULL) {
		fd_close(&fd);
		return -1;
	}
	memset(connection, 0, sizeof *connection);
	connection->server = server;
	connection->fd = fd;
	connection->app = app;
	list_init(&connection->link);
	if ((tls != NULL && http_secure_open(connection, tls) != 0) ||
		uv_poll_init(server->loop, &connection->poll, fd) != 0) {
		http_secure_close(connection);
		list_append(&server->connections.free, &connection->link);
		fd_close(&fd);
		return -1;
	}
	http_server_handle_opened(server);
	server->counters->connections++;
	server->counters->accepted++;
	server->connection_count++;
	settle(connection);
	return 0;
}
