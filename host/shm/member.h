/*
 * Members: processes that hold something in shared memory, and whether they live.
 *
 * A member holds a lock on a byte of the region's memfd, far behind its end, through a file
 * description of its own (fcntl(2), F_OFD_SETLK). The kernel lets go of it when the process dies,
 * at whatever instruction, so nobody has to be asked: no pid can be reused, no message be late.
 * A process becomes a member when it first needs to be one.
 */
#ifndef PERIGEE_SHM_MEMBER_H
#define PERIGEE_SHM_MEMBER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SHM_MEMBERS_MAX 1024 /* processes at once */

/* Who holds something: never 0, and never reused. */
typedef uint64_t shm_member;

/* This process. Returns 0 when it cannot be a member, with *error. */
shm_member shm_member_self(struct error *error);

/* Its number among the living, 0 to SHM_MEMBERS_MAX - 1. */
unsigned shm_member_index(shm_member member);

/* Whether that process still lives; false for 0. One system call, unless it is this process. */
bool shm_member_alive(shm_member member);

/*
 * This process's own file description of the region, for locks that end with it; a forked child
 * gets another one. Returns a descriptor that is not the caller's, or -1 with *error.
 */
int shm_member_file(struct error *error);

#endif
