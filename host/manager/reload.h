/*
 * Loading code: the first time, and every reload.
 *
 * A new generation's zygote loads the code. Only when it has sent a plan, and one worker of it (the
 * canary, in slot 0) is ready, does the manager turn to it and anything old gets touched. Whatever
 * fails before that ends the candidate and nothing else. Requests that come meanwhile are merged
 * into one more.
 */
#ifndef PERIGEE_MANAGER_RELOAD_H
#define PERIGEE_MANAGER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct child;
struct generation;
struct manager;
struct slot;

enum reload_phase {
	RELOAD_NONE,
	RELOAD_LOADING, /* the candidate's zygote has not sent its plan */
	RELOAD_CANARY   /* the candidate's first worker is not ready */
};

struct reload {
	struct manager *manager;
	enum reload_phase phase;
	struct generation *candidate; /* NULL in RELOAD_NONE */
	bool again;                   /* asked for meanwhile: once more after this one */
	uint32_t attempt;             /* number of the load under way, or of the last one */
	uint64_t started;             /* clock_now() */
	uv_timer_t retry;             /* when the zygote in use died: the time to load anew */
	uint64_t retry_delay;         /* ms */
};

void reload_init(struct reload *reload, struct manager *manager);

/* Asks for the code to be loaded anew; `why` is for the log. */
void reload_request(struct reload *reload, const char *why);

/* Gives up what is being loaded; for the end. */
void reload_cancel(struct reload *reload);

/* The generation that `slot` is to be served by; NULL while there is none. */
struct generation *reload_target(const struct reload *reload, const struct slot *slot);

/* A zygote has sent its plan; a worker is ready; either is gone. */
void reload_on_plan(struct reload *reload, struct generation *generation);
void reload_on_worker_ready(struct reload *reload, struct child *child);
void reload_on_gone(struct reload *reload, struct child *child);

#endif
