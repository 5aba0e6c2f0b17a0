/*
 * Whom the application's processes run as: the settings user and group.
 *
 * The manager stays what it is. It never runs user code and reads nothing from the network, and it
 * goes on needing what it was started with: to bind again when it scales, to open rotated logs, to
 * end processes of that user. Files it makes on the way (logs, unix sockets) belong to the user,
 * and are made with the user's rights wherever those suffice, so that no link in a folder of the
 * user's can point the manager at a file that is not.
 */
#ifndef PERIGEE_MANAGER_IDENTITY_H
#define PERIGEE_MANAGER_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"

#define IDENTITY_GROUPS_MAX 256 /* groups of one user */

struct identity {
	bool other; /* than ours; otherwise everything here does nothing */
	uid_t uid;
	gid_t gid;
	gid_t groups[IDENTITY_GROUPS_MAX];
	size_t group_count;
};

/*
 * Looks up a user and a group, each by name or number, either NULL for "not given", and gives their
 * HOME, USER and LOGNAME to the processes to come. Returns 0, or -1 with *error that names what is
 * missing: the user, the group, or the right to become them.
 */
int identity_find(
	struct identity *ret_identity, const char *user, const char *group, struct error *error);

/* Becomes that user for good; between fork and exec. Returns 0, or -1 with errno. */
int identity_assume(const struct identity *identity);

/* What the manager keeps for the time in between. */
struct identity_stay {
	gid_t groups[IDENTITY_GROUPS_MAX];
	int group_count;
	int death_signal;
};

/* Acts as that user until identity_leave. Returns 0, or -1 with errno. Not nested. */
int identity_enter(const struct identity *identity, struct identity_stay *stay);
void identity_leave(const struct identity *identity, const struct identity_stay *stay);

/* Gives an open descriptor (a pipe, a file of ours) to that user. */
void identity_own(const struct identity *identity, int fd);

/*
 * Opens `path` as that user; and where only the manager may, as the manager, but then through no
 * symbolic link. A file made that way is the user's. Returns a descriptor, or -1 with errno.
 */
int identity_open(const struct identity *identity, const char *path, int flags, mode_t mode);

#endif
