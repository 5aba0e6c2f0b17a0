/*
 * The body of an answer that is sent from a file after its head: ranges of it, one after another,
 * each with a head of its own when there are several (multipart/byteranges).
 *
 * Sent by the loop, a bounded piece each turn, as fast as the client takes it. Belongs to its
 * exchange, in whose arena it lies.
 */
#ifndef PERIGEE_HTTP_FILE_BODY_H
#define PERIGEE_HTTP_FILE_BODY_H

#include <stdbool.h>

#include "http/file.h"
#include "http/range.h"

#define HTTP_BOUNDARY_SIZE 24 /* characters between the parts, without dashes */

struct http_exchange;

struct http_file_body {
	struct http_file *file; /* retained */
	struct http_range ranges[HTTP_RANGES_MAX];
	uint32_t count;    /* of ranges */
	uint32_t current;  /* index of the range being sent */
	uint64_t at;       /* bytes from the start: what of it is sent next */
	struct slice type; /* "Content-Type: …\r\n" for each part; in the file's lines, or empty */
	bool in_part;      /* the head of the current range is sent */
	bool in_doubt;     /* somebody writes to the file, and may change what is being sent */
	char boundary[HTTP_BOUNDARY_SIZE + 1];
};

/* A body for `exchange` of `count` ranges (at least 1), or NULL when memory is out. */
struct http_file_body *http_file_body_new(struct http_exchange *exchange, struct http_file *file,
	const struct http_range *ranges, int count, struct slice type);

/* Bytes of the body, all parts' heads included. */
uint64_t http_file_body_length(const struct http_file_body *body);

/*
 * Sends a piece; nothing may be waiting in the connection's output. At the end the answer is
 * complete. A file that has changed breaks it off; where that is in doubt nothing is sent, and the
 * next call, a while later, decides. Returns the bytes that the client took.
 */
uint64_t http_file_body_send(struct http_exchange *exchange);

/* Lets the exchange's body go, if it has one. */
void http_file_body_drop(struct http_exchange *exchange);

#endif
