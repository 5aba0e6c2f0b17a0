/*
 * A dict's entries: finding, making, removing, and making room for them; for the files of the dict.
 */
#ifndef PERIGEE_SHM_DICT_TABLE_H
#define PERIGEE_SHM_DICT_TABLE_H

#include "shm/dict_cells.h"

#pragma GCC visibility push(default)
#include "shm/dict_abi.h"
#pragma GCC visibility pop

/* One operation on one key. */
struct dict_use {
	struct shm_dict *dict;
	struct dict_shard *shard;
	uint64_t *bucket;
	const char *key;
	size_t key_size;
	uint64_t key_bits; /* what entries keep of the key's size and hash, see dict_chain */
	uint64_t now;      /* ms; 0: not asked for yet, see dict_now */
};

/* An entry, and the word whose low half leads to it. */
struct dict_spot {
	uint64_t *from;
	struct dict_cell *cell;
	uint32_t index;
};

/* What is stored. */
struct dict_value {
	int type;      /* enum shm_dict_type */
	uint64_t bits; /* of a number or boolean */
	const char *data;
	size_t size; /* bytes at `data` */
};

/* Where the key is to be found; false when it is no key. */
static inline bool dict_use_begin(
	struct dict_use *use, struct shm_dict *dict, const char *key, size_t key_size)
{
	uint64_t hash, index;

	if (key_size == 0 || key_size > SHM_DICT_KEY_MAX)
		return false;
	hash = shm_hash(&dict->secret, key, key_size);
	use->dict = dict;
	index = hash >> dict->shard_shift & (dict->shards - 1);
	use->shard = &dict->shard[index];
	use->bucket = dict_bucket(
		dict, index * dict->buckets + ((hash & UINT32_MAX) * dict->buckets >> 32));
	use->key = key;
	use->key_size = key_size;
	use->key_bits = key_size << 32 | (hash >> 40) << 56;
	use->now = 0;
	__builtin_prefetch(use->bucket);
	return true;
}

/* The time, in ms: a clock that costs little, and goes in ticks of a few ms. */
uint64_t dict_clock(void);

/* The time of the operation. */
uint64_t dict_now(struct dict_use *use);

/* When something ends that lasts `ttl` seconds, above 0. */
uint64_t dict_expiry(struct dict_use *use, double ttl);

/* The byte of an entry's first cell where its key begins: behind what its type needs there. */
static inline uint32_t dict_start(int type)
{
	if (type >= SHM_DICT_STRING && type != SHM_DICT_LIST)
		return offsetof(struct dict_cell, as.entry.number);
	return offsetof(struct dict_cell, as.entry.length) +
	       (type == SHM_DICT_LIST ? sizeof(uint64_t) : 0);
}

/* Cells of an entry, without the elements of a list. */
static inline uint32_t dict_value_cells(size_t key_size, const struct dict_value *value)
{
	return dict_cells_for(key_size + value->size, dict_start(value->type));
}

static inline uint32_t dict_entry_cells(const struct dict_cell *cell)
{
	uint64_t chain = cell->as.entry.chain;

	return dict_cells_for((size_t)dict_key_size(chain) + dict_size(cell->as.entry.state),
		dict_start(dict_type(chain)));
}

/* A short key lies in the first cell, and so do most. */
static inline bool dict_is_key(const struct dict_use *use, struct dict_cell *cell, uint64_t chain)
{
	struct dict_place place = {cell, dict_start(dict_type(chain))};

	if ((chain & DICT_KEY_MASK) != use->key_bits)
		return false;
	if (place.offset + use->key_size <= DICT_CELL)
		return dict_bytes_same((const char *)cell + place.offset, use->key, use->key_size);
	return dict_bytes_equal(use->dict, &place, use->key, use->key_size);
}

/* A chain's cells lie side by side as a rule; has them on their way while the first is looked at.
 */
static inline void dict_prefetch(const struct dict_cell *cell)
{
	__builtin_prefetch(cell);
	__builtin_prefetch(cell + 1);
	__builtin_prefetch(cell + 2);
}

/* Notes that an entry was used. Without the guard, the mark may fall on a cell that is something
 * else by now: it is a hint. */
void dict_mark_used(struct shm_dict *dict, uint32_t index);

/*
 * The rest is for who holds the shard's guard.
 */

/* Frees the bucket's expired entries, then finds the key's, which is none of them; may commit. */
bool dict_find_live(struct dict_use *use, struct dict_spot *spot);

/* The version that what is changed now gets. */
uint64_t dict_version_new(const struct dict_shard *shard);

/* Makes an entry in free cells, which dict_cells_ready has provided, and links it in the place of
 * `old`, which is freed, or as a new one. Returns its number. */
uint32_t dict_entry_make(struct dict_use *use, const struct dict_spot *old,
	const struct dict_value *value, uint64_t expires);

/* Notes that there is an entry which expires then. */
void dict_note_expiry(struct dict_shard *shard, uint64_t expires);

/* Stores where the key is, or is not yet. Returns SHM_DICT_DONE, or, above it, that and how many
 * cells must be free first. */
int dict_put(struct dict_use *use, struct dict_spot *spot, bool present,
	const struct dict_value *value, uint64_t expires);

/* Has an entry expire then. */
void dict_set_expires(struct dict_shard *shard, struct dict_cell *cell, uint64_t expires);

/* Unlinks an entry and frees its cells; those of a long list later. */
void dict_entry_remove(
	struct shm_dict *dict, struct dict_shard *shard, const struct dict_spot *spot);

/*
 * And these for who holds none.
 */

/* Tries to have `count` free cells where dict_cells_ready finds them; `*tries` is 0 at first.
 * False: there is no use in trying again. */
bool dict_room_make(struct dict_use *use, uint32_t count, unsigned *tries);

/* Frees what removed lists still have. */
void dict_graves_clear(struct shm_dict *dict, struct dict_shard *shard);

#endif
