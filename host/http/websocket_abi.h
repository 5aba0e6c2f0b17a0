/*
 * WebSockets (RFC 6455) as Lua sees them, through LuaJIT's FFI.
 *
 * This file is included by the C that implements it and fed to ffi.cdef as it is, so it holds
 * plain declarations only: no directive but this guard and the includes, which the build strips.
 *
 * A WebSocket is addressed as the request that it grew out of, by pointer and serial (see
 * http_abi.h), which stay good until http_websocket_finish, even when the client has gone before.
 * None of these calls the handler back and none waits.
 */
#ifndef PERIGEE_HTTP_WEBSOCKET_ABI_H
#define PERIGEE_HTTP_WEBSOCKET_ABI_H

#include <stddef.h>
#include <stdint.h>

struct http_request;

enum http_websocket_kind {
	HTTP_WEBSOCKET_NONE = 0, /* nothing has come yet */
	HTTP_WEBSOCKET_TEXT = 1, /* UTF-8, checked */
	HTTP_WEBSOCKET_BINARY = 2,
	HTTP_WEBSOCKET_CLOSED = 3 /* nothing more will come: `code` and the reason as data */
};

struct http_websocket_event {
	const char *data; /* valid until the next call for this WebSocket; NULL when size is 0 */
	uint64_t size;    /* bytes */
	int32_t kind;     /* enum http_websocket_kind */
	int32_t code; /* RFC 6455, 7.4: 1000 …; 1005 no code was given, 1006 the client is lost */
};

/*
 * Whether a request that waits for its answer asks for a WebSocket (4.2.1). Returns 0, or the
 * status to refuse it with, 400 or 426, and *reason; -1 when the request is over.
 */
int http_websocket_check(const struct http_request *request, uint64_t serial, const char **reason);

/*
 * Answers 101 with header lines of the caller's, which are checked as in http_response_send.
 * Returns enum http_result; only for a request that http_websocket_check has passed.
 */
int http_websocket_accept(
	struct http_request *request, uint64_t serial, const char *headers, size_t headers_size);

/* Takes the next message, if there is one. Returns HTTP_OK with *event, or HTTP_OVER. */
int http_websocket_receive(
	struct http_request *request, uint64_t serial, struct http_websocket_event *event);

/*
 * Sends a message. Returns HTTP_OK; HTTP_FULL: it is taken, but wait for on_writable before more;
 * HTTP_OVER: it is closed; HTTP_BAD_TEXT: a text that is no UTF-8; HTTP_NO_MEMORY.
 */
int http_websocket_send(
	struct http_request *request, uint64_t serial, int kind, const char *data, size_t size);

/* Sends a ping of at most 125 bytes. Returns as http_websocket_send. */
int http_websocket_ping(
	struct http_request *request, uint64_t serial, const char *data, size_t size);

/*
 * Sends a close frame, after which nothing is sent or received. `code` is one that may be sent
 * (see http_websocket_code_valid), `reason` has at most 123 bytes. Returns HTTP_OK, HTTP_BAD_TEXT
 * when that is no UTF-8, or HTTP_OVER when it is closed already.
 */
int http_websocket_close(struct http_request *request, uint64_t serial, int code,
	const char *reason, size_t reason_size);

/* Whether it is not open any more, though messages may be left: 1, with code and reason in *event,
 * 0, or HTTP_OVER. */
int http_websocket_closing(
	struct http_request *request, uint64_t serial, struct http_websocket_event *event);

/* Whether a close frame may have this code (7.4): 1 or 0. */
int http_websocket_code_valid(int code);

/* The handler is done: closes with `code` unless it is closed; the request may be over at once. */
int http_websocket_finish(struct http_request *request, uint64_t serial, int code);

/* Has what is published on `topic` (any bytes) sent to this WebSocket. Twice is once. Returns
 * HTTP_OK, HTTP_OVER or HTTP_NO_MEMORY. */
int http_websocket_subscribe(
	struct http_request *request, uint64_t serial, const char *topic, size_t topic_size);

/* Ends that. Returns 1, 0 when it was not subscribed, or HTTP_OVER. */
int http_websocket_unsubscribe(
	struct http_request *request, uint64_t serial, const char *topic, size_t topic_size);

#endif
