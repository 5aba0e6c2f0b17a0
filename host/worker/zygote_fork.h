/*
 * The zygote's fork: how a warm process becomes a child of the manager.
 *
 * It forks twice and the process in the middle ends at once, so the kernel gives the last one to
 * the nearest subreaper, the manager (prctl(2) PR_SET_CHILD_SUBREAPER). The child does nothing
 * before that is so.
 */
#ifndef PERIGEE_WORKER_ZYGOTE_FORK_H
#define PERIGEE_WORKER_ZYGOTE_FORK_H

#include <sys/types.h>

/*
 * Forks. In the zygote: returns the child's pid, or -1 with errno. In the child: returns 0, as a
 * child of `manager`, in a process group of its own, with SIGPIPE ignored, and bound to end when
 * the manager does (see zygote_fork.c).
 */
pid_t zygote_fork(pid_t manager);

#endif
