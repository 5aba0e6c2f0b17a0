/*
 * Owners: the one task of one process that has something, for locks and what is done once.
 *
 * One word says whose it is, and one store changes that. A dead owner is found by who wants to be
 * the next, and its token is never given again, so that a compare-and-swap from it can only be won
 * by one.
 */
#ifndef PERIGEE_SHM_OWNER_H
#define PERIGEE_SHM_OWNER_H

#include <stdint.h>

#include "shm/member.h"

/* In the region; all zero at first. What follows `member` is the owner's to write. */
struct shm_owner {
	uint64_t member;    /* whose; 0: nobody's */
	uint64_t task;      /* of that process */
	uint64_t pid;       /* of that process, for people */
	uint64_t left;      /* 1: the last one was over without giving it back */
	uint64_t taken;     /* times */
	uint64_t abandoned; /* times it was had from one that ended */
};

/* Returns an enum shm_sync: OK, ABANDONED, BUSY, OWN or FAILED. `section` names its fault points.
 */
int shm_owner_take(struct shm_owner *owner, uint64_t task, const char *section);

/* Whether it belongs to this task of this process. */
int shm_owner_is(const struct shm_owner *owner, uint64_t task);

/* Gives it back: only for who has it. */
void shm_owner_give(struct shm_owner *owner);

#endif
