/*
 * Lua's memory: LuaJIT's own allocator, with small blocks kept in lists by their size.
 *
 * A request makes a handful of small objects and the collector frees as many. LuaJIT's allocator
 * merges each freed block with its neighbours and splits it again for the next; a list takes a
 * tenth of the instructions. What is kept is bounded, so a heap that was large once shrinks again.
 *
 * One per Lua state, owned by its script. Runs where Lua does.
 */
#include "script/allocator.h"

#include <lauxlib.h>
#include <string.h>

#define GRAIN     8 /* bytes by which the sizes of the lists differ; every allocator's least */
#define KEPT_MOST (1 << 20) /* bytes in all lists together */

struct allocator_block {
	struct allocator_block *next;
};

/* The list of a size; ALLOCATOR_LISTS and above have none. */
static inline size_t list_of(size_t size)
{
	return (size + GRAIN - 1) / GRAIN;
}

static void *take(struct allocator *allocator, size_t size)
{
	size_t list = list_of(size);
	struct allocator_block *block;

	if (list >= ALLOCATOR_LISTS)
		return allocator->base(allocator->base_data, NULL, 0, size);
	block = allocator->free[list];
	if (block == NULL)
		return allocator->base(allocator->base_data, NULL, 0, list * GRAIN);
	allocator->free[list] = block->next;
	allocator->kept -= list * GRAIN;
	return block;
}

static void give(struct allocator *allocator, void *memory, size_t size)
{
	size_t list = list_of(size);
	struct allocator_block *block = memory;

	if (list >= ALLOCATOR_LISTS || allocator->kept > KEPT_MOST) {
		(void)allocator->base(allocator->base_data, memory, size, 0);
		return;
	}
	block->next = allocator->free[list];
	allocator->free[list] = block;
	allocator->kept += list * GRAIN;
}

static void *resize(struct allocator *allocator, void *memory, size_t old_size, size_t size)
{
	size_t old_list = list_of(old_size);
	size_t list = list_of(size);
	void *result;

	if (old_list == list && list < ALLOCATOR_LISTS)
		return memory;
	if (old_list >= ALLOCATOR_LISTS && list >= ALLOCATOR_LISTS)
		return allocator->base(allocator->base_data, memory, old_size, size);
	result = take(allocator, size);
	if (result == NULL)
		return NULL;
	memcpy(result, memory, old_size < size ? old_size : size);
	give(allocator, memory, old_size);
	return result;
}

/* lua_Alloc. Sizes are exact: LuaJIT counts its memory by them. */
static void *allocate(void *data, void *memory, size_t old_size, size_t size)
{
	struct allocator *allocator = data;

	if (memory == NULL)
		return take(allocator, size);
	if (size != 0)
		return resize(allocator, memory, old_size, size);
	give(allocator, memory, old_size);
	return NULL;
}

void allocator_open(struct allocator *allocator, lua_State *lua)
{
	*allocator = (struct allocator){0};
	allocator->base = lua_getallocf(lua, &allocator->base_data);
	lua_setallocf(lua, allocate, allocator);
}

void allocator_close(struct allocator *allocator, lua_State *lua)
{
	lua_setallocf(lua, allocator->base, allocator->base_data);
}
