/*
 * Waiting for shared objects as Lua does it, through LuaJIT's FFI; see wait.h.
 *
 * Plain declarations only: no directive but this guard, which the build strips.
 */
#ifndef PERIGEE_SHM_WAIT_ABI_H
#define PERIGEE_SHM_WAIT_ABI_H

/* Who waits for one thing; a part of a shared object. */
struct shm_waiters;

/* This process waits: its bell will ring. Try again after this. Nothing where it does not listen.
 */
void shm_waiters_add(struct shm_waiters *waiters);

/* Whether this process listens to a bell: 1 or 0. */
int shm_bells_listening(void);

#endif
