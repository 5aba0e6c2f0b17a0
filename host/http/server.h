/*
 * The HTTP/1.1 server of one process: listening sockets in, complete requests out.
 *
 * Owned by the worker that starts it; one loop, one thread. It knows no Lua: what a request means
 * is up to the handler.
 */
#ifndef PERIGEE_HTTP_SERVER_H
#define PERIGEE_HTTP_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/error.h"
#include "base/slice.h"
#include "http/http_abi.h"

struct http_server;
struct tls_context;

enum http_access_format {
	HTTP_ACCESS_OFF = 0,
	HTTP_ACCESS_COMMON,
	HTTP_ACCESS_COMBINED,
	HTTP_ACCESS_JSON
};

/* Limits and timeouts; the names are those of the settings. Sizes in bytes, times in ms. */
struct http_config {
	uint32_t request_line_limit; /* 8 KiB; more is 414 */
	uint32_t header_limit;       /* 16 KiB for all header lines; more is 431 */
	uint32_t header_count_limit; /* 100 fields; more is 431 */
	uint64_t body_limit;         /* 100 MiB; more is 413 */
	uint64_t
		unread_body_limit; /* 256 KiB of a body no handler reads are dropped; else closed */
	uint32_t header_timeout; /* 10 s from a request's first byte to the end of its head: 408 */
	uint32_t body_timeout;   /* 60 s for the next bytes of what a handler asks for: 408 */
	uint32_t body_rate_minimum;  /* 256 bytes a second on average, once body_timeout was waited
				      * for a body in all: 408 */
	uint32_t keep_alive_timeout; /* 75 s without a request */
	uint32_t response_timeout;   /* 60 s from the request, or what it asked for of the body, to
				      * the handler's answer: 503 */
	uint32_t write_timeout;      /* 60 s without the client taking a byte: closed */
	uint32_t connection_limit;   /* connections at once; above it accepting pauses */
	uint32_t write_buffer_limit; /* 64 KiB waiting to be taken before HTTP_FULL */
	uint32_t compress;       /* 1: texts are compressed for clients that ask for it; 0: never */
	uint32_t compress_level; /* 4; from 1, fast, to 9, small */
	uint64_t compress_minimum;  /* 1 KiB; smaller answers are sent as they are */
	uint64_t compress_maximum;  /* 4 MiB; so are larger ones, which would hold up the loop */
	int access_log;             /* enum http_access_format */
	uint32_t file_cache_time;   /* 1 s until a file served before is compared with the disk's */
	uint32_t file_cache_open;   /* 128 files are kept open at most */
	uint64_t file_cache_memory; /* 32 MiB of small files' contents are kept at most */
	uint64_t file_memory_limit; /* 64 KiB: a larger file is not read but kept open */
	uint32_t websocket_message_limit;   /* 1 MiB, decompressed; more is 1009 */
	uint32_t websocket_buffer_limit;    /* 1 MiB of what was published waiting: 1013 */
	uint32_t websocket_ping_interval;   /* 20 s between two pings */
	uint32_t websocket_ping_timeout;    /* 20 s for a sign of life after one: 1006 */
	uint32_t websocket_close_timeout;   /* 5 s for the client's close frame after ours */
	uint32_t websocket_compression;     /* 1: permessage-deflate is agreed to; 0: never */
	uint32_t websocket_compression_min; /* 1 KiB; shorter messages are sent as they are */
};

/* Why a request ended before its handler answered. */
enum http_cancel {
	HTTP_CANCEL_TIMEOUT = 1, /* response_timeout; the client was sent 503 if it could be */
	HTTP_CANCEL_DISCONNECT,  /* the client went away */
	HTTP_CANCEL_STOP         /* the server is being stopped */
};

/* What a server calls. All run on the loop; none may call http_server_free. */
struct http_handler {
	/* A request's head is complete, and its body is what was read with it: all of it, or its
	 * beginning (HTTP_BODY_COMING). It may be answered before this returns or later. */
	void (*on_request)(void *context, struct http_request *request);
	/* After HTTP_LATER: what was asked for of the body is there, or it is complete or failed.
	 */
	void (*on_body)(void *context, struct http_request *request);
	/* The request is over and was not answered in full. Its memory is valid until this returns,
	 * but http_response_* already answer HTTP_OVER. */
	void (*on_cancel)(void *context, struct http_request *request, enum http_cancel why);
	/* After HTTP_FULL: the client has taken enough, write on. */
	void (*on_writable)(void *context, struct http_request *request);
	/* A WebSocket has a message, or is not open any more: http_websocket_receive. */
	void (*on_websocket)(void *context, struct http_request *request);
	/* After http_server_drain: the last connection is gone and everything is closed. */
	void (*on_drained)(void *context);
	/* While draining: the heir's end is closed, connections cannot be passed on. */
	void (*on_heir_lost)(void *context);
	/* NULL, or: whether it has more connections than its share, and those that wait in a queue
	 * that is not its alone are for others, if they take them soon. */
	bool (*has_its_share)(void *context);
	/* Something an operator should read, once per cause: "accept: too many open files …". */
	void (*on_warning)(void *context, const char *text);
};

/* Written by this process only, may be read by others: aligned words, never reset. */
struct http_counters {
	uint64_t requests;          /* requests handed to the handler */
	uint64_t connections;       /* open now */
	uint64_t accepted;          /* connections ever accepted or adopted */
	uint64_t busy;              /* requests without a complete answer now */
	uint64_t websockets;        /* open now, or with a handler that has not returned */
	uint64_t websockets_slow;   /* closed because they took too slowly what was published */
	uint64_t publications_lost; /* of other workers, as this one read them too slowly */
};

/* How the sockets are left at http_server_drain. */
enum http_drain {
	HTTP_DRAIN_REPLACED = 1, /* somebody else accepts on the same sockets: close ours at once */
	HTTP_DRAIN_RETIRED,      /* nobody does: accept what is queued for a moment first */
	HTTP_DRAIN_SHUTDOWN      /* as RETIRED, and idle connections are closed after a grace */
};

/*
 * Makes a server on `loop`. `config`, `handler` and `counters` are borrowed and must outlive it.
 * Returns 0, or -1 with *error.
 */
int http_server_new(struct http_server **ret_server, uv_loop_t *loop,
	const struct http_config *config, const struct http_handler *handler, void *context,
	struct http_counters *counters, struct error *error);

/*
 * Accepts on `fd`, a listening socket (TCP or unix), which the server closes when it drains; under
 * TLS if `tls`, which outlives the server, is not NULL. `app` is the caller's number for what is
 * served there, which every request that comes that way carries. Returns 0, or -1 with *error.
 */
int http_server_listen(struct http_server *server, int fd, struct tls_context *tls, uint8_t app,
	struct error *error);

/*
 * Takes over connections that another worker passes on through `channel` (SOCK_SEQPACKET, owned
 * from now on), until its end. Returns 0, or -1 with *error.
 */
int http_server_adopt(struct http_server *server, int channel, struct error *error);

/*
 * Begins the end: no more accepting (see enum http_drain); connections that are or fall idle go
 * through `heir` (a SOCK_SEQPACKET channel, owned from now on) or, with -1, are told
 * "Connection: close" with their next answer. WebSockets are closed at once, with 1001 when the
 * host stops and else 1012, and never passed on. on_drained comes when nothing is left and the
 * handler of each WebSocket has returned.
 */
void http_server_drain(struct http_server *server, enum http_drain how, int heir);

/* While draining: a new heir in place of a lost one; -1 when there is nobody left. */
void http_server_set_heir(struct http_server *server, int heir);

/*
 * Sends a message to the WebSockets of this server that have subscribed to `topic`. `kind` is
 * enum http_websocket_kind. Calls no handler back. Returns how many there were, or HTTP_BAD_TEXT
 * for a text that is no UTF-8.
 */
int http_server_publish(
	struct http_server *server, struct slice topic, int kind, struct slice message);

/* Whether that can be published: a text has to be UTF-8. */
bool http_publication_valid(int kind, struct slice message);

/* Closes everything at once, cancelling what is in flight; on_drained comes when it is done. */
void http_server_stop(struct http_server *server);

/* Frees a server whose on_drained has come. */
void http_server_free(struct http_server *server);

#endif
