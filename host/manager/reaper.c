/* Children that have ended, and children that are nobody's. Runs in the manager. */
#include "manager/reaper.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "manager/manager.h"

#define INSIST 500 /* ms during which SIGKILL is repeated */
#define STEP   2   /* ms between two looks */

static struct child *find_pid(struct manager *manager, pid_t pid)
{
	LIST_EACH(node, &manager->children)
	{
		struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->pid == pid)
			return child;
	}
	return NULL;
}

static bool fork_is_pending(struct manager *manager)
{
	LIST_EACH(node, &manager->children)
	{
		if (LIST_ENTRY(node, struct child, node)->state == CHILD_ORDERED)
			return true;
	}
	return false;
}

static void replace_guardian(struct manager *manager)
{
	struct error error;

	guardian_stop(&manager->guardian);
	if (guardian_start(&manager->guardian, &error) != 0) {
		sink_log(&manager->sink, "the guardian is gone: %s", error.text);
		return;
	}
	LIST_EACH(node, &manager->children)
	{
		const struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->pid != 0)
			guardian_add(&manager->guardian, child->pid);
	}
}

void reaper_run(struct manager *manager)
{
	for (;;) {
		siginfo_t status = {0};
		struct child *child;

		if (waitid(P_ALL, 0, &status, WEXITED | WNOHANG | WNOWAIT) != 0 ||
			status.si_pid == 0)
			return;
		child = find_pid(manager, status.si_pid);
		if (child != NULL) {
			child_check_exit(child);
			continue;
		}
		if (status.si_pid != manager->guardian.pid && fork_is_pending(manager))
			return;
		(void)waitid(P_PID, (id_t)status.si_pid, &status, WEXITED | WNOHANG);
		if (status.si_pid == manager->guardian.pid) {
			manager->guardian.pid = 0;
			replace_guardian(manager);
		}
	}
}

bool reaper_is_ours(pid_t pid)
{
	siginfo_t status = {0};

	return pid > 1 && waitid(P_PID, (id_t)pid, &status, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/* --- strangers -------------------------------------------------------------------------------- */

/* Kills children of ours; those of one session, or all with -1. */
static void kill_children(pid_t session)
{
	char path[64];
	FILE *file;
	int child;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	file = fopen(path, "re");
	if (file == NULL)
		return;
	while (fscanf(file, "%d", &child) == 1) {
		if (session < 0 || getsid(child) == session)
			(void)kill(child, SIGKILL);
	}
	(void)fclose(file);
}

void reaper_kill_session(pid_t session)
{
	kill_children(session);
}

void reaper_kill_all(void)
{
	const struct timespec step = {.tv_nsec = STEP * 1000000L};
	const uint64_t deadline = clock_now() + INSIST;

	while (clock_now() < deadline) {
		pid_t pid = waitpid(-1, NULL, WNOHANG);

		if (pid < 0)
			return; /* there is nobody */
		if (pid > 0)
			continue;
		kill_children(-1); /* theirs become ours, and are found at the next look */
		(void)nanosleep(&step, NULL);
	}
}
