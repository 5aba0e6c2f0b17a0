/* From a client's bytes to messages, and answers to control frames. */
#ifndef PERIGEE_HTTP_WEBSOCKET_READ_H
#define PERIGEE_HTTP_WEBSOCKET_READ_H

#include <stddef.h>

struct http_websocket;

/*
 * Reads frames, which are unmasked in place, until `data` is used up, a message is ready or the
 * WebSocket is closed. Returns the bytes used. websocket->ready may point into `data`.
 */
size_t websocket_read(struct http_websocket *websocket, char *data, size_t size);

/* Copies what `ready` points to into the WebSocket's own memory. Returns 0, or -1 without memory.
 */
int websocket_keep_ready(struct http_websocket *websocket);

#endif
