/*
 * Going over a whole dict, a bucket at a time: keys, removing all, figures. The guard of a shard is
 * held for one bucket, or for as many as make little work. Runs in every process that uses shared
 * objects.
 */
#include "shm/dict_found.h"

#define PIECE 64  /* buckets that are flushed before the guard is let go of */
#define WORK  512 /* cells freed before that */

/* The bucket of a cursor, and the cursor behind it. NULL: it has gone over everything. */
static uint64_t *step(struct shm_dict *dict, int64_t *cursor, struct dict_shard **ret_shard)
{
	uint64_t position = (uint64_t)*cursor;
	uint64_t all = dict->shards * dict->buckets;

	if (position >= all) {
		*cursor = -1;
		return NULL;
	}
	*cursor = position + 1 < all ? (int64_t)position + 1 : -1;
	*ret_shard = &dict->shard[position / dict->buckets];
	return dict_bucket(dict, position);
}

/* Appends a key to what was found. False: there is no room. By the hash's secrecy no bucket has as
 * many keys as that would take. */
static bool add_key(struct shm_dict *dict, struct dict_cell *cell, uint64_t chain, size_t *size)
{
	struct dict_place place = {cell, dict_start(dict_type(chain))};
	uint32_t key_size = dict_key_size(chain);
	char *to = dict_scratch + *size;

	if (*size + sizeof key_size + key_size > SHM_DICT_VALUE_MAX)
		return false;
	memcpy(to, &key_size, sizeof key_size);
	*size += sizeof key_size + key_size;
	return dict_bytes_read(dict, &place, to + sizeof key_size, key_size);
}

int64_t shm_dict_scan(struct shm_dict *dict, int64_t *cursor, const char **ret_data)
{
	struct dict_shard *shard;
	uint64_t *bucket = step(dict, cursor, &shard);
	size_t size = 0;

	*ret_data = dict_scratch;
	if (bucket == NULL ||
		(dict_load(bucket) == 0 && (dict_load(&shard->guard.sequence) & 1) == 0))
		return 0;
	shm_guard_enter(&shard->guard, "dict.scan");
	for (uint64_t index = dict_low(*bucket); index != 0;) {
		struct dict_cell *cell = dict_cell(dict, (uint32_t)index);

		if (!add_key(dict, cell, cell->as.entry.chain, &size))
			break;
		index = dict_low(cell->as.entry.chain);
	}
	shm_guard_leave(&shard->guard);
	return (int64_t)size;
}

static uint32_t flush_bucket(struct shm_dict *dict, struct dict_shard *shard, uint64_t *bucket)
{
	struct dict_spot spot = {.from = bucket};
	uint32_t work = 0;

	while ((spot.index = dict_low(*bucket)) != 0) {
		spot.cell = dict_cell(dict, spot.index);
		work += dict_entry_cells(spot.cell);
		dict_entry_remove(dict, shard, &spot);
		shm_guard_commit(&shard->guard);
	}
	return work;
}

void shm_dict_flush(struct shm_dict *dict, int64_t *cursor)
{
	struct dict_shard *shard;
	struct dict_shard *first;
	uint64_t *bucket = step(dict, cursor, &first);
	uint32_t work = 0;

	if (bucket == NULL)
		return;
	shm_guard_enter(&first->guard, "dict.flush");
	work = flush_bucket(dict, first, bucket);
	for (int i = 1; i < PIECE && work<WORK && * cursor> 0; i++) {
		int64_t next = *cursor;

		bucket = step(dict, &next, &shard);
		if (bucket == NULL || shard != first)
			break;
		*cursor = next;
		work += flush_bucket(dict, first, bucket);
	}
	dict_cells_share(dict, first);
	shm_guard_leave(&first->guard);
	dict_graves_clear(dict, first);
}

double shm_dict_entries(struct shm_dict *dict)
{
	uint64_t entries = 0;

	for (uint64_t i = 0; i < dict->shards; i++)
		entries += dict_low(dict_load(&dict->shard[i].load));
	return (double)entries;
}

void shm_dict_stat(struct shm_dict *dict, struct shm_dict_stat *stat)
{
	*stat = (struct shm_dict_stat){.size = dict->cells * DICT_CELL,
		.shards = dict->shards,
		.undone = dict->pool.guard.undone};
	for (uint64_t i = 0; i < dict->shards; i++) {
		const struct dict_shard *shard = &dict->shard[i];
		uint64_t load = dict_load(&shard->load);

		stat->entries += dict_low(load);
		stat->used += (uint64_t)dict_high(load) * DICT_CELL;
		stat->evicted += dict_load(&shard->evicted);
		stat->expired += dict_load(&shard->expired);
		stat->undone += dict_load(&shard->guard.undone);
	}
}
