/*
 * A WebSocket: what a request becomes when its handler takes an upgrade.
 *
 * It hangs on the exchange of that request, which lives until two things are over, in either
 * order: the connection, and the handler (http_websocket_finish). Reading stops while the handler
 * leaves a message untaken or the client does not take bytes, so neither side can make us hold
 * more than a message and a read.
 */
#ifndef PERIGEE_HTTP_WEBSOCKET_H
#define PERIGEE_HTTP_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/list.h"
#include "base/slice.h"
#include "http/websocket_abi.h"
#include "http/websocket_frame.h"

#define WEBSOCKET_REASON_MAX (WEBSOCKET_CONTROL_MAX - 2) /* bytes of a close frame's text */

struct http_connection;
struct http_exchange;
struct http_server;

enum websocket_state {
	WEBSOCKET_OPEN = 0,
	WEBSOCKET_CLOSING, /* our close frame is sent, the client's has not come */
	WEBSOCKET_CLOSED   /* nothing is read any more; the connection ends */
};

/* RFC 6455, 7.4.1 */
enum websocket_code {
	WEBSOCKET_CODE_NORMAL = 1000,
	WEBSOCKET_CODE_GOING_AWAY = 1001,
	WEBSOCKET_CODE_PROTOCOL = 1002,
	WEBSOCKET_CODE_NONE_GIVEN = 1005, /* never sent */
	WEBSOCKET_CODE_LOST = 1006,       /* never sent */
	WEBSOCKET_CODE_BAD_DATA = 1007,
	WEBSOCKET_CODE_TOO_BIG = 1009,
	WEBSOCKET_CODE_INTERNAL = 1011,
	WEBSOCKET_CODE_RESTART = 1012,
	WEBSOCKET_CODE_TRY_LATER = 1013
};

struct http_websocket {
	struct list link;           /* in server->websockets */
	struct http_server *server; /* outlives the connection */
	struct http_exchange *exchange;
	struct list subscriptions;    /* struct websocket_subscription, by `of_websocket` */
	struct websocket_frame frame; /* the one being read */
	struct buffer message;        /* a message's fragments, or the message in `ready` */
	struct slice ready;           /* the message to be received, where it was read or above */
	uint8_t ready_kind;           /* enum http_websocket_kind; 0 while there is none */
	uint8_t opcode;               /* of the message being read; 0 between messages */
	bool compressed;              /* that message is */
	size_t checked;               /* bytes in `message` that are known to be UTF-8 */
	uint8_t state;                /* enum websocket_state */
	bool told;                    /* the handler knows that it is not open any more */
	bool handler_done;            /* http_websocket_finish was called */
	bool paused;                  /* it sends more than the handler takes */
	bool hung_up;                 /* the client has closed its side; what it sent may be left */
	uint8_t window_bits;          /* to compress with; 0: not agreed on */
	uint8_t control_size;         /* bytes of the control frame being read */
	uint8_t reason_size;
	int32_t close_code; /* once it is not open */
	char control[WEBSOCKET_CONTROL_MAX];
	char reason[WEBSOCKET_REASON_MAX];
};

/* The WebSocket behind a request that Lua holds, or NULL when it is over. */
struct http_websocket *http_websocket_of(struct http_request *request, uint64_t serial);

/* Bytes that the client has not taken; only with a connection. */
size_t http_websocket_pending(const struct http_websocket *websocket);

/* Sends one frame. Only with a connection. */
void http_websocket_send_frame(struct http_websocket *websocket, enum websocket_opcode opcode,
	bool compressed, struct slice payload);

/* Sends a close frame and waits for the client's; the handler is told from the loop. Only while it
 * is open. */
void http_websocket_begin_close(struct http_websocket *websocket, int code, struct slice reason);

/* Breaks it off because of what the client sent (7.1.7): a close frame, then the end. */
void http_websocket_fail(struct http_websocket *websocket, int code, const char *reason);

/* It is closed in form; the connection ends when all is written. */
void http_websocket_set_closed(struct http_websocket *websocket);

/* Begins to close it because the server drains: with 1001 or 1012. Only while it is open. */
void http_websocket_drain(struct http_websocket *websocket);

/* ---- For connection.c ---- */

/* Something happened on its socket. */
void http_websocket_on_event(struct http_connection *connection, int events);

/* Decides what to wait for; tells the handler what there is. */
void http_websocket_settle(struct http_connection *connection);

/* The time of one of its waits is up. */
void http_websocket_expire(struct http_connection *connection);

/* The connection is lost. The handler is told; the caller closes. */
void http_websocket_lose(struct http_exchange *exchange);

/* The connection is gone for good: the exchange lives on while the handler does. */
void http_websocket_detach(struct http_exchange *exchange);

/* ---- For server.c ---- */

/* Begins to close all that are open, with 1001 or 1012. */
void http_websocket_drain_all(struct http_server *server);

/* The server is being stopped: cancels the handlers whose connection is gone already. */
void http_websocket_stop_detached(struct http_server *server);

/* Ends it and its request. */
void http_websocket_free(struct http_websocket *websocket);

#endif
