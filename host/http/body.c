/*
 * Bodies that come after their request's head was dispatched: http_abi.h's http_request_body_… and
 * the trailers. connection.c does the reading, and reads only what was asked for.
 *
 * No state of its own; used by workers.
 */
#include "http/body.h"

#include <string.h>

#include "http/export.h"
#include "http/response.h"
#include "http/server_state.h"

bool http_body_is_due(const struct http_exchange *exchange)
{
	return exchange->body_asked != 0 &&
	       (exchange->view.body_state != HTTP_BODY_COMING ||
		       exchange->view.body_size >= exchange->body_asked);
}

void http_body_fail(struct http_exchange *exchange, int status, const char *reason)
{
	exchange->placed = NULL;
	exchange->body.size = 0;
	exchange->view.body = NULL;
	exchange->view.body_size = 0;
	exchange->complete = false; /* an error behind the last byte is one of the body too */
	exchange->view.body_state = HTTP_BODY_FAILED;
	exchange->view.body_status = (uint16_t)status;
	exchange->view.body_reason = reason;
	exchange->keep_alive = false;
	exchange->client_closes = false; /* it may go on sending: the end is a lingering one */
}

bool http_body_is_slow(const struct http_exchange *exchange)
{
	const struct http_server *server = exchange->connection->server;
	uint64_t waited = exchange->body_waited + uv_now(server->loop) - exchange->asked_at;
	uint64_t grace = server->config->body_timeout;

	return waited > grace &&
	       exchange->body_total / server->config->body_rate_minimum < (waited - grace) / 1000;
}

bool http_body_may_drop(const struct http_exchange *exchange)
{
	uint64_t limit = exchange->connection->server->config->unread_body_limit;

	if (exchange->expects_continue || exchange->view.body_state == HTTP_BODY_FAILED)
		return false;
	return exchange->chunked || exchange->length - exchange->body_total <= limit;
}

HTTP_EXPORT int http_request_body_wait(
	struct http_request *request, uint64_t serial, uint64_t least)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);

	if (exchange == NULL)
		return HTTP_OVER;
	if (request->body_state != HTTP_BODY_COMING || request->body_size >= least)
		return HTTP_OK;
	if (exchange->body_asked == 0)
		exchange->asked_at = uv_now(exchange->connection->server->loop);
	exchange->body_asked = least;
	if (exchange->expects_continue) {
		exchange->expects_continue = false;
		if (exchange->body_total == 0 && request->state == HTTP_REQUEST_WAITING)
			http_response_continue(exchange);
	}
	http_exchange_queue(exchange);
	return HTTP_LATER;
}

HTTP_EXPORT int http_request_body_limit(
	struct http_request *request, uint64_t serial, uint64_t limit)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);

	if (exchange == NULL)
		return HTTP_OVER;
	if (limit >= exchange->body_limit)
		return HTTP_OK;
	exchange->body_limit = limit;
	if (request->body_state != HTTP_BODY_FAILED &&
		(exchange->length > limit || exchange->body_total > limit))
		http_body_fail(exchange, 413, "the body is too long");
	return HTTP_OK;
}

HTTP_EXPORT int http_request_body_take(struct http_request *request, uint64_t serial)
{
	struct http_exchange *exchange = http_exchange_of(request, serial);

	if (exchange == NULL)
		return HTTP_OVER;
	exchange->placed = NULL;
	exchange->body.size = 0;
	request->body = NULL;
	request->body_size = 0;
	return HTTP_OK;
}

/* Takes the next string off the trailers: up to a NUL or the end. */
static struct slice next_text(const char **at, const char *end)
{
	const char *nul = memchr(*at, '\0', (size_t)(end - *at));
	struct slice text = {.data = *at, .size = (size_t)((nul == NULL ? end : nul) - *at)};

	*at = nul == NULL ? end : nul + 1;
	return text;
}

HTTP_EXPORT int http_request_trailer_at(const struct http_request *request, uint64_t serial,
	uint32_t index, const char **name, size_t *name_size, const char **value,
	size_t *value_size)
{
	const struct http_exchange *exchange = (const struct http_exchange *)(const void *)request;
	const char *at;
	const char *end;
	struct slice texts[2];

	if (request->serial != serial || request->state == 0 || !exchange->complete ||
		index >= exchange->trailer_count)
		return 0;
	at = exchange->trailers.data;
	end = at + exchange->trailers.size;
	for (uint32_t i = 0; i <= index; i++) {
		texts[0] = next_text(&at, end);
		texts[1] = next_text(&at, end);
	}
	while (texts[1].size != 0 && (texts[1].data[texts[1].size - 1] == ' ' ||
					     texts[1].data[texts[1].size - 1] == '\t'))
		texts[1].size--;
	*name = texts[0].data;
	*name_size = texts[0].size;
	*value = texts[1].data;
	*value_size = texts[1].size;
	return 1;
}
