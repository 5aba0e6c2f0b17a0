/*
 * The manager: pid of the application, parent of all its processes, owner of its sockets.
 *
 * One thread, one loop, no Lua. This header is what the files of the room share; others see
 * manager/main.h.
 */
#ifndef PERIGEE_MANAGER_MANAGER_H
#define PERIGEE_MANAGER_MANAGER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/list.h"
#include "manager/child.h"
#include "manager/control.h"
#include "manager/daemon.h"
#include "manager/generation.h"
#include "manager/guardian.h"
#include "manager/identity.h"
#include "manager/listen.h"
#include "manager/managed.h"
#include "manager/notify.h"
#include "manager/pid_file.h"
#include "manager/place.h"
#include "manager/reload.h"
#include "manager/settings.h"
#include "manager/signals.h"
#include "manager/sink.h"
#include "manager/slot.h"
#include "manager/upgrade.h"
#include "shm/slots.h"
#include "shm/wait.h"

enum manager_phase {
	MANAGER_STARTING, /* no slot has ever been served */
	MANAGER_SERVING,
	MANAGER_STOPPING, /* SIGTERM, SIGINT: everything drains */
	MANAGER_FORCED    /* a second one, or a start that failed: everything is killed */
};

struct manager {
	uv_loop_t loop;
	struct signals signals;
	uv_timer_t tick;    /* once a second: heartbeats */
	uint64_t last_tick; /* clock_now() of it, to notice that we slept */
	uint64_t forgiven;  /* heartbeats are taken to be no older than this clock_now() */
	enum manager_phase phase;
	bool served;      /* a slot was ever served: the start did not fail */
	int exit_status;  /* what manager_main returns */
	uint64_t started; /* clock_now() */

	struct identity identity; /* whom the application's processes run as */
	int settings_fd;          /* memfd of what the user gave; every zygote reads it */
	struct buffer given;      /* the same, as read by us: a checked record block */
	int slots_fd;             /* the slots table's memfd */
	int feed_fd;              /* the memfd of what workers publish; never mapped here */
	int bell_fd;              /* its eventfd */
	int bells[SHM_BELLS];     /* the eventfds of shared objects */
	int tail_fd;              /* the memfd of the last of the log */
	int region_fd;            /* the shared objects' memfd; never mapped here */
	struct shm_slots *slots_table;
	bool seats_taken[SHM_SEATS_MAX];

	struct daemon daemon;
	struct pid_file pid_file;
	struct notify notify;
	struct sink sink;
	struct guardian guardian;
	struct listen_set listen;
	bool listening; /* `listen` is open */

	struct place main;    /* of the zygotes */
	struct list children; /* not gone, oldest first */
	uint64_t last_child;  /* number given last */
	uint64_t oom_seen;    /* child_oom_count() at the last look */

	struct list generations;    /* that have a process or are current, oldest first */
	struct generation *current; /* whose workers are wanted; NULL before the first plan */
	uint32_t last_generation;   /* number given last */
	struct reload reload;
	struct control control;
	struct upgrade upgrade;

	struct slot slots[MANAGER_WORKERS_MAX];
	uint32_t workers; /* slots 0 to workers-1 are to be served */

	struct list managed; /* struct managed, in the order in which they came */

	struct buffer body; /* of the message being read */
};

/* Writes why on stderr, in full, and ends everything with status 1, at once but for
 * main_process_stop. */
void manager_fail(struct manager *manager, const char *text, size_t size);

/* Ends: everything drains. */
void manager_stop(struct manager *manager);

/* Ends at once, with that status: everything is killed. */
void manager_force(struct manager *manager, int exit_status);

/* Every slot takes its next step. */
void manager_reconcile(struct manager *manager);

/* A child is gone: take up what waited for it, end when it was the last. */
void manager_on_child_gone(struct manager *manager, struct child *child);

/* A message has come from `child`; `fds` are the callee's to close. */
void manager_on_message(struct manager *manager, struct child *child,
	const struct wire_message *message, const int *fds, size_t count);

/* A worker accepts connections, or a zygote has sent a plan that was understood. */
void manager_on_child_ready(struct manager *manager, struct child *child);

/* Changes how many workers there shall be. Returns 0, or -1 with *error: EINVAL when `workers` is
 * not 1 to MANAGER_WORKERS_MAX. */
int manager_scale(struct manager *manager, uint32_t workers, struct error *error);

/* Whether it is on its way out. */
bool manager_stopping(const struct manager *manager);

#endif
