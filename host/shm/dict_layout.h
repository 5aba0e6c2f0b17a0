/*
 * How a dict lies in the region; for the files of the dict only.
 *
 *     struct shm_dict   what was chosen when it was made, and the pool of cells
 *     shards            keys are dealt to them by hash; each has a guard, buckets, and free cells
 *     buckets           one word each: the first entry of a chain, 0 for none
 *     marks             one byte per cell: the entry that begins there was used lately
 *     cells             64 bytes each; number 1 is the first
 *
 * Everything that is stored is a chain of cells of one size, so memory does not fragment: what is
 * free is free for any entry. A chain's links are those it had in the free list: taking cells from
 * the list, and undoing that, changes one word. Bytes are written into cells while they are free,
 * and linked by shm_guard_set, as guard.h demands.
 *
 * An entry is its key, and the value behind it, in as many cells as that takes. A list is an entry
 * without a value, whose elements are chains of their own.
 */
#ifndef PERIGEE_SHM_DICT_LAYOUT_H
#define PERIGEE_SHM_DICT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/guard.h"
#include "shm/hash.h"

#define DICT_SHARDS_MAX 64
#define DICT_SHARD_SIZE (256ull << 10) /* bytes of a dict for each shard, at least */
#define DICT_CELL       64             /* bytes */
#define DICT_LINK       4              /* bytes of a further cell that are not payload */

/* A cell in each of its uses. The low half of `link` is the next cell of the chain or list. */
struct dict_cell {
	uint64_t link; /* high half: payload; in the first cell of a chain the last one */
	union {
		char payload[DICT_CELL - sizeof(uint64_t)];
		struct {                /* the first cell of an entry */
			uint64_t chain; /* low half: next entry of the bucket; see dict_key_size */
			uint64_t expires; /* ms of the monotonic clock; 0: never */
			uint64_t state; /* low 24 bits: bytes of the value; the rest: its version */
			uint64_t number; /* a number or boolean; a list's ends: first low, last high
					  */
			uint64_t length; /* a list's elements */
		} entry;
		struct {                 /* the first cell of a list's element */
			uint64_t around; /* low half: the element before; high half: behind */
			uint64_t number;
			uint64_t state; /* low 24 bits: bytes of the value; the rest: its type */
		} element;
		struct {               /* the first of a batch of free cells, in the pool */
			uint64_t next; /* low half: the next batch; high half: cells of this one */
			uint64_t last; /* its last cell */
		} batch;
	} as;
};

_Static_assert(sizeof(struct dict_cell) == DICT_CELL, "cells are of one size");

struct dict_shard {
	struct shm_guard guard;
	uint64_t free;      /* low half: the first free cell; high half: how many there are */
	uint64_t free_last; /* the last of them, when there are any */
	uint64_t load;      /* low half: entries; high half: cells that they use */
	uint64_t grave;     /* first of the removed lists whose cells are yet to be freed */
	uint64_t taken;     /* number of the last grant of the pool that was taken in */
	uint64_t gift;      /* cells for the pool: first low, last high */
	uint64_t gift_size; /* low half: how many; high half: the gift's number */
	uint64_t gift_sent; /* number of the last gift that is known to have arrived; a hint */
	uint64_t soonest;   /* no entry expires before; ~0: none does */
	uint64_t newcomers; /* the same of entries made since the sweep that is under way began */
	uint64_t sweep;     /* number of that sweep */
	uint64_t hand;      /* the bucket where clearing goes on; a hint */
	uint64_t evicted;   /* entries, for people */
	uint64_t expired;
} __attribute__((aligned(64)));

struct dict_grant {
	uint64_t cells; /* first low, last high */
	uint64_t size;  /* low half: how many; high half: the grant's number */
};

/* Free cells that belong to no shard. Its guard is entered under a shard's, never the other way. */
struct dict_pool {
	struct shm_guard guard;
	uint64_t fresh; /* the first cell that was never used; all behind it are such */
	uint64_t top;   /* the first batch of those that were */
	uint64_t free;  /* cells in those batches */
	struct dict_grant grants[DICT_SHARDS_MAX];
	uint64_t given[DICT_SHARDS_MAX]; /* numbers of the last gifts that arrived */
};

struct shm_dict {
	/* Constant once it is made. */
	struct shm_hash_secret secret;
	uint64_t shards;       /* a power of two */
	uint64_t shard_shift;  /* what a hash is shifted by to have its shard */
	uint64_t buckets;      /* of each shard */
	uint64_t cells;        /* in all */
	uint64_t hoard;        /* free cells that a shard may have before it gives some away */
	uint64_t evicts;       /* 1: entries make room for new ones */
	uint64_t buckets_from; /* bytes from here */
	uint64_t marks_from;
	uint64_t cells_from;
	/* Words beside the entries, each atomic. */
	uint64_t turn;        /* the shard that eviction compares with next; a hint */
	uint64_t settings[2]; /* of what is built on a dict */
	struct dict_pool pool __attribute__((aligned(64)));
	struct dict_shard shard[];
};

static inline uint32_t dict_low(uint64_t word)
{
	return (uint32_t)word;
}

static inline uint32_t dict_high(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline uint64_t dict_pair(uint64_t low, uint64_t high)
{
	return (low & UINT32_MAX) | high << 32;
}

/* A word that may change meanwhile. */
static inline uint64_t dict_load(const uint64_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline struct dict_cell *dict_cell(struct shm_dict *dict, uint32_t index)
{
	return (struct dict_cell *)(void *)((char *)dict + dict->cells_from) + (index - 1);
}

/* Bucket `i` of all; each shard has dict->buckets of them in a row. */
static inline uint64_t *dict_bucket(struct shm_dict *dict, uint64_t i)
{
	return (uint64_t *)(void *)((char *)dict + dict->buckets_from) + i;
}

static inline unsigned char *dict_mark(struct shm_dict *dict, uint32_t index)
{
	return (unsigned char *)dict + dict->marks_from + index - 1;
}

/* The high half of an entry's chain word: 16 bits of the key's size, 8 of the value's type, 8 of
 * the key's hash. */
#define DICT_KEY_MASK (UINT64_C(0xff00ffff) << 32)

static inline uint32_t dict_key_size(uint64_t chain)
{
	return (uint32_t)(chain >> 32) & 0xffff;
}

static inline int dict_type(uint64_t chain)
{
	return (int)(chain >> 48) & 0xff;
}

/* With the key's size and bits of its hash, as DICT_KEY_MASK has them. */
static inline uint64_t dict_chain(uint32_t next, uint64_t key_bits, int type)
{
	return next | key_bits | (uint64_t)(unsigned)type << 48;
}

#define DICT_STATE_BITS 24

static inline uint32_t dict_size(uint64_t state)
{
	return (uint32_t)(state & ((1u << DICT_STATE_BITS) - 1));
}

static inline uint64_t dict_version(uint64_t state)
{
	return state >> DICT_STATE_BITS;
}

static inline uint64_t dict_state(size_t size, uint64_t version)
{
	return size | version << DICT_STATE_BITS;
}

#endif
