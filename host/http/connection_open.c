/*
 * Connections whose request a handler has: the rest of its body, and whether the client is there.
 *
 * Owned by the server; used by workers.
 */
#include <poll.h>

#include "http/body.h"
#include "http/connection.h"
#include "http/parser.h"
#include "http/response.h"
#include "http/server_state.h"

/* ---- The body ------------------------------------------------------------------------------ */

/* The handler gets what it has asked for of the body, or why that will not come. */
static void tell_body(struct http_connection *connection)
{
	struct http_server *server = connection->server;
	struct http_exchange *exchange = connection->exchange;

	http_connection_forget_wait(connection);
	exchange->body_asked = 0;
	exchange->body_waited += uv_now(server->loop) - exchange->asked_at;
	server->dispatching = exchange;
	http_output_begin(connection);
	server->handler->on_body(server->context, &exchange->view);
	http_output_finish(connection);
	server->dispatching = NULL;
}

void http_connection_take_body(struct http_connection *connection, const char *data, size_t size)
{
	struct http_exchange *exchange = connection->exchange;
	size_t taken;
	enum http_parsed parsed = http_parser_feed(exchange, data, size, &taken);

	if (parsed == HTTP_PARSED_ERROR)
		http_body_fail(exchange, exchange->refusal, exchange->reason);
	else if (buffer_add(&exchange->rest, data + taken, size - taken) != 0)
		connection->broken = true;
	else if (parsed == HTTP_PARSED_MORE && http_body_is_slow(exchange))
		http_body_fail(exchange, 408, "the body comes too slowly");
	http_connection_forget_wait(connection); /* body_timeout is for the next bytes */
	if (http_body_is_due(exchange))
		tell_body(connection);
	if (parsed == HTTP_PARSED_REQUEST && http_exchange_is_open(exchange) &&
		http_parser_keep(exchange) != 0)
		connection->broken = true;
	http_connection_resume(connection);
}

void http_connection_time_out_body(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (!http_exchange_is_open(exchange)) { /* its rest was being dropped */
		http_connection_close(connection);
		return;
	}
	http_body_fail(exchange, 408, "the body took too long");
	tell_body(connection);
	http_connection_resume(connection);
}

/* ---- The client ---------------------------------------------------------------------------- */

static bool can_probe(const struct http_connection *connection)
{
	const struct http_exchange *exchange = connection->exchange;

	if (exchange->view.state == HTTP_REQUEST_STREAMING)
		return exchange->framing == HTTP_FRAMING_CHUNKED && !exchange->chunk_begun;
	return connection->wait == HTTP_WAIT_ANSWER && exchange->view.version_minor == 1;
}

/*
 * The handler has the request and asks for nothing: watches for the client's end instead.
 *
 * A reset, and the close of a unix socket, show as an error or hang-up: the client is gone. The FIN
 * of TCP says only that nothing more is sent, be it that the client waits for its answer or that
 * it has closed. Which one shows when it is sent something: see http_connection_probe().
 */
void http_connection_watch(struct http_connection *connection)
{
	struct pollfd end = {.fd = connection->fd, .events = POLLRDHUP};

	(void)poll(&end, 1, 0);
	if ((end.revents & (POLLERR | POLLHUP)) != 0) {
		http_connection_cancel(connection, HTTP_CANCEL_DISCONNECT);
	} else if ((end.revents & POLLRDHUP) == 0) {
		http_connection_want(connection, UV_DISCONNECT);
	} else if (connection->events == UV_PRIORITIZED) {
		http_connection_want(
			connection, 0); /* urgent data, which would be told of again and again */
	} else {
		/* Errors and hang-ups are told whatever is polled for; RDHUP no more. */
		http_connection_want(connection, UV_PRIORITIZED);
		if (can_probe(connection))
			http_connection_wait(connection, HTTP_WAIT_PROBE);
	}
}

/*
 * The client has ended sending a while ago and its answer is not there or not at its end: whatever
 * it is sent has the kernel of one that is gone say so. That is an interim response, which every
 * HTTP/1.1 client has to take (RFC 9110, 15.2), and in the middle of a stream the first digit of
 * the next chunk's size (RFC 9112, 7.1), a zero that changes no number.
 */
void http_connection_probe(struct http_connection *connection)
{
	struct http_exchange *exchange = connection->exchange;

	if (exchange->view.state != HTTP_REQUEST_STREAMING) {
		http_connection_wait(connection, HTTP_WAIT_ANSWER);
		http_response_continue(exchange);
	} else {
		http_connection_wait(connection, HTTP_WAIT_NOTHING);
		http_response_begin_chunk(exchange);
	}
	http_connection_resume(connection);
}
