/*
 * What is done once for as long as the region is there: an owner that does it, then a result. The
 * result is written where nobody looks, and one store makes it known. Runs in every process that
 * runs Lua.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "shm/fault.h"
#include "shm/owner.h"
#include "shm/region.h"
#include "shm/wait.h"

#pragma GCC visibility push(default)
#include "shm/sync_abi.h"
#pragma GCC visibility pop

struct shm_once {
	struct shm_owner owner; /* who does it */
	struct shm_waiters waiters;
	uint64_t done;  /* 1: `size` and `result` are final */
	uint64_t limit; /* bytes that `result` has room for; never changes */
	uint64_t size;
	char result[];
};

struct shm_once *shm_once_open(const char *name, uint64_t limit, int create)
{
	char shape[SHM_SHAPE_MAX];
	struct shm_want want = {
		.name = name,
		.kind = "once",
		.shape = limit != 0 ? shape : NULL,
		.size = sizeof(struct shm_once) + limit,
	};
	struct shm_once *once;
	int is_new;

	(void)snprintf(shape, sizeof shape, "a result of up to %" PRIu64 " bytes", limit);
	once = shm_region_open(&want, create, &is_new);
	if (once == NULL || !is_new)
		return once;
	once->limit = limit;
	shm_region_publish(name);
	return once;
}

struct shm_waiters *shm_once_waiters(struct shm_once *once)
{
	return &once->waiters;
}

static int is_done(const struct shm_once *once)
{
	return __atomic_load_n(&once->done, __ATOMIC_SEQ_CST) != 0;
}

int shm_once_begin(struct shm_once *once, uint64_t task)
{
	int result;

	if (is_done(once))
		return SHM_SYNC_DONE;
	result = shm_owner_take(&once->owner, task, "once.begin");
	if ((result != SHM_SYNC_OK && result != SHM_SYNC_ABANDONED) || !is_done(once))
		return result;
	shm_owner_give(&once->owner); /* done between our look and our taking */
	return SHM_SYNC_DONE;
}

int shm_once_finish(struct shm_once *once, uint64_t task, const char *result, uint64_t size)
{
	CHECK(size <= once->limit);
	if (!shm_owner_is(&once->owner, task))
		return SHM_SYNC_NOT_OWN;
	shm_fault_begin("once.finish");
	memcpy(once->result, result, size);
	once->size = size;
	shm_fault_step();
	__atomic_store_n(&once->done, 1, __ATOMIC_SEQ_CST);
	shm_owner_give(&once->owner);
	shm_waiters_wake_all(&once->waiters);
	return SHM_SYNC_OK;
}

int shm_once_fail(struct shm_once *once, uint64_t task)
{
	if (!shm_owner_is(&once->owner, task))
		return SHM_SYNC_NOT_OWN;
	shm_fault_begin("once.fail");
	shm_owner_give(&once->owner);
	shm_waiters_wake_one(&once->waiters);
	return SHM_SYNC_OK;
}

uint64_t shm_once_limit(const struct shm_once *once)
{
	return once->limit;
}

const char *shm_once_result(const struct shm_once *once, uint64_t *ret_size)
{
	if (!is_done(once))
		return NULL;
	*ret_size = once->size <= once->limit ? once->size : once->limit;
	return once->result;
}
