/*
 * Shared events: one word that says whether it is set, and how often it was, so that who waited
 * when it was set goes on though it has been cleared since. Runs in every process that runs Lua.
 */
#include "shm/fault.h"
#include "shm/region.h"
#include "shm/wait.h"

#pragma GCC visibility push(default)
#include "shm/sync_abi.h"
#pragma GCC visibility pop

struct shm_event {
	uint64_t state; /* twice the times it was set, and 1 while it is */
	struct shm_waiters waiters;
};

struct shm_event *shm_event_open(const char *name, int create)
{
	struct shm_want want = {.name = name,
		.kind = "event",
		.shape = "one flag",
		.size = sizeof(struct shm_event)};

	return shm_region_open(&want, create, NULL);
}

struct shm_waiters *shm_event_waiters(struct shm_event *event)
{
	return &event->waiters;
}

uint64_t shm_event_state(const struct shm_event *event)
{
	return __atomic_load_n(&event->state, __ATOMIC_SEQ_CST);
}

void shm_event_set(struct shm_event *event)
{
	uint64_t state = shm_event_state(event);

	shm_fault_begin("event.set");
	while ((state & 1) == 0) {
		if (__atomic_compare_exchange_n(&event->state, &state, state + 3, 0,
			    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			break;
	}
	shm_fault_step();
	shm_waiters_wake_all(&event->waiters);
}

void shm_event_clear(struct shm_event *event)
{
	(void)__atomic_fetch_and(&event->state, ~(uint64_t)1, __ATOMIC_SEQ_CST);
}
