/*
 * Compression of one body, at once or piece by piece, by zlib or brotli. No HTTP.
 *
 * Owned by whoever made it; one thread. Used by workers.
 */
#ifndef PERIGEE_COMPRESS_COMPRESSOR_H
#define PERIGEE_COMPRESS_COMPRESSOR_H

#include "base/buffer.h"
#include "base/slice.h"

struct compressor;

enum compressor_kind { COMPRESSOR_GZIP = 1, COMPRESSOR_BROTLI };

/* What a write is to bring out. */
enum compressor_flush {
	COMPRESSOR_FLUSH, /* all that was given: the other side can read it */
	COMPRESSOR_FINISH /* and the end */
};

#define COMPRESSOR_LEVEL_LEAST 1
#define COMPRESSOR_LEVEL_MOST  9

/*
 * Makes a compressor. `level` is from COMPRESSOR_LEVEL_LEAST (fast) to COMPRESSOR_LEVEL_MOST
 * (small). Returns NULL when memory is out.
 */
struct compressor *compressor_new(enum compressor_kind kind, int level);

/* Appends the compressed form of `data` to `to`. Returns 0, or -1 when memory is out. */
int compressor_write(struct compressor *compressor, struct slice data, enum compressor_flush flush,
	struct buffer *to);

/* Frees a compressor, in whatever state; NULL is none. */
void compressor_free(struct compressor *compressor);

#endif
