/*
 * An arena: many small allocations with one end of life.
 *
 * Blocks are kept across arena_reset, so a busy arena stops calling malloc. What is bigger than a
 * block gets one of its own, which the reset gives back. Under AddressSanitizer freed room is
 * poisoned, so a pointer kept past the reset is caught.
 */
#ifndef PERIGEE_BASE_ARENA_H
#define PERIGEE_BASE_ARENA_H

#include <stddef.h>

#define ARENA_BLOCK_SIZE 4096 /* bytes a block takes from malloc, its header included */

struct arena_block;

struct arena {
	struct arena_block *blocks; /* all blocks, the one in use first */
	char *next;                 /* first free byte of the block in use */
	char *end;                  /* one past its last byte */
};

/* `size` bytes aligned for any type, not zeroed; NULL when memory is out. */
void *arena_alloc(struct arena *arena, size_t size);

/* A copy of `size` bytes with a NUL behind; NULL when memory is out. */
char *arena_copy(struct arena *arena, const void *data, size_t size);

/* Ends the life of everything allocated; keeps one block for the next use. */
void arena_reset(struct arena *arena);

/* As arena_reset, and gives all memory back. A zeroed struct is a fresh arena. */
void arena_free(struct arena *arena);

#endif
