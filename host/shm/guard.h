/*
 * Guards: a critical section that is done as a whole or not at all, whatever kills its process.
 *
 * A guard is a lock in the region together with the old values of what was changed under it. Who
 * holds it changes shared words through shm_guard_set only, which notes the old value before it
 * stores the new one. When the holder dies, the kernel hands the lock to the next process that
 * wants it (a robust mutex, pthread_mutexattr_setrobust(3)), and that one puts the old values back:
 * the dead process's operation never was.
 *
 * What is reachable only through words that are not set yet (a fresh block of memory) may be
 * written freely. Nothing in a critical section may fail, wait, allocate or enter Lua.
 *
 * Readers need no lock: shm_guard_look and shm_guard_seen tell whether what was read between
 * them was in motion. What they read may be torn, so they check every offset before following it,
 * and bound every walk.
 *
 * A killed process's stores are seen in their program's order up to some instruction, so that the
 * compiler must keep the order here; __atomic_signal_fence has it do so.
 */
#ifndef PERIGEE_SHM_GUARD_H
#define PERIGEE_SHM_GUARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/check.h"
#include "shm/fault.h"

#define SHM_GUARD_UNDO 48 /* words that one operation may change before it commits */

struct shm_undo {
	int64_t place; /* bytes from the guard to the word */
	uint64_t old;
};

/* In the region. Zero it, then shm_guard_init. */
struct shm_guard {
	pthread_mutex_t mutex;
	uint64_t sequence; /* odd while words are being changed */
	uint64_t undone;   /* operations of dead processes that were undone */
	uint64_t count;    /* entries of `undo` that are in force */
	struct shm_undo undo[SHM_GUARD_UNDO];
};

/* Makes a guard of zeroed memory, which no other process can see yet. */
void shm_guard_init(struct shm_guard *guard);

/* The rest of shm_guard_enter, after a first try to lock that returned `result`, not 0. */
void shm_guard_enter_late(struct shm_guard *guard, int result);

/*
 * Begins an operation called `name` (for fault points: a literal). Waits for the present holder, a
 * few microseconds as a rule. What a dead holder left is undone before this returns.
 */
static inline void shm_guard_enter(struct shm_guard *guard, const char *name)
{
	int result = pthread_mutex_trylock(&guard->mutex);

	if (__builtin_expect(result != 0, 0))
		shm_guard_enter_late(guard, result);
	shm_fault_begin(name);
}

/* Makes what was set since shm_guard_enter or the last commit final; the guard stays held. */
static inline void shm_guard_commit(struct shm_guard *guard)
{
	shm_fault_step();
	if (guard->count == 0)
		return;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	/* From here on it is done. */
	__atomic_store_n(&guard->count, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	shm_fault_step();
	__atomic_store_n(&guard->sequence, guard->sequence + 1, __ATOMIC_RELEASE);
}

/* Commits and lets go. */
static inline void shm_guard_leave(struct shm_guard *guard)
{
	shm_guard_commit(guard);
	CHECK(pthread_mutex_unlock(&guard->mutex) == 0);
}

/* Puts the old values back and lets go: as if the operation had not begun. */
void shm_guard_abort(struct shm_guard *guard);

/*
 * *word = value, undone if this process dies before it commits. The word lies in the same object as
 * the guard. At most SHM_GUARD_UNDO of them between two commits.
 */
static inline void shm_guard_set(struct shm_guard *guard, uint64_t *word, uint64_t value)
{
	uint64_t count = guard->count;

	CHECK(count < SHM_GUARD_UNDO);
	shm_fault_step();
	if (count == 0) {
		__atomic_store_n(&guard->sequence, guard->sequence + 1, __ATOMIC_RELAXED);
		__atomic_thread_fence(__ATOMIC_RELEASE);
	}
	guard->undo[count].place = (int64_t)((char *)word - (char *)guard);
	guard->undo[count].old = *word;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	guard->count = count + 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/*
 * Reading without the lock:
 *
 *     do {
 *         if (!shm_guard_look(guard, &sequence)) … take the lock instead
 *         … read words with __atomic_load_n, relaxed …
 *     } while (!shm_guard_seen(guard, sequence));
 *
 * shm_guard_look returns false when a change is under way: at once done in most cases, for as long
 * as nobody takes the lock when its author is dead.
 */
static inline bool shm_guard_look(const struct shm_guard *guard, uint64_t *ret_sequence)
{
	*ret_sequence = __atomic_load_n(&guard->sequence, __ATOMIC_ACQUIRE);
	return (*ret_sequence & 1) == 0;
}

/* Whether nothing has changed since shm_guard_look. */
static inline bool shm_guard_seen(const struct shm_guard *guard, uint64_t sequence)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&guard->sequence, __ATOMIC_RELAXED) == sequence;
}

#endif
