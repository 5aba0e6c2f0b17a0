/* Listening sockets: accepting, pausing when there is no room, closing. */
#ifndef PERIGEE_HTTP_LISTENER_H
#define PERIGEE_HTTP_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "http/server.h"

struct http_listeners {
	struct list open;
	uint64_t resume_at;     /* when accepting is tried again after a failure; HTTP_NEVER else */
	uint64_t close_at;      /* when a draining server stops accepting; HTTP_NEVER else */
	uint64_t warn_again_at; /* the same warning is not given before */
	int warned;             /* the errno that was warned of last */
	bool full;              /* accepting rests because of connection_limit */
};

void http_listeners_init(struct http_listeners *listeners);

/* See http_server_listen. */
int http_listener_open(struct http_server *server, int fd, struct tls_context *tls, uint8_t app,
	struct error *error);

/* See enum http_drain. */
void http_listeners_drain(struct http_server *server, enum http_drain how);

/* A connection is gone: goes on accepting if that was waited for. */
void http_listeners_have_room(struct http_server *server);

/* Does what is due at `now`. Returns when the next thing is due, or HTTP_NEVER. */
uint64_t http_listeners_tick(struct http_server *server, uint64_t now);

void http_listeners_close(struct http_server *server);

#endif
