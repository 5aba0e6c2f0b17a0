/* Places and their rows in the slots table. Owned by the manager. */
#include "manager/place.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "manager/manager.h"

void place_init(struct place *place, struct manager *manager, const char *role, bool server,
	const char *format, ...)
{
	va_list arguments;

	*place = (struct place){.manager = manager, .role = role, .server = server, .last = -1};
	va_start(arguments, format);
	(void)vsnprintf(place->name, sizeof place->name, format, arguments);
	va_end(arguments);
}

/* --- seats ------------------------------------------------------------------------------------ */

/* A seat made as new, or -1. */
static int take_seat(struct manager *manager)
{
	for (int seat = 0; seat < SHM_SEATS_MAX; seat++) {
		if (manager->seats_taken[seat])
			continue;
		manager->seats_taken[seat] = true;
		shm_seat_clear(shm_slots_seat(manager->slots_table, (unsigned)seat), clock_now());
		return seat;
	}
	return -1;
}

static void free_seat(struct manager *manager, unsigned seat)
{
	shm_slots_write(manager->slots_table, seat, &(struct shm_process){0});
	manager->seats_taken[seat] = false;
}

static void forget_last(struct place *place)
{
	if (place->last >= 0)
		free_seat(place->manager, (unsigned)place->last);
	place->last = -1;
}

/* --- rows ------------------------------------------------------------------------------------- */

/* A command that knows no better ends by the signal that tells it to. */
static bool ended_as_told(const struct child *child)
{
	return child->role == WIRE_ROLE_SHEPHERD && child->fate == CHILD_FATE_DRAINED &&
	       child->instance != NULL && child->status.si_code != CLD_EXITED &&
	       child->status.si_status == child->instance->managed->terms.stop_signal;
}

static enum shm_state state_of(const struct child *child)
{
	static const enum shm_state states[CHILD_STATE_COUNT] = {
		[CHILD_ORDERED] = SHM_STATE_STARTING,
		[CHILD_STARTING] = SHM_STATE_STARTED,
		[CHILD_READY] = SHM_STATE_ACKED,
		[CHILD_DRAINING] = SHM_STATE_JOINED,
		[CHILD_ABORTING] = SHM_STATE_TERMINATED,
		[CHILD_KILLING] = SHM_STATE_TERMINATED,
	};

	if (child->state == CHILD_GONE && ended_as_told(child))
		return SHM_STATE_COMPLETED;
	if (child->state == CHILD_GONE)
		return child->status.si_code == CLD_EXITED && child->status.si_status == 0
			       ? SHM_STATE_COMPLETED
			       : SHM_STATE_FAILED;
	if (child->state == CHILD_READY && child->has_successor)
		return SHM_STATE_RESTARTING;
	return states[child->state];
}

void place_show(const struct child *child)
{
	const struct place *place = child->place;
	struct shm_process process = {
		.number = child->number,
		.start_at = child->start_at,
		.restart_at = place->restart_at,
		.pid = (int32_t)child_shown_pid(child),
		.generation = child->generation->number,
		.starts = place->starts,
		.state = state_of(child),
		.server = place->server,
		.serving = place->server && child->state == CHILD_READY,
	};

	if (child->beats == NULL)
		return;
	memcpy(process.name, place->name, sizeof process.name);
	memcpy(process.last_error, place->last_error, sizeof process.last_error);
	(void)snprintf(process.role, sizeof process.role, "%s", place->role);
	shm_slots_write(child->manager->slots_table, child->seat, &process);
}

int place_enter(struct place *place, struct child *child, struct error *error)
{
	const int seat = take_seat(place->manager);

	child->place = place;
	if (seat < 0)
		return error_set(error, EAGAIN, "there are %d processes already", SHM_SEATS_MAX);
	child->seat = (unsigned)seat;
	child->beats = shm_slots_seat(place->manager->slots_table, child->seat);
	child->start_at = clock_wall();
	forget_last(place);
	place->open = true;
	place->processes++;
	if (place->starts++ != 0)
		place->restart_at = child->start_at;
	place_show(child);
	return 0;
}

void place_adopt(struct place *place, struct child *child, uint32_t starts)
{
	struct manager *manager = child->manager;

	child->place = place;
	child->beats = shm_slots_seat(manager->slots_table, child->seat);
	child->start_at = clock_wall() - (int64_t)(clock_now() - child->started);
	manager->seats_taken[child->seat] = true;
	place->open = true;
	place->processes++;
	place->starts = starts;
	if (starts > 1)
		place->restart_at = child->start_at;
}

void place_rest(struct place *place, enum shm_state state)
{
	struct shm_process process = {.state = state, .server = place->server};

	forget_last(place);
	place->last = take_seat(place->manager);
	place->open = true;
	if (place->last < 0)
		return; /* there is no room for what is not there */
	memcpy(process.name, place->name, sizeof process.name);
	(void)snprintf(process.role, sizeof process.role, "%s", place->role);
	shm_slots_write(place->manager->slots_table, (unsigned)place->last, &process);
}

/* Whether its end is one that nobody asked for. */
static bool is_failure(const struct child *child)
{
	return child->fate != CHILD_FATE_KILLED && child->fate != CHILD_FATE_DRAINED &&
	       state_of(child) == SHM_STATE_FAILED;
}

void place_leave(struct child *child)
{
	struct place *place = child->place;
	char verdict[2 * ERROR_TEXT_MAX];

	if (child->beats == NULL)
		return;
	place->failed = state_of(child) == SHM_STATE_FAILED;
	if (is_failure(child)) {
		child_verdict(child, verdict, sizeof verdict);
		(void)snprintf(place->last_error, sizeof place->last_error, "%.*s",
			(int)sizeof place->last_error - 1, verdict);
	}
	shm_slots_retire(child->manager->slots_table, child->seat);
	place->processes--;
	if (place->open && place->processes == 0) {
		place_show(child);
		place->last = (int)child->seat;
	} else {
		free_seat(child->manager, child->seat);
	}
	child->beats = NULL;
}

void place_close(struct place *place)
{
	place->open = false;
	forget_last(place);
}
