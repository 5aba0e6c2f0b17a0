/* Members: see member.h. Runs in workers, in the other processes that run Lua, and in the zygote.
 */
#include "shm/member.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/region.h"

#define INDEX_BITS 16

/* Where the bytes of members begin; no region is as large as that, and leases begin behind. */
#define MEMBERS_FIRST ((uint64_t)1 << 60)

_Static_assert(SHM_MEMBERS_MAX <= 1 << INDEX_BITS, "an index fits a member's low bits");

static struct {
	int file; /* -1 until it is first needed */
	shm_member self;
	bool watching; /* forget() will be called in children */
} own = {.file = -1};

/* In a forked child: descriptors are inherited, but their locks are the parent's. */
static void forget(void)
{
	fd_close(&own.file);
	own.self = 0;
}

int shm_member_file(struct error *error)
{
	char path[32];
	int fd = shm_region_fd();

	if (own.file >= 0)
		return own.file;
	if (fd < 0)
		return error_set(error, ENODEV, "this process has no shared memory");
	if (!own.watching)
		CHECK(pthread_atfork(NULL, NULL, forget) == 0);
	own.watching = true;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	own.file = open(path, O_RDWR | O_CLOEXEC);
	return own.file >= 0 ? own.file
			     : error_set_errno(error, "cannot open the shared memory anew");
}

static struct flock byte_lock(unsigned index, short type)
{
	return (struct flock){.l_type = type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)(MEMBERS_FIRST + index),
		.l_len = 1};
}

shm_member shm_member_self(struct error *error)
{
	uint64_t *incarnations;
	int file;

	if (own.self != 0)
		return own.self;
	file = shm_member_file(error);
	incarnations = file < 0 ? NULL : shm_region_members(error);
	if (incarnations == NULL)
		return 0;
	for (unsigned index = 0; index < SHM_MEMBERS_MAX; index++) {
		struct flock lock = byte_lock(index, F_WRLCK);

		if (fcntl(file, F_OFD_SETLK, &lock) == 0) {
			uint64_t number =
				__atomic_add_fetch(&incarnations[index], 1, __ATOMIC_SEQ_CST);

			own.self = number << INDEX_BITS | index;
			return own.self;
		}
		if (errno != EAGAIN && errno != EACCES) {
			(void)error_set_errno(error, "cannot lock a byte of the shared memory");
			return 0;
		}
	}
	(void)error_set(error, EAGAIN, "%d processes use the shared objects, the most there may be",
		SHM_MEMBERS_MAX);
	return 0;
}

unsigned shm_member_index(shm_member member)
{
	return (unsigned)(member & ((1u << INDEX_BITS) - 1));
}

bool shm_member_alive(shm_member member)
{
	struct error error;
	unsigned index = shm_member_index(member);
	struct flock lock = byte_lock(index, F_WRLCK);
	uint64_t *incarnations = shm_region_members(&error);
	int file = shm_member_file(&error);

	if (member == 0 || index >= SHM_MEMBERS_MAX)
		return false;
	if (member == own.self)
		return true;
	/* When we cannot know, what it holds stays its own. */
	if (incarnations == NULL || file < 0)
		return true;
	if (__atomic_load_n(&incarnations[index], __ATOMIC_SEQ_CST) != member >> INDEX_BITS)
		return false;
	return fcntl(file, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}
