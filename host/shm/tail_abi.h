/*
 * The end of the log as Lua reads it, through LuaJIT's FFI; see tail.h.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_TAIL_ABI_H
#define PERIGEE_SHM_TAIL_ABI_H

#include <stddef.h>
#include <stdint.h>

/* Where the next byte of the log will be: bytes written since the host started. 0 in a process that
 * has no log to read. */
uint64_t shm_tail_end(void);

/*
 * Copies what was written from *position on, at most `size` bytes, and moves *position behind it;
 * to what is still there if that is further on. Returns how many, 0 when there is nothing new.
 */
size_t shm_tail_read(uint64_t *position, char *text, size_t size);

#endif
