/* Making processes. Runs in the manager, and between fork and exec in its children. */
#include "manager/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "wire/role.h"

/* Room for the titles that forked processes write over it; ps shows what is before the NUL. */
#define SPAWN_TITLE_ROOM "                                                                "

/* The program's path; set once, before the first fork. */
static char program[PATH_MAX];

int spawn_find_program(struct error *error)
{
	ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);

	if (size < 0)
		return error_set_errno(error, "cannot find my own program (is /proc mounted?)");
	program[size] = '\0';
	if (access(program, X_OK) != 0)
		memcpy(program, "/proc/self/exe", sizeof "/proc/self/exe");
	return 0;
}

pid_t spawn_fork(void)
{
	sigset_t all;
	sigset_t before;
	pid_t pid;
	int saved;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0)
		return 0;
	saved = errno;
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	errno = saved;
	return pid;
}

void spawn_reset_signals(void)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		(void)signal(number, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

void spawn_close_all_but(int fd)
{
	if (fd > STDERR_FILENO + 1)
		(void)close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
	(void)close_range((unsigned)fd + 1, ~0U, 0);
}

int spawn_exec_role(enum wire_role role, int settings, struct error *error)
{
	char title[32];
	char word[16];
	char number[16];
	char *const arguments[] = {title, word, number, NULL};

	if (spawn_find_program(error) != 0)
		return -1;
	if (fd_set_cloexec(settings, 0) != 0)
		return error_set_errno(error, "cannot pass the settings on");
	(void)snprintf(title, sizeof title, "perigee: %s", wire_role_names[role]);
	(void)snprintf(word, sizeof word, "@%s", wire_role_names[role]);
	(void)snprintf(number, sizeof number, "%d", settings);
	(void)execv(program, arguments);
	return error_set_errno(error, "cannot start the %s (%s)", wire_role_names[role], program);
}

/*
 * Puts source[i] at target[i], for all i. Sources may be anywhere, also at another's target: they
 * are moved behind all targets first. Returns 0, or -1 with errno.
 */
static int place_fds(const int *sources, const int *targets, size_t count)
{
	int high[WIRE_FD_END];

	CHECK(count <= WIRE_FD_END);
	for (size_t i = 0; i < count; i++) {
		high[i] = sources[i] >= WIRE_FD_END
				  ? sources[i]
				  : fcntl(sources[i], F_DUPFD_CLOEXEC, WIRE_FD_END);
		if (high[i] < 0)
			return -1;
	}
	for (size_t i = 0; i < count; i++) {
		if (dup2(high[i], targets[i]) < 0)
			return -1;
	}
	return close_range(WIRE_FD_END, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* What a child that could not become what it should be tells its parent. */
struct spawn_failure {
	int code;     /* errno */
	bool as_user; /* it was the change of user that failed */
};

/* Between fork and exec: only what is async-signal-safe. A failure goes to `report`. */
_Noreturn static void become_zygote(const struct spawn_zygote *fds, pid_t manager, int report)
{
	const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int sources[WIRE_FD_END] = {input, fds->out, fds->err, fds->settings, fds->control,
		fds->slots, fds->region, fds->feed, fds->bell, fds->tail};
	int targets[WIRE_FD_END] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, WIRE_FD_SETTINGS,
		WIRE_FD_CONTROL, WIRE_FD_SLOTS, WIRE_FD_REGION, WIRE_FD_FEED, WIRE_FD_BELL,
		WIRE_FD_TAIL};
	char *const arguments[] = {
		(char[]){"perigee: main" SPAWN_TITLE_ROOM}, (char[]){"@zygote"}, NULL};
	struct spawn_failure failure = {0};

	for (int i = WIRE_FD_BELLS; i < WIRE_FD_END; i++) {
		sources[i] = fds->bells[i - WIRE_FD_BELLS];
		targets[i] = i;
	}
	report = fcntl(report, F_DUPFD_CLOEXEC, WIRE_FD_END);
	(void)setpgid(0, 0);
	failure.as_user = identity_assume(fds->identity) != 0;
	failure.code = errno;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!failure.as_user && getppid() == manager && input >= 0 &&
		place_fds(sources, targets, WIRE_FD_END) == 0) {
		spawn_reset_signals();
		(void)execv(program, arguments);
	}
	if (!failure.as_user)
		failure.code = errno;
	(void)!write(report, &failure, sizeof failure);
	_exit(127);
}

/* The same for a shepherd, whose arguments are ready. */
_Noreturn static void become_shepherd(char *const *arguments, const struct identity *identity,
	int control, int out, int err, int report)
{
	const int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
	const int sources[] = {input, out, err, control};
	const int targets[] = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, WIRE_FD_SHEPHERD};
	struct spawn_failure failure = {0};

	report = fcntl(report, F_DUPFD_CLOEXEC, WIRE_FD_END);
	(void)setsid();
	failure.as_user = identity_assume(identity) != 0;
	failure.code = errno;
	if (!failure.as_user && input >= 0 &&
		place_fds(sources, targets, sizeof sources / sizeof sources[0]) == 0) {
		/* Those between, of which a shepherd knows nothing, must not be there. */
		(void)close_range(WIRE_FD_SHEPHERD + 1, WIRE_FD_END - 1, CLOSE_RANGE_CLOEXEC);
		spawn_reset_signals();
		(void)execv(program, arguments);
	}
	if (!failure.as_user)
		failure.code = errno;
	(void)!write(report, &failure, sizeof failure);
	_exit(127);
}

/* In the parent: waits for the exec of `pid`, which closes the pipe, or for why not in it. Returns
 * the pid, or -1 with *error. */
static pid_t await_exec(
	pid_t pid, int report[2], const struct identity *identity, struct error *error)
{
	struct spawn_failure failure = {0};
	ssize_t received;

	if (pid < 0)
		(void)error_set_errno(error, "cannot fork");
	fd_close(&report[1]);
	do
		received = pid < 0 ? 0 : read(report[0], &failure, sizeof failure);
	while (received < 0 && errno == EINTR);
	fd_close(&report[0]);
	if (received != sizeof failure)
		return pid;
	/* The child says why and ends; SIGCHLD has it reaped as a stranger. */
	errno = failure.code;
	if (failure.as_user)
		return error_set_errno(error, "cannot become user %u, group %u",
			(unsigned)identity->uid, (unsigned)identity->gid);
	return error_set_errno(error, "cannot start %s", program);
}

pid_t spawn_exec_zygote(const struct spawn_zygote *fds, struct error *error)
{
	const pid_t manager = getpid();
	int report[2];
	pid_t pid;

	if (pipe2(report, O_CLOEXEC) != 0)
		return error_set_errno(error, "cannot make a pipe");
	pid = spawn_fork();
	if (pid == 0)
		become_zygote(fds, manager, report[1]);
	if (pid > 0)
		(void)setpgid(pid, pid);
	return await_exec(pid, report, fds->identity, error);
}

pid_t spawn_exec_shepherd(char **words, const struct identity *identity, int control, int out,
	int err, struct error *error)
{
	size_t count = 0;
	char **arguments;
	int report[2];
	pid_t pid;

	while (words[count] != NULL)
		count++;
	arguments = calloc(count + 3, sizeof *arguments);
	if (arguments == NULL)
		return error_set(error, ENOMEM, "no memory for a command's arguments");
	arguments[0] = (char[]){"perigee: command"};
	arguments[1] = (char[]){"@shepherd"};
	memcpy(arguments + 2, words, count * sizeof *words);
	if (pipe2(report, O_CLOEXEC) != 0) {
		free(arguments);
		return error_set_errno(error, "cannot make a pipe");
	}
	pid = spawn_fork();
	if (pid == 0)
		become_shepherd(arguments, identity, control, out, err, report[1]);
	free(arguments);
	return await_exec(pid, report, identity, error);
}

/* Between fork and exec. */
_Noreturn static void become_probe(int state, int out)
{
	char number[16];
	char *const arguments[] = {(char[]){"perigee: probe"}, (char[]){"@probe"}, number, NULL};

	(void)snprintf(number, sizeof number, "%d", STDERR_FILENO + 1);
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	out = fcntl(out, F_DUPFD_CLOEXEC, STDERR_FILENO + 2);
	state = fcntl(state, F_DUPFD_CLOEXEC, STDERR_FILENO + 2);
	if (out >= 0 && state >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
		dup2(state, STDERR_FILENO + 1) >= 0 &&
		close_range(STDERR_FILENO + 2, ~0U, CLOSE_RANGE_CLOEXEC) == 0) {
		spawn_reset_signals();
		(void)execv(program, arguments);
	}
	_exit(127);
}

int spawn_exec_probe(int state, struct error *error)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		return error_set_errno(error, "cannot make a pipe");
	pid = spawn_fork();
	if (pid == 0)
		become_probe(state, ends[1]);
	fd_close(&ends[1]);
	if (pid < 0) {
		(void)error_set_errno(error, "cannot fork");
		fd_close(&ends[0]);
		return -1;
	}
	(void)fd_set_nonblocking(ends[0], 1);
	return ends[0];
}

int spawn_exec_again(int settings, int state, struct error *error)
{
	char numbers[2][16];
	char *const arguments[] = {
		(char[]){"perigee: manager"}, (char[]){"@manager"}, numbers[0], numbers[1], NULL};

	(void)snprintf(numbers[0], sizeof numbers[0], "%d", settings);
	(void)snprintf(numbers[1], sizeof numbers[1], "%d", state);
	(void)fd_set_cloexec(state, 0);
	(void)execv(program, arguments);
	return error_set_errno(error, "cannot start %s", program);
}
