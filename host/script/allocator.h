/* Lua's memory; see allocator.c. */
#ifndef PERIGEE_SCRIPT_ALLOCATOR_H
#define PERIGEE_SCRIPT_ALLOCATOR_H

#include <lua.h>
#include <stddef.h>

#define ALLOCATOR_LISTS 33 /* blocks of up to 256 bytes are kept */

struct allocator_block;

struct allocator {
	lua_Alloc base; /* LuaJIT's own */
	void *base_data;
	size_t kept; /* bytes in the lists */
	struct allocator_block *free[ALLOCATOR_LISTS];
};

/* Has a state take its memory from `allocator`, which must stay where it is. */
void allocator_open(struct allocator *allocator, lua_State *lua);

/* Gives the state its own allocator back, as lua_close wants it. */
void allocator_close(struct allocator *allocator, lua_State *lua);

#endif
