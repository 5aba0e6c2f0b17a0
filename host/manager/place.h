/*
 * Places: what processes come and go in, as everybody reads it in the slots table.
 *
 * A worker slot, the main process, an instance of a managed process is a place. Processes in it
 * follow each other, and may overlap; each has a seat in the table. The seat of the last one stays
 * until there is another process, or the place is closed, so that one can read how it ended.
 */
#ifndef PERIGEE_MANAGER_PLACE_H
#define PERIGEE_MANAGER_PLACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "shm/slots.h"

struct child;
struct manager;

struct place {
	struct manager *manager;
	char name[SHM_NAME_SIZE];
	const char *role; /* as users read it */
	bool server;
	bool open;          /* the last one to go is to stay readable */
	unsigned processes; /* that are not gone */
	int last;           /* seat of the one that went last, or -1 */
	bool failed;        /* how the last one went */
	uint32_t starts;
	int64_t restart_at; /* ms since 1970; 0: never */
	char last_error[SHM_ERROR_SIZE];
};

__attribute__((format(printf, 5, 6))) void place_init(struct place *place, struct manager *manager,
	const char *role, bool server, const char *format, ...);

/* `child` is on its way into the place: gives it a seat. Returns 0, or -1 with *error. */
int place_enter(struct place *place, struct child *child, struct error *error);

/* `child` is in it already, in the seat that its record says, and is the one in `starts`. */
void place_adopt(struct place *place, struct child *child, uint32_t starts);

/* Something about `child` has changed. */
void place_show(const struct child *child);

/* Nobody has been here yet, and the place is to be read all the same, in this state. */
void place_rest(struct place *place, enum shm_state state);

/* `child` is gone: how, is in its record. */
void place_leave(struct child *child);

/* Nobody is wanted here any more, until the next place_enter. */
void place_close(struct place *place);

#endif
