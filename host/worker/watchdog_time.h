/* What the kernel tells of a thread's time: for the watchdog. */
#ifndef PERIGEE_WORKER_WATCHDOG_TIME_H
#define PERIGEE_WORKER_WATCHDOG_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* Descriptors of files in /proc, -1 where the kernel has none. */
struct watchdog_time {
	int schedule;
	int state;
};

/* Opens those of the thread that calls. */
void watchdog_time_open(struct watchdog_time *time);

/* ms that it ever spent ready to run and without a CPU; 0 when the kernel does not tell. */
uint64_t watchdog_time_waited(const struct watchdog_time *time);

/* Whether it waits in the kernel, for whatever it may be. */
bool watchdog_time_asleep(const struct watchdog_time *time);

#endif
