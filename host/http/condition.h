/* Conditional requests (RFC 9110, 13): what the client has against what there is. */
#ifndef PERIGEE_HTTP_CONDITION_H
#define PERIGEE_HTTP_CONDITION_H

#include <stdbool.h>
#include <time.h>

#include "base/slice.h"

struct http_exchange;

/* The header values that decide how a file is sent; data NULL for one that was not sent. */
struct http_conditions {
	struct slice if_match;
	struct slice if_none_match;
	struct slice if_modified_since;
	struct slice if_unmodified_since;
	struct slice if_range;
	struct slice range;
	struct slice accept_encoding;
};

/* What a client may have a copy of. */
struct http_validators {
	struct slice etag; /* with its quotes, strong */
	time_t modified;
	time_t now;
};

/* Gathers them in one pass over the header fields. Lists on several lines are made one. */
void http_conditions_read(struct http_exchange *exchange, struct http_conditions *ret_conditions);

/* RFC 9110, 13.2.2: returns 200 to go on, 304 or 412. The method is GET or HEAD. */
int http_conditions_check(
	const struct http_conditions *conditions, const struct http_validators *validators);

/* Whether Range, if there is one, is to be heeded (RFC 9110, 13.1.5). */
bool http_conditions_range(
	const struct http_conditions *conditions, const struct http_validators *validators);

#endif
