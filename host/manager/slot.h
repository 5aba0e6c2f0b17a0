/*
 * Worker slots: places that are to be served, and the workers that do it.
 *
 * slot_reconcile looks at what a slot is to be and at what it is, and takes the next step; every
 * event ends in it. So there is no sequence that an unexpected death could leave half done.
 */
#ifndef PERIGEE_MANAGER_SLOT_H
#define PERIGEE_MANAGER_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "manager/place.h"

struct child;
struct generation;
struct manager;

struct slot {
	struct manager *manager;
	uint32_t index;
	struct place place;
	struct child *serving; /* a ready worker that is not draining, or NULL */
	struct child *next;    /* one on its way to be ready, or NULL */
	uv_timer_t delayed;    /* running: no start before it fires */
	bool waiting;          /* whether it runs */
	bool replace;          /* `serving` wants to go once there is another */
	bool used_up;          /* `serving` is used up and is replaced when it is its turn */
	bool restart_wanted;   /* `serving` is to be restarted when it is its turn */
	bool shutdown_first;   /* and is to go before its successor is started */
	bool leaver_first;     /* no start before the workers on their way out are gone */
	bool failed;           /* its last worker could not start */
	uint64_t delay;        /* ms the next start waits if the last worker died young */
};

void slot_init(struct slot *slot, struct manager *manager, uint32_t index);

/* Takes the next step towards what the slot is to be. */
void slot_reconcile(struct slot *slot);

/* Its worker is ready, or gone. */
void slot_on_ready(struct slot *slot, struct child *child);
void slot_on_gone(struct slot *slot, struct child *child);

/* Its worker was asked to end by somebody else: it is replaced first, as in a reload. */
void slot_on_leaving(struct slot *slot, struct child *child);

/* Its worker is used up, and says why: it is replaced when it is the slot's turn. */
void slot_on_used_up(struct slot *slot, struct child *child, const char *why, size_t size);

/*
 * Asks for another worker in place of the one that serves: when it is the slot's turn, and given up
 * when the new one cannot start. The caller reconciles.
 */
void slot_restart(struct slot *slot, bool shutdown_first);
void slot_forget_restart(struct slot *slot);

/* A new start need not wait for the delay: the code is another. */
void slot_forget_failures(struct slot *slot);

/*
 * A drained worker's heir is gone: finds it another one among the workers that serve. Used for
 * the first time too, as by slot_drain.
 */
void slot_find_heir(struct manager *manager, struct child *child);

#endif
