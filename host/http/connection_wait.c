/* What connections wait for, and for how long: see connection.h. Used by workers. */
#include "http/connection.h"

#include "http/server_state.h"

#define GRACE_TIME  250  /* ms that an idle connection has left when the server ends */
#define PROBE_TIME  1000 /* ms that a handler works on after its client has ended sending */
#define WRITER_TIME 1000 /* ms that a writer has to show whether a file only grows */
#define LINGER_TIME 2000 /* ms that a client has to read the last answer */

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
	case HTTP_WAIT_WRITER:
		return WRITER_TIME;
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

bool http_connection_is_ending(const struct http_connection *connection)
{
	const struct http_server *server = connection->server;

	return http_server_is_ending(server) || (server->draining != 0 && connection->tls != NULL);
}

void http_connection_wait_idle(struct http_connection *connection)
{
	struct http_server *server = connection->server;

	if (http_connection_is_ending(connection)) {
		await(connection, HTTP_WAIT_GRACE);
		return;
	}
	await(connection, HTTP_WAIT_REQUEST);
	if (server->draining)
		http_server_later(server); /* to pass it on */
}
