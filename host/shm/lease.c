/*
 * Leases: what one process of an application does for all of them, by name.
 *
 * A lease is a lock on one byte of the region's memfd, far behind its end, through a file
 * description that is the process's own (fcntl(2), F_OFD_SETLK). The kernel lets go of it when the
 * process dies, at whatever instruction, so a dead owner keeps nobody waiting, and two owners
 * cannot be. Runs in workers.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "shm/last_error.h"
#include "shm/region.h"

#pragma GCC visibility push(default)
#include "shm/shm_abi.h"
#pragma GCC visibility pop

/* Where the bytes of leases begin; no region is as large as that. */
#define LEASE_FIRST ((uint64_t)1 << 61)

/* This process's own description of the region's file; -1 until it is first needed. Inherited
 * descriptors share one description, and with it its locks. */
static int own = -1;

/* The byte of a name: FNV-1a, cut to what an off_t can hold. Two names on one byte would have one
 * owner, which is no harm. */
static off_t byte_of(const char *name)
{
	uint64_t hash = 14695981039346656037ull;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 1099511628211ull;
	return (off_t)(LEASE_FIRST + hash % LEASE_FIRST);
}

static int open_own(struct error *error)
{
	char path[32];
	int fd = shm_region_fd();

	if (own >= 0)
		return 0;
	if (fd < 0)
		return error_set(error, ENODEV, "this process has no shared memory");
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	own = open(path, O_RDWR | O_CLOEXEC);
	return own >= 0 ? 0 : error_set_errno(error, "cannot open the shared memory anew");
}

static int set_lock(const char *name, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = byte_of(name), .l_len = 1};

	return fcntl(own, F_OFD_SETLK, &lock);
}

int shm_lease_take(const char *name)
{
	struct error error;

	if (open_own(&error) != 0)
		return shm_fail(-1, &error);
	if (set_lock(name, F_WRLCK) == 0)
		return 1;
	if (errno == EAGAIN || errno == EACCES)
		return 0;
	return shm_fail(error_set_errno(&error, "cannot lock"), &error);
}

void shm_lease_release(const char *name)
{
	if (own >= 0)
		(void)set_lock(name, F_UNLCK);
}
