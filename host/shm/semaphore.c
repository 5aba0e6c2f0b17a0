/*
 * Shared semaphores: permits, and how many of them each living process has. The permits of a dead
 * one come back when somebody finds none left. Runs in every process that runs Lua.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "shm/guard.h"
#include "shm/last_error.h"
#include "shm/member.h"
#include "shm/region.h"
#include "shm/wait.h"

#pragma GCC visibility push(default)
#include "shm/sync_abi.h"
#pragma GCC visibility pop

struct holder {
	uint64_t member; /* 0: nobody had this number yet */
	uint64_t held;
};

/* Under `guard`: available and all held are `permits` together. */
struct shm_semaphore {
	struct shm_guard guard;
	uint64_t permits; /* never changes */
	uint64_t available;
	uint64_t revived; /* permits that came back from dead processes */
	struct shm_waiters waiters;
	struct holder holders[SHM_MEMBERS_MAX]; /* by the member's index */
};

struct shm_semaphore *shm_semaphore_open(const char *name, uint64_t permits, int create)
{
	char shape[SHM_SHAPE_MAX];
	struct shm_want want = {
		.name = name,
		.kind = "semaphore",
		.shape = permits != 0 ? shape : NULL,
		.size = sizeof(struct shm_semaphore),
	};
	struct shm_semaphore *semaphore;
	int is_new;

	(void)snprintf(shape, sizeof shape, "%" PRIu64 " permits", permits);
	semaphore = shm_region_open(&want, create, &is_new);
	if (semaphore == NULL || !is_new)
		return semaphore;
	shm_guard_init(&semaphore->guard);
	semaphore->permits = semaphore->available = permits;
	shm_region_publish(name);
	return semaphore;
}

struct shm_waiters *shm_semaphore_waiters(struct shm_semaphore *semaphore)
{
	return &semaphore->waiters;
}

/* Gives back what a dead process held. Under the guard. */
static void revive(struct shm_semaphore *semaphore, struct holder *holder)
{
	struct shm_guard *guard = &semaphore->guard;

	shm_guard_set(guard, &semaphore->available, semaphore->available + holder->held);
	shm_guard_set(guard, &semaphore->revived, semaphore->revived + holder->held);
	shm_guard_set(guard, &holder->held, 0);
}

static int try_take(struct shm_semaphore *semaphore, shm_member self)
{
	struct holder *holder = &semaphore->holders[shm_member_index(self)];
	struct shm_guard *guard = &semaphore->guard;
	int result = SHM_SYNC_BUSY;

	shm_guard_enter(guard, "semaphore.acquire");
	if (holder->member != self) { /* whoever had this number is dead */
		revive(semaphore, holder);
		shm_guard_set(guard, &holder->member, self);
	}
	if (semaphore->available != 0) {
		shm_guard_set(guard, &semaphore->available, semaphore->available - 1);
		shm_guard_set(guard, &holder->held, holder->held + 1);
		result = SHM_SYNC_OK;
	}
	shm_guard_leave(guard);
	return result;
}

/* Looks for dead holders. Returns whether a permit came back. */
static bool revive_all(struct shm_semaphore *semaphore)
{
	bool any = false;

	for (unsigned i = 0; i < SHM_MEMBERS_MAX; i++) {
		struct holder *holder = &semaphore->holders[i];
		shm_member member = __atomic_load_n(&holder->member, __ATOMIC_RELAXED);

		if (__atomic_load_n(&holder->held, __ATOMIC_RELAXED) == 0 || member == 0 ||
			shm_member_alive(member))
			continue;
		shm_guard_enter(&semaphore->guard, "semaphore.revive");
		if (holder->member == member && holder->held != 0) {
			revive(semaphore, holder);
			any = true;
		}
		shm_guard_leave(&semaphore->guard);
	}
	if (any)
		shm_waiters_wake_all(&semaphore->waiters);
	return any;
}

int shm_semaphore_take(struct shm_semaphore *semaphore)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	int result;

	if (self == 0)
		return shm_fail(SHM_SYNC_FAILED, &error);
	result = try_take(semaphore, self);
	if (result == SHM_SYNC_BUSY && revive_all(semaphore))
		result = try_take(semaphore, self);
	return result;
}

int shm_semaphore_give(struct shm_semaphore *semaphore)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	struct holder *holder = &semaphore->holders[shm_member_index(self)];
	struct shm_guard *guard = &semaphore->guard;
	bool own;

	if (self == 0)
		return SHM_SYNC_NOT_OWN;
	shm_guard_enter(guard, "semaphore.release");
	own = holder->member == self && holder->held != 0;
	if (own) {
		shm_guard_set(guard, &holder->held, holder->held - 1);
		shm_guard_set(guard, &semaphore->available, semaphore->available + 1);
	}
	shm_guard_leave(guard);
	if (!own)
		return SHM_SYNC_NOT_OWN;
	shm_waiters_wake_one(&semaphore->waiters);
	return SHM_SYNC_OK;
}

void shm_semaphore_read(const struct shm_semaphore *semaphore, struct shm_semaphore_stat *stat)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	const struct holder *holder = &semaphore->holders[shm_member_index(self)];

	*stat = (struct shm_semaphore_stat){.permits = semaphore->permits,
		.available = __atomic_load_n(&semaphore->available, __ATOMIC_RELAXED),
		.revived = __atomic_load_n(&semaphore->revived, __ATOMIC_RELAXED)};
	if (self != 0 && __atomic_load_n(&holder->member, __ATOMIC_RELAXED) == self)
		stat->mine = __atomic_load_n(&holder->held, __ATOMIC_RELAXED);
}
