/* The watchdog's thread: see watchdog.h. Runs in workers, beside the loop. */
#include "worker/watchdog.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "script/script_stack.h"
#include "worker/watchdog_report.h"
#include "worker/watchdog_time.h"

#define STALL    2000         /* ms of silence until what the loop is at is told to readers */
#define LOOK_MIN 20           /* ms between two looks */
#define LOOK_MAX 250          /* ms */
#define LATE     200          /* ms a look may be late before we count as kept from running */
#define STACK    (256 * 1024) /* bytes; frames of ours are small, a sanitizer's are not */

struct watchdog {
	struct watchdog_setup setup;
	struct watchdog_time time; /* of the thread that is watched */
	uint64_t period;           /* ms between two looks */
	uint64_t looked;           /* clock_now() of the last look */

	uint64_t beat;    /* the last heartbeat seen */
	uint64_t entries; /* into Lua, at that look */
	uint64_t since;   /* clock_now() of the last sign of life */
	uint64_t waited;  /* ms that the thread had waited for a CPU at that time */
	uint64_t away;    /* ms since then in which we did not run either */
	bool stalled;     /* readers were told */
	bool told;        /* the manager was told */

	uint64_t entry;        /* number of the entry into Lua that runs, 0 for none */
	uint64_t entry_seen;   /* clock_now() when it was first seen */
	uint64_t entry_waited; /* as `waited`, for it */
	bool entry_sampled;    /* it is slow, and where is known */
};

static void sleep_for(uint64_t milliseconds)
{
	struct timespec time = {.tv_sec = (time_t)(milliseconds / 1000),
		.tv_nsec = (long)(milliseconds % 1000) * 1000000};

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* --- the loop --------------------------------------------------------------------------------- */

/* A sign of life: the loop has come round, or it has gone from one callback to the next. */
static void begin_anew(struct watchdog *watchdog, uint64_t since, uint64_t waited)
{
	watchdog->since = since;
	watchdog->waited = waited;
	watchdog->away = 0;
	watchdog->told = false;
	if (watchdog->stalled)
		shm_activity_write_stall(watchdog->setup.place, NULL, NULL);
	watchdog->stalled = false;
}

/* On a busy machine a loop gets less than it wants; one that had half of the time had its chance.
 */
static bool is_over(uint64_t limit, uint64_t silence, uint64_t own)
{
	return limit != 0 && silence >= limit && own >= limit / 2;
}

static void look_at_loop(struct watchdog *watchdog, uint64_t now, uint64_t waited)
{
	const struct watchdog_setup *setup = &watchdog->setup;
	uint64_t beat = shm_seat_last_beat(setup->seat);
	uint64_t entries;
	uint64_t silence; /* ms in which we ran */
	uint64_t own;     /* ms of them that the thread had or did not want a CPU */

	(void)script_stack_is_in_lua(setup->script, &entries);
	if (entries != watchdog->entries)
		begin_anew(watchdog, now, waited);
	else if (beat != watchdog->beat)
		begin_anew(watchdog, beat, waited);
	watchdog->entries = entries;
	watchdog->beat = beat;
	silence = minus(minus(now, watchdog->since), watchdog->away);
	own = minus(silence, minus(waited, watchdog->waited));
	if (is_over(setup->worker_timeout, silence, own) && !watchdog->told)
		watchdog->told =
			watchdog_report_stuck(setup, watchdog->since, &watchdog->time) == 0;
	else if (is_over(STALL, silence, own) && !watchdog->stalled)
		watchdog_report_stall(setup, watchdog->since);
	else
		return;
	watchdog->stalled = true;
}

/* --- one callback ----------------------------------------------------------------------------- */

static void look_at_callback(struct watchdog *watchdog, uint64_t now, uint64_t waited)
{
	const struct watchdog_setup *setup = &watchdog->setup;
	uint64_t entry;
	uint64_t busy;

	if (!script_stack_is_in_lua(setup->script, &entry))
		entry = 0;
	busy = minus(minus(now, watchdog->entry_seen), minus(waited, watchdog->entry_waited));
	if (entry != watchdog->entry) {
		if (watchdog->entry_sampled)
			watchdog_report_slow(busy);
		watchdog->entry = entry;
		watchdog->entry_seen = now;
		watchdog->entry_waited = waited;
		watchdog->entry_sampled = false;
	} else if (entry != 0 && !watchdog->entry_sampled && busy >= setup->slow_callback) {
		watchdog_sample_slow(setup);
		watchdog->entry_sampled = true;
	}
}

/* --- the thread ------------------------------------------------------------------------------- */

static void look(struct watchdog *watchdog)
{
	uint64_t now = clock_now();
	uint64_t waited = watchdog_time_waited(&watchdog->time);
	uint64_t late = minus(now - watchdog->looked, watchdog->period);

	if (late > LATE) {
		watchdog->away += late;
		watchdog->entry_seen += late;
	}
	look_at_loop(watchdog, now, waited);
	if (watchdog->setup.slow_callback != 0)
		look_at_callback(watchdog, now, waited);
	/* A look may take a while of its own, which is nobody's absence. */
	watchdog->looked = clock_now();
	shm_seat_watch(watchdog->setup.seat, watchdog->looked);
}

static void *watch(void *argument)
{
	struct watchdog *watchdog = argument;

	for (;;) {
		sleep_for(watchdog->period);
		look(watchdog);
	}
	return NULL;
}

static uint64_t choose_period(const struct watchdog_setup *setup)
{
	uint64_t period = LOOK_MAX;

	if (setup->worker_timeout != 0 && setup->worker_timeout / 10 < period)
		period = setup->worker_timeout / 10;
	if (setup->slow_callback != 0 && setup->slow_callback / 5 < period)
		period = setup->slow_callback / 5;
	return period < LOOK_MIN ? LOOK_MIN : period;
}

/* The thread takes no signal: they are for the loop. */
static int start_thread(struct watchdog *watchdog)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	int code = pthread_attr_init(&attributes);

	if (code != 0)
		return code;
	(void)sigfillset(&all);
	(void)pthread_attr_setstacksize(&attributes, STACK);
	(void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	code = pthread_create(&thread, &attributes, watch, watchdog);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attributes);
	return code;
}

int watchdog_start(const struct watchdog_setup *setup, struct error *error)
{
	static struct watchdog watchdog; /* one per process; its thread never ends */
	int code;

	watchdog.setup = *setup;
	/* One of its own: the number would be another's once the manager is dead. */
	watchdog.setup.control = fcntl(setup->control, F_DUPFD_CLOEXEC, 0);
	if (watchdog.setup.control < 0)
		return error_set_errno(error, "cannot start the watchdog");
	watchdog.period = choose_period(setup);
	watchdog.looked = clock_now();
	if (watchdog_report_prepare(error) != 0)
		return -1;
	watchdog_time_open(&watchdog.time);
	code = start_thread(&watchdog);
	return code == 0 ? 0
			 : error_set(error, code, "cannot start the watchdog: %s", strerror(code));
}
