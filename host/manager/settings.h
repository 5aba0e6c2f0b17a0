/*
 * The settings the manager itself goes by, read from a generation's plan.
 *
 * Lua has resolved and checked them (lua/perigee/settings.lua); what arrives here is checked again
 * all the same, because a plan comes from a process that ran user code.
 */
#ifndef PERIGEE_MANAGER_SETTINGS_H
#define PERIGEE_MANAGER_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/slice.h"
#include "wire/message.h"

#define MANAGER_WORKERS_MAX 256 /* slots; a child's seat number must fit the slots table twice */

/* One of the apps that are served. */
struct manager_app {
	const char *name;
	const char *path; /* of its file, as the user gave it */
};

struct manager_settings {
	struct buffer block;                    /* the plan; every string below points into it */
	struct manager_app apps[WIRE_BIND_MAX]; /* each has an address at least */
	size_t app_count;
	const char *mode;                 /* "production", "development" */
	const char *config;               /* path of the config script, "" when there is none */
	const char *log_file;             /* "" for stderr */
	const char *binds[WIRE_BIND_MAX]; /* normal form, see listen.h */
	bool is_secure[WIRE_BIND_MAX];    /* what comes to that address is TLS */
	uint8_t app_of[WIRE_BIND_MAX];    /* which of the apps is served at that address */
	size_t bind_count;
	uint32_t workers;           /* 1 to MANAGER_WORKERS_MAX */
	uint32_t backlog;           /* connections the kernel may queue per listening socket */
	bool reuse_port;            /* one TCP socket per slot instead of one for all */
	uint32_t restart_keep;      /* percent of the workers that are left alone meanwhile */
	bool startup_first;         /* a successor is ready before the old worker is drained */
	uint64_t graceful_timeout;  /* ms from the drain order to SIGKILL */
	uint64_t worker_timeout;    /* ms without a heartbeat until a worker is stuck; 0: never */
	uint64_t start_timeout;     /* ms from the start of a process to its being ready */
	uint64_t restart_delay_min; /* ms before the second start of a worker that died young */
	uint64_t restart_delay_max; /* ms, where its doubling ends */
};

/* Reads a checked or unchecked plan, of which a copy is kept. Returns 0, or -1 with *error and
 * *ret_settings untouched. */
int manager_settings_read(
	struct manager_settings *ret_settings, struct slice plan, struct error *error);

void manager_settings_free(struct manager_settings *settings);

/* The app that is served at an address, by the address's place in the plan. */
const struct manager_app *manager_settings_app_at(
	const struct manager_settings *settings, size_t address);

#endif
