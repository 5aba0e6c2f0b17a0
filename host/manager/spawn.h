/*
 * Making processes: the only fork and exec of the manager.
 *
 * The manager forks the guardian (which stays this program's image) and execs zygotes. Workers are
 * forked by zygotes, see worker/zygote_fork.h.
 */
#ifndef PERIGEE_MANAGER_SPAWN_H
#define PERIGEE_MANAGER_SPAWN_H

#include <sys/types.h>

#include "base/error.h"
#include "manager/identity.h"
#include "wire/role.h"

/*
 * Finds the path of the running program, for the execs to come: by path and not by inode, so that
 * a binary replaced on disk is what the next generation runs. Call it before the first exec.
 */
int spawn_find_program(struct error *error);

/*
 * fork(2) with every signal blocked around it. In the child they stay blocked until
 * spawn_reset_signals: a signal must not run the manager's handlers there, which write to pipes
 * that both would share.
 */
pid_t spawn_fork(void);

/* In a child: every signal as at the start of a program, and none blocked. */
void spawn_reset_signals(void);

/* In a child: closes every descriptor but 0, 1, 2 and `fd`. */
void spawn_close_all_but(int fd);

/* Becomes the manager, or another role that has `settings` as its argument: execs this program.
 * Returns only on failure, -1 with *error. */
int spawn_exec_role(enum wire_role role, int settings, struct error *error);

/*
 * The program that is at our path by now, run on the side as "@probe": it is given `state`, which
 * stays the caller's. Returns the reading end of its stdout, which does not block, or -1 with
 * *error. Its end is a stranger's.
 */
int spawn_exec_probe(int state, struct error *error);

/* Becomes that program, as a manager that goes on with `state`. Returns only on failure, -1 with
 * *error. */
int spawn_exec_again(int settings, int state, struct error *error);

/* What a zygote starts with; all descriptors stay the caller's. */
struct spawn_zygote {
	const struct identity *identity;
	int settings;
	int control;
	int slots;
	int region;
	int feed;
	int bell;
	int tail;
	const int *bells; /* WIRE_BELLS of them */
	int out;          /* its stdout and stderr */
	int err;
};

/*
 * Execs a shepherd (shepherd.h) in a session of its own; `words` is what follows "@shepherd" in its
 * arguments, with a NULL at its end. It and the command are `identity`. The descriptors stay the
 * caller's. Returns its pid, or -1 with *error.
 */
pid_t spawn_exec_shepherd(char **words, const struct identity *identity, int control, int out,
	int err, struct error *error);

/* Execs a zygote in a process group of its own. Returns its pid, or -1 with *error, also when it
 * was the exec that failed. */
pid_t spawn_exec_zygote(const struct spawn_zygote *fds, struct error *error);

#endif
