/*
 * The end of a connection: at once, after its handler was told, or once the client has read the
 * last answer. Owned by the server; used by workers.
 */
#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "http/connection.h"
#include "http/secure.h"
#include "http/server_state.h"
#include "http/websocket.h"

#define LINGER_BYTES (8 << 20) /* bytes of its that are read and dropped meanwhile */

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
	http_secure_close(connection);
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
	if (connection->tls != NULL)
		http_secure_end(connection);
	if (shutdown(connection->fd, SHUT_WR) != 0) {
		http_connection_close(connection);
		return;
	}
	http_connection_want(connection, UV_READABLE);
	http_connection_wait(connection, HTTP_WAIT_LINGER);
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
	else if (connection->tls != NULL)
		http_secure_end(connection);
	http_connection_close(connection);
}

void http_connection_drop_input(struct http_connection *connection)
{
	ssize_t size = http_connection_receive(connection);

	if (size < 0 && errno == EAGAIN)
		return;
	if (size > 0)
		connection->output_at += (size_t)size;
	if (size <= 0 || connection->output_at > LINGER_BYTES)
		http_connection_close(connection);
}
