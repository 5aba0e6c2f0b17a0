/*
 * The server: what holds connections, listeners and hand-over together, and its end.
 *
 * Owned by the worker that makes it; one loop, one thread.
 */
#include "http/server.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "http/server_state.h"
#include "http/websocket.h"

#define TICK 16 /* ms that times are rounded up to, so that many deadlines share a wake-up */

/* ---- Time ---------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

void http_server_wake(struct http_server *server, uint64_t when)
{
	uint64_t now = uv_now(server->loop);

	if (when >= server->wake_at || server->finished)
		return;
	when = (when + TICK - 1) / TICK * TICK;
	server->wake_at = when;
	CHECK(uv_timer_start(&server->timer, on_timer, when > now ? when - now : 1, 0) == 0);
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Ends the waits that are over. Returns the deadline of the next, or HTTP_NEVER. */
static uint64_t expire_waits(struct http_server *server, struct list *waits, uint64_t now)
{
	while (!list_empty(waits)) {
		struct http_connection *first =
			LIST_ENTRY(waits->next, struct http_connection, link);

		if (first->deadline > now)
			return first->deadline;
		http_connection_expire(first);
	}
	(void)server;
	return HTTP_NEVER;
}

static void on_timer(uv_timer_t *timer)
{
	struct http_server *server = timer->data;
	uint64_t now = uv_now(server->loop);
	uint64_t next = HTTP_NEVER;

	server->wake_at = HTTP_NEVER;
	for (int wait = 0; wait < HTTP_WAITS; wait++)
		next = sooner(next, expire_waits(server, &server->waits[wait], now));
	next = sooner(next, http_listeners_tick(server, now));
	next = sooner(next, http_handover_tick(server, now));
	if (next != HTTP_NEVER)
		http_server_wake(server, next);
}

/* ---- Queued work --------------------------------------------------------------------------- */

static void stop_everything(struct http_server *server)
{
	for (int wait = 0; wait < HTTP_WAITS; wait++)
		LIST_EACH(node, &server->waits[wait])
	http_connection_cancel(LIST_ENTRY(node, struct http_connection, link), HTTP_CANCEL_STOP);
	http_websocket_stop_detached(server);
	http_handover_close_adopting(server);
	http_listeners_close(server);
}

static void on_later(uv_idle_t *idle)
{
	struct http_server *server = idle->data;

	CHECK(uv_idle_stop(idle) == 0);
	if (server->stopping)
		stop_everything(server);
	while (!list_empty(&server->ready)) {
		struct http_exchange *exchange =
			LIST_ENTRY(server->ready.next, struct http_exchange, ready);

		list_remove(&exchange->ready);
		http_connection_resume(exchange->connection);
	}
	if (server->access != NULL)
		http_access_flush(server->access);
	if (server->draining)
		http_handover_run(server);
	http_server_check_drained(server);
}

void http_server_later(struct http_server *server)
{
	/* An active idle handle keeps the loop from sleeping and runs before it polls. */
	if (!server->finished)
		CHECK(uv_idle_start(&server->later, on_later) == 0);
}

void http_exchange_queue(struct http_exchange *exchange)
{
	struct http_server *server = exchange->connection->server;

	if (exchange == server->dispatching || !list_empty(&exchange->ready))
		return;
	list_append(&server->ready, &exchange->ready);
	http_server_later(server);
}

/* ---- The end ------------------------------------------------------------------------------- */

bool http_server_is_ending(const struct http_server *server)
{
	return server->draining != 0 && server->handover.heir == NULL &&
	       !server->handover.heir_lost;
}

void http_server_handle_opened(struct http_server *server)
{
	server->handles++;
}

void http_server_handle_closed(struct http_server *server)
{
	CHECK(server->handles > 0);
	server->handles--;
	if (server->handles == 0 && server->finished)
		server->handler->on_drained(server->context);
}

static void on_own_handle_closed(uv_handle_t *handle)
{
	http_server_handle_closed(handle->data);
}

void http_server_check_drained(struct http_server *server)
{
	if ((server->draining == 0 && !server->stopping) || server->finished)
		return;
	if (server->connection_count != 0 || !list_empty(&server->websockets) ||
		!list_empty(&server->listeners.open) || !list_empty(&server->handover.adopting))
		return;
	server->finished = true;
	if (server->access != NULL)
		http_access_flush(server->access);
	http_handover_close_heir(server);
	uv_close((uv_handle_t *)&server->timer, on_own_handle_closed);
	uv_close((uv_handle_t *)&server->later, on_own_handle_closed);
}

/* Those that nobody can take over have a moment left. */
static void give_up_secure(struct http_server *server)
{
	LIST_EACH(node, &server->waits[HTTP_WAIT_REQUEST])
	{
		struct http_connection *connection = LIST_ENTRY(node, struct http_connection, link);

		if (connection->tls != NULL)
			http_connection_wait_idle(connection);
	}
}

void http_server_drain(struct http_server *server, enum http_drain how, int heir)
{
	server->draining = how;
	http_handover_set_heir(server, heir);
	http_listeners_drain(server, how);
	http_websocket_drain_all(server);
	give_up_secure(server);
	http_server_later(server);
}

void http_server_set_heir(struct http_server *server, int heir)
{
	http_handover_set_heir(server, heir);
}

void http_server_stop(struct http_server *server)
{
	server->stopping = true;
	http_server_later(server);
}

/* ---- Birth and death ----------------------------------------------------------------------- */

static void init_fields(struct http_server *server)
{
	server->wake_at = HTTP_NEVER;
	list_init(&server->ready);
	for (int wait = 0; wait < HTTP_WAITS; wait++)
		list_init(&server->waits[wait]);
	list_init(&server->connections.free);
	list_init(&server->websockets);
	http_listeners_init(&server->listeners);
	http_handover_init(&server->handover);
}

static void init_handles(struct http_server *server)
{
	CHECK(uv_timer_init(server->loop, &server->timer) == 0);
	CHECK(uv_idle_init(server->loop, &server->later) == 0);
	server->timer.data = server;
	server->later.data = server;
	server->handles = 2;
}

int http_server_new(struct http_server **ret_server, uv_loop_t *loop,
	const struct http_config *config, const struct http_handler *handler, void *context,
	struct http_counters *counters, struct error *error)
{
	struct http_server *server = calloc(1, sizeof *server);
	char *memory = malloc(HTTP_INPUT_SIZE + HTTP_BATCH_SIZE);

	if (server == NULL || memory == NULL) {
		free(server);
		free(memory);
		return error_set(error, ENOMEM, "HTTP server: memory is out");
	}
	server->loop = loop;
	server->config = config;
	server->handler = handler;
	server->context = context;
	server->counters = counters;
	server->input = memory;
	server->batch.data = memory + HTTP_INPUT_SIZE;
	server->access = http_access_new(config->access_log);
	init_fields(server);
	init_handles(server);
	*ret_server = server;
	return 0;
}

int http_server_listen(struct http_server *server, int fd, struct tls_context *tls, uint8_t app,
	struct error *error)
{
	return http_listener_open(server, fd, tls, app, error);
}

int http_server_adopt(struct http_server *server, int channel, struct error *error)
{
	return http_handover_adopt(server, channel, error);
}

void http_server_free(struct http_server *server)
{
	CHECK(server->finished);
	CHECK(server->handles == 0);
	http_connection_pool_free(&server->connections);
	buffer_free(&server->coded_lines);
	buffer_free(&server->coded_body);
	http_file_cache_free(&server->files);
	websocket_topics_free(&server->topics);
	free(server->input);
	free(server->records);
	free(server->access);
	free(server);
}
