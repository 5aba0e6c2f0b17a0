/* SHA-1 (RFC 3174), for the WebSocket handshake only: it is no protection of anything. */
#ifndef PERIGEE_HTTP_SHA1_H
#define PERIGEE_HTTP_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_SIZE      20
#define SHA1_INPUT_MAX 119 /* bytes; two blocks, padded */

/* The digest of at most SHA1_INPUT_MAX bytes. */
void sha1(const void *data, size_t size, uint8_t digest[SHA1_SIZE]);

#endif
