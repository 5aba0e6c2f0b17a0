/*
 * Rate limiters as Lua sees them, through LuaJIT's FFI.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_LIMITER_ABI_H
#define PERIGEE_SHM_LIMITER_ABI_H

#include <stddef.h>
#include <stdint.h>

struct shm_limiter;

/*
 * The rate limiter `name`, made for `keys` keys when it does not exist yet and `create` is 1. A
 * token comes back each `interval` nanoseconds, and there are at most `burst`: they are what
 * `create` says from now on, for all processes. NULL when it cannot be had (shm_last_error).
 */
struct shm_limiter *shm_limiter_open(
	const char *name, uint64_t keys, double interval, double burst, int create);

struct shm_limiter_answer {
	double remaining; /* tokens that are left now */
	double retry;     /* seconds until there would be enough; 0 when there were */
	double full;      /* seconds until nothing is missing */
};

/* Takes `cost` tokens of a key. Returns 1, 0 when there are not so many, -1 when there can never
 * be. */
int shm_limiter_take(struct shm_limiter *limiter, const char *key, size_t key_size, double cost,
	struct shm_limiter_answer *answer);

/* Gives a key all its tokens back. */
void shm_limiter_reset(struct shm_limiter *limiter, const char *key, size_t key_size);

/* The most tokens there are. */
double shm_limiter_burst(const struct shm_limiter *limiter);

/* Bytes for keys, bytes used, keys, and keys that made room for others. */
struct shm_limiter_stat {
	uint64_t size;
	uint64_t used;
	uint64_t keys;
	uint64_t evicted;
};
void shm_limiter_stat(struct shm_limiter *limiter, struct shm_limiter_stat *stat);

#endif
