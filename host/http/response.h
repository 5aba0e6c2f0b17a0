/* Answers: http_abi.h's http_response_… and those that the server gives itself. */
#ifndef PERIGEE_HTTP_RESPONSE_H
#define PERIGEE_HTTP_RESPONSE_H

#include "base/slice.h"

struct http_exchange;

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

#endif
