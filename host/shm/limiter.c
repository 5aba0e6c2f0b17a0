/*
 * Rate limiters: a token bucket for each key, in a dict that evicts. Runs in every process that
 * uses shared objects.
 *
 * Of a bucket only one time is kept: when it will be full again (the theoretical arrival time of
 * ATM's generic cell rate algorithm). Taking tokens moves it by what they are worth; it may not be
 * further away than a whole bucket is worth. A bucket that is full again need not be kept, so its
 * entry expires then. Each key takes one cell: long ones are there as a hash of 192 bits.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "shm/dict_found.h"
#include "shm/dict_make.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/limiter_abi.h"
#pragma GCC visibility pop

#define KEY_WORDS 3 /* what fits into a cell beside a number */
#define KEY_SIZE  (KEY_WORDS * sizeof(uint64_t))

enum setting { INTERVAL, BURST };

struct shm_limiter {
	struct shm_dict dict;
};

static double setting_of(const struct shm_limiter *limiter, enum setting setting)
{
	return dict_number_of(dict_load(&limiter->dict.settings[setting]));
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

struct shm_limiter *shm_limiter_open(
	const char *name, uint64_t keys, double interval, double burst, int create)
{
	char shape[SHM_SHAPE_MAX];
	uint64_t spare = keys / 8 + (uint64_t)DICT_SHARDS_MAX * 64; /* what shards hoard */
	struct dict_want want = {.name = name,
		.kind = "rate_limiter",
		.shape = shape,
		.size = dict_size_of(keys + spare),
		.evicts = true};
	struct shm_limiter *limiter;

	(void)snprintf(shape, sizeof shape, "%" PRIu64 " keys", keys);
	limiter = (struct shm_limiter *)dict_open(&want, create != 0);
	if (limiter != NULL && create) {
		__atomic_store_n(&limiter->dict.settings[INTERVAL], dict_bits_of(interval),
			__ATOMIC_RELAXED);
		__atomic_store_n(
			&limiter->dict.settings[BURST], dict_bits_of(burst), __ATOMIC_RELAXED);
	}
	return limiter;
}

/* A key as it is stored: itself, or its hash under three secrets. */
struct short_key {
	const char *data;
	size_t size;
	uint64_t words[KEY_WORDS];
};

static void shorten(
	struct short_key *ret, const struct shm_dict *dict, const char *key, size_t key_size)
{
	struct shm_hash_secret secret = dict->secret;

	ret->data = key;
	ret->size = key_size;
	if (key_size != 0 && key_size <= KEY_SIZE)
		return;
	for (int i = 0; i < KEY_WORDS; i++) {
		uint64_t first = secret.words[0];

		ret->words[i] = shm_hash(&secret, key, key_size);
		memmove(secret.words, secret.words + 1, (SHM_HASH_WORDS - 1) * sizeof first);
		secret.words[SHM_HASH_WORDS - 1] = first;
	}
	ret->data = (const char *)ret->words;
	ret->size = KEY_SIZE;
}

/* What is to be said of a bucket that is full in so many nanoseconds, when others are missing. */
static void answer_with(struct shm_limiter_answer *answer, double full, double missing,
	double interval, double burst)
{
	double left = burst - full / interval;

	answer->remaining = left > 0 ? (double)(int64_t)(left + 1e-6) : 0;
	answer->retry = missing > 0 ? missing / 1e9 : 0;
	answer->full = full / 1e9;
}

/* Returns 1 or 0 as shm_limiter_take, or above SHM_DICT_DONE that a cell must be free first. */
static int try_take(struct dict_use *use, double cost, struct shm_limiter_answer *answer)
{
	const struct shm_limiter *limiter = (const struct shm_limiter *)use->dict;
	double interval = setting_of(limiter, INTERVAL);
	double burst = setting_of(limiter, BURST);
	struct dict_spot spot;
	bool present = dict_find_live(use, &spot);
	uint64_t now = now_ns();
	uint64_t full = present ? spot.cell->as.entry.number : 0;
	struct dict_value value = {.type = SHM_DICT_INTEGER};
	double missing;
	int result;

	if (full < now)
		full = now;
	missing = (double)(full - now) + (cost - burst) * interval;
	if (cost == 0 || missing > 0) {
		answer_with(answer, (double)(full - now), missing, interval, burst);
		return cost == 0;
	}
	value.bits = full + (uint64_t)(cost * interval);
	result = dict_put(use, &spot, present, &value, value.bits / 1000000 + 1);
	answer_with(answer, (double)(value.bits - now), 0, interval, burst);
	return result == SHM_DICT_DONE ? 1 : result;
}

int shm_limiter_take(struct shm_limiter *limiter, const char *key, size_t key_size, double cost,
	struct shm_limiter_answer *answer)
{
	struct short_key stored;
	struct dict_use use;
	unsigned tries = 0;
	int result;

	if (cost > setting_of(limiter, BURST))
		return -1;
	shorten(&stored, &limiter->dict, key, key_size);
	CHECK(dict_use_begin(&use, &limiter->dict, stored.data, stored.size));
	do {
		shm_guard_enter(&use.shard->guard, "limiter.take");
		result = try_take(&use, cost, answer);
		shm_guard_leave(&use.shard->guard);
		if (result <= SHM_DICT_DONE)
			return result;
	} while (dict_room_make(&use, 1, &tries));
	return 1; /* others took each cell that we freed; one key forgotten refuses nobody */
}

void shm_limiter_reset(struct shm_limiter *limiter, const char *key, size_t key_size)
{
	struct short_key stored;

	shorten(&stored, &limiter->dict, key, key_size);
	(void)shm_dict_delete(&limiter->dict, stored.data, stored.size, 0);
}

double shm_limiter_burst(const struct shm_limiter *limiter)
{
	return setting_of(limiter, BURST);
}

void shm_limiter_stat(struct shm_limiter *limiter, struct shm_limiter_stat *stat)
{
	struct shm_dict_stat of_dict;

	shm_dict_stat(&limiter->dict, &of_dict);
	stat->size = of_dict.size;
	stat->used = of_dict.used;
	stat->keys = of_dict.entries;
	stat->evicted = of_dict.evicted;
}
