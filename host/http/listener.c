/*
 * Accepting. The sockets come from the manager; a worker only accepts on them.
 *
 * Owned by the server; used by workers.
 */
#include "http/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/check.h"
#include "base/fd.h"
#include "http/server_state.h"

#define ACCEPT_MOST   32    /* connections accepted before the loop looks at the others again */
#define DEFER_TIME    1     /* ms in which others may take what we leave in a shared queue */
#define PAUSE_TIME    100   /* ms without accepting when the system has no room */
#define RETIRED_TIME  1000  /* ms that a retired socket's queue is still served */
#define SHUTDOWN_TIME 20    /* ms, likewise, when the whole host ends */
#define WARN_TIME     60000 /* ms before the same cause is warned of again */

struct http_listener {
	uv_poll_t poll;
	struct list link; /* in server->listeners.open */
	struct http_server *server;
	struct tls_context *tls; /* or NULL */
	int fd;
	bool shared;   /* other workers accept from the same queue */
	bool deferred; /* what waits in it was left to them: they had their chance */
	uint8_t app;
};

enum accepted { ACCEPTED_ONE, ACCEPTED_NONE, ACCEPTED_FAILED };

static void on_connectable(uv_poll_t *poll, int status, int events);

void http_listeners_init(struct http_listeners *listeners)
{
	*listeners = (struct http_listeners){
		.resume_at = HTTP_NEVER, .close_at = HTTP_NEVER, .warn_again_at = 0};
	list_init(&listeners->open);
}

static void pause_all(struct http_server *server)
{
	LIST_EACH(node, &server->listeners.open)
	CHECK(uv_poll_stop(&LIST_ENTRY(node, struct http_listener, link)->poll) == 0);
}

static void resume_all(struct http_server *server)
{
	LIST_EACH(node, &server->listeners.open)
	{
		uv_poll_t *poll = &LIST_ENTRY(node, struct http_listener, link)->poll;

		CHECK(uv_poll_start(poll, UV_READABLE, on_connectable) == 0);
	}
}

static void warn(struct http_server *server, int code)
{
	struct http_listeners *listeners = &server->listeners;
	uint64_t now = uv_now(server->loop);
	char text[160];

	if (code == listeners->warned && now < listeners->warn_again_at)
		return;
	listeners->warned = code;
	listeners->warn_again_at = now + WARN_TIME;
	(void)snprintf(text, sizeof text, "accept: %s; new connections have to wait (%u are open)",
		strerror(code), server->connection_count);
	server->handler->on_warning(server->context, text);
}

static void fail(struct http_server *server, int code)
{
	pause_all(server);
	server->listeners.resume_at = uv_now(server->loop) + PAUSE_TIME;
	http_server_wake(server, server->listeners.resume_at);
	warn(server, code);
}

/* What accept(2) may return about the one connection it would have been. */
static bool is_of_connection(int code)
{
	return code == EINTR || code == ECONNABORTED || code == EPROTO || code == ENETDOWN ||
	       code == ENOPROTOOPT || code == EHOSTDOWN || code == ENONET || code == EHOSTUNREACH ||
	       code == EOPNOTSUPP || code == ENETUNREACH || code == EPERM;
}

static enum accepted accept_one(const struct http_listener *listener)
{
	struct http_server *server = listener->server;
	int fd;

	if (server->connection_count >= server->config->connection_limit) {
		server->listeners.full = true;
		pause_all(server);
		return ACCEPTED_FAILED;
	}
	fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		if (http_connection_open(server, fd, listener->tls, listener->app) == 0)
			return ACCEPTED_ONE;
		fail(server, ENOMEM);
		return ACCEPTED_FAILED;
	}
	if (errno == EAGAIN || errno == EWOULDBLOCK)
		return ACCEPTED_NONE;
	if (is_of_connection(errno))
		return ACCEPTED_ONE;
	fail(server, errno);
	return ACCEPTED_FAILED;
}

/* Leaves what is queued to others, for a moment: who is awake already would always be the first. */
static bool defer(struct http_listener *listener)
{
	struct http_server *server = listener->server;
	const uint64_t now = uv_now(server->loop);

	if (!listener->shared || listener->deferred || server->handler->has_its_share == NULL ||
		!server->handler->has_its_share(server->context))
		return false;
	listener->deferred = true;
	CHECK(uv_poll_stop(&listener->poll) == 0);
	if (server->listeners.resume_at == HTTP_NEVER)
		server->listeners.resume_at = now + DEFER_TIME;
	http_server_wake(server, server->listeners.resume_at);
	return true;
}

static void on_connectable(uv_poll_t *poll, int status, int events)
{
	struct http_listener *listener = LIST_ENTRY(poll, struct http_listener, poll);

	(void)status; /* an error of the socket is accept's to tell */
	(void)events;
	for (int i = 0; i < ACCEPT_MOST; i++) {
		if (defer(listener))
			return;
		if (accept_one(listener) != ACCEPTED_ONE)
			break;
	}
	listener->deferred = false;
}

static bool is_shared(int fd)
{
	int own = 0;
	socklen_t size = sizeof own;

	return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &own, &size) != 0 || !own;
}

int http_listener_open(struct http_server *server, int fd, struct tls_context *tls, uint8_t app,
	struct error *error)
{
	struct http_listener *listener = calloc(1, sizeof *listener);
	int one = 1;
	int code;

	if (listener == NULL)
		return error_set(error, ENOMEM, "listen: memory is out");
	code = uv_poll_init(server->loop, &listener->poll, fd);
	if (code != 0) {
		free(listener);
		return error_set(error, -code, "listen: fd %d: %s", fd, uv_strerror(code));
	}
	/* Accepted sockets inherit it; it fails on unix sockets, which do not need it. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	listener->server = server;
	listener->fd = fd;
	listener->shared = is_shared(fd);
	listener->tls = tls;
	listener->app = app;
	list_append(&server->listeners.open, &listener->link);
	http_server_handle_opened(server);
	if (server->listeners.resume_at == HTTP_NEVER && !server->listeners.full)
		CHECK(uv_poll_start(&listener->poll, UV_READABLE, on_connectable) == 0);
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct http_listener *listener = LIST_ENTRY(handle, struct http_listener, poll);
	struct http_server *server = listener->server;

	free(listener);
	http_server_handle_closed(server);
}

void http_listeners_close(struct http_server *server)
{
	LIST_EACH(node, &server->listeners.open)
	{
		struct http_listener *listener = LIST_ENTRY(node, struct http_listener, link);

		list_remove(node);
		uv_close((uv_handle_t *)&listener->poll, on_closed);
		fd_close(&listener->fd);
	}
	server->listeners.resume_at = HTTP_NEVER;
	server->listeners.close_at = HTTP_NEVER;
	http_server_check_drained(server);
}

void http_listeners_drain(struct http_server *server, enum http_drain how)
{
	uint64_t now = uv_now(server->loop);

	if (how == HTTP_DRAIN_REPLACED) {
		http_listeners_close(server);
		return;
	}
	server->listeners.close_at =
		now + (how == HTTP_DRAIN_RETIRED ? RETIRED_TIME : SHUTDOWN_TIME);
	http_server_wake(server, server->listeners.close_at);
}

void http_listeners_have_room(struct http_server *server)
{
	if (!server->listeners.full || server->connection_count >= server->config->connection_limit)
		return;
	server->listeners.full = false;
	if (server->listeners.resume_at == HTTP_NEVER)
		resume_all(server);
}

/* The sockets' queues, emptied one last time: what is left in them would be reset. */
static void accept_last(struct http_server *server)
{
	LIST_EACH(node, &server->listeners.open)
	{
		const struct http_listener *listener = LIST_ENTRY(node, struct http_listener, link);

		while (accept_one(listener) == ACCEPTED_ONE)
			;
	}
}

uint64_t http_listeners_tick(struct http_server *server, uint64_t now)
{
	struct http_listeners *listeners = &server->listeners;

	if (listeners->resume_at <= now) {
		listeners->resume_at = HTTP_NEVER;
		if (!listeners->full)
			resume_all(server);
	}
	if (listeners->close_at <= now) {
		accept_last(server);
		http_listeners_close(server);
	}
	return listeners->resume_at < listeners->close_at ? listeners->resume_at
							  : listeners->close_at;
}
