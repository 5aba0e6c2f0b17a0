/* Requests in flight: see open_requests.h. Used by workers, and by the copies of stuck ones. */
#include "http/open_requests.h"

#include "http/access_log.h"
#include "http/connection.h"
#include "http/server_state.h"

static void tell(struct http_exchange *exchange, http_open_request_function *each, void *context)
{
	const struct http_request *view = &exchange->view;
	char id[HTTP_ID_SIZE];
	struct http_open_request request = {.serial = view->serial,
		.since = exchange->dispatched,
		.method = {view->method, view->method_size},
		.target = {view->target, view->target_size},
		.version_minor = view->version_minor,
		.id = id,
		.ip = exchange->connection != NULL ? http_exchange_ip(exchange) : exchange->ip};

	http_access_id(exchange, id);
	each(context, &request);
}

/* The connection of the request being dispatched waits for what it waited for before. */
void http_server_each_open(
	struct http_server *server, http_open_request_function *each, void *context)
{
	static const enum http_wait waits[] = {HTTP_WAIT_ANSWER, HTTP_WAIT_PROBE, HTTP_WAIT_BODY,
		HTTP_WAIT_CLIENT, HTTP_WAIT_NOTHING};
	struct http_exchange *dispatching = server->dispatching;

	if (dispatching != NULL && http_exchange_is_open(dispatching))
		tell(dispatching, each, context);
	for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
		LIST_EACH(node, &server->waits[waits[i]])
		{
			struct http_exchange *exchange =
				LIST_ENTRY(node, struct http_connection, link)->exchange;

			if (exchange != NULL && exchange != dispatching &&
				http_exchange_is_open(exchange))
				tell(exchange, each, context);
		}
	}
}

void http_open_request_find(uint64_t serial, http_open_request_function *each, void *context)
{
	struct http_exchange *exchange = http_exchange_find(serial);

	if (exchange != NULL)
		tell(exchange, each, context);
}
