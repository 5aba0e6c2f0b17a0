/* Waiting: see wait.h. The manager makes the bells; processes that run Lua ring and listen. */
#include "shm/wait.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/member.h"
#include "shm/region.h"

/* The bells there are; memory here is everybody's, and other bits mean nothing. */
#define ALL_BELLS (((uint64_t)1 << SHM_BELLS) - 1)

_Static_assert(SHM_BELLS < 64, "a set of bells is one word");

static struct {
	int first;     /* the bells' first descriptor; -1: there are none here */
	int listening; /* the number of ours; -1: we do not listen */
	bool watching; /* forget() will be called in children */
} bells = {.first = -1, .listening = -1};

static int create_bell(int least)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int moved;

	if (fd < 0 || fd >= least)
		return fd;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, least);
	fd_close(&fd);
	return moved;
}

int shm_bells_create(int fds[SHM_BELLS], int least, struct error *error)
{
	for (int i = 0; i < SHM_BELLS; i++) {
		fds[i] = create_bell(least);
		if (fds[i] >= 0)
			continue;
		(void)error_set_errno(error, "cannot make the bells of shared objects");
		while (i-- > 0)
			fd_close(&fds[i]);
		return -1;
	}
	return 0;
}

void shm_bells_use(int first)
{
	bells.first = first;
}

/* In a forked child, which is another member. */
static void forget(void)
{
	bells.listening = -1;
}

int shm_bells_listen(struct error *error)
{
	shm_member self = shm_member_self(error);

	if (self == 0)
		return -1;
	CHECK(bells.first >= 0);
	if (!bells.watching)
		CHECK(pthread_atfork(NULL, NULL, forget) == 0);
	bells.watching = true;
	bells.listening = (int)(shm_member_index(self) % SHM_BELLS);
	return bells.first + bells.listening;
}

void shm_waiters_add(struct shm_waiters *waiters)
{
	if (bells.listening >= 0)
		(void)__atomic_fetch_or(
			&waiters->bells, (uint64_t)1 << bells.listening, __ATOMIC_SEQ_CST);
}

unsigned shm_waiters_count(const struct shm_waiters *waiters)
{
	uint64_t set = __atomic_load_n(&waiters->bells, __ATOMIC_SEQ_CST) & ALL_BELLS;

	return (unsigned)__builtin_popcountll(set);
}

/* Whether other processes listen to our bell too: members are numbered from the lowest that is
 * free. */
static bool is_shared(int bell)
{
	struct error error;
	const uint64_t *incarnations = shm_region_members(&error);

	return incarnations == NULL ||
	       __atomic_load_n(&incarnations[bell + SHM_BELLS], __ATOMIC_RELAXED) != 0;
}

static void ring(unsigned bell)
{
	uint64_t one = 1;

	if (bells.first >= 0)
		(void)!write(
			bells.first + (int)bell, &one, sizeof one); /* fails after 2^64 rings */
}

void shm_waiters_leave(struct shm_waiters *waiters)
{
	uint64_t bit = (uint64_t)1 << (bells.listening & 63);

	if (bells.listening < 0)
		return;
	if ((__atomic_fetch_and(&waiters->bells, ~bit, __ATOMIC_SEQ_CST) & bit) == 0)
		shm_waiters_wake_one(waiters); /* we were chosen, and have no use for it */
	else if (is_shared(bells.listening))
		ring((unsigned)bells.listening); /* those who wait behind it add it again */
}

int shm_bells_listening(void)
{
	return bells.listening >= 0;
}

void shm_bells_ring(uint64_t member)
{
	if (member != 0)
		ring(shm_member_index(member) % SHM_BELLS);
}

/* The first of `set`, not empty, that comes after `last`. */
static unsigned next_after(uint64_t set, uint64_t last)
{
	uint64_t later = last >= 63 ? 0 : set & ~(((uint64_t)2 << last) - 1);

	return (unsigned)__builtin_ctzll(later != 0 ? later : set);
}

void shm_waiters_wake_one(struct shm_waiters *waiters)
{
	uint64_t set = __atomic_load_n(&waiters->bells, __ATOMIC_SEQ_CST) & ALL_BELLS;

	while (set != 0) {
		unsigned bell = next_after(set, __atomic_load_n(&waiters->last, __ATOMIC_RELAXED));
		uint64_t bit = (uint64_t)1 << bell;

		set = __atomic_fetch_and(&waiters->bells, ~bit, __ATOMIC_SEQ_CST);
		if ((set & bit) != 0) {
			__atomic_store_n(&waiters->last, bell, __ATOMIC_RELAXED);
			ring(bell);
			return;
		}
		set &= ALL_BELLS & ~bit; /* somebody else has rung it */
	}
}

void shm_waiters_wake_all(struct shm_waiters *waiters)
{
	uint64_t set = __atomic_load_n(&waiters->bells, __ATOMIC_SEQ_CST);

	if (set == 0)
		return;
	set = __atomic_exchange_n(&waiters->bells, 0, __ATOMIC_SEQ_CST) & ALL_BELLS;
	for (; set != 0; set &= set - 1)
		ring((unsigned)__builtin_ctzll(set));
}
