/*
 * Shared barriers: the parties of one generation, each in a place of its own, so that one that
 * leaves or dies can be told from the others. Runs in every process that runs Lua.
 */
#include <inttypes.h>
#include <stdio.h>

#include "shm/guard.h"
#include "shm/last_error.h"
#include "shm/member.h"
#include "shm/region.h"
#include "shm/wait.h"

#pragma GCC visibility push(default)
#include "shm/sync_abi.h"
#pragma GCC visibility pop

struct place {
	uint64_t generation; /* the place is taken while this is the barrier's */
	uint64_t member;
};

/* Under `guard`: `arrived` places are taken, less than `parties`. */
struct shm_barrier {
	struct shm_guard guard;
	uint64_t parties;    /* never changes */
	uint64_t generation; /* from 1, so that a place of zeros is free */
	uint64_t arrived;
	struct shm_waiters waiters;
	struct place places[];
};

struct shm_barrier *shm_barrier_open(const char *name, uint64_t parties, int create)
{
	char shape[SHM_SHAPE_MAX];
	struct shm_want want = {
		.name = name,
		.kind = "barrier",
		.shape = parties != 0 ? shape : NULL,
		.size = sizeof(struct shm_barrier) + parties * sizeof(struct place),
	};
	struct shm_barrier *barrier;
	int is_new;

	(void)snprintf(shape, sizeof shape, "%" PRIu64 " parties", parties);
	barrier = shm_region_open(&want, create, &is_new);
	if (barrier == NULL || !is_new)
		return barrier;
	shm_guard_init(&barrier->guard);
	barrier->parties = parties;
	barrier->generation = 1;
	shm_region_publish(name);
	return barrier;
}

struct shm_waiters *shm_barrier_waiters(struct shm_barrier *barrier)
{
	return &barrier->waiters;
}

static int is_taken(const struct shm_barrier *barrier, const struct place *place)
{
	return __atomic_load_n(&place->generation, __ATOMIC_RELAXED) ==
	       __atomic_load_n(&barrier->generation, __ATOMIC_RELAXED);
}

/* Frees a place of the present generation. Under the guard. */
static void free_place(struct shm_barrier *barrier, struct place *place)
{
	shm_guard_set(&barrier->guard, &place->generation, 0);
	shm_guard_set(&barrier->guard, &barrier->arrived, barrier->arrived - 1);
}

/* Takes out who died while it waited. Asking the kernel is not for a critical section, so they are
 * found before it. */
static void remove_dead(struct shm_barrier *barrier)
{
	uint64_t sequence;

	if (!shm_guard_look(
		    &barrier->guard, &sequence)) { /* what a dead one left is undone first */
		shm_guard_enter(&barrier->guard, "barrier.look");
		shm_guard_leave(&barrier->guard);
	}
	for (uint64_t i = 0; i < barrier->parties; i++) {
		struct place *place = &barrier->places[i];
		shm_member member = __atomic_load_n(&place->member, __ATOMIC_RELAXED);

		if (!is_taken(barrier, place) || shm_member_alive(member))
			continue;
		shm_guard_enter(&barrier->guard, "barrier.clear");
		if (is_taken(barrier, place) && place->member == member)
			free_place(barrier, place);
		shm_guard_leave(&barrier->guard);
	}
}

/* The first free place; there is one. Under the guard. */
static struct place *find_place(struct shm_barrier *barrier)
{
	uint64_t i = 0;

	while (i < barrier->parties - 1 && is_taken(barrier, &barrier->places[i]))
		i++;
	return &barrier->places[i];
}

int shm_barrier_arrive(struct shm_barrier *barrier, uint64_t *ret_generation, uint64_t *ret_index)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	struct shm_guard *guard = &barrier->guard;
	struct place *place;
	int last;

	if (self == 0)
		return shm_fail(SHM_SYNC_FAILED, &error);
	remove_dead(barrier);
	shm_guard_enter(guard, "barrier.arrive");
	*ret_generation = barrier->generation;
	place = find_place(barrier);
	*ret_index = (uint64_t)(place - barrier->places) + 1;
	last = barrier->arrived + 1 == barrier->parties;
	if (last) {
		shm_guard_set(guard, &barrier->arrived, 0);
		shm_guard_set(guard, &barrier->generation, barrier->generation + 1);
	} else {
		shm_guard_set(guard, &place->member, self);
		shm_guard_set(guard, &place->generation, barrier->generation);
		shm_guard_set(guard, &barrier->arrived, barrier->arrived + 1);
	}
	shm_guard_leave(guard);
	if (last)
		shm_waiters_wake_all(&barrier->waiters);
	return last ? SHM_SYNC_OK : SHM_SYNC_BUSY;
}

uint64_t shm_barrier_generation(const struct shm_barrier *barrier)
{
	return __atomic_load_n(&barrier->generation, __ATOMIC_SEQ_CST);
}

int shm_barrier_leave(struct shm_barrier *barrier, uint64_t generation, uint64_t index)
{
	int result = SHM_SYNC_DONE;

	CHECK(index >= 1 && index <= barrier->parties);
	shm_guard_enter(&barrier->guard, "barrier.leave");
	if (barrier->generation == generation) {
		free_place(barrier, &barrier->places[index - 1]);
		result = SHM_SYNC_OK;
	}
	shm_guard_leave(&barrier->guard);
	return result;
}

void shm_barrier_read(const struct shm_barrier *barrier, struct shm_barrier_stat *stat)
{
	*stat = (struct shm_barrier_stat){
		.parties = barrier->parties,
		.arrived = __atomic_load_n(&barrier->arrived, __ATOMIC_RELAXED),
		.generation = shm_barrier_generation(barrier),
	};
}
