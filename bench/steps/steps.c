/*
 * Counts the user-space instructions of one process while a command runs, by single steps.
 *
 * For machines whose processor hands out no counters to perf. A step is an instruction; a system
 * call is one step, whatever the kernel does in it. Stepping slows the process down some
 * thousandfold, so the command is to be a small load. The process does not survive.
 *
 *   steps PID COMMAND [ARGUMENT…]     prints "N steps" on stderr
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what)
{
	fprintf(stderr, "steps: %s: %s\n", what, strerror(errno));
	exit(1);
}

static pid_t start(char **argv)
{
	pid_t pid = fork();

	if (pid < 0)
		fail("cannot fork");
	if (pid == 0) {
		execvp(argv[0], argv);
		fprintf(stderr, "steps: %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	return pid;
}

/* The signal that a stopped process is to go on with; 0 for the stops that are of our making. */
static int signal_of(int status)
{
	int number = WSTOPSIG(status);

	return number == SIGTRAP || status >> 16 == PTRACE_EVENT_STOP ? 0 : number;
}

int main(int argc, char **argv)
{
	uint64_t steps = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: steps PID COMMAND [ARGUMENT…]\n");
		return 2;
	}
	pid_t pid = (pid_t)strtol(argv[1], NULL, 10);

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) != 0 ||
		ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) != 0)
		fail("cannot trace the process");
	pid_t command = start(argv + 2);

	for (;;) {
		int status;
		pid_t stopped = waitpid(-1, &status, __WALL);

		if (stopped == command)
			break;
		if (stopped != pid || !WIFSTOPPED(status))
			fail("the process is gone");
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, signal_of(status)) != 0)
			fail("cannot step");
		steps++;
	}
	fprintf(stderr, "%llu steps\n", (unsigned long long)steps);
	return kill(pid, SIGKILL);
}
