/* Guards: the lock and the undoing; see guard.h. Runs in every process that uses shared objects. */
#include "shm/guard.h"

#include <errno.h>

#define SPINS                                                                                      \
	100 /* tries before the kernel is asked to wait: most sections are shorter than that */

void shm_guard_init(struct shm_guard *guard)
{
	pthread_mutexattr_t attributes;

	CHECK(pthread_mutexattr_init(&attributes) == 0);
	CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0);
	CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutex_init(&guard->mutex, &attributes) == 0);
	(void)pthread_mutexattr_destroy(&attributes);
}

/* Puts the old values back, the youngest first. Being killed in here is harmless: the next one
 * begins anew. */
static void undo(struct shm_guard *guard)
{
	CHECK(guard->count <= SHM_GUARD_UNDO);
	for (uint64_t i = guard->count; i > 0; i--) {
		const struct shm_undo *entry = &guard->undo[i - 1];

		shm_fault_step();
		__atomic_store_n((uint64_t *)(void *)((char *)guard + entry->place), entry->old,
			__ATOMIC_RELAXED);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&guard->count, 0, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	shm_fault_step();
	if ((guard->sequence & 1) != 0)
		__atomic_store_n(&guard->sequence, guard->sequence + 1, __ATOMIC_RELEASE);
}

/* Tells the processor that this is a loop that waits. */
static inline void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Tries on while another holds it. */
static int lock(struct shm_guard *guard, int result)
{
	for (int i = 1; i < SPINS && result == EBUSY; i++) {
		relax();
		result = pthread_mutex_trylock(&guard->mutex);
	}
	return result == EBUSY ? pthread_mutex_lock(&guard->mutex) : result;
}

void shm_guard_enter_late(struct shm_guard *guard, int result)
{
	result = lock(guard, result);
	if (result == EOWNERDEAD) {
		shm_fault_begin("undo");
		undo(guard);
		guard->undone++;
		CHECK(pthread_mutex_consistent(&guard->mutex) == 0);
	} else {
		CHECK(result == 0);
	}
}

void shm_guard_abort(struct shm_guard *guard)
{
	undo(guard);
	CHECK(pthread_mutex_unlock(&guard->mutex) == 0);
}
