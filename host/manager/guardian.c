/*
 * The guardian, both halves: the manager's calls, and the process itself.
 *
 * The process is a fork of the manager that keeps one descriptor, the read end of a pipe. When the
 * manager dies, however it dies, the pipe ends: the children have seen that too and stop by
 * themselves; what is left after GUARDIAN_GRACE is killed.
 */
#include "manager/guardian.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "manager/spawn.h"

#define GUARDIAN_GROUPS_MAX 4096
#define GUARDIAN_GRACE      1000 /* ms the children have to end by themselves */
#define GUARDIAN_INSIST     500  /* ms during which SIGKILL is repeated */
#define GUARDIAN_STEP       20   /* ms between two looks */

/* What crosses the pipe: a group to add, or, negative, one to remove. */
typedef int32_t guardian_note;

struct watch {
	pid_t groups[GUARDIAN_GROUPS_MAX];
	size_t count;
};

static void watch_add(struct watch *watch, pid_t group)
{
	if (watch->count < GUARDIAN_GROUPS_MAX)
		watch->groups[watch->count++] = group;
}

static void watch_remove(struct watch *watch, pid_t group)
{
	for (size_t i = 0; i < watch->count; i++) {
		if (watch->groups[i] == group) {
			watch->groups[i] = watch->groups[--watch->count];
			return;
		}
	}
}

static void read_notes(int pipe, struct watch *watch)
{
	guardian_note note;
	ssize_t received;

	for (;;) {
		received = read(pipe, &note, sizeof note);
		if (received < 0 && errno == EINTR)
			continue;
		if (received != sizeof note)
			return;
		if (note > 0)
			watch_add(watch, note);
		else
			watch_remove(watch, -note);
	}
}

static void pause_for(long milliseconds)
{
	struct timespec pause = {.tv_nsec = milliseconds * 1000000};

	(void)nanosleep(&pause, NULL);
}

/* Sends `signal` (0 to look only) to every group and forgets those that are gone. */
static void signal_groups(struct watch *watch, int signal)
{
	for (size_t i = watch->count; i-- > 0;) {
		if (kill(-watch->groups[i], signal) != 0 && errno == ESRCH)
			watch->groups[i] = watch->groups[--watch->count];
	}
}

/* It says nothing, and who waits for the end of the manager's output shall not wait for it. */
static void forget_output(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int target = STDIN_FILENO; fd >= 0 && target <= STDERR_FILENO; target++)
		(void)dup2(fd, target);
}

_Noreturn static void guardian_main(int pipe)
{
	static struct watch watch;
	uint64_t deadline;

	spawn_reset_signals();
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)setpgid(0, 0);
	(void)prctl(PR_SET_NAME, "perigee-guard");
	forget_output();
	spawn_close_all_but(pipe);

	read_notes(pipe, &watch);
	for (deadline = clock_now() + GUARDIAN_GRACE; watch.count != 0 && clock_now() < deadline;
		pause_for(GUARDIAN_STEP))
		signal_groups(&watch, 0);
	for (deadline = clock_now() + GUARDIAN_INSIST; watch.count != 0 && clock_now() < deadline;
		pause_for(GUARDIAN_STEP))
		signal_groups(&watch, SIGKILL);
	_exit(0);
}

int guardian_start(struct guardian *guardian, struct error *error)
{
	int pair[2];
	pid_t pid;

	*guardian = (struct guardian){.pipe = -1};
	if (pipe2(pair, O_CLOEXEC) != 0)
		return error_set_errno(error, "cannot make the guardian's pipe");
	pid = spawn_fork();
	if (pid == 0)
		guardian_main(pair[0]);
	fd_close(&pair[0]);
	if (pid < 0) {
		(void)error_set_errno(error, "cannot fork the guardian");
		fd_close(&pair[1]);
		return -1;
	}
	(void)fd_set_nonblocking(pair[1], 1);
	guardian->pid = pid;
	guardian->pipe = pair[1];
	return 0;
}

static void tell(struct guardian *guardian, guardian_note note)
{
	ssize_t written;

	if (guardian->pipe < 0)
		return;
	do
		written = write(guardian->pipe, &note, sizeof note);
	while (written < 0 && errno == EINTR);
}

void guardian_add(struct guardian *guardian, pid_t group)
{
	tell(guardian, group);
}

void guardian_remove(struct guardian *guardian, pid_t group)
{
	tell(guardian, -group);
}

void guardian_stop(struct guardian *guardian)
{
	fd_close(&guardian->pipe);
	while (guardian->pid > 0 && waitpid(guardian->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	guardian->pid = 0;
}
