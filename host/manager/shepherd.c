/*
 * The shepherd's life: start the command, pass signals on, tell its end, leave nothing behind.
 *
 * It is exec'd by a worker or the manager, in a session of its own, so what ends the worker's group
 * does not reach it. Its socket ends with who started it, however that dies, because nobody else
 * holds the other end. As a subreaper it is the parent of every orphan in the tree, those that left
 * the group or the session too, and so can find and kill them all. It has one thread and keeps
 * nothing.
 */
#include "manager/shepherd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/fd.h"
#include "manager/spawn.h"
#include "wire/role.h"

#define SHEPHERD_DEPTH_MAX 64 /* generations of a tree that are followed */
#define SHEPHERD_STEP      2  /* ms between two looks at what is left of the tree */

struct shepherd {
	pid_t command; /* leader of its own group */
	int status;    /* of waitpid, once it has ended */
	bool ended;
	int signals; /* signalfd: SIGCHLD */
};

static void say(const char *line)
{
	(void)send(WIRE_FD_SHEPHERD, line, strlen(line), MSG_NOSIGNAL);
}

/* ---- The tree ------------------------------------------------------------------------------ */

static void signal_below(pid_t pid, int number, int depth);

/* Signals what the file of one thread lists, "12 34 ", and what is below. */
static void signal_listed(const char *path, int number, int depth)
{
	FILE *file = fopen(path, "re");
	int child;

	if (file == NULL)
		return;
	while (fscanf(file, "%d", &child) == 1) {
		signal_below(child, number, depth + 1);
		(void)kill(child, number);
	}
	(void)fclose(file);
}

/* Signals all descendants of a process, the youngest first. Children are listed by thread. */
static void signal_below(pid_t pid, int number, int depth)
{
	char path[64];
	const struct dirent *entry;
	DIR *tasks;

	if (depth >= SHEPHERD_DEPTH_MAX)
		return;
	(void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	tasks = opendir(path);
	if (tasks == NULL)
		return;
	while ((entry = readdir(tasks)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(
			path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, entry->d_name);
		signal_listed(path, number, depth);
	}
	(void)closedir(tasks);
}

static void signal_tree(const struct shepherd *shepherd, int number)
{
	signal_below(getpid(), number, 0);
	if (!shepherd->ended) /* else the number may be another's by now */
		(void)kill(-shepherd->command, number);
}

/* Takes in who has ended. Returns false when nobody is left. */
static bool reap(struct shepherd *shepherd)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid <= 0)
			return pid == 0 || errno != ECHILD;
		if (pid == shepherd->command) {
			shepherd->ended = true;
			shepherd->status = status;
		}
	}
}

/* Kills until nobody is left; orphans become our children and are found at the next look. */
static void kill_tree(struct shepherd *shepherd)
{
	const struct timespec step = {.tv_nsec = SHEPHERD_STEP * 1000000L};

	while (reap(shepherd)) {
		signal_tree(shepherd, SIGKILL);
		(void)nanosleep(&step, NULL);
	}
}

/* ---- The command --------------------------------------------------------------------------- */

/* What the command is confined to: the words before "--". Returns 0, or -1 with *error. */
static int confine(char **options, struct error *error)
{
	static const struct {
		const char *prefix;
		int (*apply)(const char *value, struct error *error);
	} kinds[] = {
		{"--limit=", confine_limit},
		{"--env=", confine_variable},
		{"--cwd=", confine_directory},
		{"--user=", confine_user},
	};
	size_t kind = 0;

	for (; strcmp(*options, "--") != 0; options++) {
		while (kind < sizeof kinds / sizeof kinds[0] &&
			strncmp(*options, kinds[kind].prefix, strlen(kinds[kind].prefix)) != 0)
			kind++;
		if (kind == sizeof kinds / sizeof kinds[0])
			return error_set(error, EINVAL, "%s is out of its order", *options);
		if (kinds[kind].apply(*options + strlen(kinds[kind].prefix), error) != 0)
			return -1;
	}
	return 0;
}

/* Between fork and exec; this process has one thread. A failure goes to `report`. */
_Noreturn static void become_command(char **options, char **argv, pid_t parent, int report)
{
	struct error error = {0};

	(void)setpgid(0, 0);
	spawn_reset_signals();
	if (confine(options, &error) == 0) {
		/* Here, as a change of user takes it away. */
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			(void)execvp(argv[0], argv);
		error.code = errno;
		(void)snprintf(error.text, sizeof error.text, "%s", strerror(error.code));
	}
	(void)!write(report, &error, sizeof error);
	_exit(127);
}

static void say_failed(const struct error *error)
{
	char line[ERROR_TEXT_MAX + 32];
	const char *name = strerrorname_np(error->code);

	(void)snprintf(
		line, sizeof line, "failed %s %s\n", name == NULL ? "EINVAL" : name, error->text);
	say(line);
}

static int fail_start(const char *what)
{
	struct error error;

	(void)error_set_errno(&error, "%s", what);
	say_failed(&error);
	return -1;
}

/* Returns 0, or -1 after saying why. */
static int start(struct shepherd *shepherd, char **options, char **argv)
{
	const pid_t parent = getpid();
	struct error error;
	char line[32];
	int report[2];
	int code;
	ssize_t received;

	if (pipe2(report, O_CLOEXEC) != 0)
		return fail_start("cannot make a pipe");
	shepherd->command = spawn_fork();
	if (shepherd->command == 0)
		become_command(options, argv, parent, report[1]);
	code = errno;
	fd_close(&report[1]);
	errno = code;
	if (shepherd->command < 0)
		return fail_start("cannot fork");
	(void)setpgid(shepherd->command, shepherd->command);
	do
		received = read(report[0], &error, sizeof error);
	while (received < 0 && errno == EINTR);
	fd_close(&report[0]);
	if (received == sizeof error) {
		say_failed(&error);
		return -1;
	}
	(void)snprintf(line, sizeof line, "started %d\n", (int)shepherd->command);
	say(line);
	return 0;
}

static void say_exited(int status)
{
	char line[64];

	(void)snprintf(line, sizeof line, "exited %d %d\n",
		WIFEXITED(status) ? WEXITSTATUS(status) : 0,
		WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	say(line);
}

/* ---- The loop ------------------------------------------------------------------------------ */

/* Does what the worker says. Returns false when it is gone. */
static bool obey(const struct shepherd *shepherd)
{
	unsigned char number;
	ssize_t received = read(WIRE_FD_SHEPHERD, &number, 1);

	if (received < 0)
		return errno == EINTR || errno == EAGAIN;
	if (received == 1 && number > 0 && number < NSIG)
		signal_tree(shepherd, number);
	return received == 1;
}

static void watch(struct shepherd *shepherd)
{
	struct pollfd sources[] = {{.fd = WIRE_FD_SHEPHERD, .events = POLLIN},
		{.fd = shepherd->signals, .events = POLLIN}};
	bool told = true;

	while (told && !shepherd->ended) {
		struct signalfd_siginfo info;

		if (poll(sources, 2, -1) < 0)
			continue;
		if (sources[0].revents != 0)
			told = obey(shepherd);
		if (sources[1].revents != 0) {
			(void)!read(shepherd->signals, &info, sizeof info);
			(void)reap(shepherd);
		}
	}
}

/* The command's own are given up: a pipe must end when the command is done with it. */
static int let_go(void)
{
	const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (nothing < 0)
		return -1;
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		(void)dup2(nothing, fd);
	return 0;
}

int shepherd_main(int argc, char **argv)
{
	struct shepherd shepherd = {.signals = -1};
	int divide = 2; /* where "--" is */
	sigset_t child;

	while (divide < argc && strcmp(argv[divide], "--") != 0)
		divide++;
	if (divide + 1 >= argc || fd_set_cloexec(WIRE_FD_SHEPHERD, 1) != 0)
		return EXIT_FAILURE;
	spawn_reset_signals();
	(void)sigemptyset(&child);
	(void)sigaddset(&child, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &child, NULL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	(void)prctl(PR_SET_NAME, "perigee-child");
	shepherd.signals = signalfd(-1, &child, SFD_CLOEXEC);
	if (shepherd.signals < 0 || start(&shepherd, argv + 2, argv + divide + 1) != 0 ||
		let_go() != 0) {
		kill_tree(&shepherd);
		_exit(EXIT_FAILURE);
	}
	watch(&shepherd);
	kill_tree(&shepherd);
	say_exited(shepherd.status);
	_exit(EXIT_SUCCESS);
}
