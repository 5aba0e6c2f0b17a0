/*
 * A shared queue in memory: cells, messages, and the order in which they are taken.
 *
 * A message lies in a chain of cells of 128 bytes. Cells not in use are a chain too, so a message
 * is put by cutting the front off that chain and taken by joining it on again; how messages end in
 * another order than they began (acknowledgements) does not matter, nothing fragments. Cells that
 * were never used lie behind `fresh` and cost no memory.
 *
 * Of a message in use, the last cell's `next` means nothing. That is why the chains need no undo:
 * a message's own links are those the free chain had, and freeing writes only into words that mean
 * nothing until the free chain's head is set.
 *
 * Messages not taken yet are a list, in the order they were put. Those that came back are a heap by
 * their serial: all of them are older than any in the list, as only the eldest is ever taken. Those
 * taken and not acknowledged are lists by their holder, a member (member.h).
 */
#ifndef PERIGEE_SHM_QUEUE_STORE_H
#define PERIGEE_SHM_QUEUE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shm/guard.h"
#include "shm/member.h"
#include "shm/wait.h"

#define SHM_CELL        128 /* bytes */
#define SHM_CELL_HEADER 64  /* bytes of a message's first cell that are not text */

/* The most messages a queue may have: a change of the heap sets one word per level, 20, and all
 * words of one operation must fit a guard. */
#define SHM_QUEUE_CAPACITY_MOST (1u << 20)

/* Bytes of a message, at most: it is copied under the guard, which is then held some 100 us. */
#define SHM_QUEUE_MESSAGE_MOST (1u << 20)

/* One cell; as the first of a message it has what is known of the message. Numbered from 1. */
struct shm_cell {
	uint64_t next; /* of the chain; 0 ends the free one */
	union {
		struct {
			uint64_t after;      /* list it is in: the next message, 0 for none */
			uint64_t before;     /* the same, backwards, while it is held */
			uint64_t end;        /* its last cell */
			uint64_t serial;     /* its number among all that were put, from 1 */
			uint64_t owner;      /* the member that holds it; 0: nobody */
			uint64_t size;       /* bytes of text */
			uint64_t deliveries; /* how often it was taken */
			char text[SHM_CELL - SHM_CELL_HEADER];
		};
		char more[SHM_CELL - sizeof(uint64_t)];
	};
};

/* What one member holds. */
struct shm_queue_holder {
	uint64_t member; /* whose it is, while it has any */
	uint64_t first;  /* the message taken last */
	uint64_t last;   /* the one taken first */
	uint64_t count;
};

/* In the region; words from `closed` to `holding` are changed under the guard only,
 * and the holders and the heap. */
struct shm_queue {
	struct shm_guard guard;

	uint64_t capacity; /* constant, these six */
	uint64_t message_limit;
	uint64_t size; /* bytes as asked for */
	uint64_t encoding;
	uint64_t cells;       /* how many there are */
	uint64_t cells_place; /* bytes from here to cell number 1 */

	uint64_t closed;
	uint64_t first, last; /* of the list of those never taken */
	uint64_t listed;      /* messages in that list */
	uint64_t again;       /* messages in the heap */
	uint64_t taken;       /* messages that somebody holds */
	uint64_t free;        /* the free chain, and its cells */
	uint64_t free_count;
	uint64_t fresh; /* cells 1 to this one have been used */
	uint64_t put;   /* totals */
	uint64_t done;
	uint64_t returned;
	uint64_t holding[SHM_MEMBERS_MAX / 64]; /* bit i: holders[i] has messages */

	/* Not under the guard: ms (clock_now) when somebody looked for dead holders last. */
	uint64_t looked;

	struct shm_waiters getters __attribute__((aligned(64)));
	struct shm_waiters putters;

	struct shm_queue_holder holders[SHM_MEMBERS_MAX];
	uint64_t heap[]; /* `capacity` messages; the cells are behind it */
};

/* Bytes that a queue takes, and where its cells begin. */
uint64_t shm_store_size(uint64_t capacity, uint64_t cells, uint64_t *ret_cells_place);

/* Cells that a message of `size` bytes takes. */
static inline uint64_t shm_store_cells(uint64_t size)
{
	const uint64_t first = SHM_CELL - SHM_CELL_HEADER;
	const uint64_t more = SHM_CELL - sizeof(uint64_t);

	return size <= first ? 1 : 1 + (size - first + more - 1) / more;
}

static inline struct shm_cell *shm_store_cell(struct shm_queue *queue, uint64_t number)
{
	CHECK(number - 1 < queue->cells);
	return (struct shm_cell *)(void *)((char *)queue + queue->cells_place) + (number - 1);
}

/*
 * Has the kernel find memory for fresh cells that a message of `size` bytes may need, before the
 * guard is taken: for long messages that is most of the time. A hint, and only reads.
 */
void shm_store_prepare(struct shm_queue *queue, uint64_t size);

/* All that follows is called with the guard held. */

/* *word = value, undone if this process dies. */
static inline void shm_store_set(struct shm_queue *queue, uint64_t *word, uint64_t value)
{
	if (*word != value)
		shm_guard_set(&queue->guard, word, value);
}

static inline uint64_t shm_store_available(const struct shm_queue *queue)
{
	return queue->free_count + queue->cells - queue->fresh;
}

/*
 * Cells to write messages into: `count` of them, which are available. Write with shm_store_write,
 * which moves the cursor, as many messages as fill them exactly; then shm_store_took.
 */
uint64_t shm_store_cursor(struct shm_queue *queue, uint64_t count);
uint64_t shm_store_write(
	struct shm_queue *queue, uint64_t *cursor, const char *text, uint64_t size);
void shm_store_took(struct shm_queue *queue, uint64_t cursor, uint64_t count);

/* Copies a message's bytes. */
void shm_store_read(struct shm_queue *queue, uint64_t number, char *text);

/* Messages, joined in one chain, that are being freed; zero it first. */
struct shm_store_freed {
	uint64_t first; /* cell */
	uint64_t count;
};
void shm_store_free(struct shm_queue *queue, struct shm_store_freed *freed, uint64_t number);
void shm_store_freed(struct shm_queue *queue, const struct shm_store_freed *freed);

/* The heap of those that came back: the eldest first. */
void shm_store_push(struct shm_queue *queue, uint64_t number);
uint64_t shm_store_pop(struct shm_queue *queue);

#endif
