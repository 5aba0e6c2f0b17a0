/* The manager's role main. */
#ifndef PERIGEE_MANAGER_MAIN_H
#define PERIGEE_MANAGER_MAIN_H

#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

/*
 * Runs the manager until the application ends; `settings` is the memfd of what the user gave,
 * `state` that of a manager whose place it takes (see upgrade.h), or -1. Returns the exit status.
 */
int manager_main(int settings, int state);

/* Says on stdout whether it could take the place of the manager with this state. Returns the exit
 * status. */
int manager_probe(int state);

/*
 * From here on, across exec, the signals that the manager obeys wait until it can. For a process
 * that is about to become it; for one that is pid 1 they would be lost otherwise.
 */
void manager_hold_signals(void);

/*
 * Becomes the manager by exec, or, with the setting single_process, what does without one, handing
 * it `settings`. Returns only on failure, -1 with *error.
 */
int manager_exec(int settings, struct error *error);

/* For a process without a manager, see worker/single.h: the sockets that `plan` says. */
int manager_alone_listen(
	struct slice plan, int *ret_sockets, size_t *ret_count, struct error *error);
const char *manager_alone_url(size_t index);
const char *manager_alone_app(size_t index);
void manager_alone_close(void);

#endif
