/*
 * Single words that one thread writes and another, of this process or not, reads: what was written
 * before a word is seen by who has seen the word.
 */
#ifndef PERIGEE_SHM_WORD_H
#define PERIGEE_SHM_WORD_H

#include <stdint.h>

static inline uint64_t shm_word_read(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint32_t shm_word_read32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void shm_word_write32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

#endif
