/* What the watchdog finds out about a loop that does not come round, and whom it tells. */
#ifndef PERIGEE_WORKER_WATCHDOG_REPORT_H
#define PERIGEE_WORKER_WATCHDOG_REPORT_H

#include <stdint.h>

#include "base/error.h"
#include "worker/watchdog.h"
#include "worker/watchdog_time.h"

/* Takes the memory it needs. Returns 0, or -1 with *error. */
int watchdog_report_prepare(struct error *error);

/* Tells the manager that the worker is stuck; silent since `since`. Returns 0, or -1 when that
 * could not be sent now. */
int watchdog_report_stuck(
	const struct watchdog_setup *setup, uint64_t since, const struct watchdog_time *time);

/* Tells readers of shm/activity.h what the loop is at. */
void watchdog_report_stall(const struct watchdog_setup *setup, uint64_t since);

/* A callback is slow: finds out which; and, when it is over, writes of it on stderr. */
void watchdog_sample_slow(const struct watchdog_setup *setup);
void watchdog_report_slow(uint64_t milliseconds);

#endif
