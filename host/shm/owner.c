/* Owners: see owner.h. Runs in every process that uses shared objects. */
#include "shm/owner.h"

#include <unistd.h>

#include "shm/fault.h"
#include "shm/last_error.h"

#pragma GCC visibility push(default)
#include "shm/sync_abi.h"
#pragma GCC visibility pop

/* It is ours: says so, and whether the one before ended with it. */
static int enter(struct shm_owner *owner, uint64_t task, int died)
{
	int abandoned = died || owner->left != 0;

	shm_fault_step();
	__atomic_store_n(&owner->task, task, __ATOMIC_RELAXED);
	__atomic_store_n(&owner->pid, (uint64_t)getpid(), __ATOMIC_RELAXED);
	__atomic_store_n(&owner->left, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&owner->taken, owner->taken + 1, __ATOMIC_RELAXED);
	if (!abandoned)
		return SHM_SYNC_OK;
	__atomic_store_n(&owner->abandoned, owner->abandoned + 1, __ATOMIC_RELAXED);
	return SHM_SYNC_ABANDONED;
}

int shm_owner_take(struct shm_owner *owner, uint64_t task, const char *section)
{
	struct error error;
	shm_member self = shm_member_self(&error);
	shm_member other = __atomic_load_n(&owner->member, __ATOMIC_SEQ_CST);

	if (self == 0)
		return shm_fail(SHM_SYNC_FAILED, &error);
	if (other == self)
		return owner->task == task ? SHM_SYNC_OWN : SHM_SYNC_BUSY;
	if (other != 0 && shm_member_alive(other))
		return SHM_SYNC_BUSY;
	shm_fault_begin(section);
	if (!__atomic_compare_exchange_n(
		    &owner->member, &other, self, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return SHM_SYNC_BUSY;
	return enter(owner, task, other != 0);
}

int shm_owner_is(const struct shm_owner *owner, uint64_t task)
{
	struct error error;
	shm_member self = shm_member_self(&error);

	return self != 0 && __atomic_load_n(&owner->member, __ATOMIC_SEQ_CST) == self &&
	       owner->task == task;
}

void shm_owner_give(struct shm_owner *owner)
{
	shm_fault_step();
	__atomic_store_n(&owner->member, 0, __ATOMIC_SEQ_CST);
	shm_fault_step();
}
