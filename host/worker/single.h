/*
 * --single-process: the whole application in the one process that the user started, without a
 * manager, for debuggers and profilers.
 *
 * It loads the app as a zygote would and then is its worker. What a manager would do besides
 * (replacing what dies, reloads, scaling, a log) is not there, and says so when it is asked for.
 */
#ifndef PERIGEE_WORKER_SINGLE_H
#define PERIGEE_WORKER_SINGLE_H

#include <stddef.h>

#include "base/error.h"
#include "base/slice.h"

/* What this room may not do: main.c has it from the room that may. */
struct single_sockets {
	/* Binds what `plan` says; at most WIRE_BIND_MAX sockets. Returns 0, or -1 with *error. */
	int (*open)(struct slice plan, int *ret_sockets, size_t *ret_count, struct error *error);
	/* The address of one, "http://127.0.0.1:8000". */
	const char *(*url)(size_t index);
	/* The name of the app that is served there. */
	const char *(*app)(size_t index);
	/* Closes them, and removes their files. */
	void (*close)(void);
};

/* Runs to the end; `settings` is the memfd of what the user gave. Returns the exit status. */
int single_main(int settings, const struct single_sockets *sockets);

#endif
