/* Loading code, by generations. Owned by the manager. */
#include "manager/reload.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "manager/manager.h"

#define RETRY_DELAY_MIN 100   /* ms before the code is loaded anew for a zygote that died */
#define RETRY_DELAY_MAX 30000 /* ms, where its doubling ends */

static void on_retry(uv_timer_t *timer)
{
	reload_request(timer->data, "the main process is gone");
}

void reload_init(struct reload *reload, struct manager *manager)
{
	*reload = (struct reload){.manager = manager, .retry_delay = RETRY_DELAY_MIN};
	(void)uv_timer_init(&manager->loop, &reload->retry);
	reload->retry.data = reload;
}

/* Every slot is served, and nothing is being loaded: whoever started us may know. */
static void tell_ready(struct reload *reload)
{
	struct manager *manager = reload->manager;

	if (reload->phase != RELOAD_NONE || !manager->current->announced)
		return;
	notify_ready(&manager->notify);
}

static void begin(struct reload *reload)
{
	struct manager *manager = reload->manager;
	struct error error;

	reload->again = false;
	reload->attempt++;
	reload->started = clock_now();
	reload->candidate = generation_start(manager, &error);
	if (reload->candidate != NULL) {
		reload->phase = RELOAD_LOADING;
		notify_reloading(&manager->notify);
		notify_status(&manager->notify, "loading generation %u", reload->candidate->number);
		return;
	}
	if (manager->current == NULL) {
		manager_fail(manager, error.text, strlen(error.text));
		return;
	}
	sink_log(&manager->sink, "reload failed: %s", error.text);
	control_on_load_failed(manager, error.text, strlen(error.text));
}

void reload_request(struct reload *reload, const char *why)
{
	if (manager_stopping(reload->manager))
		return;
	if (why != NULL)
		sink_log(&reload->manager->sink, "reload: %s%s", why,
			reload->phase == RELOAD_NONE ? "" : "; after the one under way");
	if (reload->phase == RELOAD_NONE)
		begin(reload);
	else
		reload->again = true;
}

/* The candidate is out of the race, by success or by failure. */
static void end(struct reload *reload)
{
	reload->phase = RELOAD_NONE;
	reload->candidate = NULL;
	if (reload->again)
		begin(reload);
}

void reload_cancel(struct reload *reload)
{
	(void)uv_timer_stop(&reload->retry);
	reload->again = false;
	reload->phase = RELOAD_NONE;
	reload->candidate = NULL;
}

struct generation *reload_target(const struct reload *reload, const struct slot *slot)
{
	if (reload->phase == RELOAD_CANARY && slot->index == 0)
		return reload->candidate;
	return reload->manager->current;
}

/* --- failure ---------------------------------------------------------------------------------- */

/* The candidate is not to serve, for what `text` says. */
static void refuse(struct reload *reload, const char *text, size_t size)
{
	struct manager *manager = reload->manager;
	struct generation *candidate = reload->candidate;

	if (manager->current == NULL) {
		manager_fail(manager, text, size);
		return;
	}
	sink_log(&manager->sink,
		"reload failed, generation %u goes on serving:", manager->current->number);
	sink_text(&manager->sink, "manager", text, size);
	notify_status(&manager->notify, "reload failed, generation %u goes on serving: %.*s",
		manager->current->number, (int)size, text);
	control_on_load_failed(manager, text, size);
	generation_give_up(candidate);
	end(reload);
	generation_sweep(manager);
	tell_ready(reload);
	if (manager->current->zygote == NULL && !reload->again && !manager_stopping(manager))
		(void)uv_timer_start(&reload->retry, on_retry, reload->retry_delay, 0);
	manager_reconcile(manager);
}

static void fail(struct reload *reload, const struct child *culprit)
{
	char verdict[2 * ERROR_TEXT_MAX];

	child_verdict(culprit, verdict, sizeof verdict);
	if (culprit->refusal.size != 0)
		refuse(reload, culprit->refusal.data, culprit->refusal.size);
	else
		refuse(reload, verdict, strlen(verdict));
}

/* A zygote is gone: nobody will fork what it was ordered to. */
static void lose_orders(struct manager *manager, const struct generation *generation)
{
	LIST_EACH(node, &manager->children)
	{
		struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->generation != generation || child->state != CHILD_ORDERED)
			continue;
		if (generation != manager->current) /* its own end is no news then */
			child_kill(child, CHILD_FATE_KILLED);
		child_on_fork_failed(child, 0);
	}
}

/* The zygote that forks for us has died: what it loaded cannot be forked again, so load anew. */
static void lose_zygote(struct reload *reload)
{
	struct manager *manager = reload->manager;
	uint64_t delay = reload->retry_delay;

	reload->retry_delay = delay * 2 > RETRY_DELAY_MAX ? RETRY_DELAY_MAX : delay * 2;
	if (reload->phase == RELOAD_NONE && !manager_stopping(manager))
		(void)uv_timer_start(&reload->retry, on_retry, delay, 0);
}

/* --- success ---------------------------------------------------------------------------------- */

static void open_sockets(struct reload *reload)
{
	struct manager *manager = reload->manager;
	struct error error;

	if (listen_open(&manager->listen, &reload->candidate->settings, &manager->identity,
		    &error) != 0) {
		manager_fail(manager, error.text, strlen(error.text));
		return;
	}
	manager->listening = true;
}

static bool same_binds(const struct manager_settings *a, const struct manager_settings *b)
{
	if (a->bind_count != b->bind_count)
		return false;
	for (size_t i = 0; i < a->bind_count; i++) {
		if (strcmp(a->binds[i], b->binds[i]) != 0)
			return false;
	}
	return true;
}

/*
 * Whether the workers of both know whom they serve on each of our sockets. A single app is served
 * on all there are, wherever it would rather be.
 */
static bool same_apps(const struct manager_settings *a, const struct manager_settings *b)
{
	if (a->app_count == 1 && b->app_count == 1)
		return true;
	if (a->app_count != b->app_count || !same_binds(a, b))
		return false;
	for (size_t i = 0; i < a->bind_count; i++) {
		if (strcmp(manager_settings_app_at(a, i)->name,
			    manager_settings_app_at(b, i)->name) != 0)
			return false;
	}
	return memcmp(a->app_of, b->app_of, sizeof a->app_of) == 0;
}

static void redirect_log(struct manager *manager, const struct manager_settings *settings)
{
	const char *now = manager->sink.path != NULL ? manager->sink.path : "";
	struct error error;

	if (manager->daemon.on && settings->log_file[0] == '\0')
		(void)error_set(&error, EINVAL,
			"a daemon has no stderr: set log_file (/dev/null for no log)");
	else if (strcmp(now, settings->log_file) == 0 ||
		 sink_redirect(&manager->sink, settings->log_file, &error) == 0)
		return;
	if (manager->phase == MANAGER_STARTING)
		manager_fail(manager, error.text, strlen(error.text));
	else
		sink_log(&manager->sink, "%s; the log stays where it is", error.text);
}

/* From here on the candidate is what every slot is to be served by. */
static void commit(struct reload *reload)
{
	struct manager *manager = reload->manager;
	const struct generation *old = manager->current;
	struct generation *next = reload->candidate;
	struct error error;

	manager->current = next;
	control_on_load_committed(manager);
	reload->retry_delay = RETRY_DELAY_MIN;
	(void)uv_timer_stop(&reload->retry);
	redirect_log(manager, &next->settings);
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++)
		slot_forget_failures(&manager->slots[i]);
	if (old != NULL && (!same_binds(&old->settings, &next->settings) ||
				   old->settings.reuse_port != next->settings.reuse_port))
		sink_log(&manager->sink, "bind or reuse_port has changed: that takes a restart");
	if ((old == NULL || old->settings.workers != next->settings.workers) &&
		manager_scale(manager, next->settings.workers, &error) != 0)
		sink_log(&manager->sink, "cannot have %u workers: %s", next->settings.workers,
			error.text);
	end(reload);
	manager_reconcile(manager);
	managed_on_committed(manager);
	generation_sweep(manager);
}

void reload_on_plan(struct reload *reload, struct generation *generation)
{
	if (generation != reload->candidate || reload->phase != RELOAD_LOADING)
		return;
	if (reload->manager->current == NULL) {
		open_sockets(reload);
		if (!manager_stopping(reload->manager))
			commit(reload); /* there is nothing old to protect */
		return;
	}
	if (!same_apps(&reload->manager->current->settings, &generation->settings)) {
		const struct slice text = SLICE("the apps, or the addresses they are served at, "
						"have changed: that takes a restart");

		refuse(reload, text.data, text.size);
		return;
	}
	reload->phase = RELOAD_CANARY;
	slot_reconcile(&reload->manager->slots[0]);
}

/* The last slot has turned to the current generation: tell its zygote, and the operator. */
static void announce(struct reload *reload)
{
	struct manager *manager = reload->manager;
	struct generation *current = manager->current;
	char age[32];

	for (uint32_t i = 0; i < manager->workers; i++) {
		const struct child *serving = manager->slots[i].serving;

		if (serving == NULL || serving->generation != current)
			return;
	}
	if (current->announced || current->zygote == NULL)
		return;
	current->announced = true;
	(void)child_send(current->zygote, WIRE_ALL_READY, 0, NULL, 0);
	control_on_all_serve(manager);
	clock_duration(clock_now() - reload->started, age, sizeof age);
	sink_log(&manager->sink, "generation %u serves on %u worker%s after %s", current->number,
		manager->workers, manager->workers == 1 ? "" : "s", age);
	notify_status(&manager->notify, "generation %u serves on %u worker%s", current->number,
		manager->workers, manager->workers == 1 ? "" : "s");
	tell_ready(reload);
}

void reload_on_worker_ready(struct reload *reload, struct child *child)
{
	if (reload->phase == RELOAD_CANARY && child->generation == reload->candidate)
		commit(reload);
	announce(reload);
}

void reload_on_gone(struct reload *reload, struct child *child)
{
	struct manager *manager = reload->manager;

	if (child == child->generation->zygote)
		child->generation->zygote = NULL;
	if (child->role == WIRE_ROLE_ZYGOTE)
		lose_orders(manager, child->generation);
	if (manager_stopping(manager))
		return;
	if (child->generation == reload->candidate && child->fate != CHILD_FATE_KILLED &&
		(child->role == WIRE_ROLE_ZYGOTE || child->ready == 0)) {
		fail(reload, child);
		return;
	}
	if (child->role == WIRE_ROLE_ZYGOTE && child->generation == manager->current)
		lose_zygote(reload);
}
