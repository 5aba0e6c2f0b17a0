/*
 * Waiting for children, and ending strangers: children of the manager that it did not start, which
 * the kernel gives to it, a subreaper, when their own parent is gone.
 */
#ifndef PERIGEE_MANAGER_REAPER_H
#define PERIGEE_MANAGER_REAPER_H

#include <stdbool.h>
#include <sys/types.h>

struct manager;

/*
 * Reaps what has ended: our children, and strangers. One we do not know while a fork is under way
 * may be that fork: its pid is still to come, and every such message is to bring us here again.
 */
void reaper_run(struct manager *manager);

/* Whether a zygote's word that it forked `pid` can be true. */
bool reaper_is_ours(pid_t pid);

/* Kills the strangers of a session whose leader is gone: of a shepherd that was killed. */
void reaper_kill_session(pid_t session);

/* Kills every child there is, at the very end, and waits for them, half a second at most. */
void reaper_kill_all(void);

#endif
