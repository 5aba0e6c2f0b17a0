/* The requests that a handler has and has not answered in full: for whoever asks what goes on. */
#ifndef PERIGEE_HTTP_OPEN_REQUESTS_H
#define PERIGEE_HTTP_OPEN_REQUESTS_H

#include <stdint.h>

#include "base/slice.h"

struct http_server;

struct http_open_request {
	uint64_t serial;
	uint64_t since; /* loop time, ms, when the handler got it */
	struct slice method;
	struct slice target; /* as received */
	int version_minor;
	const char *id; /* as req.id */
	const char *ip; /* as req.peer_ip */
};

typedef void http_open_request_function(void *context, const struct http_open_request *request);

/*
 * Calls `each` for the open requests of the server, the one that is being dispatched first, then
 * those that wait for their handler, the oldest first. WebSockets are not among them. On the loop,
 * or in a copy of the process.
 */
void http_server_each_open(
	struct http_server *server, http_open_request_function *each, void *context);

/* Calls `each` for the request `serial` (also a WebSocket, also one being dispatched) if it is
 * open. On the loop, or in a copy of the process. */
void http_open_request_find(uint64_t serial, http_open_request_function *each, void *context);

#endif
