/*
 * A copy of this process, made to be looked at: nothing in it moves, and what goes wrong in it
 * harms nobody.
 *
 * The copy (fork(2) from a thread; only that thread lives on in it) runs one function of ours and
 * ends. It is killed after its time, or when its maker dies. It must allocate nothing and lock
 * nothing, as another thread may have held the lock; what it finds out it writes into memory that
 * both share.
 */
#ifndef PERIGEE_WORKER_SNAPSHOT_H
#define PERIGEE_WORKER_SNAPSHOT_H

#include <stddef.h>

/* Memory that copies of this process share with it, zeroed, for ever. NULL when there is none. */
void *snapshot_memory(size_t size);

/* Closes every descriptor of the copy, so that no socket and no lock outlives its owner by it. */
void snapshot_close_all(void);

/*
 * Runs `work` in a copy, for at most `milliseconds`. Returns 0 when it has come to its end, or -1
 * with errno: ETIME when it was killed for its time, EFAULT when it crashed; what it had written by
 * then is there.
 */
int snapshot_run(void (*work)(void *context), void *context, int milliseconds);

#endif
