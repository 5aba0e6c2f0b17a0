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

/* Bells behind which somebody waits, or did when it was last looked. */
unsigned shm_waiters_count(const struct shm_waiters *waiters);

/* This process no longer waits; a ring that was meant for it and came late goes on to another. */
void shm_waiters_leave(struct shm_waiters *waiters);

/* Whether this process listens to a bell: 1 or 0. */
int shm_bells_listening(void);

#endif
