/*
 * Managed processes: what an app has the manager look after besides its workers.
 *
 * A *managed* is a name with its terms; it has one or more *instances*, each a place in which one
 * process at a time runs: the old one is gone before the next one starts. As slots, instances are
 * reconciled: each event ends in comparing what an instance is to be with what it is.
 *
 * A function runs in a process forked by the current zygote, a command under a shepherd of ours.
 */
#ifndef PERIGEE_MANAGER_MANAGED_H
#define PERIGEE_MANAGER_MANAGED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "manager/managed_terms.h"
#include "manager/place.h"

#define MANAGED_MAX 128 /* names at once */

struct child;
struct listen_set;
struct manager;

struct managed_instance {
	struct managed *managed;
	uint32_t index;
	struct place place;
	struct child *child; /* of whatever state, until it is gone; or NULL */
	bool wanted;         /* it is to run */
	bool again;          /* `child` is to be followed by another at once */
	bool stopped;        /* somebody asked for its end, which is not undone by a reload */
	bool paused;         /* it was wanted, see managed_pause */
	bool closed;         /* it is to be freed when nothing runs in it */
	bool waiting;        /* `delayed` runs: no start before it fires */
	uv_timer_t delayed;
	uint64_t delay;                          /* ms the next start of its own accord waits */
	uint64_t restarts[MANAGED_RESTARTS_MAX]; /* clock_now() of the last ones, a ring */
	uint32_t restart_count;                  /* ever, in that ring */
};

struct managed {
	struct list node; /* in manager->managed */
	struct manager *manager;
	struct managed_terms terms;
	bool dynamic;  /* asked for by a running process, not by the plan */
	bool declared; /* by the current plan */
	struct listen_set
		*door;      /* where its processes accept clients, see managed_door.h; or NULL */
	char *door_address; /* as its terms had it */
	struct managed_instance *instances[MANAGED_WORKERS_MAX];
	uint32_t count; /* of instances; the name goes with the last one */
};

/* The manager has turned to another generation, whose plan says what there is to be. */
void managed_on_committed(struct manager *manager);

/*
 * Takes up what a running process asks for. Returns NULL with *error: EEXIST when the name is in
 * use, EAGAIN when there are too many. The caller reconciles.
 */
struct managed *managed_add(struct manager *manager, struct slice terms, struct error *error);

/* The one of this name, or of whose instances this is the name, which *ret_instance is then (NULL:
 * all of them). NULL when there is none. */
struct managed *managed_find(
	struct manager *manager, const char *name, struct managed_instance **ret_instance);

/*
 * Ends what runs, and starts it anew or not; the events come later. Of the instances of one name
 * one is restarted after the other; those whose turn has not come can be let go on.
 */
void managed_restart(struct managed_instance *instance);
void managed_forget_restart(struct managed_instance *instance);
void managed_stop(struct managed_instance *instance);

/* Ends everything that runs, to be started again by managed_resume, or by another program. */
void managed_pause(struct manager *manager);
void managed_resume(struct manager *manager);

/* The name of one that no plan declares, or NULL. */
const char *managed_undeclared(const struct manager *manager);

/* Everything stops. */
void managed_stop_all(struct manager *manager);

/* Every instance takes its next step. */
void managed_reconcile(struct manager *manager);

void managed_on_ready(struct child *child);
void managed_on_gone(struct child *child);

#endif
