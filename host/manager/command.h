/*
 * Commands: managed processes that are programs, each under a shepherd of ours (shepherd.h).
 *
 * The child record is the shepherd's; what ends is told by its last words, which are the command's.
 */
#ifndef PERIGEE_MANAGER_COMMAND_H
#define PERIGEE_MANAGER_COMMAND_H

#include <sys/types.h>

#include "base/error.h"

struct child;
struct managed_instance;

/* Execs the shepherd of an instance's command. Returns its pid, or -1 with *error. */
pid_t command_exec(const struct managed_instance *instance, int control, int out, int err,
	struct error *error);

/* Takes all that the shepherd has said. */
void command_read(struct child *child);

/* Sends a signal to the whole tree of processes. */
void command_signal(const struct child *child, int number);

/* Sends the signal by which it is to stop. */
void command_stop(const struct child *child);

/* The shepherd is gone: sees to it that the command is too, and gives its status to the record. */
void command_on_gone(struct child *child);

#endif
