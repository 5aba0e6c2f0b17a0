/*
 * Leases: what one process of an application does for all of them, by name.
 *
 * A lease is a lock on one byte of the region's memfd, as a member's is (see member.h), so a dead
 * owner keeps nobody waiting, and two owners cannot be. Runs in workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>

#include "shm/last_error.h"
#include "shm/member.h"

#pragma GCC visibility push(default)
#include "shm/shm_abi.h"
#pragma GCC visibility pop

/* Where the bytes of leases begin; no region is as large as that, and members are before. */
#define LEASE_FIRST ((uint64_t)1 << 61)

/* The byte of a name: FNV-1a, cut to what an off_t can hold. Two names on one byte would have one
 * owner, which is no harm. */
static off_t byte_of(const char *name)
{
	uint64_t hash = 14695981039346656037ull;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 1099511628211ull;
	return (off_t)(LEASE_FIRST + hash % LEASE_FIRST);
}

static int set_lock(int file, const char *name, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte_of(name), .l_len = 1};

	return fcntl(file, F_OFD_SETLK, &lock);
}

int shm_lease_take(const char *name)
{
	struct error error;
	int file = shm_member_file(&error);

	if (file < 0)
		return shm_fail(-1, &error);
	if (set_lock(file, name, F_WRLCK) == 0)
		return 1;
	if (errno == EAGAIN || errno == EACCES)
		return 0;
	return shm_fail(error_set_errno(&error, "cannot lock"), &error);
}

void shm_lease_release(const char *name)
{
	struct error error;
	int file = shm_member_file(&error);

	if (file >= 0)
		(void)set_lock(file, name, F_UNLCK);
}
