/* When a worker is used up: see recycle.h. Runs in workers. */
#include "worker/recycle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

/* `limit` and up to `jitter` more; never past what a uint64_t holds, as both are below its half. */
static uint64_t with_jitter(uint64_t limit, uint64_t jitter)
{
	uint64_t random = 0;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
		random = (uint64_t)getpid() * 2654435761u;
	return limit + (jitter == 0 ? 0 : random % (jitter + 1));
}

/* Bytes of this process in memory, shared ones included; 0 when that cannot be read. */
static uint64_t resident(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	char line[128] = "";
	char *end;

	if (file == NULL)
		return 0;
	(void)!fgets(line, sizeof line, file);
	(void)fclose(file);
	(void)strtoull(line, &end, 10);
	return strtoull(end, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double mebibytes(uint64_t bytes)
{
	return (double)bytes / (1024.0 * 1024.0);
}

/* Replacing a worker that is born too large would not help, and never end. */
static uint64_t usable_memory(uint64_t limit)
{
	uint64_t used = limit == 0 ? 0 : resident();

	if (used <= limit)
		return limit;
	(void)fprintf(stderr,
		"warn: max_memory, %.1f MiB, is less than a worker has at its start, %.1f MiB, and "
		"is not "
		"heeded\n",
		mebibytes(limit), mebibytes(used));
	return 0;
}

void recycle_start(struct recycle *recycle, const struct recycle_limits *limits,
	recycle_used_up *used_up, void *context)
{
	*recycle = (struct recycle){.requests_left = UINT64_MAX,
		.until = UINT64_MAX,
		.memory = usable_memory(limits->memory),
		.started = clock_now(),
		.used_up = used_up,
		.context = context};
	if (limits->requests != 0)
		recycle->requests_left = recycle->requests =
			with_jitter(limits->requests, limits->requests_jitter);
	if (limits->lifetime != 0)
		recycle->until =
			recycle->started + with_jitter(limits->lifetime, limits->lifetime_jitter);
}

__attribute__((format(printf, 2, 3))) static void say(
	struct recycle *recycle, const char *format, ...)
{
	char why[128];
	va_list arguments;

	recycle->done = true;
	va_start(arguments, format);
	(void)vsnprintf(why, sizeof why, format, arguments);
	va_end(arguments);
	recycle->used_up(recycle->context, why);
}

void recycle_requests_over(struct recycle *recycle)
{
	if (recycle->used_up == NULL || recycle->done)
		return; /* it wrapped around before the start, or time or memory came first */
	say(recycle, "it has served %" PRIu64 " requests (max_requests)", recycle->requests);
}

void recycle_look(struct recycle *recycle)
{
	uint64_t now = clock_now();
	uint64_t used;
	char age[32];

	if (recycle->used_up == NULL || recycle->done)
		return;
	if (now >= recycle->until) {
		clock_duration(now - recycle->started, age, sizeof age);
		say(recycle, "it has served for %s (max_lifetime)", age);
		return;
	}
	used = recycle->memory == 0 ? 0 : resident();
	if (used > recycle->memory)
		say(recycle, "it uses %.1f MiB (max_memory is %.1f MiB)", mebibytes(used),
			mebibytes(recycle->memory));
}
