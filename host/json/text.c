/* Text inside JSON strings. No state. Runs in every process that runs Lua. */
#include "json/text.h"

#include <endian.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BYTES(byte) (0x0101010101010101u * (byte))

/*
 * Not 0 when a byte of the word is a quote, a backslash, below 0x20 or above 0x7f. The lowest bit
 * set is the top one of the first such byte; those above it may be wrong, as borrows go upwards.
 */
static uint64_t special_bytes(uint64_t word)
{
	uint64_t quote = word ^ BYTES('"');
	uint64_t backslash = word ^ BYTES('\\');

	/* A byte below n: subtracting n borrows into its top bit. */
	return ((word - BYTES(0x20)) | (quote - BYTES(1)) | (backslash - BYTES(1)) | word) &
	       BYTES(0x80);
}

static inline int is_special(unsigned char byte)
{
	return byte < 0x20 || byte > 0x7f || byte == '"' || byte == '\\';
}

#define WORD  ((ptrdiff_t)sizeof(uint64_t))
#define BLOCK 16

/* Where the first special byte of a word is, or WORD when there is none. */
static inline ptrdiff_t special_in_word(const char *at)
{
	uint64_t word;

	memcpy(&word, at, sizeof word);
	word = special_bytes(le64toh(word));
	return word == 0 ? WORD : __builtin_ctzll(word) / 8;
}

/* The same of a block. */
static inline ptrdiff_t special_in_block(const char *at)
{
#ifdef __SSE2__
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)at);
	/* As signed bytes those above 0x7f are below 0x20 too. */
	__m128i special = _mm_cmplt_epi8(bytes, _mm_set1_epi8(0x20));

	special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')));
	special = _mm_or_si128(special, _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\')));
	return __builtin_ctz((unsigned)_mm_movemask_epi8(special) | 1u << BLOCK);
#else
	ptrdiff_t plain = special_in_word(at);

	return plain == WORD ? WORD + special_in_word(at + WORD) : plain;
#endif
}

/* What is left of a text behind its words or blocks is looked at together with plain bytes before
 * it, so that there is no loop over single bytes but in texts shorter than a word. */
const char *json_text_plain(const char *at, const char *end)
{
	if (end - at >= BLOCK) {
		for (; end - at >= BLOCK; at += BLOCK) {
			ptrdiff_t plain = special_in_block(at);

			if (plain != BLOCK)
				return at + plain;
		}
		return end - BLOCK + special_in_block(end - BLOCK);
	}
	if (end - at >= WORD) {
		ptrdiff_t plain = special_in_word(at);

		return plain != WORD ? at + plain : end - WORD + special_in_word(end - WORD);
	}
	while (at < end && !is_special((unsigned char)*at))
		at++;
	return at;
}

static inline int is_continuation(char byte)
{
	return ((unsigned char)byte & 0xc0) == 0x80;
}

/* RFC 3629, 4: what the second byte may be after a first one. */
static int is_second(unsigned char first, unsigned char second)
{
	switch (first) {
	case 0xe0:
		return second >= 0xa0 && second <= 0xbf;
	case 0xed:
		return second >= 0x80 && second <= 0x9f;
	case 0xf0:
		return second >= 0x90 && second <= 0xbf;
	case 0xf4:
		return second >= 0x80 && second <= 0x8f;
	default:
		return second >= 0x80 && second <= 0xbf;
	}
}

size_t json_text_character(const char *at, const char *end)
{
	unsigned char first = (unsigned char)at[0];
	size_t size;

	if (first >= 0xc2 && first <= 0xdf)
		size = 2;
	else if (first >= 0xe0 && first <= 0xef)
		size = 3;
	else if (first >= 0xf0 && first <= 0xf4)
		size = 4;
	else
		return 0;
	if ((size_t)(end - at) < size || !is_second(first, (unsigned char)at[1]))
		return 0;
	for (size_t i = 2; i < size; i++)
		if (!is_continuation(at[i]))
			return 0;
	return size;
}

size_t json_text_encode(uint32_t code_point, char *to)
{
	if (code_point < 0x80) {
		to[0] = (char)code_point;
		return 1;
	}
	if (code_point < 0x800) {
		to[0] = (char)(0xc0 | code_point >> 6);
		to[1] = (char)(0x80 | (code_point & 0x3f));
		return 2;
	}
	if (code_point < 0x10000) {
		to[0] = (char)(0xe0 | code_point >> 12);
		to[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
		to[2] = (char)(0x80 | (code_point & 0x3f));
		return 3;
	}
	to[0] = (char)(0xf0 | code_point >> 18);
	to[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
	to[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
	to[3] = (char)(0x80 | (code_point & 0x3f));
	return 4;
}
