/* A thread's time as the kernel tells it: see watchdog_time.h. In workers. */
#include "worker/watchdog_time.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int open_own(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/%s", (int)gettid(), name);
	return open(path, O_RDONLY | O_CLOEXEC);
}

void watchdog_time_open(struct watchdog_time *time)
{
	time->schedule = open_own("schedstat");
	time->state = open_own("stat");
}

/* Reads the file from its beginning. Returns whether there was anything. */
static bool read_text(int fd, char *text, size_t size)
{
	ssize_t received = fd < 0 ? -1 : pread(fd, text, size - 1, 0);

	text[received > 0 ? received : 0] = '\0';
	return received > 0;
}

uint64_t watchdog_time_waited(const struct watchdog_time *time)
{
	char text[96];
	const char *second;

	/* "ns on a CPU, ns ready for one, times it got one" */
	if (!read_text(time->schedule, text, sizeof text))
		return 0;
	second = strchr(text, ' ');
	return second == NULL ? 0 : strtoull(second, NULL, 10) / 1000000;
}

bool watchdog_time_asleep(const struct watchdog_time *time)
{
	char text[256];
	const char *name_end;

	if (!read_text(time->state, text, sizeof text))
		return false;
	name_end = strrchr(text, ')');
	return name_end != NULL && (name_end[1] == ' ') && strchr("SD", name_end[2]) != NULL;
}
