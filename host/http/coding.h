/*
 * Content codings of answers (RFC 9110, 8.4 and 12.5.3): whether to compress, with what, and what
 * the header lines then say.
 *
 * Only asked about answers of a size that is worth it, so nothing of it is on the way of a small
 * one. Used by workers.
 */
#ifndef PERIGEE_HTTP_CODING_H
#define PERIGEE_HTTP_CODING_H

#include "base/buffer.h"
#include "base/slice.h"
#include "compress/compressor.h"

struct http_exchange;

enum http_coding {
	HTTP_CODING_UNTOUCHED = 0, /* the answer is not to be compressed by anyone */
	HTTP_CODING_IDENTITY,      /* it could be, but is sent as it is */
	HTTP_CODING_GZIP,
	HTTP_CODING_BROTLI,
	HTTP_CODING_REFUSED /* the client takes no coding that there is, nor none: 406 */
};

/*
 * Puts a whole answer into the coding that suits its client: *lines and *body are replaced by ones
 * that stay until http_coding_done. To HEAD the lines are those of GET as far as they are known,
 * and the body stays. An answer that would grow, or for which memory is out, stays as it is.
 */
enum http_coding http_coding_whole(struct http_exchange *exchange, int status, int type,
	struct slice *lines, struct slice *body);

/* The same for an answer whose body comes in pieces: makes exchange->compressor, if there is a body
 * and it is to be compressed. */
enum http_coding http_coding_stream(
	struct http_exchange *exchange, int status, int type, struct slice *lines);

/* Replaces *piece of such a body by its compressed form, which stays until http_coding_done.
 * COMPRESSOR_FINISH ends the compressor. Returns 0, or -1 when memory is out. */
int http_coding_piece(
	struct http_exchange *exchange, struct slice *piece, enum compressor_flush flush);

/* What was made by the last of these functions has been sent. */
void http_coding_done(struct http_exchange *exchange);

#endif
