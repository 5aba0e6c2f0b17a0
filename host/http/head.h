/* The check of a request's head, over what llhttp has found in it. */
#ifndef PERIGEE_HTTP_HEAD_H
#define PERIGEE_HTTP_HEAD_H

#include <stdbool.h>

struct http_exchange;

/* What a method is that llhttp does not know. */
enum http_unknown_method {
	HTTP_METHOD_MALFORMED,
	HTTP_METHOD_UNKNOWN,
	HTTP_METHOD_UNFINISHED /* the read ends in its middle */
};

/*
 * Accounts for every byte of the complete head, which ends at `end` or before, and notes what it
 * means: version, fields, framing of the body, path. Returns 0, or -1 after refusing.
 */
int http_head_check(struct http_exchange *exchange, const char *end);

/* The limits of a head that goes on: what is there already may be too much. Returns 0 or -1. */
int http_head_check_unfinished(struct http_exchange *exchange, const char *end);

enum http_unknown_method http_head_unknown_method(
	const struct http_exchange *exchange, const char *end);

/* Whether the request line ends in an HTTP version, if an unknown one. */
bool http_head_has_unknown_version(const struct http_exchange *exchange, const char *end);

#endif
