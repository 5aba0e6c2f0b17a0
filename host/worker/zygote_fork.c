/* The zygote's fork. Single-threaded by contract: nothing here could hold another thread's lock. */
#include "worker/zygote_fork.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

/* Seconds a child has to end by itself after the manager's death before SIGALRM ends it. It sees
 * the end of its channel and needs much less; one that is stuck in Lua sees nothing. */
#define ORPHAN_GRACE 2

/* What the manager's death sends us (PR_SET_PDEATHSIG). */
#define ORPHAN_SIGNAL SIGPWR

static void on_orphaned(int number)
{
	(void)number;
	(void)alarm(ORPHAN_GRACE);
}

static void bind_to_manager(pid_t manager)
{
	struct sigaction action = {.sa_handler = on_orphaned, .sa_flags = SA_RESTART};

	(void)sigaction(ORPHAN_SIGNAL, &action, NULL);
	(void)prctl(PR_SET_PDEATHSIG, ORPHAN_SIGNAL);
	if (getppid() != manager)
		_exit(1); /* it died before that took effect */
}

/* read(2) of exactly `size` bytes; false at the end of the pipe. */
static bool read_all(int fd, void *data, size_t size)
{
	ssize_t received;

	do
		received = read(fd, data, size);
	while (received < 0 && errno == EINTR);
	return received == (ssize_t)size;
}

/* In the child: waits until the process in the middle is gone and we are the manager's. */
static void become_child(int go, pid_t manager)
{
	char byte;

	if (!read_all(go, &byte, 1))
		_exit(1); /* the zygote died */
	fd_close(&go);
	(void)setpgid(0, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	bind_to_manager(manager);
}

pid_t zygote_fork(pid_t manager)
{
	int report[2]; /* the child's pid, from the middle to the zygote */
	int go[2];     /* "you are the manager's", from the zygote to the child */
	pid_t middle;
	pid_t child = -1;

	if (pipe2(report, O_CLOEXEC) != 0)
		return -1;
	if (pipe2(go, O_CLOEXEC) != 0) {
		fd_close(&report[0]);
		fd_close(&report[1]);
		return -1;
	}
	middle = fork();
	if (middle == 0) {
		child = fork();
		if (child != 0) {
			(void)!write(report[1], &child, sizeof child);
			_exit(0);
		}
		fd_close(&report[0]);
		fd_close(&report[1]);
		fd_close(&go[1]);
		become_child(go[0], manager);
		return 0;
	}
	fd_close(&report[1]);
	fd_close(&go[0]);
	if (middle > 0) {
		if (!read_all(report[0], &child, sizeof child))
			child = -1;
		while (waitpid(middle, NULL, 0) < 0 && errno == EINTR)
			continue;
		if (child > 0)
			(void)!write(go[1], "", 1);
	}
	fd_close(&report[0]);
	fd_close(&go[1]);
	if (child < 0 && errno == 0)
		errno = EAGAIN;
	return child;
}
