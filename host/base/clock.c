/* Time, as numbers and as words. No state. Runs in every process. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

uint64_t clock_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int64_t clock_wall(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void clock_stamp(char stamp[CLOCK_STAMP_SIZE])
{
	struct timespec now;
	struct tm local;
	size_t size;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)localtime_r(&now.tv_sec, &local);
	size = strftime(stamp, CLOCK_STAMP_SIZE, "%Y-%m-%d %H:%M:%S", &local);
	(void)snprintf(
		stamp + size, CLOCK_STAMP_SIZE - size, ".%03u", (unsigned)(now.tv_nsec / 1000000));
}

void clock_duration(uint64_t milliseconds, char *text, size_t size)
{
	unsigned long long seconds = milliseconds / 1000;

	if (milliseconds < 1000)
		(void)snprintf(text, size, "%llu ms", (unsigned long long)milliseconds);
	else if (seconds < 60)
		(void)snprintf(text, size, "%llu.%llu s", seconds,
			(unsigned long long)(milliseconds % 1000 / 100));
	else if (seconds < 3600)
		(void)snprintf(text, size, "%llu min %llu s", seconds / 60, seconds % 60);
	else if (seconds < 86400)
		(void)snprintf(text, size, "%llu h %llu min", seconds / 3600, seconds % 3600 / 60);
	else
		(void)snprintf(
			text, size, "%llu d %llu h", seconds / 86400, seconds % 86400 / 3600);
}
