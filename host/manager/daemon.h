/*
 * Going into the background: --daemon.
 *
 * What the user started becomes the *launcher*: it waits for one word of the manager, its
 * grandchild in a session of its own, and ends with what that means. Until the application serves,
 * the manager keeps the launcher's stderr, so that what goes wrong is read where the command was
 * typed; and if the launcher is ended before that, so is the start.
 */
#ifndef PERIGEE_MANAGER_DAEMON_H
#define PERIGEE_MANAGER_DAEMON_H

#include <stdbool.h>
#include <uv.h>

#include "base/error.h"

struct daemon {
	bool on;
	int launcher; /* SOCK_SEQPACKET to it; -1 once it has its word */
	uv_poll_t poll;
	void (*on_lost)(void *context); /* see daemon_watch */
	void *context;
};

/*
 * Forks. Returns 0 in the manager to be, or -1 with *error in the process that was started;
 * otherwise that ends here. To be called before there is a loop or another process.
 */
int daemon_start(struct daemon *daemon, struct error *error);

/* Notices the launcher's end: then `on_lost(context)` is called once. */
void daemon_watch(
	struct daemon *daemon, uv_loop_t *loop, void (*on_lost)(void *context), void *context);

/* The application serves: lets the launcher go, and its stdout and stderr. */
void daemon_serves(struct daemon *daemon);

/* The manager ends. Whatever was wrong has been said on stderr, if `failed`. */
void daemon_ends(struct daemon *daemon, bool failed);

#endif
