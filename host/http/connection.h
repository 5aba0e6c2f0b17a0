/*
 * A client's connection: reading, the requests on it one after another, closing.
 *
 * The struct is what an idle connection costs, so all that a request needs is in its exchange.
 */
#ifndef PERIGEE_HTTP_CONNECTION_H
#define PERIGEE_HTTP_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/list.h"
#include "http/server.h"

struct http_exchange;

/* What a connection waits for; each has its own timeout, and its list in the server. */
enum http_wait {
	HTTP_WAIT_REQUEST = 0, /* idle */
	HTTP_WAIT_GRACE,       /* idle, and the server ends: a last request may be on its way */
	HTTP_WAIT_HEAD,
	HTTP_WAIT_BODY,
	HTTP_WAIT_ANSWER,  /* the handler's */
	HTTP_WAIT_PROBE,   /* the handler's too, but the client may be gone */
	HTTP_WAIT_CLIENT,  /* that it takes bytes */
	HTTP_WAIT_WRITER,  /* of the file being sent, who is in the midst of a change */
	HTTP_WAIT_LINGER,  /* that it has read the last answer */
	HTTP_WAIT_PING,    /* a WebSocket, until it is asked for a sign of life */
	HTTP_WAIT_PONG,    /* for that sign */
	HTTP_WAIT_CLOSE,   /* for the client's close frame, after ours */
	HTTP_WAIT_NOTHING, /* a streaming handler may take its time */
	HTTP_WAITS
};

/* What happens once all answers are written. */
enum http_closing {
	HTTP_CLOSING_NOT = 0,
	HTTP_CLOSING_PLAIN,  /* the client asked for it and has sent all it wants */
	HTTP_CLOSING_LINGER, /* more may be on its way: close such that the answer is not lost */
	HTTP_CLOSING_RESET   /* the answer is broken off and only a reset tells the client */
};

struct http_connection {
	uv_poll_t poll;
	struct http_server *server;
	struct http_exchange *exchange; /* the request in progress; NULL while idle */
	struct list link;               /* in server->waits[wait]; in the pool's list when free */
	uint64_t deadline;              /* of that wait; loop time, ms */
	struct buffer output;           /* what the client has not taken yet; empty while idle */
	size_t output_at;               /* how much of it is sent; while lingering: bytes dropped */
	struct tls_session *tls;        /* or NULL; then `output` holds records, see secure.h */
	int fd;
	uint8_t app;     /* of the listening socket it came to; see http_server_listen */
	uint8_t wait;    /* enum http_wait */
	uint8_t closing; /* enum http_closing */
	uint8_t events;  /* the UV_… events that are polled for */
	bool broken;     /* the client is gone or memory is out: nothing can be sent */
	bool lingering;
	bool closed; /* waits for libuv's close callback */
};

/* The connections of a server that are free; the memory goes when the server does. */
struct http_connection_pool {
	struct list free;
	struct http_connection_slab *slabs;
};

/*
 * Takes `fd`, accepted or adopted, as an idle connection; under TLS if `tls` is not NULL. Returns
 * 0, or -1: the fd is closed then.
 */
int http_connection_open(struct http_server *server, int fd, struct tls_context *tls, uint8_t app);

/* Goes on after the handler did something outside of on_request. */
void http_connection_resume(struct http_connection *connection);

/* Its time is up. */
void http_connection_expire(struct http_connection *connection);

/* ---- For the files that share this one's work ---- */

/* Polls for these UV_… events from now on. */
void http_connection_want(struct http_connection *connection, int events);

/* recv(2) into the server's input. */
ssize_t http_connection_receive(struct http_connection *connection);

/* The client can take more: whatever the handler writes now leaves in one write. */
void http_connection_tell_writable(struct http_connection *connection);

/* ---- connection_open.c: while the handler has the request ---- */

/* Takes what was read: more of the body that the handler asked for. */
void http_connection_take_body(struct http_connection *connection, const char *data, size_t size);

/* body_timeout is over. */
void http_connection_time_out_body(struct http_connection *connection);

/* Something is there to read that nobody asked for, or the client ends: looks which. */
void http_connection_watch(struct http_connection *connection);

/* The client has ended sending a while ago, and the handler works on: is it still there? */
void http_connection_probe(struct http_connection *connection);

/* ---- connection_wait.c: deadlines ---- */

/* Goes on with a wait, or starts it. */
void http_connection_wait(struct http_connection *connection, enum http_wait wait);

/* The next http_connection_wait starts a wait, whatever it is. */
void http_connection_forget_wait(struct http_connection *connection);

/* Whether its next answer is its last: the server ends, and nobody can take it over. */
bool http_connection_is_ending(const struct http_connection *connection);

/* Puts an idle connection in the list it belongs to now; see http_connection_is_ending. */
void http_connection_wait_idle(struct http_connection *connection);

/* ---- connection_end.c: closing ---- */

/* Tells the handler that its request is over, if it has one, and closes. */
void http_connection_cancel(struct http_connection *connection, enum http_cancel why);

/* Closes our copy of the socket at once, without a word to the client or the handler. */
void http_connection_close(struct http_connection *connection);

/* Ends it as `closing` says, once everything is written. */
void http_connection_end(struct http_connection *connection);

/* While lingering: what comes is dropped, until the client closes or it is too much. */
void http_connection_drop_input(struct http_connection *connection);

/* ---- connection_pool.c ---- */

/* Memory for a connection, or NULL when there is none. */
struct http_connection *http_connection_pool_take(struct http_connection_pool *pool);

void http_connection_pool_free(struct http_connection_pool *pool);

#endif
