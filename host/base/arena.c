/* Arena allocation. Owned by a request or by a phase of start-up. Runs in every process. */
#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)   ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

#define ARENA_ALIGN 16

struct arena_block {
	struct arena_block *next;
	size_t room; /* bytes behind this header */
};

_Static_assert(sizeof(struct arena_block) % ARENA_ALIGN == 0, "blocks start aligned");

static char *block_start(struct arena_block *block)
{
	return (char *)(block + 1);
}

static struct arena_block *block_new(size_t room)
{
	struct arena_block *block;

	if (room > SIZE_MAX - sizeof *block)
		return NULL;
	block = malloc(sizeof *block + room);
	if (block == NULL)
		return NULL;
	block->next = NULL;
	block->room = room;
	ASAN_POISON_MEMORY_REGION(block_start(block), room);
	return block;
}

static void block_free(struct arena_block *block)
{
	ASAN_UNPOISON_MEMORY_REGION(block_start(block), block->room);
	free(block);
}

/* A block of its own, put behind the one in use, which goes on being filled. */
static void *alloc_large(struct arena *arena, size_t size)
{
	struct arena_block *block = block_new(size);

	if (block == NULL)
		return NULL;
	if (arena->blocks == NULL) {
		arena->blocks = block;
		arena->next = arena->end = block_start(block) + size;
	} else {
		block->next = arena->blocks->next;
		arena->blocks->next = block;
	}
	ASAN_UNPOISON_MEMORY_REGION(block_start(block), size);
	return block_start(block);
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t room = ARENA_BLOCK_SIZE - sizeof(struct arena_block);
	size_t rounded;
	char *result;

	if (size > SIZE_MAX - ARENA_ALIGN)
		return NULL;
	rounded = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (rounded > (size_t)(arena->end - arena->next)) {
		struct arena_block *block;

		if (rounded > room / 4)
			return alloc_large(arena, rounded);
		block = block_new(room);
		if (block == NULL)
			return NULL;
		block->next = arena->blocks;
		arena->blocks = block;
		arena->next = block_start(block);
		arena->end = arena->next + room;
	}
	result = arena->next;
	arena->next += rounded;
	ASAN_UNPOISON_MEMORY_REGION(result, size);
	return result;
}

char *arena_copy(struct arena *arena, const void *data, size_t size)
{
	char *copy = size == SIZE_MAX ? NULL : arena_alloc(arena, size + 1);

	if (copy == NULL)
		return NULL;
	if (size != 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}

void arena_reset(struct arena *arena)
{
	const size_t room = ARENA_BLOCK_SIZE - sizeof(struct arena_block);
	struct arena_block *kept = NULL;

	while (arena->blocks != NULL) {
		struct arena_block *block = arena->blocks;

		arena->blocks = block->next;
		if (kept == NULL && block->room == room)
			kept = block;
		else
			block_free(block);
	}
	if (kept == NULL) {
		*arena = (struct arena){0};
		return;
	}
	kept->next = NULL;
	ASAN_POISON_MEMORY_REGION(block_start(kept), room);
	arena->blocks = kept;
	arena->next = block_start(kept);
	arena->end = arena->next + room;
}

void arena_free(struct arena *arena)
{
	while (arena->blocks != NULL) {
		struct arena_block *block = arena->blocks;

		arena->blocks = block->next;
		block_free(block);
	}
	*arena = (struct arena){0};
}
