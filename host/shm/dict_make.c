/* Making dicts: see dict_make.h. Runs in the zygote, and where dicts are found. */
#include "shm/dict_make.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "shm/last_error.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/dict_abi.h"
#pragma GCC visibility pop

#define CELLS_PER_BUCKET 2
#define HOARD_LEAST      64
#define HOARD_MOST       512
#define HOARD_SHARE      32 /* a shard may hoard this part of what falls to it */

/* As many shards as give each DICT_SHARD_SIZE. */
static uint64_t shards_of(uint64_t size)
{
	uint64_t shards = 1;

	while (shards < DICT_SHARDS_MAX && shards * 2 * DICT_SHARD_SIZE <= size)
		shards *= 2;
	return shards;
}

static uint64_t header_size(uint64_t shards)
{
	return sizeof(struct shm_dict) + shards * sizeof(struct dict_shard) + 2 * DICT_CELL;
}

static uint64_t cells_of(uint64_t size, uint64_t shards)
{
	const uint64_t per_two = CELLS_PER_BUCKET * (DICT_CELL + 1) + sizeof(uint64_t);
	uint64_t cells = (size - header_size(shards) - shards * sizeof(uint64_t)) / per_two *
			 CELLS_PER_BUCKET;

	return cells < UINT32_MAX - 1 ? cells : UINT32_MAX - 1;
}

uint64_t dict_size_of(uint64_t cells)
{
	const uint64_t per_cell = DICT_CELL + 1 + sizeof(uint64_t) / CELLS_PER_BUCKET;

	return header_size(DICT_SHARDS_MAX) + DICT_SHARDS_MAX * 2 * sizeof(uint64_t) +
	       (cells + CELLS_PER_BUCKET) * per_cell;
}

static uint64_t clamp(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static int build(struct shm_dict *dict, uint64_t size, bool evicts, struct error *error)
{
	uint64_t shards = shards_of(size);

	if (shm_hash_secret_make(&dict->secret, error) != 0)
		return -1;
	dict->shards = shards;
	dict->shard_shift = 64 - 6; /* DICT_SHARDS_MAX is 2^6 */
	dict->cells = cells_of(size, shards);
	dict->buckets = dict->cells / CELLS_PER_BUCKET / shards;
	dict->hoard = clamp(dict->cells / shards / HOARD_SHARE, HOARD_LEAST, HOARD_MOST);
	dict->evicts = evicts;
	dict->buckets_from = sizeof *dict + shards * sizeof(struct dict_shard);
	dict->marks_from = dict->buckets_from + shards * dict->buckets * sizeof(uint64_t);
	dict->cells_from = (dict->marks_from + dict->cells + DICT_CELL - 1) / DICT_CELL * DICT_CELL;
	CHECK(dict->cells_from + (dict->cells + 1) * DICT_CELL <= size);
	shm_guard_init(&dict->pool.guard);
	dict->pool.fresh = 1;
	for (uint64_t i = 0; i < shards; i++) {
		shm_guard_init(&dict->shard[i].guard);
		dict->shard[i].soonest = UINT64_MAX;
		dict->shard[i].newcomers = UINT64_MAX;
	}
	return 0;
}

struct shm_dict *dict_open(const struct dict_want *want, bool create)
{
	struct shm_want object = {
		.name = want->name, .kind = want->kind, .shape = want->shape, .size = want->size};
	struct error error;
	struct shm_dict *dict;
	int is_new = 0;

	dict = create ? shm_region_make(&object, &is_new, &error)
		      : shm_region_find(want->name, want->kind, NULL, NULL, &error);
	if (dict != NULL && is_new) {
		if (build(dict, want->size, want->evicts, &error) != 0)
			dict = NULL;
		else
			shm_region_publish(want->name);
	}
	if (dict == NULL)
		(void)shm_fail(-1, &error);
	return dict;
}

struct shm_dict *shm_dict_open(const char *name, uint64_t size, int evicts, int create)
{
	char shape[SHM_SHAPE_MAX];
	struct error error;

	if (create && size < SHM_DICT_LEAST) {
		(void)shm_fail(error_set(&error, EINVAL,
				       "a shared dict has %d bytes or more, not %" PRIu64,
				       SHM_DICT_LEAST, size),
			&error);
		return NULL;
	}
	(void)snprintf(shape, sizeof shape, "%" PRIu64 " bytes, eviction \"%s\"", size,
		evicts ? "lru" : "none");
	return dict_open(&(struct dict_want){.name = name,
				 .kind = "dict",
				 .shape = shape,
				 .size = size,
				 .evicts = evicts != 0},
		create != 0);
}
