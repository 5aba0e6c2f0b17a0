/* Copies of a process to look at: see snapshot.h. In workers, from the watchdog's thread. */
#include "worker/snapshot.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define LAST_RESORT 2 /* seconds after which the kernel ends a copy that nobody has ended */

void *snapshot_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

void snapshot_close_all(void)
{
	(void)close_range(0, ~0U, 0);
}

_Noreturn static void be_copy(void (*work)(void *context), void *context)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM};
	const struct rlimit none = {0};
	sigset_t all;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)setrlimit(RLIMIT_CORE, &none);
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
		(void)signal(crashes[i], SIG_DFL);
	(void)sigemptyset(&all);
	for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
		(void)sigaddset(&all, crashes[i]);
	(void)sigprocmask(SIG_UNBLOCK, &all, NULL);
	(void)alarm(LAST_RESORT);
	work(context);
	_exit(0);
}

/* Waits for the copy's end; kills it when its time is over. */
static int wait_for(pid_t pid, int pidfd, int milliseconds)
{
	struct pollfd end = {.fd = pidfd, .events = POLLIN};
	siginfo_t status = {0};
	int result = 0;

	if (poll(&end, 1, milliseconds) != 1) {
		(void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		errno = ETIME;
		result = -1;
	}
	while (waitid(P_PID, (id_t)pid, &status, WEXITED | __WALL) != 0 && errno == EINTR)
		continue;
	if (result == 0 && (status.si_code != CLD_EXITED || status.si_status != 0)) {
		errno = EFAULT;
		result = -1;
	}
	return result;
}

int snapshot_run(void (*work)(void *context), void *context, int milliseconds)
{
	/* Not fork(): that waits for locks which a stuck thread may hold. No flags: its end sends
	 * no signal, which would wake whatever the loop's thread sleeps in. */
	pid_t pid = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
	int pidfd;
	int result;

	if (pid == 0)
		be_copy(work, context);
	if (pid < 0)
		return -1;
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0) {
		/* Too many files are open; it is our child and unreaped, so the number is its. */
		(void)kill(pid, SIGKILL);
		(void)waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | __WALL);
		return -1;
	}
	result = wait_for(pid, pidfd, milliseconds);
	fd_close(&pidfd);
	return result;
}
