/*
 * The slots table: what each child tells of itself, without a message.
 *
 * One memfd, mapped by the manager and by every child. Each child has a seat of its own (a worker
 * and its successor in the same slot have two) and is the only writer of it; the manager only
 * reads, believes nothing but numbers, and clears a seat before it gives it away.
 */
#ifndef PERIGEE_SHM_SLOTS_H
#define PERIGEE_SHM_SLOTS_H

#include <stdint.h>

#include "base/error.h"

#define SHM_SEATS_MAX     1024 /* children at once */
#define SHM_SEAT_COUNTERS 16   /* words whose meaning the child's role knows */

struct shm_seat {
	uint64_t heartbeat; /* clock_now() of the last sign of life; see shm_seat_beat */
	uint64_t watched;   /* clock_now() of its watchdog's last look; 0 before the first */
	uint64_t reserved[6];
	uint64_t counters[SHM_SEAT_COUNTERS]; /* a worker: struct http_counters */
};

struct shm_slots; /* the table as mapped in this process */

/* A new table. Returns its memfd, or -1 with *error. */
int shm_slots_create(struct error *error);

/* Maps the table `fd` holds. NULL with *error. The mapping lasts as long as the process. */
struct shm_slots *shm_slots_map(int fd, struct error *error);

/* Maps what lies behind the table, see activity.h. Returns 0, or -1 with *error. */
int shm_slots_map_activity(int fd, struct error *error);

/* Seat number `index`, 0 to SHM_SEATS_MAX - 1. */
struct shm_seat *shm_slots_seat(struct shm_slots *slots, unsigned index);

/* Child: "alive at `now`". */
void shm_seat_beat(struct shm_seat *seat, uint64_t now);

/* Its watchdog: "I looked at `now`", and whoever judges may leave it to me. */
void shm_seat_watch(struct shm_seat *seat, uint64_t now);
uint64_t shm_seat_last_watch(const struct shm_seat *seat);

/* Manager: the time of the last sign of life. */
uint64_t shm_seat_last_beat(const struct shm_seat *seat);

/* Manager: makes the seat as new, its heartbeat at `now`. */
void shm_seat_clear(struct shm_seat *seat, uint64_t now);

#endif
