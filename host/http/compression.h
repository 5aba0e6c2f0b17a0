/*
 * Compressed answers (RFC 9110, 8.4 and 12.5.3): which are, with what, and what the header lines
 * then say.
 *
 * Only asked about answers of a size that is worth it, so nothing of it is on the way of a small
 * one. Used by workers.
 */
#ifndef PERIGEE_HTTP_COMPRESSION_H
#define PERIGEE_HTTP_COMPRESSION_H

#include "base/slice.h"
#include "compress/compressor.h"

struct http_exchange;

/* What was done to an answer. */
enum http_compression {
	HTTP_COMPRESSION_UNTOUCHED = 0, /* it is not to be compressed for anyone */
	HTTP_COMPRESSION_PLAIN, /* it could be, and its lines say so, but this client's is not */
	HTTP_COMPRESSION_CODED,
	HTTP_COMPRESSION_REFUSED /* nothing: the client rules out every form of it, so 406 */
};

/*
 * Puts a whole answer into the coding that suits its client: *lines and *body are replaced by ones
 * that stay until http_compression_done. To HEAD the lines are those of GET as far as they are
 * known, and the body stays. An answer that would grow, or for which memory is out, stays as it is.
 */
enum http_compression http_compression_whole(struct http_exchange *exchange, int status, int type,
	struct slice *lines, struct slice *body);

/* The same for an answer whose body comes in pieces: makes exchange->compressor, if there is a body
 * and it is to be compressed. */
enum http_compression http_compression_stream(
	struct http_exchange *exchange, int status, int type, struct slice *lines);

/* Replaces *piece of such a body by its compressed form, which stays until http_compression_done.
 * COMPRESSOR_FINISH ends the compressor. Returns 0, or -1 when memory is out. */
int http_compression_piece(
	struct http_exchange *exchange, struct slice *piece, enum compressor_flush flush);

/* What was made by the last of these functions has been sent. */
void http_compression_done(struct http_exchange *exchange);

#endif
