/*
 * What a process is doing, for others to read: its requests in flight, and where it is stuck.
 *
 * Each seat of the slots table has a place for it, behind the table in the same memfd, of two
 * halves: the loop's, and the watchdog's, which speaks when the loop cannot. Each half has one
 * writer at a time and a sequence: odd while it is written, so a reader copies and looks again. A
 * writer that is killed leaves it odd, and the next one in the seat makes it whole.
 */
#ifndef PERIGEE_SHM_ACTIVITY_H
#define PERIGEE_SHM_ACTIVITY_H

#include <stddef.h>

#include "base/error.h"
#include "shm/activity_abi.h"

struct shm_activity; /* a seat's place */

/* Bytes that it takes in the slots table's memfd behind `table` bytes, and where it begins. */
size_t shm_activity_begin(size_t table);
size_t shm_activity_size(void);

/* Maps the places in the memfd of a table of `table` bytes, for the life of this process. Returns
 * 0, or -1 with *error. */
int shm_activity_map(int fd, size_t table, struct error *error);

/* The place of a seat; NULL when nothing is mapped. */
struct shm_activity *shm_activity_of(unsigned seat);

/* A new process has the seat. */
void shm_activity_clear(struct shm_activity *activity);

/* The loop: its requests in flight. */
void shm_activity_write(struct shm_activity *activity, const struct shm_activity_list *list);

/* The watchdog: the loop is stalled, with these requests in flight; or, by NULLs, it is not. */
void shm_activity_write_stall(struct shm_activity *activity, const struct shm_activity_list *list,
	const struct shm_activity_stall *stall);

#endif
