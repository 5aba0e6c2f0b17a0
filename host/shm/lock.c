/* Shared locks: an owner and who waits to be the next. Runs in every process that runs Lua. */
#include "shm/fault.h"
#include "shm/owner.h"
#include "shm/region.h"
#include "shm/wait.h"

#pragma GCC visibility push(default)
#include "shm/sync_abi.h"
#pragma GCC visibility pop

struct shm_lock {
	struct shm_owner owner;
	struct shm_waiters waiters;
};

struct shm_lock *shm_lock_open(const char *name, int create)
{
	struct shm_want want = {.name = name,
		.kind = "lock",
		.shape = "one owner",
		.size = sizeof(struct shm_lock)};

	return shm_region_open(&want, create, NULL);
}

struct shm_waiters *shm_lock_waiters(struct shm_lock *lock)
{
	return &lock->waiters;
}

int shm_lock_take(struct shm_lock *lock, uint64_t task)
{
	return shm_owner_take(&lock->owner, task, "lock.acquire");
}

int shm_lock_give(struct shm_lock *lock, uint64_t task)
{
	if (!shm_owner_is(&lock->owner, task))
		return SHM_SYNC_NOT_OWN;
	shm_fault_begin("lock.release");
	shm_owner_give(&lock->owner);
	shm_waiters_wake_one(&lock->waiters);
	return SHM_SYNC_OK;
}

int shm_lock_drop(struct shm_lock *lock, uint64_t task)
{
	if (!shm_owner_is(&lock->owner, task))
		return SHM_SYNC_NOT_OWN;
	shm_fault_begin("lock.drop");
	__atomic_store_n(&lock->owner.left, 1, __ATOMIC_SEQ_CST);
	shm_owner_give(&lock->owner);
	shm_waiters_wake_one(&lock->waiters);
	return SHM_SYNC_OK;
}

void shm_lock_nudge(const struct shm_lock *lock)
{
	shm_bells_ring(__atomic_load_n(&lock->owner.member, __ATOMIC_SEQ_CST));
}

void shm_lock_read(const struct shm_lock *lock, struct shm_lock_stat *stat)
{
	struct error error;
	shm_member member = __atomic_load_n(&lock->owner.member, __ATOMIC_SEQ_CST);
	shm_member self = shm_member_self(&error);

	*stat = (struct shm_lock_stat){
		.taken = __atomic_load_n(&lock->owner.taken, __ATOMIC_RELAXED),
		.abandoned = __atomic_load_n(&lock->owner.abandoned, __ATOMIC_RELAXED)};
	if (!shm_member_alive(member))
		return;
	stat->pid = __atomic_load_n(&lock->owner.pid, __ATOMIC_RELAXED);
	stat->task = __atomic_load_n(&lock->owner.task, __ATOMIC_RELAXED);
	stat->mine = member == self;
}
