/*
 * Hand-over: idle connections travel as descriptors from a draining worker to its heir.
 *
 * A connection is passed at a message boundary, with nothing read and nothing to write, so the
 * socket itself is all there is to pass: bytes that the client sends on the way wait in it. Our
 * copy is closed and never shut down, and is taken out of epoll first, because epoll watches the
 * open file, which lives on.
 *
 * Both ends are owned by their servers; used by workers.
 */
#include "http/handover.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/fd.h"
#include "http/server_state.h"

#define RETRY_TIME   5  /* ms until descriptors are passed again after the kernel had no room */
#define RECEIVE_MOST 16 /* messages taken before the loop looks at others again */

struct http_channel {
	uv_poll_t poll;
	struct list link; /* in server->handover.adopting, or in none */
	struct http_server *server;
	int fd;
};

/* The bytes of a message beside its descriptors, which are idle HTTP/1 connections. */
struct message {
	uint8_t version;           /* MESSAGE_VERSION */
	uint8_t count;             /* descriptors beside it */
	uint8_t apps[FD_PASS_MAX]; /* the `app` of each; left out when all are 0, as for most */
};

#define MESSAGE_VERSION 1
#define MESSAGE_SHORT   offsetof(struct message, apps)

void http_handover_init(struct http_handover *handover)
{
	*handover = (struct http_handover){.retry_at = HTTP_NEVER};
	list_init(&handover->adopting);
}

static void on_channel_closed(uv_handle_t *handle)
{
	struct http_channel *channel = LIST_ENTRY(handle, struct http_channel, poll);
	struct http_server *server = channel->server;

	free(channel);
	http_server_handle_closed(server);
}

static void channel_close(struct http_channel *channel)
{
	list_remove(&channel->link);
	uv_close((uv_handle_t *)&channel->poll, on_channel_closed);
	fd_close(&channel->fd);
}

/* A channel over `fd`, which stays the caller's if this fails. NULL then, with *error. */
static struct http_channel *channel_open(struct http_server *server, int fd, struct error *error)
{
	struct http_channel *channel = calloc(1, sizeof *channel);
	int code;

	if (channel == NULL) {
		(void)error_set(error, ENOMEM, "hand-over: memory is out");
		return NULL;
	}
	code = uv_poll_init(server->loop, &channel->poll, fd);
	if (code != 0) {
		free(channel);
		(void)error_set(error, -code, "hand-over: fd %d: %s", fd, uv_strerror(code));
		return NULL;
	}
	channel->server = server;
	channel->fd = fd;
	list_init(&channel->link);
	http_server_handle_opened(server);
	return channel;
}

/* ---- Taking over --------------------------------------------------------------------------- */

static void warn(struct http_server *server, const char *what, int code)
{
	char text[160];

	(void)snprintf(text, sizeof text, "hand-over: %s: %s", what, strerror(code));
	server->handler->on_warning(server->context, text);
}

static bool is_understood(const struct message *message, size_t size)
{
	return message->version == MESSAGE_VERSION &&
	       (size == MESSAGE_SHORT || size == sizeof *message);
}

/* Takes one message. Returns whether there may be another. */
static bool adopt_some(struct http_channel *channel)
{
	struct http_server *server = channel->server;
	struct message message = {0};
	int fds[FD_PASS_MAX];
	size_t count = FD_PASS_MAX;
	ssize_t size = fd_receive(channel->fd, &message, sizeof message, fds, &count, MSG_DONTWAIT);

	if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (size < 0 && errno == EMSGSIZE) {
		warn(server, "connections are lost, descriptors have run out", EMFILE);
		return true;
	}
	if (size <= 0) {
		channel_close(channel);
		http_server_check_drained(server);
		return false;
	}
	for (size_t i = 0; i < count; i++) {
		if (!is_understood(&message, (size_t)size))
			fd_close(&fds[i]);
		else if (http_connection_open(server, fds[i], NULL, message.apps[i]) != 0)
			warn(server, "a connection is lost", ENOMEM);
	}
	return true;
}

static void on_adoptable(uv_poll_t *poll, int status, int events)
{
	struct http_channel *channel = LIST_ENTRY(poll, struct http_channel, poll);

	(void)status; /* an error is recvmsg's to tell */
	(void)events;
	for (int i = 0; i < RECEIVE_MOST; i++)
		if (!adopt_some(channel))
			return;
}

int http_handover_adopt(struct http_server *server, int fd, struct error *error)
{
	struct http_channel *channel = channel_open(server, fd, error);

	if (channel == NULL)
		return -1;
	list_append(&server->handover.adopting, &channel->link);
	CHECK(uv_poll_start(&channel->poll, UV_READABLE | UV_DISCONNECT, on_adoptable) == 0);
	return 0;
}

void http_handover_close_adopting(struct http_server *server)
{
	LIST_EACH(node, &server->handover.adopting)
	channel_close(LIST_ENTRY(node, struct http_channel, link));
}

/* ---- Passing on ---------------------------------------------------------------------------- */

void http_handover_close_heir(struct http_server *server)
{
	if (server->handover.heir != NULL)
		channel_close(server->handover.heir);
	server->handover.heir = NULL;
	server->handover.retry_at = HTTP_NEVER;
}

static void lose_heir(struct http_server *server)
{
	http_handover_close_heir(server);
	server->handover.heir_lost = true;
	server->handler->on_heir_lost(server->context);
}

static void on_heir_event(uv_poll_t *poll, int status, int events)
{
	struct http_channel *channel = LIST_ENTRY(poll, struct http_channel, poll);

	if (status < 0 || (events & UV_DISCONNECT) != 0)
		lose_heir(channel->server);
	else
		http_handover_run(channel->server);
}

static void watch_heir(struct http_server *server, int events)
{
	CHECK(uv_poll_start(&server->handover.heir->poll, events, on_heir_event) == 0);
}

/* Nobody takes over: those that are idle have a moment left. */
static void give_up_idle(struct http_server *server)
{
	LIST_EACH(node, &server->waits[HTTP_WAIT_REQUEST])
	http_connection_wait_idle(LIST_ENTRY(node, struct http_connection, link));
}

void http_handover_set_heir(struct http_server *server, int heir)
{
	struct error error;

	http_handover_close_heir(server);
	server->handover.heir_lost = false;
	if (heir >= 0) {
		server->handover.heir = channel_open(server, heir, &error);
		if (server->handover.heir == NULL) {
			server->handler->on_warning(server->context, error.text);
			fd_close(&heir);
		}
	}
	if (server->handover.heir == NULL) {
		give_up_idle(server);
		return;
	}
	watch_heir(server, UV_DISCONNECT);
	http_server_later(server);
}

/* Passes the connections that have been idle longest. Returns 0, or -1 with errno. */
static int pass_some(struct http_server *server)
{
	struct http_connection *passed[FD_PASS_MAX];
	int fds[FD_PASS_MAX] = {0};
	struct message message = {.version = MESSAGE_VERSION};
	size_t size = MESSAGE_SHORT;
	size_t count = 0;

	LIST_EACH(node, &server->waits[HTTP_WAIT_REQUEST])
	{
		if (count == FD_PASS_MAX)
			break;
		passed[count] = LIST_ENTRY(node, struct http_connection, link);
		fds[count] = passed[count]->fd;
		message.apps[count] = passed[count]->app;
		if (passed[count]->app != 0)
			size = sizeof message;
		count++;
	}
	message.count = (uint8_t)count;
	if (fd_send(server->handover.heir->fd, &message, size, fds, count, MSG_DONTWAIT) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		http_connection_close(passed[i]);
	return 0;
}

void http_handover_run(struct http_server *server)
{
	struct http_handover *handover = &server->handover;

	if (handover->heir == NULL || handover->retry_at != HTTP_NEVER)
		return;
	while (handover->heir != NULL && !list_empty(&server->waits[HTTP_WAIT_REQUEST])) {
		if (pass_some(server) == 0)
			continue;
		switch (errno) {
		case EAGAIN:
			watch_heir(server, UV_WRITABLE | UV_DISCONNECT);
			return;
		case ETOOMANYREFS: /* too many descriptors are on their way in this system */
		case ENOBUFS:
		case ENOMEM:
			handover->retry_at = uv_now(server->loop) + RETRY_TIME;
			http_server_wake(server, handover->retry_at);
			return;
		default:
			lose_heir(server);
			return;
		}
	}
	if (handover->heir != NULL)
		watch_heir(server, UV_DISCONNECT);
}

uint64_t http_handover_tick(struct http_server *server, uint64_t now)
{
	if (server->handover.retry_at <= now) {
		server->handover.retry_at = HTTP_NEVER;
		http_handover_run(server);
	}
	return server->handover.retry_at;
}
