/* The manager's main: messages, the tick, and the end. See manager.h. */
#include "manager/manager.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "manager/main.h"
#include "manager/managed_door.h"
#include "manager/reaper.h"
#include "manager/spawn.h"
#include "manager/upgrade_state.h"
#include "shm/feed.h"
#include "shm/region.h"
#include "wire/record.h"
#include "wire/role.h"

#define TICK         1000 /* ms between two looks at the heartbeats */
#define TICK_LATE    3000 /* ms without a tick that mean we slept, or were kept from running */
#define BEAT_LATE    3000 /* ms: a younger heartbeat is a sign of life, for short watchdogs too */
#define FINAL_WRITES 500  /* ms whoever reads the log has at the end */

bool manager_stopping(const struct manager *manager)
{
	return manager->phase >= MANAGER_STOPPING;
}

void manager_reconcile(struct manager *manager)
{
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++)
		slot_reconcile(&manager->slots[i]);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void end_if_alone(struct manager *manager)
{
	if (manager_stopping(manager) && list_empty(&manager->children))
		uv_stop(&manager->loop);
}

void manager_stop(struct manager *manager)
{
	manager->phase = MANAGER_STOPPING;
	notify_stopping(&manager->notify);
	reload_cancel(&manager->reload);
	control_on_stopping(manager);
	manager_reconcile(manager);
	managed_stop_all(manager);
	/* Workers that drain for a reload have their heirs taken away one by one, see slot.c. */
	generation_sweep(manager);
	end_if_alone(manager);
	upgrade_try(&manager->upgrade);
}

static void stop_at_once(struct manager *manager, int exit_status)
{
	if (!manager_stopping(manager))
		notify_stopping(&manager->notify);
	manager->phase = MANAGER_FORCED;
	manager->exit_status = exit_status;
	reload_cancel(&manager->reload);
	control_on_stopping(manager);
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++)
		slot_forget_failures(&manager->slots[i]);
}

void manager_force(struct manager *manager, int exit_status)
{
	stop_at_once(manager, exit_status);
	LIST_EACH(node, &manager->children)
	child_kill(LIST_ENTRY(node, struct child, node), CHILD_FATE_KILLED);
	end_if_alone(manager);
}

void manager_fail(struct manager *manager, const char *text, size_t size)
{
	(void)fprintf(stderr, "perigee: %.*s%s", (int)size, text,
		size != 0 && text[size - 1] == '\n' ? "" : "\n");
	if (manager->sink.path != NULL)
		sink_text(&manager->sink, "manager", text, size);
	stop_at_once(manager, EXIT_FAILURE);
	LIST_EACH(node, &manager->generations)
	generation_give_up(LIST_ENTRY(node, struct generation, node));
	generation_sweep(manager);
	end_if_alone(manager);
}

/* --- children --------------------------------------------------------------------------------- */

static struct child *find_child(struct manager *manager, uint64_t number)
{
	LIST_EACH(node, &manager->children)
	{
		struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->number == number)
			return child;
	}
	return NULL;
}

/* Sockets of slots that are neither wanted nor in use by anybody are closed, from the top down. */
static void release_sockets(struct manager *manager)
{
	uint32_t used = manager->workers;

	LIST_EACH(node, &manager->children)
	{
		const struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->role == WIRE_ROLE_WORKER && child->slot >= used)
			used = child->slot + 1;
	}
	if (manager->listening && !manager_stopping(manager))
		listen_shrink(&manager->listen, used);
}

/* When no slot could be served at the very first start, there is no sense in trying on. */
static void give_up_if_hopeless(struct manager *manager, const struct child *child)
{
	char verdict[2 * ERROR_TEXT_MAX];

	if (manager->phase != MANAGER_STARTING || manager->current == NULL)
		return;
	for (uint32_t i = 0; i < manager->workers; i++) {
		if (!manager->slots[i].failed)
			return;
	}
	child_verdict(child, verdict, sizeof verdict);
	if (child->refusal.size != 0)
		manager_fail(manager, child->refusal.data, child->refusal.size);
	else
		manager_fail(manager, verdict, strlen(verdict));
}

void manager_on_child_gone(struct manager *manager, struct child *child)
{
	control_on_gone(child);
	if (child->role == WIRE_ROLE_WORKER) {
		slot_on_gone(&manager->slots[child->slot], child);
		give_up_if_hopeless(manager, child);
	}
	reload_on_gone(&manager->reload, child);
	if (child->role == WIRE_ROLE_WORKER)
		manager_reconcile(manager); /* others may have waited for their turn */
	if (child->instance != NULL)
		managed_on_gone(child);
	release_sockets(manager);
	generation_sweep(manager);
	end_if_alone(manager);
}

static void say_hello(struct manager *manager)
{
	const struct manager_settings *settings = &manager->current->settings;

	for (size_t i = 0; i < manager->listen.count; i++) {
		const struct manager_app *app = manager_settings_app_at(settings, i);

		sink_log(&manager->sink, "Perigee %s serves \"%s\" (%s) at %s", PERIGEE_VERSION,
			app->name, app->path, manager->listen.addresses[i].url);
	}
	sink_log(&manager->sink, "pid %d, %u worker%s, generation %u, %s mode, %s%s", (int)getpid(),
		manager->workers, manager->workers == 1 ? "" : "s", manager->current->number,
		settings->mode, settings->config[0] != '\0' ? "config " : "no config file",
		settings->config);
}

void manager_on_child_ready(struct manager *manager, struct child *child)
{
	if (child->role == WIRE_ROLE_ZYGOTE) {
		reload_on_plan(&manager->reload, child->generation);
		return;
	}
	if (child->instance != NULL) {
		managed_on_ready(child);
		return;
	}
	slot_on_ready(&manager->slots[child->slot], child);
	if (manager->phase == MANAGER_STARTING && child->state == CHILD_READY) {
		manager->phase = MANAGER_SERVING;
		manager->served = true;
		say_hello(manager);
		daemon_serves(&manager->daemon);
	}
	reload_on_worker_ready(&manager->reload, child);
	manager_reconcile(manager);
}

/* --- messages --------------------------------------------------------------------------------- */

static void on_plan(struct manager *manager, struct child *zygote)
{
	struct slice plan = {.data = manager->body.data, .size = manager->body.size};
	struct error error;

	if (generation_take_plan(zygote->generation, plan, &error) == 0) {
		child_on_ready(zygote);
		return;
	}
	child_on_refused(zygote, error.text, strlen(error.text));
	child_kill(zygote, CHILD_FATE_REFUSED);
}

static void on_zygote_message(
	struct manager *manager, struct child *zygote, const struct wire_message *message)
{
	struct child *child = find_child(manager, message->child);

	/* A zygote speaks of the workers of its own generation only. */
	if (child != NULL && child->generation != zygote->generation)
		child = NULL;
	switch ((enum wire_type)message->type) {
	case WIRE_PLAN:
		on_plan(manager, zygote);
		break;
	case WIRE_LOAD_FAILED:
		child_on_refused(zygote, manager->body.data, manager->body.size);
		break;
	case WIRE_HOOK_FAILED:
		sink_text(
			&manager->sink, zygote->err.label, manager->body.data, manager->body.size);
		break;
	case WIRE_FORKED:
		if (child != NULL && reaper_is_ours(message->pid))
			child_on_forked(child, message->pid);
		else if (child != NULL)
			child_on_fork_failed(child, ECHILD);
		reaper_run(manager);
		break;
	case WIRE_FORK_FAILED:
		if (child != NULL)
			child_on_fork_failed(child, message->number);
		reaper_run(manager);
		break;
	default:
		break;
	}
}

static void on_worker_message(
	struct manager *manager, struct child *worker, const struct wire_message *message)
{
	switch ((enum wire_type)message->type) {
	case WIRE_READY:
		child_on_ready(worker);
		break;
	case WIRE_START_FAILED:
		child_on_refused(worker, manager->body.data, manager->body.size);
		break;
	case WIRE_LEAVING:
		if (worker->role == WIRE_ROLE_WORKER && manager->body.size != 0)
			slot_on_used_up(&manager->slots[worker->slot], worker, manager->body.data,
				manager->body.size);
		else if (worker->role == WIRE_ROLE_WORKER)
			slot_on_leaving(&manager->slots[worker->slot], worker);
		break;
	case WIRE_STUCK:
		if (worker->role == WIRE_ROLE_WORKER)
			child_on_stuck(worker, manager->body.data, manager->body.size);
		break;
	case WIRE_HEIR_LOST:
		if (worker->role == WIRE_ROLE_WORKER)
			slot_find_heir(manager, worker);
		break;
	default:
		break;
	}
}

void manager_on_message(struct manager *manager, struct child *child,
	const struct wire_message *message, const int *fds, size_t count)
{
	/* No child has a descriptor to give. */
	for (size_t i = 0; i < count; i++)
		(void)close(fds[i]);
	if (message->type == WIRE_REQUEST)
		control_on_request(child, message->number,
			(struct slice){manager->body.data, manager->body.size});
	else if (child->role == WIRE_ROLE_ZYGOTE)
		on_zygote_message(manager, child, message);
	else
		on_worker_message(manager, child, message);
}

/* --- scaling ---------------------------------------------------------------------------------- */

int manager_scale(struct manager *manager, uint32_t workers, struct error *error)
{
	if (workers < 1 || workers > MANAGER_WORKERS_MAX)
		return error_set(error, EINVAL, "there can be 1 to %d workers, not %u",
			MANAGER_WORKERS_MAX, workers);
	if (listen_grow(&manager->listen, workers, error) != 0)
		return -1;
	if (workers < manager->listen.live)
		listen_set_live(&manager->listen, workers);
	if (manager->workers != 0 && manager->workers != workers)
		sink_log(&manager->sink, "scale: from %u to %u workers", manager->workers, workers);
	if (manager->workers != workers) {
		manager->workers = workers;
		control_on_scaled(manager);
	}
	manager_reconcile(manager);
	return 0;
}

/* --- heartbeats ------------------------------------------------------------------------------- */

static void check_heartbeat(struct manager *manager, struct child *child, uint64_t now)
{
	const uint64_t limit = child->generation->settings.worker_timeout;
	uint64_t beat;

	if (child->role != WIRE_ROLE_WORKER || child->state != CHILD_READY || limit == 0)
		return;
	/* Whether its loop comes round is for its own watchdog to say, while there is one. */
	beat = shm_seat_last_beat(child->beats);
	if (beat < shm_seat_last_watch(child->beats))
		beat = shm_seat_last_watch(child->beats);
	if (beat < manager->forgiven)
		beat = manager->forgiven;
	if (now > beat && now - beat > limit)
		child_on_stuck(child, NULL, 0);
}

/* For whoever watches us: our loop runs, as this is called in it, and a worker serves, or drains.
 */
static bool application_lives(void *context)
{
	const struct manager *manager = context;
	const uint64_t watchdog = manager->notify.watchdog;
	const uint64_t late = watchdog > BEAT_LATE ? watchdog : BEAT_LATE;
	const uint64_t now = clock_now();

	LIST_EACH(node, &manager->children)
	{
		const struct child *child = LIST_ENTRY(node, struct child, node);

		if (child->role == WIRE_ROLE_WORKER && child->beats != NULL &&
			(child->state == CHILD_READY || child->state == CHILD_DRAINING) &&
			now - shm_seat_last_beat(child->beats) <= late)
			return true;
	}
	return manager_stopping(manager);
}

static void on_tick(uv_timer_t *timer)
{
	struct manager *manager = timer->data;
	uint64_t now = clock_now();

	/* We did not run: nor may the workers have (a suspended machine, a stopped group). */
	if (now - manager->last_tick > TICK_LATE)
		manager->forgiven = now;
	manager->last_tick = now;
	LIST_EACH(node, &manager->children)
	check_heartbeat(manager, LIST_ENTRY(node, struct child, node), now);
	notify_flush(&manager->notify);
	upgrade_try(&manager->upgrade);
}

/* --- the beginning ---------------------------------------------------------------------------- */

static int read_settings(struct manager *manager, int fd, struct error *error)
{
	manager->settings_fd = fd;
	(void)fd_set_cloexec(fd, 1);
	return record_load(&manager->given, fd, error);
}

/* A setting that counts before there is a plan: what flags and environment gave; or NULL. */
static const char *early_setting(const struct manager *manager, const char *key)
{
	return record_find((struct slice){manager->given.data, manager->given.size}, key);
}

static int find_identity(struct manager *manager, struct error *error)
{
	return identity_find(&manager->identity, early_setting(manager, "user"),
		early_setting(manager, "group"), error);
}

/* Becomes the process that stays, and says which that is. */
static int settle(struct manager *manager, struct error *error)
{
	const char *daemon = early_setting(manager, "daemon");
	const char *pid_file = early_setting(manager, "pid_file");

	if (daemon != NULL && daemon[0] == '1' && daemon_start(&manager->daemon, error) != 0)
		return -1;
	return pid_file == NULL ? 0 : pid_file_take(&manager->pid_file, pid_file, error);
}

static int make_memory(struct manager *manager, struct error *error)
{
	struct slice given = {manager->given.data, manager->given.size};
	uint64_t size = SHM_REGION_DEFAULT;

	if (record_find(given, "shared_memory") != NULL &&
		record_number(given, "shared_memory", 1, UINT64_MAX >> 1, &size, error) != 0)
		return -1;
	manager->region_fd = shm_region_create(size, error);
	if (manager->region_fd < 0)
		return -1;
	manager->feed_fd = shm_feed_create(error);
	if (manager->feed_fd < 0)
		return -1;
	manager->bell_fd = shm_feed_create_bell(error);
	if (manager->bell_fd < 0 || shm_bells_create(manager->bells, WIRE_FD_END, error) != 0)
		return -1;
	manager->tail_fd = shm_tail_create(error);
	if (manager->tail_fd < 0)
		return -1;
	manager->slots_fd = shm_slots_create(error);
	if (manager->slots_fd < 0)
		return -1;
	manager->slots_table = shm_slots_map(manager->slots_fd, error);
	return manager->slots_table != NULL ? 0 : -1;
}

static void open_handles(struct manager *manager)
{
	signals_open(&manager->signals, manager);
	for (uint32_t i = 0; i < MANAGER_WORKERS_MAX; i++)
		slot_init(&manager->slots[i], manager, i);
	place_init(&manager->main, manager, "main", false, "main");
	reload_init(&manager->reload, manager);
	control_init(&manager->control);
	upgrade_init(&manager->upgrade, manager);
	(void)uv_timer_init(&manager->loop, &manager->tick);
	manager->tick.data = manager;
	(void)uv_timer_start(&manager->tick, on_tick, TICK, TICK);
}

/* Who typed the command does not want it any more. */
static void on_launcher_lost(void *context)
{
	struct manager *manager = context;

	sink_log(&manager->sink, "the command was ended before the application served: stopping");
	manager_stop(manager);
}

/* What a manager makes for itself, unless it takes the place of another. */
static int make_own(struct manager *manager, struct error *error)
{
	if (settle(manager, error) != 0 || make_memory(manager, error) != 0)
		return -1;
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
		return error_set_errno(error, "cannot become the parent of orphans");
	return guardian_start(&manager->guardian, error);
}

/* Goes on as the manager that this process was before: nothing has stopped serving. */
static int go_on(struct manager *manager, const struct buffer *state, struct error *error)
{
	const char *daemon = early_setting(manager, "daemon");

	if (upgrade_state_adopt_children(manager, state, error) != 0)
		return -1;
	manager->daemon.on = daemon != NULL && daemon[0] == '1';
	manager->phase = MANAGER_SERVING;
	manager->served = true;
	manager->notify.ready = true;
	if (manager->current->settings.log_file[0] == '\0')
		return 0;
	return sink_redirect(&manager->sink, manager->current->settings.log_file, error);
}

static int set_up(
	struct manager *manager, int settings, const struct buffer *state, struct error *error)
{
	manager->started = manager->last_tick = manager->forgiven = clock_now();
	list_init(&manager->children);
	list_init(&manager->generations);
	list_init(&manager->managed);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)prctl(PR_SET_NAME, "perigee");
	fd_raise_limit();
	if (spawn_find_program(error) != 0 || read_settings(manager, settings, error) != 0 ||
		find_identity(manager, error) != 0 || notify_open(&manager->notify, error) != 0)
		return -1;
	if ((state->size != 0 ? upgrade_state_adopt(manager, state, error)
			      : make_own(manager, error)) != 0)
		return -1;
	if (uv_loop_init(&manager->loop) != 0)
		return error_set(error, ENOMEM, "cannot make the event loop");
	open_handles(manager);
	notify_watch(&manager->notify, &manager->loop, application_lives, manager);
	daemon_watch(&manager->daemon, &manager->loop, on_launcher_lost, manager);
	manager->oom_seen = child_oom_count();
	if (sink_open(&manager->sink, &manager->loop, &manager->identity, error) != 0)
		return -1;
	manager->sink.tail = shm_tail_open(manager->tail_fd, error);
	if (manager->sink.tail == NULL)
		return -1;
	return state->size != 0 ? go_on(manager, state, error) : 0;
}

static void close_handle(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void tear_down(struct manager *manager)
{
	upgrade_end(&manager->upgrade);
	listen_close(&manager->listen);
	managed_door_close_all(manager);
	if (manager->served)
		sink_log(&manager->sink, "stopped");
	sink_close(&manager->sink, FINAL_WRITES);
	uv_walk(&manager->loop, close_handle, NULL);
	(void)uv_run(&manager->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&manager->loop);
	notify_flush(&manager->notify);
	buffer_free(&manager->body);
	buffer_free(&manager->given);
	guardian_stop(&manager->guardian);
	reaper_kill_all();
	pid_file_release(&manager->pid_file);
	daemon_ends(&manager->daemon, manager->exit_status != 0);
}

int manager_probe(int state)
{
	return upgrade_probe(state);
}

int manager_main(int settings, int state)
{
	static struct manager manager = {
		.daemon.launcher = -1, .pid_file.fd = -1, .notify.socket = -1}; /* large */
	struct buffer taken = {0};
	struct error error;

	if ((state >= 0 && upgrade_state_read(&taken, state, &error) != 0) ||
		set_up(&manager, settings, &taken, &error) != 0) {
		(void)fprintf(stderr, "perigee: %s\n", error.text);
		daemon_ends(&manager.daemon, true);
		pid_file_release(&manager.pid_file);
		return EXIT_FAILURE;
	}
	if (state >= 0)
		(void)close(state);
	buffer_free(&taken);
	reload_request(&manager.reload, manager.current != NULL ? "another program" : NULL);
	(void)uv_run(&manager.loop, UV_RUN_DEFAULT);
	tear_down(&manager);
	return manager.exit_status;
}

int manager_exec(int settings, struct error *error)
{
	struct buffer given = {0};
	const char *single;
	enum wire_role role = WIRE_ROLE_MANAGER;

	if (record_load(&given, settings, error) != 0)
		return -1;
	single = record_find((struct slice){given.data, given.size}, "single_process");
	if (single != NULL && single[0] == '1')
		role = WIRE_ROLE_SINGLE;
	else
		signals_hold();
	buffer_free(&given);
	return spawn_exec_role(role, settings, error);
}
