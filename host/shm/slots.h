/*
 * The slots table: what the manager knows of each process and what each tells of itself, without a
 * message.
 *
 * One memfd, mapped by the manager and by every child. Each child has a seat of its own (a worker
 * and its successor in the same slot have two). Of a seat, the manager alone writes one part, which
 * children map read-only, and the child the other, of which the manager believes nothing but
 * numbers. The readers' side is state_abi.h.
 */
#ifndef PERIGEE_SHM_SLOTS_H
#define PERIGEE_SHM_SLOTS_H

#include <stdint.h>

#include "base/error.h"

/* Lua finds these functions in the program by name. */
#pragma GCC visibility push(default)
#include "shm/state_abi.h"
#pragma GCC visibility pop

#define SHM_SEATS_MAX     1024 /* children at once */
#define SHM_SEAT_COUNTERS SHM_COUNTERS

/* The child's part. */
struct shm_seat {
	uint64_t heartbeat; /* clock_now() of the last sign of life; see shm_seat_beat */
	uint64_t watched;   /* clock_now() of its watchdog's last look; 0 before the first */
	uint64_t reserved[6];
	uint64_t counters[SHM_SEAT_COUNTERS]; /* a worker: struct http_counters */
	uint32_t keys_sequence;               /* odd while `keys` is written */
	uint32_t keys_size;
	char keys[SHM_KEYS_SIZE];
	char padding[56];
};

struct shm_slots; /* the table as mapped in this process */

/* A new table. Returns its memfd, or -1 with *error. */
int shm_slots_create(struct error *error);

/* Maps the table `fd` holds. NULL with *error. The mapping lasts as long as the process. */
struct shm_slots *shm_slots_map(int fd, struct error *error);

/* Maps what lies behind the table, see activity.h. Returns 0, or -1 with *error. */
int shm_slots_map_activity(int fd, struct error *error);

/* Child: makes the manager's part read-only. */
void shm_slots_protect(struct shm_slots *slots);

/* Child: seat `index` is its own from now on, and tells of no other's activity. */
void shm_slots_take(struct shm_slots *slots, unsigned index);

/* Seat number `index`, 0 to SHM_SEATS_MAX - 1. */
struct shm_seat *shm_slots_seat(struct shm_slots *slots, unsigned index);

/* Manager: what is to be read of a seat's process; one without a name makes it nobody's. */
void shm_slots_write(struct shm_slots *slots, unsigned index, const struct shm_process *process);

/* Manager: the process of a seat is gone: what it counted goes to the totals, at one stroke. */
void shm_slots_retire(struct shm_slots *slots, unsigned index);

/* Child: the mean of a counter over the processes that serve; UINT64_MAX when none is known to. */
uint64_t shm_slots_mean(unsigned counter);

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
