/*
 * The watchdog: a thread of each worker that tells when its loop does not come round, and why.
 *
 * It looks at the heartbeat that the loop leaves in the seat, and at the count of its callbacks:
 * one that works through a thousand requests at once is not stuck. Silence is not counted while the
 * watchdog itself was kept from running (a suspended machine, a stopped process), and it is not
 * held against a loop whose thread spent more than half of it waiting for a CPU (a busy machine). A
 * thread that waits in the kernel for something else is as stuck as one that computes.
 *
 *   a second or two   what the loop is at can be read from outside, see shm/activity.h
 *   worker_timeout    the manager is told that the worker is stuck, with the request and the
 * traceback slow_callback     in development: who kept the loop is named on stderr, once for each
 * place
 */
#ifndef PERIGEE_WORKER_WATCHDOG_H
#define PERIGEE_WORKER_WATCHDOG_H

#include <stdint.h>

#include "base/error.h"
#include "http/server.h"
#include "script/script.h"
#include "shm/activity.h"
#include "shm/slots.h"

struct watchdog_setup {
	struct script *script;
	struct http_server *server;
	struct shm_seat *seat;
	struct shm_activity *place;
	int control;             /* the channel to the manager, of which it makes a copy */
	uint64_t worker_timeout; /* ms; 0: never stuck */
	uint64_t slow_callback;  /* ms; 0: none is too slow */
};

/* Starts it, on the thread that it is to watch; one per process, to its end. Returns 0, or -1 with
 * *error. */
int watchdog_start(const struct watchdog_setup *setup, struct error *error);

#endif
