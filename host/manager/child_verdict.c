/* How a child ended, in one line: failed to start, exited, killed, or stuck. Runs in the manager.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "manager/child.h"

static void describe_status(const struct child *child, char *text, size_t size)
{
	const siginfo_t *status = &child->status;

	if (status->si_code == CLD_EXITED) {
		(void)snprintf(text, size, "exited with status %d", status->si_status);
		return;
	}
	const char *name = sigabbrev_np(status->si_status);

	(void)snprintf(text, size, "was killed by SIG%s%s%s", name != NULL ? name : "?",
		status->si_code == CLD_DUMPED ? ", core dumped" : "",
		child->oom ? ", out of memory" : "");
}

/* The first line of its own words; they are in the log or on stderr in full already. */
static int first_line(const struct buffer *text)
{
	const char *end = text->size != 0 ? memchr(text->data, '\n', text->size) : NULL;

	return (int)(end != NULL ? (size_t)(end - text->data) : text->size);
}

static void describe_failed_start(
	const struct child *child, const char *age, char *text, size_t size)
{
	char status[96];

	if (child->fate == CHILD_FATE_LATE)
		(void)snprintf(text, size, "failed to start: not ready after %s", age);
	else if (child->fate == CHILD_FATE_REFUSED)
		(void)snprintf(text, size, "failed to start after %s: %.*s", age,
			first_line(&child->refusal), child->refusal.data);
	else if (child->pid == 0)
		(void)snprintf(text, size, "failed to start: its main process is gone");
	else {
		describe_status(child, status, sizeof status);
		(void)snprintf(text, size, "failed to start: it %s after %s", status, age);
	}
}

pid_t child_shown_pid(const struct child *child)
{
	return child->command_pid != 0 ? child->command_pid : child->pid;
}

void child_verdict(const struct child *child, char *text, size_t size)
{
	char label[SINK_LABEL_SIZE];
	char status[96];
	char age[32];
	int used;

	child_label(child, label);
	clock_duration(clock_now() - child->started, age, sizeof age);
	if (child->pid != 0)
		used = snprintf(text, size, "%s pid %d ", label, (int)child_shown_pid(child));
	else
		used = snprintf(text, size, "%s ", label);
	if (used < 0 || (size_t)used >= size)
		return;
	text += used;
	size -= (size_t)used;
	describe_status(child, status, sizeof status);
	if (child->fate == CHILD_FATE_STUCK && child->explained)
		(void)snprintf(text, size, "was stuck, see above; it %s after %s", status, age);
	else if (child->fate == CHILD_FATE_STUCK)
		(void)snprintf(text, size, "was stuck: %s; it %s after %s",
			child->role == WIRE_ROLE_ZYGOTE ? "it obeys no order"
							: "no heartbeat, nor its watchdog's",
			status, age);
	else if (child->fate == CHILD_FATE_OVERDUE)
		(void)snprintf(text, size, "was overdue: not done within %s; it %s after %s",
			child->stop_timeout != 0 ? "stop_timeout" : "graceful_timeout", status,
			age);
	else if (child->ready == 0 && child->fate != CHILD_FATE_KILLED)
		describe_failed_start(child, age, text, size);
	else if (child->instance != NULL && child->refusal.size != 0)
		(void)snprintf(text, size, "%s after %s: %.*s", status, age,
			first_line(&child->refusal), child->refusal.data);
	else
		(void)snprintf(text, size, "%s after %s", status, age);
}

/* The value behind `key` in a file of "key value" lines; 0 when it cannot be had. */
static uint64_t read_counter(const char *path, const char *key)
{
	FILE *file = fopen(path, "re");
	char line[256];
	size_t size = strlen(key);
	uint64_t value = 0;

	if (file == NULL)
		return 0;
	while (fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, key, size) == 0 && line[size] == ' ')
			value = strtoull(line + size + 1, NULL, 10);
	}
	(void)fclose(file);
	return value;
}

/* cgroup v2: "0::/path" in /proc/self/cgroup. */
static int cgroup_path(char *path, size_t size)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[512];
	int result = -1;

	if (file == NULL)
		return -1;
	while (result != 0 && fgets(line, sizeof line, file) != NULL) {
		if (strncmp(line, "0::", 3) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		(void)snprintf(path, size, "/sys/fs/cgroup%s/memory.events", line + 3);
		result = 0;
	}
	(void)fclose(file);
	return result;
}

uint64_t child_oom_count(void)
{
	char path[600];
	uint64_t count = read_counter("/proc/vmstat", "oom_kill");

	if (cgroup_path(path, sizeof path) == 0)
		count += read_counter(path, "oom_kill");
	return count;
}
