/*
 * The guardian: a tiny process that outlives a SIGKILLed manager just long enough to end what the
 * manager started. It knows the process groups and nothing else, and does nothing until the pipe
 * from the manager ends.
 */
#ifndef PERIGEE_MANAGER_GUARDIAN_H
#define PERIGEE_MANAGER_GUARDIAN_H

#include <sys/types.h>

#include "base/error.h"

struct guardian {
	pid_t pid; /* 0 when there is none */
	int pipe;  /* write end, -1 when there is none */
};

/* Forks the guardian. Returns 0, or -1 with *error. */
int guardian_start(struct guardian *guardian, struct error *error);

/* Tells it of a new process group, and of one that is gone. */
void guardian_add(struct guardian *guardian, pid_t group);
void guardian_remove(struct guardian *guardian, pid_t group);

/* Lets it go and reaps it: it ends by itself, at once when every group was removed. */
void guardian_stop(struct guardian *guardian);

#endif
