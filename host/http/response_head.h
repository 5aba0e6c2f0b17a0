/*
 * The head of an answer: whether the handler's own lines may be sent, how the body is framed, and
 * the lines that are written for it.
 *
 * No state of its own; used by workers.
 */
#ifndef PERIGEE_HTTP_RESPONSE_HEAD_H
#define PERIGEE_HTTP_RESPONSE_HEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/slice.h"
#include "http/request.h"

#define HTTP_PREFIX_SIZE 320 /* status line, Date, Content-Type, length, Connection */

/* What a head says besides the handler's own header lines. */
struct http_response_head {
	int status;
	int type;
	enum http_framing framing;
	bool has_length;
	uint64_t length;
	bool closes;
	bool says_close;  /* the handler's lines have "Connection: close" already */
	struct slice own; /* header lines of this room's */
	struct slice more;
};

/* The lines that answers of one status and type begin with, until the second is over. */
struct http_response_start {
	int status;
	int type;
	time_t second; /* 0: there is nothing yet */
	size_t size;
	char data[HTTP_PREFIX_SIZE];
};

/* Checks the handler's lines, "Name: value\r\n" each. Returns HTTP_OK or HTTP_BAD_HEADER. */
int http_response_head_check(const char *headers, size_t size, struct http_response_head *head);

/* Decides framing and closing for an answer of `length` bytes (-1: unknown). */
void http_response_head_plan(
	struct http_exchange *exchange, int64_t length, struct http_response_head *head);

/* Writes everything in front of the handler's own lines, at most HTTP_PREFIX_SIZE bytes. Returns
 * how many. */
size_t http_response_head_write(
	struct http_exchange *exchange, const struct http_response_head *head, char *to);

#endif
