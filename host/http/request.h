/*
 * A request in progress, with its answer: an exchange.
 *
 * Exchanges come from a pool of the process and are attached to a connection from the first byte
 * of a request to the end of its answer, so an idle connection has none. The pool never gives the
 * structs back, which is what makes a stale (request, serial) pair safe to check for ever.
 */
#ifndef PERIGEE_HTTP_REQUEST_H
#define PERIGEE_HTTP_REQUEST_H

#include <llhttp/llhttp.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/list.h"
#include "base/slice.h"
#include "http/http_abi.h"

#define HTTP_FIELDS_INLINE 24 /* header fields without a table of their own */
#define HTTP_IP_SIZE       48 /* the longest address as text, and its NUL */

struct compressor;
struct http_connection;
struct http_file_body;
struct http_websocket;

/* A header field; offsets from the exchange's base. */
struct http_field {
	uint32_t name_at;
	uint32_t name_size;
	uint32_t value_at;
	uint32_t value_size; /* without blanks around it once the head is complete */
};

/* A run of bytes of the head. */
struct http_span {
	uint32_t at; /* offset from the exchange's base */
	uint32_t size;
};

/* How the bytes of the answer's body are marked off. */
enum http_framing {
	HTTP_FRAMING_NONE = 0, /* there is no body: HEAD, 204, 304 */
	HTTP_FRAMING_LENGTH,
	HTTP_FRAMING_CHUNKED,
	HTTP_FRAMING_CLOSE /* HTTP/1.0: ends with the connection */
};

struct http_exchange {
	struct http_request view;           /* first: the pointer Lua has is a pointer to this */
	struct http_connection *connection; /* NULL for a WebSocket that has lost it */
	struct list ready; /* in server->ready while the loop has something to do with it */

	/* Reading; see parser.c. */
	llhttp_t parser;
	const char *base;       /* the head's first byte: where it was read, or head.data */
	const char *checked;    /* up to here the lines of the read in progress are checked */
	const char *input_end;  /* the end of the read in progress */
	struct buffer head;     /* the head, once it spans reads or has to outlive one */
	struct buffer body;     /* what is not taken of the body, likewise */
	struct buffer trailers; /* "name\0value\0name\0value" */
	struct buffer rest;     /* bytes behind this request that were read with it */
	size_t rest_at;         /* how many of them are parsed already */
	uint32_t head_size; /* bytes of the head, the empty line included; 0 until it is known */
	struct http_span method;
	struct http_span target;
	struct http_span path;
	struct http_span query;
	const char *decoded; /* the path where it is not as received, path.size bytes; or NULL */
	struct http_field *fields; /* inline_fields, or malloc'ed */
	struct http_field inline_fields[HTTP_FIELDS_INLINE];
	uint32_t field_count;
	uint32_t field_capacity;
	uint32_t trailer_count;
	uint32_t framing_bytes; /* chunk sizes, extensions and trailers since the last body byte */
	uint32_t extension_bytes; /* of all chunk extensions of this body */
	const char *placed;       /* the body where it was read; NULL when it is in `body` */
	size_t placed_size;
	uint64_t length;      /* bytes of the body that were announced; 0 when chunked */
	uint64_t body_limit;  /* bytes of it at most; the server's, or what the handler said */
	uint64_t body_total;  /* bytes of it that have come */
	uint64_t body_asked;  /* bytes the handler waits for, UINT64_MAX for all; 0 for none */
	uint64_t asked_at;    /* when it began to wait; loop time, ms */
	uint64_t body_waited; /* ms of waiting before that */
	uint64_t dropped;     /* bytes of it that came after the answer */
	int refusal;          /* status of the error found, 0 for none */
	const char *reason;   /* a sentence to it */
	char last_byte;       /* of the lines checked so far */
	bool begun;    /* a byte of it was read; until then the parser's fields mean nothing */
	bool in_value; /* the parser is in a field's value, not its name */
	bool head_complete;
	bool complete;
	bool chunked;
	bool expects_continue; /* and was not answered 100 yet */
	bool dropping;         /* the request is over, and what is left of its body is dropped */
	bool client_closes;    /* it does not want to keep the connection */

	/* Answering; see response.c. */
	bool keep_alive;  /* the connection outlives this exchange, as far as this one knows */
	bool is_head;     /* HEAD: answers have no body */
	bool full;        /* HTTP_FULL was said, on_writable is owed */
	bool chunk_begun; /* the next chunk's size has a first digit already */
	uint8_t framing;  /* enum http_framing */
	uint64_t owed;    /* body bytes that are announced and not written */
	struct compressor *compressor;    /* of a body in pieces; NULL while none is compressed */
	struct http_file_body *file_body; /* what the loop sends of the answer; NULL else */
	int status;                       /* of the answer; 0 before */
	uint64_t sent;                    /* body bytes of the answer */
	uint64_t started; /* for the access log: uv_hrtime when the handler got it; 0 before */

	uint64_t dispatched; /* loop time, ms, when the handler got it */

	struct http_websocket *websocket; /* what it became; NULL for most */

	struct arena arena; /* the decoded path */
	char ip[HTTP_IP_SIZE];
	char client[HTTP_IP_SIZE]; /* for the access log: who its proxies say it is; or "" */
};

/* An exchange for `connection`, or NULL when memory is out. */
struct http_exchange *http_exchange_new(struct http_connection *connection);

/* The exchange of the request `serial`, if it is not over; else NULL. Looks at all there are. */
struct http_exchange *http_exchange_find(uint64_t serial);

/* The client's address as text, looked up when it is first asked for. */
const char *http_exchange_ip(struct http_exchange *exchange);

/* Ends the request: its serial is over. The exchange is ready for the next of its connection. */
void http_exchange_reset(struct http_exchange *exchange);

/* Ends the request before its body: what is left of that is parsed and dropped. */
void http_exchange_drop(struct http_exchange *exchange);

/* Ends the request and gives the exchange back to the pool. */
void http_exchange_free(struct http_exchange *exchange);

/* Notes what the request is to be answered with instead of being served. Returns -1. */
static inline int http_exchange_refuse(
	struct http_exchange *exchange, int status, const char *reason)
{
	exchange->refusal = status;
	exchange->reason = reason;
	return -1;
}

/* Has the loop look at the exchange, unless it is about to anyway. */
void http_exchange_queue(struct http_exchange *exchange);

/* Whether the handler has been given the request and has not answered it in full. */
static inline bool http_exchange_is_open(const struct http_exchange *exchange)
{
	return exchange->view.state == HTTP_REQUEST_WAITING ||
	       exchange->view.state == HTTP_REQUEST_STREAMING;
}

/* The exchange of a request that a handler may still answer, or NULL. */
static inline struct http_exchange *http_exchange_of(struct http_request *request, uint64_t serial)
{
	struct http_exchange *exchange = (struct http_exchange *)(void *)request;

	return request->serial == serial && http_exchange_is_open(exchange) ? exchange : NULL;
}

static inline bool http_exchange_has_rest(const struct http_exchange *exchange)
{
	return exchange->rest_at < exchange->rest.size;
}

#endif
