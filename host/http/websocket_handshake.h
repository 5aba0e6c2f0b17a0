/* The opening handshake of a WebSocket (RFC 6455, 4.2): what answers http_websocket_check. */
#ifndef PERIGEE_HTTP_WEBSOCKET_HANDSHAKE_H
#define PERIGEE_HTTP_WEBSOCKET_HANDSHAKE_H

#include <stdint.h>

#include "http/websocket_abi.h"
#include "http/websocket_deflate.h"

#define WEBSOCKET_ACCEPT_SIZE 28 /* characters of a Sec-WebSocket-Accept */

/* The answer to a key that http_websocket_check has passed, with a NUL behind. */
void websocket_accept_key(const struct http_request *request, uint64_t serial,
	char accept[WEBSOCKET_ACCEPT_SIZE + 1]);

/* As websocket_deflate_agree, for what the client offers in any of its header fields. */
int websocket_agree_extensions(
	const struct http_request *request, uint64_t serial, char answer[WEBSOCKET_ANSWER_MAX]);

#endif
