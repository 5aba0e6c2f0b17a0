/*
 * A dict's cells: taking, writing, reading and freeing chains of them; for the files of the dict.
 *
 * Each shard has free cells of its own, and a common pool has the rest. Between the two, cells go
 * in numbered parcels, because no change under two guards is final at once: a *grant* lies in the
 * pool until the shard has noted its number, a *gift* lies in the shard until the pool has. Whoever
 * comes after a process that was killed in between finds the parcel where it lies.
 */
#ifndef PERIGEE_SHM_DICT_CELLS_H
#define PERIGEE_SHM_DICT_CELLS_H

#include <string.h>

#include "shm/dict_layout.h"

/* A place in a chain's payload. */
struct dict_place {
	struct dict_cell *cell;
	uint32_t offset; /* in the cell */
};

/* Cells that `size` bytes take, of which the first cell holds those from byte `start` on. */
static inline uint32_t dict_cells_for(size_t size, uint32_t start)
{
	size_t room = DICT_CELL - start;

	return size <= room ? 1
			    : 1 + (uint32_t)((size - room + DICT_CELL - DICT_LINK - 1) /
					     (DICT_CELL - DICT_LINK));
}

/* To the chain's next cell; false when there cannot be one, as happens to readers without a lock.
 */
static inline bool dict_place_next(struct shm_dict *dict, struct dict_place *place)
{
	uint64_t index = dict_low(dict_load(&place->cell->link));

	if (index - 1 >= dict->cells)
		return false;
	place->cell = dict_cell(dict, (uint32_t)index);
	place->offset = DICT_LINK;
	return true;
}

/* Copies `size` bytes out, into memory with DICT_CELL bytes to spare, and moves the place behind
 * them. False: see dict_place_next. */
bool dict_bytes_read(struct shm_dict *dict, struct dict_place *place, char *to, size_t size);

/* Whether `size` bytes are the same. */
static inline bool dict_bytes_same(const char *a, const char *b, size_t size)
{
	for (; size > 8; a += 8, b += 8, size -= 8)
		if (shm_hash_word(a) != shm_hash_word(b))
			return false;
	return size == 8 ? shm_hash_word(a) == shm_hash_word(b)
			 : shm_hash_rest(a, size) == shm_hash_rest(b, size);
}

/* Whether the bytes there are `data`; moves the place as far as they are. */
bool dict_bytes_equal(
	struct shm_dict *dict, struct dict_place *place, const char *data, size_t size);

/* Copies at most DICT_CELL bytes without a call: from both ends, which may overlap. */
static inline void dict_bytes_copy(char *to, const char *from, size_t size)
{
	if (size >= 32) {
		memcpy(to, from, 32);
		memcpy(to + size - 32, from + size - 32, 32);
	} else if (size >= 16) {
		memcpy(to, from, 16);
		memcpy(to + size - 16, from + size - 16, 16);
	} else if (size >= 8) {
		memcpy(to, from, 8);
		memcpy(to + size - 8, from + size - 8, 8);
	} else {
		for (size_t i = 0; i < size; i++)
			to[i] = from[i];
	}
}

/* Writes into a chain of free cells, and moves the place behind it. */
void dict_bytes_write(
	struct shm_dict *dict, struct dict_place *place, const char *data, size_t size);

static inline uint32_t dict_cells_free_count(const struct dict_shard *shard)
{
	return dict_high(dict_load(&shard->free));
}

/*
 * The rest is for who holds the shard's guard.
 */

/* Has at least `count` free cells at hand; may commit. False: neither the shard nor the pool has.
 */
bool dict_cells_ready(struct shm_dict *dict, struct dict_shard *shard, uint32_t count);

/* Takes the first `count` free cells as a chain, of which `last` is the last: they were written
 * before. */
void dict_cells_take(struct shm_dict *dict, struct dict_shard *shard, const struct dict_cell *last,
	uint32_t count);

/* Frees a chain of `count` cells. */
void dict_cells_free(
	struct shm_dict *dict, struct dict_shard *shard, uint32_t first, uint32_t count);

/* Takes as dict_cells_take and frees a chain of `freed` cells, at once. */
void dict_cells_swap(struct shm_dict *dict, struct dict_shard *shard, const struct dict_cell *last,
	uint32_t count, uint32_t first, uint32_t freed);

/* Gives what the shard has beyond `keep` free cells to the pool; commits. */
void dict_cells_give(struct shm_dict *dict, struct dict_shard *shard, uint32_t keep);

/* Gives the greater part away when the shard hoards; commits if so. */
static inline void dict_cells_share(struct shm_dict *dict, struct dict_shard *shard)
{
	if (dict_cells_free_count(shard) > dict->hoard)
		dict_cells_give(dict, shard, (uint32_t)dict->hoard / 8);
}

/* Free cells of the pool, as they are about now. Needs no guard. */
uint64_t dict_pool_free(const struct shm_dict *dict);

#endif
