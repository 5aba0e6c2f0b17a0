/* permessage-deflate: agreement and messages; see websocket_deflate.h. Used by workers. */
#include "http/websocket_deflate.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/check.h"

#define WINDOW_MIN   9 /* zlib cannot make raw deflate of 8 */
#define WINDOW_MAX   15
#define LEVEL        4     /* of 9: messages are small and a loop waits */
#define MEMORY_LEVEL 8     /* zlib's default */
#define KEPT_OUTPUT  65536 /* bytes of the output buffer that are kept */
#define FINAL_REST   5     /* bytes behind a last block: a byte of filling, and the tail */
#define STEP         16384 /* bytes made room for at a time when inflating */

static const char tail[4] = {0x00, 0x00, (char)0xff, (char)0xff};

/* One per process; made when first needed, never freed. */
static struct {
	z_stream inflater;
	bool inflater_made;
	z_stream deflaters[WINDOW_MAX + 1]; /* by window bits */
	bool deflater_made[WINDOW_MAX + 1];
	struct buffer output; /* of websocket_deflate */
} state;

/* ---- Agreement ----------------------------------------------------------------------------- */

/* One offer: "permessage-deflate; server_max_window_bits=10; …". */
struct offer {
	bool ours;
	bool refused; /* a parameter is unknown, repeated or out of range */
	bool server_no_takeover;
	bool client_no_takeover;
	bool client_bits;
	int server_bits; /* 0: not asked for */
};

static struct slice trim(struct slice text)
{
	while (text.size != 0 && (*text.data == ' ' || *text.data == '\t')) {
		text.data++;
		text.size--;
	}
	while (text.size != 0 && strchr(" \t", text.data[text.size - 1]) != NULL)
		text.size--;
	return text;
}

/* Cuts what stands before `mark` off the front of *text. */
static struct slice cut(struct slice *text, char mark)
{
	const char *at = text->size == 0 ? NULL : memchr(text->data, mark, text->size);
	struct slice part = *text;

	if (at == NULL) {
		*text = (struct slice){0};
		return trim(part);
	}
	part.size = (size_t)(at - part.data);
	text->data = at + 1;
	text->size -= part.size + 1;
	return trim(part);
}

static bool is(struct slice text, const char *word)
{
	return text.size == strlen(word) && strncasecmp(text.data, word, text.size) == 0;
}

/* A window size, 8 to 15, maybe quoted; 0 when it is none. */
static int bits_of(struct slice value)
{
	int bits = 0;

	if (value.size >= 2 && value.data[0] == '"' && value.data[value.size - 1] == '"') {
		value.data++;
		value.size -= 2;
	}
	if (value.size == 0 || value.size > 2 || value.data[0] == '0')
		return 0;
	for (size_t i = 0; i < value.size; i++) {
		if (value.data[i] < '0' || value.data[i] > '9')
			return 0;
		bits = bits * 10 + (value.data[i] - '0');
	}
	return bits >= 8 && bits <= WINDOW_MAX ? bits : 0;
}

static void set_flag(struct offer *offer, bool *flag, bool allowed)
{
	if (*flag || !allowed)
		offer->refused = true;
	*flag = true;
}

static void read_parameter(struct offer *offer, struct slice parameter)
{
	bool has_value = memchr(parameter.data, '=', parameter.size) != NULL;
	struct slice name = cut(&parameter, '=');
	struct slice value = trim(parameter);

	if (is(name, "server_no_context_takeover")) {
		set_flag(offer, &offer->server_no_takeover, !has_value);
	} else if (is(name, "client_no_context_takeover")) {
		set_flag(offer, &offer->client_no_takeover, !has_value);
	} else if (is(name, "client_max_window_bits")) {
		set_flag(offer, &offer->client_bits, !has_value || bits_of(value) != 0);
	} else if (is(name, "server_max_window_bits")) {
		if (offer->server_bits != 0 || bits_of(value) < WINDOW_MIN)
			offer->refused = true;
		offer->server_bits = bits_of(value);
	} else {
		offer->refused = true;
	}
}

static struct offer read_offer(struct slice text)
{
	struct offer offer = {0};

	offer.ours = is(cut(&text, ';'), "permessage-deflate");
	while (text.size != 0) {
		struct slice parameter = cut(&text, ';');

		if (parameter.size == 0)
			offer.refused = true;
		else
			read_parameter(&offer, parameter);
	}
	return offer;
}

int websocket_deflate_agree(struct slice offers, char answer[WEBSOCKET_ANSWER_MAX])
{
	while (offers.size != 0) {
		struct offer offer = read_offer(cut(&offers, ','));
		int bits = offer.server_bits == 0 ? WINDOW_MAX : offer.server_bits;
		char window[32] = "";

		if (!offer.ours || offer.refused)
			continue;
		if (offer.server_bits != 0)
			(void)snprintf(window, sizeof window, "; server_max_window_bits=%d", bits);
		(void)snprintf(answer, WEBSOCKET_ANSWER_MAX,
			"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; "
			"client_no_context_takeover%s\r\n",
			window);
		return bits;
	}
	return 0;
}

/* ---- Messages ------------------------------------------------------------------------------ */

static z_stream *inflater(void)
{
	z_stream *stream = &state.inflater;

	if (state.inflater_made)
		return inflateReset(stream) == Z_OK ? stream : NULL;
	if (inflateInit2(stream, -WINDOW_MAX) != Z_OK)
		return NULL;
	state.inflater_made = true;
	return stream;
}

/* Runs the inflater over one piece of input. */
static enum websocket_inflated inflate_piece(
	z_stream *stream, const char *data, size_t size, struct buffer *out, uint64_t limit)
{
	int code;

	stream->next_in = (Bytef *)(uintptr_t)data;
	stream->avail_in = (uInt)size;
	do {
		if (out->size > limit)
			return WEBSOCKET_INFLATE_TOO_LONG;
		if (buffer_reserve(out, STEP) != 0)
			return WEBSOCKET_INFLATE_NO_MEMORY;
		stream->next_out = (Bytef *)(out->data + out->size);
		stream->avail_out = STEP;
		code = inflate(stream, Z_SYNC_FLUSH);
		if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)
			return WEBSOCKET_INFLATE_BROKEN;
		out->size += STEP - stream->avail_out;
	} while (code != Z_STREAM_END && (stream->avail_in != 0 || stream->avail_out == 0));
	if (out->size > limit)
		return WEBSOCKET_INFLATE_TOO_LONG;
	/* A last block that says so ends the stream before the tail that we have added (7.2.3.4).
	 */
	return code == Z_STREAM_END && stream->avail_in > FINAL_REST ? WEBSOCKET_INFLATE_BROKEN
								     : WEBSOCKET_INFLATED;
}

enum websocket_inflated websocket_inflate(struct buffer *message, uint64_t limit)
{
	z_stream *stream = inflater();
	struct buffer out = {0};
	enum websocket_inflated result;

	if (stream == NULL || buffer_add(message, tail, sizeof tail) != 0)
		return WEBSOCKET_INFLATE_NO_MEMORY;
	CHECK(message->size <= UINT32_MAX);
	result = inflate_piece(stream, message->data, message->size, &out, limit);
	if (result != WEBSOCKET_INFLATED) {
		buffer_free(&out);
		return result;
	}
	buffer_free(message);
	*message = out;
	return WEBSOCKET_INFLATED;
}

static z_stream *deflater(int bits)
{
	z_stream *stream = &state.deflaters[bits];

	if (state.deflater_made[bits])
		return deflateReset(stream) == Z_OK ? stream : NULL;
	if (deflateInit2(stream, LEVEL, Z_DEFLATED, -bits, MEMORY_LEVEL, Z_DEFAULT_STRATEGY) !=
		Z_OK)
		return NULL;
	state.deflater_made[bits] = true;
	return stream;
}

struct slice websocket_deflate(int window_bits, const char *data, size_t size)
{
	z_stream *stream = deflater(window_bits);
	struct buffer *out = &state.output;

	out->size = 0;
	if (out->capacity > KEPT_OUTPUT)
		buffer_free(out);
	/* No more room than what it has: a message that does not get shorter is sent as it is. */
	if (stream == NULL || size > UINT32_MAX || buffer_reserve(out, size) != 0)
		return (struct slice){0};
	stream->next_in = (Bytef *)(uintptr_t)data;
	stream->avail_in = (uInt)size;
	stream->next_out = (Bytef *)out->data;
	stream->avail_out = (uInt)size;
	if (deflate(stream, Z_SYNC_FLUSH) != Z_OK || stream->avail_out == 0)
		return (struct slice){0};
	out->size = size - stream->avail_out - sizeof tail;
	return (struct slice){.data = out->data, .size = out->size};
}
