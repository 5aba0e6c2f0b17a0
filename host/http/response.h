/* Answers: http_abi.h's http_response_… and those that the server gives itself. */
#ifndef PERIGEE_HTTP_RESPONSE_H
#define PERIGEE_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct http_exchange;

/* An answer that another file of this room makes. */
struct http_answer {
	int status;
	int type;           /* enum http_type */
	struct slice own;   /* header lines of this room's, which are right */
	struct slice more;  /* likewise */
	struct slice lines; /* the handler's, checked here */
	int64_t length;     /* bytes of the body */
	struct slice body;  /* the whole of it; with data NULL it follows */
};

/*
 * Answers. Where the body follows, the state is HTTP_REQUEST_STREAMING then and owed says how much;
 * else the answer is complete. Returns enum http_result; but for HTTP_OK nothing was sent.
 */
int http_response_answer(struct http_exchange *exchange, const struct http_answer *answer);

/* Answers with `status` and a line of text saying why. The connection's fate is keep_alive's. */
void http_response_refuse(struct http_exchange *exchange, int status, const char *reason);

/*
 * Answers 101 for a WebSocket: its Sec-WebSocket-Accept, the line about extensions ("" for none),
 * and the handler's own lines. Returns HTTP_OK or HTTP_BAD_HEADER.
 */
int http_response_upgrade(struct http_exchange *exchange, const char *accept,
	const char *extensions, struct slice headers);

/* Sends "100 Continue". */
void http_response_continue(struct http_exchange *exchange);

/* Of a chunked body: sends a first digit of the next chunk's size, 0, unless one is sent. */
void http_response_begin_chunk(struct http_exchange *exchange);

#endif
