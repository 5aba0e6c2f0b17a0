/*
 * permessage-deflate (RFC 7692) over zlib.
 *
 * Both directions are agreed on without context takeover, so a message is compressed by itself and
 * a connection keeps no state: one inflater and a deflater per window size serve the whole process.
 * Used by workers; one loop, one thread.
 */
#ifndef PERIGEE_HTTP_WEBSOCKET_DEFLATE_H
#define PERIGEE_HTTP_WEBSOCKET_DEFLATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/slice.h"

#define WEBSOCKET_ANSWER_MAX 160 /* bytes of a Sec-WebSocket-Extensions line */

/* A value of Sec-WebSocket-Extensions. Returns the window bits (9 to 15) that we compress with and
 * the header line that says so, or 0 when nothing in it can be accepted. */
int websocket_deflate_agree(struct slice offers, char answer[WEBSOCKET_ANSWER_MAX]);

enum websocket_inflated {
	WEBSOCKET_INFLATED = 0,
	WEBSOCKET_INFLATE_BROKEN,   /* that is not deflate */
	WEBSOCKET_INFLATE_TOO_LONG, /* more than `limit` bytes */
	WEBSOCKET_INFLATE_NO_MEMORY
};

/* Decompresses a message, in place of what is in *message. */
enum websocket_inflated websocket_inflate(struct buffer *message, uint64_t limit);

/*
 * Compresses a message. Returns it (valid until the next call), or a slice without data when it
 * does not get shorter or memory is out.
 */
struct slice websocket_deflate(int window_bits, const char *data, size_t size);

#endif
