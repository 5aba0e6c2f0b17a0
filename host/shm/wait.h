/*
 * Waiting: how a process hears that a shared object it waits for has changed.
 *
 * There are SHM_BELLS eventfds, made by the manager and known to every process; each process
 * listens to one, more than one when there are many. A bell is rung and never read: it is watched
 * edge-triggered. An object keeps a set of the bells behind which somebody waits. Who waits adds
 * its own and then tries once more; who changes the object takes one out, by turns, and rings it.
 * So a ring is never missed, and the one who hears it tries again: it is a hint and no promise. Who
 * stops waiting takes its own out, or passes the ring on, so that none goes to one with no use for
 * it.
 *
 * A process that dies after it was chosen takes its ring with it. That is why whoever waits also
 * looks again every SHM_WAIT_AGAIN milliseconds.
 */
#ifndef PERIGEE_SHM_WAIT_H
#define PERIGEE_SHM_WAIT_H

#include <stdint.h>

#include "base/error.h"

/* Lua finds these functions in the program by name. */
#pragma GCC visibility push(default)
#include "shm/wait_abi.h"
#pragma GCC visibility pop

#define SHM_BELLS      32  /* eventfds; a set of them is one word */
#define SHM_WAIT_AGAIN 250 /* ms after which one that waits looks for itself */

/* In the region, as a part of an object; all zero at first. */
struct shm_waiters {
	uint64_t bells; /* bit i: somebody behind bell i waits */
	uint64_t last;  /* the bell that was rung last; others go first */
};

/* The bells, made by the manager: fills `fds` with descriptors numbered `least` or more. Returns 0,
 * or -1 with *error and nothing open. */
int shm_bells_create(int fds[SHM_BELLS], int least, struct error *error);

/* Tells this process that its bells are the descriptors first … first + SHM_BELLS - 1. */
void shm_bells_use(int first);

/*
 * This process will listen: the bell it is to watch edge-triggered. Returns its descriptor, not the
 * caller's, or -1 with *error. A process that does not listen may wait all the same, by looking.
 */
int shm_bells_listen(struct error *error);

/*
 * Rings for one, or for all, who wait. Call it after the change, which must be ordered before: it
 * was made under a guard that is let go of, or by a sequentially consistent store.
 */
void shm_waiters_wake_one(struct shm_waiters *waiters);
void shm_waiters_wake_all(struct shm_waiters *waiters);

/* Rings the bell of a process (a shm_member), so that it looks after what it has; nothing for 0. */
void shm_bells_ring(uint64_t member);

#endif
