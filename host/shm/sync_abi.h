/*
 * Locks, semaphores, events, barriers and what is done once, as Lua sees them through LuaJIT's FFI;
 * see lock.c, semaphore.c, event.c, barrier.c and once.c.
 *
 * Nothing here waits: what cannot be had at once is SHM_SYNC_BUSY, and the caller waits behind the
 * object's waiters (wait_abi.h) and tries again.
 *
 * Plain declarations only: no directive but this guard and the includes, which the build strips.
 */
#ifndef PERIGEE_SHM_SYNC_ABI_H
#define PERIGEE_SHM_SYNC_ABI_H

#include <stddef.h>
#include <stdint.h>

struct shm_waiters;

enum shm_sync {
	SHM_SYNC_OK = 0,
	SHM_SYNC_ABANDONED = 1, /* had, from one that ended without giving it back */
	SHM_SYNC_BUSY = 2,
	SHM_SYNC_DONE = 3,     /* once: there is a result */
	SHM_SYNC_OWN = -1,     /* this task has it already */
	SHM_SYNC_NOT_OWN = -2, /* it is not this task's, or this process's, to give back */
	SHM_SYNC_FAILED = -3   /* shm_last_error says why */
};

/* Each of the five: the object called `name`, made when it does not exist and `create` is 1. NULL
 * when it cannot be had; shm_last_error then says why. */
struct shm_lock *shm_lock_open(const char *name, int create);
struct shm_semaphore *shm_semaphore_open(const char *name, uint64_t permits, int create);
struct shm_event *shm_event_open(const char *name, int create);
struct shm_barrier *shm_barrier_open(const char *name, uint64_t parties, int create);
struct shm_once *shm_once_open(const char *name, uint64_t limit, int create);

struct shm_waiters *shm_lock_waiters(struct shm_lock *lock);
struct shm_waiters *shm_semaphore_waiters(struct shm_semaphore *semaphore);
struct shm_waiters *shm_event_waiters(struct shm_event *event);
struct shm_waiters *shm_barrier_waiters(struct shm_barrier *barrier);
struct shm_waiters *shm_once_waiters(struct shm_once *once);

/* A lock belongs to a task of a process; `task` is any number but 0 that tells it from others. */
int shm_lock_take(struct shm_lock *lock, uint64_t task); /* OK, ABANDONED, BUSY, OWN, FAILED */
int shm_lock_give(struct shm_lock *lock, uint64_t task); /* OK, NOT_OWN */

/* Gives back what a task that is over had; the next one is told. OK, NOT_OWN */
int shm_lock_drop(struct shm_lock *lock, uint64_t task);

/* Has the process that holds it look for tasks that are over. */
void shm_lock_nudge(const struct shm_lock *lock);

struct shm_lock_stat {
	uint64_t pid;  /* of the holder, 0 when there is none */
	uint64_t task; /* of the holder */
	uint64_t mine; /* 1: it is this process */
	uint64_t taken;
	uint64_t abandoned; /* times it was taken from one that ended */
};
void shm_lock_read(const struct shm_lock *lock, struct shm_lock_stat *stat);

/* A permit belongs to a process, and comes back with its end. */
int shm_semaphore_take(struct shm_semaphore *semaphore); /* OK, BUSY, FAILED */
int shm_semaphore_give(struct shm_semaphore *semaphore); /* OK, NOT_OWN */

struct shm_semaphore_stat {
	uint64_t permits;
	uint64_t available;
	uint64_t mine;    /* held by this process */
	uint64_t revived; /* that came back from processes that died */
};
void shm_semaphore_read(const struct shm_semaphore *semaphore, struct shm_semaphore_stat *stat);

/* An event's state: twice the times it was set so far, and 1 more while it is set. */
uint64_t shm_event_state(const struct shm_event *event);
void shm_event_set(struct shm_event *event);
void shm_event_clear(struct shm_event *event);

/*
 * One more has come to the barrier. OK: it was the last, and all go on; BUSY: it waits until the
 * generation is not *ret_generation any more; FAILED. *ret_index is its number among the parties,
 * from 1.
 */
int shm_barrier_arrive(struct shm_barrier *barrier, uint64_t *ret_generation, uint64_t *ret_index);
uint64_t shm_barrier_generation(const struct shm_barrier *barrier);

/* It does not wait any more. OK: it has left; DONE: the barrier was passed before that. */
int shm_barrier_leave(struct shm_barrier *barrier, uint64_t generation, uint64_t index);

struct shm_barrier_stat {
	uint64_t parties;
	uint64_t arrived; /* of the present generation, the dead included until the next comes */
	uint64_t generation;
};
void shm_barrier_read(const struct shm_barrier *barrier, struct shm_barrier_stat *stat);

/* OK or ABANDONED: this task is to do it; DONE; BUSY: another does; OWN: it does; FAILED. */
int shm_once_begin(struct shm_once *once, uint64_t task);

/* It is done, with a result of `size` bytes, at most the limit. OK, NOT_OWN */
int shm_once_finish(struct shm_once *once, uint64_t task, const char *result, uint64_t size);

/* It is not done: another is to do it. OK, NOT_OWN */
int shm_once_fail(struct shm_once *once, uint64_t task);

uint64_t shm_once_limit(const struct shm_once *once);

/* The result; NULL when it is not done. */
const char *shm_once_result(const struct shm_once *once, uint64_t *ret_size);

#endif
