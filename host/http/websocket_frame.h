/*
 * WebSocket frames (RFC 6455, 5): headers in both directions, unmasking, and the two checks on
 * payloads, UTF-8 and close codes. Pure functions over memory; used by workers.
 */
#ifndef PERIGEE_HTTP_WEBSOCKET_FRAME_H
#define PERIGEE_HTTP_WEBSOCKET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WEBSOCKET_HEADER_MAX  14  /* bytes of a frame's header: 2, a length of 8, a mask of 4 */
#define WEBSOCKET_CONTROL_MAX 125 /* bytes of a control frame's payload */

enum websocket_opcode {
	WEBSOCKET_CONTINUATION = 0x0,
	WEBSOCKET_TEXT = 0x1,
	WEBSOCKET_BINARY = 0x2,
	WEBSOCKET_CLOSE = 0x8,
	WEBSOCKET_PING = 0x9,
	WEBSOCKET_PONG = 0xa
};

/* The frame that is being read; all zero before its first byte. */
struct websocket_frame {
	uint8_t header[WEBSOCKET_HEADER_MAX]; /* as received so far */
	uint8_t header_size;                  /* bytes of it */
	uint8_t opcode;
	bool complete;   /* the header; the fields below are valid from then on */
	bool fin;        /* the last of its message */
	bool compressed; /* RSV1, RFC 7692 */
	uint8_t mask[4];
	uint8_t mask_at; /* which byte of it is next */
	uint64_t left;   /* payload bytes that are not read yet */
};

/*
 * Reads bytes of a client's frame header. Returns how many it took, at least 1, or 0 with *error
 * when they break the protocol. `may_compress`: permessage-deflate was agreed on.
 */
size_t websocket_frame_read(struct websocket_frame *frame, const char *data, size_t size,
	bool may_compress, const char **error);

/* Unmasks payload bytes in place; the frame knows where in the mask it is. */
void websocket_frame_unmask(struct websocket_frame *frame, char *data, size_t size);

/* Writes the header of a whole, unmasked frame. Returns its size, at most 10. */
size_t websocket_frame_write(uint8_t header[WEBSOCKET_HEADER_MAX], enum websocket_opcode opcode,
	bool compressed, uint64_t size);

/* Whether all of it is UTF-8 as in RFC 3629: no surrogates, no overlong forms, to U+10FFFF. */
bool websocket_utf8_valid(const char *data, size_t size);

/* How many of the bytes are left without a last character of which the end is missing. */
size_t websocket_utf8_whole(const char *data, size_t size);

/* Whether a close frame may carry the code: defined for that, or 3000 to 4999 (7.4.2). */
bool websocket_code_valid(int code);

#endif
