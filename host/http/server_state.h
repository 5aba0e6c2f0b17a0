/*
 * The inside of struct http_server, for the files of this room only.
 *
 * Rule of this room: the functions of http_abi.h are called out of compiled Lua, so they never call
 * the handler back. What they find to do is queued (http_server_later) and done from the loop.
 */
#ifndef PERIGEE_HTTP_SERVER_STATE_H
#define PERIGEE_HTTP_SERVER_STATE_H

#include "base/list.h"
#include "http/access_log.h"
#include "http/connection.h"
#include "http/date.h"
#include "http/file_cache.h"
#include "http/handover.h"
#include "http/listener.h"
#include "http/output.h"
#include "http/request.h"
#include "http/response_head.h"
#include "http/server.h"
#include "http/websocket_topic.h"

#define HTTP_INPUT_SIZE 65536 /* bytes one read takes at most; a read's rest is copied, if any */
#define HTTP_NEVER      UINT64_MAX

struct http_server {
	uv_loop_t *loop;
	const struct http_config *config;
	const struct http_handler *handler;
	void *context;
	struct http_counters *counters;

	uv_timer_t timer;              /* runs while somebody waits for a time */
	uint64_t wake_at;              /* when it fires; HTTP_NEVER while it rests */
	uv_idle_t later;               /* runs while there is queued work */
	struct list ready;             /* exchanges with something to do */
	struct list waits[HTTP_WAITS]; /* connections by what they wait for, soonest first */
	struct http_connection_pool connections;
	struct list websockets; /* until connection and handler are both done */
	struct websocket_topics topics;
	struct http_exchange *dispatching; /* its on_request is running; NULL else */

	char *input;             /* HTTP_INPUT_SIZE bytes: what was read last */
	char *records;           /* what was read last under TLS, see secure.c; NULL before that */
	struct http_batch batch; /* answers of the read event in progress */
	struct http_date date;
	struct http_response_start start; /* of the answer sent last */
	struct buffer coded_lines;        /* of an answer being sent, see compression.c */
	struct buffer coded_body;
	struct http_access *access; /* NULL: requests are not logged */

	struct http_file_cache files;

	struct http_listeners listeners;
	struct http_handover handover;
	int draining;  /* enum http_drain, 0 before */
	bool stopping; /* http_server_stop was called */
	bool finished; /* nothing is left but the timer and the idle handle, which are closing */
	uint32_t connection_count; /* open ones, as counters->connections may be shared */
	uint32_t handles;          /* libuv handles whose close callback has not come */
};

/* Has the loop come back to http_server's queue as soon as it can. */
void http_server_later(struct http_server *server);

/* Has the timer fire at `when` (loop time, ms) or before. */
void http_server_wake(struct http_server *server, uint64_t when);

/* Whether the server ends and nobody takes over. */
bool http_server_is_ending(const struct http_server *server);

/* Counts a handle in at its init; http_server_handle_closed counts it out in its close callback. */
void http_server_handle_opened(struct http_server *server);
void http_server_handle_closed(struct http_server *server);

/* Something that a drain waits for is gone. */
void http_server_check_drained(struct http_server *server);

#endif
