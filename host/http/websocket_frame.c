/* WebSocket frames: see websocket_frame.h. No state. Used by workers. */
#include "http/websocket_frame.h"

#include <string.h>

#include "base/check.h"

#define LENGTH_16 126 /* the length follows in two bytes */
#define LENGTH_64 127 /* … in eight */

static bool is_control(uint8_t opcode)
{
	return (opcode & 0x8) != 0;
}

/* What the first two bytes alone tell. Returns NULL, or what is wrong. */
static const char *check_start(const struct websocket_frame *frame, bool may_compress)
{
	uint8_t first = frame->header[0];
	uint8_t length = frame->header[1] & 0x7f;
	uint8_t opcode = first & 0x0f;

	if ((first & 0x30) != 0 || ((first & 0x40) != 0 && !may_compress))
		return "a reserved bit is set";
	if (opcode > WEBSOCKET_PONG || (opcode > WEBSOCKET_BINARY && opcode < WEBSOCKET_CLOSE))
		return "an unknown opcode";
	if ((first & 0x40) != 0 && opcode != WEBSOCKET_TEXT && opcode != WEBSOCKET_BINARY)
		return "a reserved bit is set";
	if ((frame->header[1] & 0x80) == 0)
		return "a frame without a mask";
	if (is_control(opcode) && (first & 0x80) == 0)
		return "a fragmented control frame";
	if (is_control(opcode) && length > WEBSOCKET_CONTROL_MAX)
		return "a control frame of more than 125 bytes";
	return NULL;
}

static size_t length_size(uint8_t length)
{
	if (length == LENGTH_16)
		return 2;
	return length == LENGTH_64 ? 8 : 0;
}

/* The header is all there. Returns NULL, or what is wrong. */
static const char *finish(struct websocket_frame *frame)
{
	uint8_t length = frame->header[1] & 0x7f;
	size_t extra = length_size(length);

	frame->left = extra == 0 ? length : 0;
	for (size_t i = 0; i < extra; i++)
		frame->left = frame->left << 8 | frame->header[2 + i];
	if ((extra == 2 && frame->left < LENGTH_16) || (extra == 8 && frame->left <= UINT16_MAX))
		return "a length in more bytes than it takes";
	if (frame->left > INT64_MAX)
		return "a length of more than 63 bits";
	memcpy(frame->mask, frame->header + 2 + extra, sizeof frame->mask);
	frame->mask_at = 0;
	frame->opcode = frame->header[0] & 0x0f;
	frame->fin = (frame->header[0] & 0x80) != 0;
	frame->compressed = (frame->header[0] & 0x40) != 0;
	frame->complete = true;
	return NULL;
}

size_t websocket_frame_read(struct websocket_frame *frame, const char *data, size_t size,
	bool may_compress, const char **error)
{
	size_t used = 0;

	while (used < size && !frame->complete) {
		size_t needed = 2;

		frame->header[frame->header_size++] = (uint8_t)data[used++];
		if (frame->header_size < 2)
			continue;
		if (frame->header_size == 2)
			*error = check_start(frame, may_compress);
		needed += length_size(frame->header[1] & 0x7f) + sizeof frame->mask;
		if (*error == NULL && frame->header_size == needed)
			*error = finish(frame);
		if (*error != NULL)
			return 0;
	}
	return used;
}

void websocket_frame_unmask(struct websocket_frame *frame, char *data, size_t size)
{
	uint8_t mask[8];
	uint64_t word;
	uint64_t wide;
	size_t i = 0;

	for (size_t k = 0; k < sizeof mask; k++)
		mask[k] = frame->mask[(frame->mask_at + k) % sizeof frame->mask];
	memcpy(&wide, mask, sizeof wide);
	for (; i + sizeof word <= size; i += sizeof word) {
		memcpy(&word, data + i, sizeof word);
		word ^= wide;
		memcpy(data + i, &word, sizeof word);
	}
	for (; i < size; i++)
		data[i] = (char)((uint8_t)data[i] ^ mask[i % sizeof mask]);
	frame->mask_at = (uint8_t)((frame->mask_at + size) % sizeof frame->mask);
}

size_t websocket_frame_write(uint8_t header[WEBSOCKET_HEADER_MAX], enum websocket_opcode opcode,
	bool compressed, uint64_t size)
{
	size_t extra = size < LENGTH_16 ? 0 : size <= UINT16_MAX ? 2 : 8;

	header[0] = (uint8_t)(0x80 | (compressed ? 0x40 : 0) | (uint8_t)opcode);
	if (extra == 0)
		header[1] = (uint8_t)size;
	else
		header[1] = extra == 2 ? LENGTH_16 : LENGTH_64;
	for (size_t i = 0; i < extra; i++)
		header[2 + i] = (uint8_t)(size >> (8 * (extra - 1 - i)));
	return 2 + extra;
}

/* The bytes of the character that starts at `at`, or 0 when it is none. */
static size_t character_size(const uint8_t *at, size_t left)
{
	uint8_t low = 0x80; /* what the second byte may be */
	uint8_t high = 0xbf;
	size_t size;

	if (at[0] < 0x80)
		return 1;
	if (at[0] < 0xc2 || at[0] > 0xf4)
		return 0;
	size = at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	if (at[0] == 0xe0)
		low = 0xa0; /* overlong below */
	else if (at[0] == 0xed)
		high = 0x9f; /* surrogates above */
	else if (at[0] == 0xf0)
		low = 0x90; /* overlong below */
	else if (at[0] == 0xf4)
		high = 0x8f; /* over U+10FFFF above */
	if (left < size || at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

bool websocket_utf8_valid(const char *data, size_t size)
{
	const uint8_t *bytes = (const uint8_t *)data;
	size_t at = 0;

	while (at < size) {
		uint64_t word;
		size_t step;

		if (size - at >= sizeof word) {
			memcpy(&word, bytes + at, sizeof word);
			if ((word & 0x8080808080808080u) == 0) {
				at += sizeof word;
				continue;
			}
		}
		step = character_size(bytes + at, size - at);
		if (step == 0)
			return false;
		at += step;
	}
	return true;
}

size_t websocket_utf8_whole(const char *data, size_t size)
{
	for (size_t back = 1; back <= 3 && back <= size; back++) {
		uint8_t byte = (uint8_t)data[size - back];
		size_t needed = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;

		if (byte < 0x80 || byte >= 0xc0)
			return needed > back ? size - back : size;
	}
	return size;
}

bool websocket_code_valid(int code)
{
	if (code >= 3000 && code <= 4999)
		return true;
	return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}
