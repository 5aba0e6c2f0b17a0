/* The pid file. Owned by the manager. */
#include "manager/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define PID_FILE_TRIES 100 /* against others that replace the same file meanwhile */
#define PID_TEXT_SIZE  24  /* bytes of a pid and a line's end */

static bool same_file(int fd, const char *path)
{
	struct stat ours;
	struct stat there;

	return fstat(fd, &ours) == 0 && lstat(path, &there) == 0 && ours.st_ino == there.st_ino &&
	       ours.st_dev == there.st_dev;
}

/* The pid in a file: "123\n"; -1 when it is something else. An empty one is 0. */
static long read_pid(int fd)
{
	char text[PID_TEXT_SIZE];
	ssize_t size = pread(fd, text, sizeof text - 1, 0);
	char *end;
	long pid;

	if (size < 0)
		return -1;
	text[size] = '\0';
	pid = strtol(text, &end, 10);
	return strspn(end, " \n") == strlen(end) && pid >= 0 ? pid : -1;
}

/* A new file beside `path`, with our pid and a lock. Returns its descriptor, or -1 with errno. */
static int make_beside(const char *path, char *name, size_t size)
{
	char text[PID_TEXT_SIZE];
	int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
	int fd;

	if ((size_t)snprintf(name, size, "%s.%d", path, (int)getpid()) >= size) {
		errno = ENAMETOOLONG;
		return -1;
	}
	(void)unlink(name);
	fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -1;
	if (write(fd, text, (size_t)length) == length && flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	(void)unlink(name);
	fd_close(&fd);
	return -1;
}

/*
 * The file at `path` as it is now. Returns 1 with *ret_old locked, so that nobody else replaces it;
 * 0 when there is none; -1 with *error.
 */
static int look(const char *path, int *ret_old, struct error *error)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	long pid;

	*ret_old = -1;
	if (fd < 0)
		return errno == ENOENT ? 0
				       : error_set_errno(error, "cannot use the pid file %s", path);
	pid = read_pid(fd);
	if (pid < 0)
		(void)error_set(
			error, EEXIST, "%s is no pid file: it holds more than a number", path);
	else if (flock(fd, LOCK_EX | LOCK_NB) != 0)
		(void)error_set(
			error, EBUSY, "pid file %s: perigee runs already, with pid %ld", path, pid);
	else {
		*ret_old = fd;
		return 1;
	}
	fd_close(&fd);
	return -1;
}

/* One try. Returns 0, 1 when somebody was faster, or -1 with *error. */
static int try_take(struct pid_file *file, const char *path, struct error *error)
{
	char name[PATH_MAX];
	int old;
	int found = look(path, &old, error);
	int result = 0;

	if (found < 0)
		return -1;
	file->fd = make_beside(path, name, sizeof name);
	if (file->fd < 0) {
		fd_close(&old);
		return error_set_errno(error, "cannot make the pid file %s", path);
	}
	if (found ? !same_file(old, path) : link(name, path) != 0)
		result = 1;
	else if (found && rename(name, path) != 0)
		result = error_set_errno(error, "cannot replace the pid file %s", path);
	if (result != 0 || !found)
		(void)unlink(name);
	if (result != 0)
		fd_close(&file->fd);
	fd_close(&old);
	return result;
}

int pid_file_take(struct pid_file *file, const char *path, struct error *error)
{
	int result = 1;

	*file = (struct pid_file){.fd = -1};
	for (int i = 0; i < PID_FILE_TRIES && result == 1; i++)
		result = try_take(file, path, error);
	if (result == 1)
		return error_set(error, EBUSY, "cannot make the pid file %s: others do", path);
	if (result == 0)
		file->path = strdup(path);
	return result;
}

void pid_file_release(struct pid_file *file)
{
	if (file->path == NULL)
		return;
	if (same_file(file->fd, file->path))
		(void)unlink(file->path);
	fd_close(&file->fd);
	free(file->path);
	file->path = NULL;
}
