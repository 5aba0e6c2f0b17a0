/*
 * A dict's entries: finding, making, removing, and making room for them; for the files of the dict.
 */
#ifndef PERIGEE_SHM_DICT_TABLE_H
#define PERIGEE_SHM_DICT_TABLE_H

#include "shm/dict_cells.h"

/* One operation on one key. */
struct dict_use {
	struct shm_dict *dict;
	struct dict_shard *shard;
	uint64_t *bucket;
	const char *key;
	size_t key_size;
	uint32_t tag; /* the part of the hash that entries keep */
	uint64_t now; /* ms; 0: not asked for yet, see dict_now */
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

enum dict_outcome { DICT_ABSENT, DICT_PRESENT, DICT_TORN };

/* Where the key is to be found; false when it is no key. */
bool dict_use_begin(struct dict_use *use, struct shm_dict *dict, const char *key, size_t key_size);

/* The time of the operation. */
uint64_t dict_now(struct dict_use *use);

/* When something ends that lasts `ttl` seconds, above 0. */
uint64_t dict_expiry(struct dict_use *use, double ttl);

/* The byte of an entry's first cell where its key begins. */
uint32_t dict_start(int type);

/* Cells of an entry, without the elements of a list. */
uint32_t dict_entry_cells(const struct dict_cell *cell);
uint32_t dict_value_cells(size_t key_size, const struct dict_value *value);

/* Finds the key's entry, expired or not. Without the guard the answer holds if shm_guard_seen says
 * so, and may be DICT_TORN. */
enum dict_outcome dict_find(const struct dict_use *use, struct dict_spot *spot, bool guarded);

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
