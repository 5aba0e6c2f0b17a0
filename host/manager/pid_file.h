/*
 * The pid file: "this manager runs, and this is its pid".
 *
 * A lock on the file (flock(2), of the manager's own) says whether it is true, and the kernel lets
 * go of that whenever the manager ends; so a file left behind is known for what it is, and a pid
 * that is another program's by now misleads nobody. It appears whole, by link(2) or rename(2). In
 * the manager only.
 */
#ifndef PERIGEE_MANAGER_PID_FILE_H
#define PERIGEE_MANAGER_PID_FILE_H

#include <sys/types.h>

#include "base/error.h"

struct pid_file {
	char *path; /* NULL when there is none */
	int fd;     /* locked */
};

/*
 * Makes the file, or replaces a stale one; a file that holds anything but a number is left alone.
 * Returns 0, or -1 with *error: whose it is already, or why it cannot be made.
 */
int pid_file_take(struct pid_file *file, const char *path, struct error *error);

/* Removes it, if it is still ours. */
void pid_file_release(struct pid_file *file);

#endif
