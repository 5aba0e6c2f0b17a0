/* What child.c and child_birth.c share; nobody else includes it. */
#ifndef PERIGEE_MANAGER_CHILD_PRIVATE_H
#define PERIGEE_MANAGER_CHILD_PRIVATE_H

#include "manager/child.h"

/* Enters a state, whose event DEADLINE comes after `deadline` ms (0: never). */
void child_enter(struct child *child, enum child_state state, uint64_t deadline);

/* Milliseconds it has to be ready. */
uint64_t child_start_timeout(const struct child *child);

/* From now on its end is noticed, and the guardian knows its group. */
void child_learn_pid(struct child *child, pid_t pid);

/* The same for a child that the guardian knows already. */
void child_watch_pid(struct child *child, pid_t pid);

/* Takes all messages that have come over its channel. */
void child_read_messages(struct child *child);

#endif
