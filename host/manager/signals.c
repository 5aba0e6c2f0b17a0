/* What each signal to the manager means. In the manager. */
#include "manager/signals.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "manager/main.h"
#include "manager/manager.h"
#include "manager/reaper.h"

static void on_stop(struct manager *manager, int number)
{
	const char *name = sigabbrev_np(number);

	if (manager->phase == MANAGER_FORCED)
		return;
	if (manager->phase == MANAGER_STOPPING) {
		sink_log(&manager->sink, "SIG%s again: everything is killed", name);
		manager_force(manager, 128 + number);
		return;
	}
	sink_log(&manager->sink, "SIG%s: stopping; once more to force it", name);
	manager_stop(manager);
}

static void on_hangup(struct manager *manager, int number)
{
	(void)number;
	reload_request(&manager->reload, "SIGHUP");
}

static void on_scale(struct manager *manager, int number)
{
	struct error error;
	uint32_t workers = manager->workers + (number == SIGTTIN ? 1 : (uint32_t)-1);

	if (manager->phase == MANAGER_SERVING && manager_scale(manager, workers, &error) != 0)
		sink_log(&manager->sink, "%s", error.text);
}

static void on_reopen(struct manager *manager, int number)
{
	struct error error;

	(void)number;
	if (sink_reopen(&manager->sink, &error) != 0)
		sink_log(&manager->sink, "SIGUSR1: %s", error.text);
	else
		sink_log(&manager->sink, "SIGUSR1: the log is open anew");
}

static void on_upgrade(struct manager *manager, int number)
{
	(void)number;
	upgrade_request(&manager->upgrade, "SIGUSR2");
}

static void on_child(struct manager *manager, int number)
{
	(void)number;
	reaper_run(manager);
}

static const struct {
	int number;
	void (*obey)(struct manager *manager, int number);
} table[] = {
	{SIGTERM, on_stop},
	{SIGINT, on_stop},
	{SIGQUIT, on_stop},
	{SIGHUP, on_hangup},
	{SIGTTIN, on_scale},
	{SIGTTOU, on_scale},
	{SIGUSR1, on_reopen},
	{SIGUSR2, on_upgrade},
	{SIGCHLD, on_child},
};

#define TABLE_SIZE (sizeof table / sizeof table[0])

_Static_assert(TABLE_SIZE <= SIGNALS_MAX, "each signal has a handle");

static void on_signal(uv_signal_t *handle, int number)
{
	for (size_t i = 0; i < TABLE_SIZE; i++) {
		if (table[i].number == number) {
			table[i].obey(handle->data, number);
			return;
		}
	}
	UNREACHABLE("only the signals in the table are watched");
}

static void fill(sigset_t *set)
{
	(void)sigemptyset(set);
	for (size_t i = 0; i < TABLE_SIZE; i++)
		(void)sigaddset(set, table[i].number);
}

void signals_hold(void)
{
	sigset_t set;

	fill(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

void signals_release(void)
{
	sigset_t set;

	fill(&set);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void manager_hold_signals(void)
{
	signals_hold();
}

void signals_open(struct signals *signals, struct manager *manager)
{
	for (size_t i = 0; i < TABLE_SIZE; i++) {
		CHECK(uv_signal_init(&manager->loop, &signals->handles[i]) == 0);
		signals->handles[i].data = manager;
		CHECK(uv_signal_start(&signals->handles[i], on_signal, table[i].number) == 0);
	}
	signals_release();
}
