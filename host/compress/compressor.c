/* Bodies through zlib and brotli. One spare compressor is kept per process. Runs in workers. */
#include "compress/compressor.h"

#include <brotli/encode.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>

#include "base/check.h"

#define WINDOW_BITS 15   /* zlib's largest window, 32 KiB … */
#define GZIP_FORMAT 16   /* … which this number turns into gzip's header and trailer */
#define MEMORY      8    /* zlib's default: about 256 KiB for each compressor */
#define BROTLI_BITS 17   /* a window of 128 KiB: more gains little in texts */
#define PIECE       4096 /* bytes of output made room for at a time, at least */

struct compressor {
	enum compressor_kind kind;
	int level;
	z_stream gzip;
	BrotliEncoderState *brotli;
};

/* zlib's state takes longer to make than a small body takes to compress: one is used again. */
static struct compressor *spare;

static int gzip_open(struct compressor *compressor)
{
	return deflateInit2(&compressor->gzip, compressor->level, Z_DEFLATED,
		       WINDOW_BITS + GZIP_FORMAT, MEMORY, Z_DEFAULT_STRATEGY) == Z_OK
		       ? 0
		       : -1;
}

static int brotli_open(struct compressor *compressor)
{
	compressor->brotli = BrotliEncoderCreateInstance(NULL, NULL, NULL);
	if (compressor->brotli == NULL)
		return -1;
	(void)BrotliEncoderSetParameter(
		compressor->brotli, BROTLI_PARAM_QUALITY, (uint32_t)compressor->level);
	(void)BrotliEncoderSetParameter(compressor->brotli, BROTLI_PARAM_LGWIN, BROTLI_BITS);
	(void)BrotliEncoderSetParameter(compressor->brotli, BROTLI_PARAM_MODE, BROTLI_MODE_TEXT);
	return 0;
}

static struct compressor *spare_take(int level)
{
	struct compressor *compressor = spare;

	if (compressor == NULL || compressor->level != level)
		return NULL;
	spare = NULL;
	return compressor;
}

struct compressor *compressor_new(enum compressor_kind kind, int level)
{
	struct compressor *compressor = kind == COMPRESSOR_GZIP ? spare_take(level) : NULL;

	CHECK(level >= COMPRESSOR_LEVEL_LEAST && level <= COMPRESSOR_LEVEL_MOST);
	if (compressor != NULL)
		return compressor;
	compressor = calloc(1, sizeof *compressor);
	if (compressor == NULL)
		return NULL;
	compressor->kind = kind;
	compressor->level = level;
	if ((kind == COMPRESSOR_GZIP ? gzip_open(compressor) : brotli_open(compressor)) != 0) {
		free(compressor);
		return NULL;
	}
	return compressor;
}

static int gzip_write(
	z_stream *gzip, struct slice data, enum compressor_flush flush, struct buffer *to)
{
	int mode = flush == COMPRESSOR_FINISH ? Z_FINISH : Z_SYNC_FLUSH;
	int status;

	do {
		/* zlib counts in 32 bits. */
		size_t piece = data.size < 1u << 30 ? data.size : 1u << 30;
		bool last = piece == data.size;

		gzip->next_in = (Bytef *)(uintptr_t)data.data;
		gzip->avail_in = (uInt)piece;
		do {
			if (buffer_reserve(to, PIECE) != 0)
				return -1;
			size_t room = to->capacity - to->size;

			gzip->next_out = (Bytef *)to->data + to->size;
			gzip->avail_out = (uInt)(room < 1u << 30 ? room : 1u << 30);
			room = gzip->avail_out;
			status = deflate(gzip, last ? mode : Z_NO_FLUSH);
			CHECK(status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR);
			to->size += room - gzip->avail_out;
		} while (gzip->avail_out == 0);
		CHECK(gzip->avail_in == 0);
		data.data += piece;
		data.size -= piece;
	} while (data.size != 0);
	return 0;
}

static int brotli_write(BrotliEncoderState *brotli, struct slice data, enum compressor_flush flush,
	struct buffer *to)
{
	BrotliEncoderOperation operation =
		flush == COMPRESSOR_FINISH ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH;
	const uint8_t *next_in = (const uint8_t *)data.data;

	do {
		size_t no_room = 0;
		const uint8_t *out;
		size_t size = 0;

		if (!BrotliEncoderCompressStream(
			    brotli, operation, &data.size, &next_in, &no_room, NULL, NULL))
			return -1;
		out = BrotliEncoderTakeOutput(brotli, &size);
		if (buffer_add(to, out, size) != 0)
			return -1;
	} while (data.size != 0 || BrotliEncoderHasMoreOutput(brotli));
	return 0;
}

int compressor_write(struct compressor *compressor, struct slice data, enum compressor_flush flush,
	struct buffer *to)
{
	if (compressor->kind == COMPRESSOR_GZIP)
		return gzip_write(&compressor->gzip, data, flush, to);
	return brotli_write(compressor->brotli, data, flush, to);
}

void compressor_free(struct compressor *compressor)
{
	if (compressor == NULL)
		return;
	if (compressor->kind == COMPRESSOR_GZIP) {
		if (spare == NULL && deflateReset(&compressor->gzip) == Z_OK) {
			spare = compressor;
			return;
		}
		(void)deflateEnd(&compressor->gzip);
	} else {
		BrotliEncoderDestroyInstance(compressor->brotli);
	}
	free(compressor);
}
