/*
 * Messages of a shared queue that somebody has taken and not acknowledged yet: holding them,
 * letting go of them, and finding those whose holder died.
 *
 * A holder is a member (member.h). Its messages are a list under its number, so that what a dead
 * process had is found at once; they are put back a few at a time.
 */
#ifndef PERIGEE_SHM_QUEUE_HELD_H
#define PERIGEE_SHM_QUEUE_HELD_H

#include "shm/queue_store.h"

/* With the guard held: `member` has the message, which is in no list. At most 10 words. Not before
 * shm_held_room has returned true. */
void shm_held_add(struct shm_queue *queue, shm_member member, uint64_t number);

/* With the guard held: whether `member` can hold messages. False when a dead process that had its
 * number still does; shm_held_reclaim puts that right. */
bool shm_held_room(const struct shm_queue *queue, shm_member member);

/* With the guard held: how many messages are held by others than `member`. */
uint64_t shm_held_by_others(const struct shm_queue *queue, shm_member member);

/* Whether it is time to look for dead holders although there is something to take: something is
 * held, and for SHM_WAIT_AGAIN milliseconds nobody has looked. */
bool shm_held_due(struct shm_queue *queue);

/* Puts back what dead processes held: whether there was anything. Takes the guard, but asks the
 * kernel without it: a system call for each process that holds messages. */
bool shm_held_reclaim(struct shm_queue *queue);

#endif
