/* The body of a request that a handler has: how it asks for more, and what becomes of the rest. */
#ifndef PERIGEE_HTTP_BODY_H
#define PERIGEE_HTTP_BODY_H

#include <stdbool.h>

struct http_exchange;

/* Whether what the handler asked for is there, or nothing more will come. */
bool http_body_is_due(const struct http_exchange *exchange);

/* Nothing more of the body can come, for a reason that `status` and the sentence tell. */
void http_body_fail(struct http_exchange *exchange, int status, const char *reason);

/* Whether the handler waits for a body of which too little comes: less than body_rate_minimum on
 * average, once body_timeout was waited for it in all. */
bool http_body_is_slow(const struct http_exchange *exchange);

/* Whether the rest of the body is worth dropping to keep the connection: it is on its way and, as
 * far as is known, not above unread_body_limit. */
bool http_body_may_drop(const struct http_exchange *exchange);

#endif
