/*
 * A fast hash of bytes under a secret, for tables in shared memory whose keys come from clients.
 *
 * It multiplies and folds as wyhash does, and every constant of it is a random one of the table's
 * own, so that nobody outside can choose keys that meet. It is no cipher: the secret must not leak.
 */
#ifndef PERIGEE_SHM_HASH_H
#define PERIGEE_SHM_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/error.h"

#define SHM_HASH_WORDS 4

struct shm_hash_secret {
	uint64_t words[SHM_HASH_WORDS];
};

/* Fills it with random bits. Returns 0, or -1 with *error. */
int shm_hash_secret_make(struct shm_hash_secret *secret, struct error *error);

static inline uint64_t shm_hash_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t shm_hash_word(const char *data)
{
	uint64_t word;

	memcpy(&word, data, sizeof word);
	return word;
}

/* Up to 8 bytes as one word; the length is hashed besides. */
static inline uint64_t shm_hash_rest(const char *data, size_t size)
{
	uint32_t low, high;

	if (size >= 4) {
		memcpy(&low, data, sizeof low);
		memcpy(&high, data + size - 4, sizeof high);
		return (uint64_t)high << 32 | low;
	}
	if (size == 0)
		return 0;
	return (uint64_t)(unsigned char)data[0] << 16 |
	       (uint64_t)(unsigned char)data[size / 2] << 8 | (unsigned char)data[size - 1];
}

static inline uint64_t shm_hash(const struct shm_hash_secret *secret, const char *data, size_t size)
{
	const uint64_t *words = secret->words;
	uint64_t state = words[0] ^ size;

	for (; size > 16; data += 16, size -= 16)
		state = shm_hash_fold(
			shm_hash_word(data) ^ words[1], shm_hash_word(data + 8) ^ state);
	if (size > 8)
		state = shm_hash_fold(
			shm_hash_word(data) ^ words[2], shm_hash_word(data + size - 8) ^ state);
	else
		state = shm_hash_fold(shm_hash_rest(data, size) ^ words[2], state);
	return shm_hash_fold(state ^ words[3], words[1]);
}

#endif
