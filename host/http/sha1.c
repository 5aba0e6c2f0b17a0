/* SHA-1 of short input. No state. Used by workers. */
#include "http/sha1.h"

#include <string.h>

#include "base/check.h"

#define BLOCK 64

static uint32_t rotate(uint32_t word, int bits)
{
	return word << bits | word >> (32 - bits);
}

/* One round's function and constant. */
static uint32_t mix(int round, uint32_t b, uint32_t c, uint32_t d)
{
	if (round < 20)
		return ((b & c) | (~b & d)) + 0x5a827999;
	if (round < 40)
		return (b ^ c ^ d) + 0x6ed9eba1;
	if (round < 60)
		return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
	return (b ^ c ^ d) + 0xca62c1d6;
}

static void add_block(uint32_t hash[5], const uint8_t *block)
{
	uint32_t words[80];
	uint32_t a = hash[0];
	uint32_t b = hash[1];
	uint32_t c = hash[2];
	uint32_t d = hash[3];
	uint32_t e = hash[4];

	for (int i = 0; i < 16; i++, block += 4)
		words[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 |
			   (uint32_t)block[2] << 8 | block[3];
	for (int i = 16; i < 80; i++)
		words[i] = rotate(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
	for (int i = 0; i < 80; i++) {
		uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + words[i];

		e = d;
		d = c;
		c = rotate(b, 30);
		b = a;
		a = next;
	}
	hash[0] += a;
	hash[1] += b;
	hash[2] += c;
	hash[3] += d;
	hash[4] += e;
}

void sha1(const void *data, size_t size, uint8_t digest[SHA1_SIZE])
{
	uint32_t hash[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
	uint8_t input[2 * BLOCK] = {0};
	size_t padded = size < BLOCK - 8 ? BLOCK : 2 * BLOCK;

	CHECK(size <= SHA1_INPUT_MAX);
	memcpy(input, data, size);
	input[size] = 0x80;
	input[padded - 2] = (uint8_t)(size * 8 >> 8);
	input[padded - 1] = (uint8_t)(size * 8);
	for (size_t at = 0; at < padded; at += BLOCK)
		add_block(hash, input + at);
	for (int i = 0; i < SHA1_SIZE; i++)
		digest[i] = (uint8_t)(hash[i / 4] >> (24 - 8 * (i % 4)));
}
