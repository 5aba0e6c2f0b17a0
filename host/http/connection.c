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
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/fd.h"
#include "http/body.h"
#include "http/file_body.h"
#include "http/parser.h"
#include "http/response.h"
#include "http/server_state.h"
#include "http/websocket.h"

#define SLAB_SIZE    16384     /* bytes of connections taken from malloc at once */
#define GRACE_TIME   250       /* ms that an idle connection has left when the server ends */
#define PROBE_TIME   1000      /* ms that a handler works on after its client has ended sending */
#define LINGER_TIME  2000      /* ms that a client has to read the last answer */
#define LINGER_BYTES (8 << 20) /* bytes of its that are read and dropped meanwhile */

#define SLAB_COUNT                                                                                 \
	((SLAB_SIZE - sizeof(struct http_connection_slab)) / sizeof(struct http_connection))

struct http_connection_slab {
	struct http_connection_slab *next;
	struct http_connection connections[];
};

/* ---- The pool ------------------------------------------------------------------------------ */

static struct http_connection *pool_take(struct http_connection_pool *pool)
{
	struct list *node;

	if (list_empty(&pool->free)) {
		struct http_connection_slab *slab = malloc(SLAB_SIZE);

		if (slab == NULL)
			return NULL;
		slab->next = pool->slabs;
		pool->slabs = slab;
		for (size_t i = 0; i < SLAB_COUNT; i++)
			list_append(&pool->free, &slab->connections[i].link);
	}
	node = pool->free.next;
	list_remove(node);
	return LIST_ENTRY(node, struct http_connection, link);
}

void http_connection_pool_free(struct http_connection_pool *pool)
{
	while (pool->slabs != NULL) {
		struct http_connection_slab *slab = pool->slabs;

		pool->slabs = slab->next;
		free(slab);
	}
	list_init(&pool->free);
}

/* ---- Waiting ------------------------------------------------------------------------------- */

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

static uint64_t timeout_of(const struct http_config *config, enum http_wait wait)
{
	switch (wait) {
	case HTTP_WAIT_REQUEST:
		return config->keep_alive_timeout;
	case HTTP_WAIT_GRACE:
		return GRACE_TIME;
	case HTTP_WAIT_HEAD:
		return config->header_timeout;
	case HTTP_WAIT_BODY:
		return config->body_timeout;
	case HTTP_WAIT_ANSWER:
		return config->response_timeout;
	case HTTP_WAIT_PROBE:
		return PROBE_TIME;
	case HTTP_WAIT_CLIENT:
		return config->write_timeout;
	case HTTP_WAIT_LINGER:
		return LINGER_TIME;
	case HTTP_WAIT_PING:
		return config->websocket_ping_interval;
	case HTTP_WAIT_PONG:
		return config->websocket_ping_timeout;
	case HTTP_WAIT_CLOSE:
		return config->websocket_close_timeout;
	case HTTP_WAIT_NOTHING:
	case HTTP_WAITS:
		break;
	}
	return HTTP_NEVER;
}

/* Starts a wait anew. As each kind has one timeout, its list stays in order by appending. */
static void await(struct http_connection *connection, enum http_wait wait)
{
	struct http_server *server = connection->server;
	uint64_t timeout = timeout_of(server->config, wait);

	list_remove(&connection->link);
	list_append(&server->waits[wait], &connection->link);
	connection->wait = (uint8_t)wait;
	connection->deadline = HTTP_NEVER;
	if (timeout != HTTP_NEVER) {
		connection->deadline = uv_now(server->loop) + timeout;
		http_server_wake(server, connection->deadline);
	}
}

void http_connection_wait(struct http_connection *connection, enum http_wait wait)
{
	if (connection->wait != wait)
		await(connection, wait);
}

void http_connection_forget_wait(struct http_connection *connection)
{
	connection->wait = HTTP_WAITS;
}

void http_connection_wait_idle(struct http_connection *connection)
{
	struct http_server *server = connection->server;

	if (http_server_is_ending(server)) {
		await(connection, HTTP_WAIT_GRACE);
		return;
	}
	await(connection, HTTP_WAIT_REQUEST);
	if (server->draining)
		http_server_later(server); /* to pass it on */
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	struct http_connection *connection = LIST_ENTRY(handle, struct http_connection, poll);
	struct http_server *server = connection->server;

	/* In front: what was used last is still in the cache. */
	list_append(server->connections.free.next, &connection->link);
	http_server_handle_closed(server);
}

static void drop_exchange(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	connection->exchange = NULL;
	if (exchange != NULL && exchange->websocket != NULL)
		http_websocket_detach(exchange);
	else if (exchange != NULL)
		http_exchange_free(exchange);
}

void http_connection_close(struct http_connection *connection)
{
	struct http_server *server = connection->server;

	if (connection->closed)
		return;
	connection->closed = true;
	drop_exchange(connection);
	buffer_free(&connection->output);
	list_remove(&connection->link);
	uv_close((uv_handle_t *)&connection->poll, on_closed);
	fd_close(&connection->fd);
	server->counters->connections--;
	server->connection_count--;
	http_listeners_have_room(server);
	http_server_check_drained(server);
}

void http_connection_cancel(struct http_connection *connection, enum http_cancel why)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = connection->exchange;

	if (exchange != NULL && exchange->websocket != NULL) {
		http_websocket_lose(exchange);
	} else if (exchange != NULL && http_exchange_is_open(exchange)) {
		exchange->view.state = HTTP_REQUEST_ANSWERED;
		server->counters->busy--;
		server->handler->on_cancel(server->context, &exchange->view, why);
	}
	http_connection_close(connection);
}

/* Has said all, but the client may still be sending: a plain close now would reset the connection
 * and could take the answer from it. So only our side is closed, until the client closes its. */
static void linger(struct http_connection *connection)
{
	drop_exchange(connection);
	connection->lingering = true;
	if (shutdown(connection->fd, SHUT_WR) != 0) {
		http_connection_close(connection);
		return;
	}
	http_connection_want(connection, UV_READABLE);
	await(connection, HTTP_WAIT_LINGER);
}

void http_connection_end(struct http_connection *connection)
{
	static const struct linger reset = {.l_onoff = 1, .l_linger = 0};

	if (connection->lingering)
		return;
	if (connection->closing == HTTP_CLOSING_LINGER) {
		linger(connection);
		return;
	}
	if (connection->closing == HTTP_CLOSING_RESET)
		(void)setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	http_connection_close(connection);
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

	if (is_sending_file(connection)) {
		http_connection_want(connection, UV_WRITABLE);
		http_connection_wait(connection, HTTP_WAIT_CLIENT);
		return;
	}
	if (asked || connection->events == UV_WRITABLE)
		http_connection_want(connection, UV_READABLE);
	if (asked)
		http_connection_wait(connection, HTTP_WAIT_BODY);
	else if (connection->exchange->view.state != HTTP_REQUEST_WAITING)
		http_connection_wait(connection, HTTP_WAIT_NOTHING);
	else if (connection->wait != HTTP_WAIT_PROBE)
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
	if (is_sending_file(connection) && connection->output.size == 0 && !connection->broken) {
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

	do
		size = recv(connection->fd, connection->server->input, HTTP_INPUT_SIZE, 0);
	while (size < 0 && errno == EINTR);
	return size;
}

/* While lingering: what comes is dropped, until the client closes or it is too much. */
static void drop_input(struct http_connection *connection)
{
	ssize_t size = http_connection_receive(connection);

	if (size < 0 && errno == EAGAIN)
		return;
	if (size > 0)
		connection->output_at += (size_t)size;
	if (size <= 0 || connection->output_at > LINGER_BYTES)
		http_connection_close(connection);
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
		drop_input(connection);
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

int http_connection_open(struct http_server *server, int fd)
{
	struct http_connection *connection = pool_take(&server->connections);

	if (connection == NULL) {
		fd_close(&fd);
		return -1;
	}
	memset(connection, 0, sizeof *connection);
	connection->server = server;
	connection->fd = fd;
	list_init(&connection->link);
	if (uv_poll_init(server->loop, &connection->poll, fd) != 0) {
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
