/* A worker's life: start, serve, drain, end. Runs in the process a zygote forked for it. */
#include "worker/worker.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "http/server.h"
#include "wire/record.h"
#include "wire/role.h"
#include "worker/activity.h"
#include "worker/lifeline.h"
#include "worker/watchdog.h"
#include "worker/worker_feed.h"
#include "worker/worker_settings.h"

#define HEARTBEAT 1000 /* ms between two beats, at most */

struct worker {
	const struct worker_birth *birth;
	struct script *script;
	uv_loop_t loop;
	struct worker_settings settings;
	struct http_server *server;
	struct worker_feed feed;
	struct activity activity;
	struct recycle recycle;
	struct bell bell; /* of the shared objects that somebody waits for */
	struct lifeline lifeline;
	uv_timer_t heartbeat;
	uv_signal_t terminate; /* SIGTERM to this worker alone */
	bool draining;         /* a WIRE_DRAIN has come, or none ever will */
	enum http_drain how;
	int heir; /* between WIRE_DRAIN and the end of before_server_stop; or -1 */
};

_Static_assert(sizeof(struct http_counters) <= sizeof(((struct shm_seat *)0)->counters),
	"a seat has room for the server's counters");

/* lua/perigee/state.lua reads them in a seat by these places. */
_Static_assert(offsetof(struct http_counters, requests) == 0 * sizeof(uint64_t) &&
		       offsetof(struct http_counters, connections) == 1 * sizeof(uint64_t) &&
		       offsetof(struct http_counters, accepted) == 2 * sizeof(uint64_t),
	"the places of counters are known in Lua");

#define CONNECTIONS 1 /* the place of the counter of open ones */

static void tell(struct worker *worker, enum wire_type type, struct slice text)
{
	lifeline_tell(&worker->lifeline, type, text);
}

_Noreturn static void fail_start(struct worker *worker, struct slice why)
{
	if (worker->birth->single != NULL)
		worker->birth->single->on_failed(why);
	tell(worker, WIRE_START_FAILED, why);
	lifeline_leave(EXIT_FAILURE);
}

_Noreturn static void fail_start_error(struct worker *worker, const struct error *error)
{
	fail_start(worker, (struct slice){error->text, strlen(error->text)});
}

/* --- http ------------------------------------------------------------------------------------- */

static void on_request(void *context, struct http_request *request)
{
	struct worker *worker = context;

	recycle_count(&worker->recycle);
	script_http_request(worker->script, request);
}

static void on_body(void *context, struct http_request *request)
{
	script_http_body(((struct worker *)context)->script, request);
}

static void on_cancel(void *context, struct http_request *request, enum http_cancel why)
{
	script_http_cancel(((struct worker *)context)->script, request, why);
}

static void on_writable(void *context, struct http_request *request)
{
	script_http_writable(((struct worker *)context)->script, request);
}

static void on_websocket(void *context, struct http_request *request)
{
	script_http_websocket(((struct worker *)context)->script, request);
}

static void on_stopped(void *context, bool ok, struct slice text);

static void on_drained(void *context)
{
	struct worker *worker = context;

	script_start(worker->script, "perigee.worker", "after_stop", SLICE(""), on_stopped, worker);
}

static void on_heir_lost(void *context)
{
	tell(context, WIRE_HEIR_LOST, SLICE(""));
}

/* More than the mean, and by so much that it is no accident. */
static bool has_its_share(void *context)
{
	const struct worker *worker = context;
	const uint64_t mean = shm_slots_mean(CONNECTIONS);
	const uint64_t own = worker->birth->seat->counters[CONNECTIONS];

	return mean < UINT64_MAX / 2 && own > mean + mean / 8 + 2;
}

static void on_warning(void *context, const char *text)
{
	(void)context;
	(void)fprintf(stderr, "%s\n", text);
}

static const struct http_handler handler = {
	.on_request = on_request,
	.on_body = on_body,
	.on_cancel = on_cancel,
	.on_writable = on_writable,
	.on_websocket = on_websocket,
	.on_drained = on_drained,
	.on_heir_lost = on_heir_lost,
	.has_its_share = has_its_share,
	.on_warning = on_warning,
};

/* --- the end ---------------------------------------------------------------------------------- */

static void log_failed_hook(struct slice text)
{
	(void)fprintf(stderr, "%.*s\n", (int)text.size, text.data);
}

static void on_stopped(void *context, bool ok, struct slice text)
{
	const struct worker *worker = context;

	if (!ok)
		log_failed_hook(text);
	if (worker->birth->single == NULL)
		lifeline_leave(EXIT_SUCCESS);
	worker->birth->single->on_stopped();
}

static void on_told(void *context, bool ok, struct slice text)
{
	(void)context;
	if (!ok)
		log_failed_hook(text);
}

/* before_server_stop is done, well or not. */
static void on_may_drain(void *context, bool ok, struct slice text)
{
	struct worker *worker = context;
	int heir = worker->heir;

	if (!ok)
		log_failed_hook(text);
	worker->heir = -1;
	script_start(worker->script, "perigee.worker", "drain", SLICE(""), on_told, worker);
	http_server_drain(worker->server, worker->how, heir);
}

static void begin_drain(struct worker *worker, enum http_drain how, int heir)
{
	if (worker->draining) {
		fd_close(&heir);
		return;
	}
	worker->draining = true;
	worker->how = how;
	worker->heir = heir;
	/* "shutdown": nobody takes over, and the readiness probe is to say so from now on. */
	script_start(worker->script, "perigee.worker", "before_stop",
		how == HTTP_DRAIN_SHUTDOWN ? SLICE("shutdown") : SLICE(""), on_may_drain, worker);
}

/* The manager is dead: what is in flight may be finished, for a moment. */
static void on_orphaned(void *context)
{
	struct worker *worker = context;

	if (worker->server != NULL && !worker->draining)
		begin_drain(worker, HTTP_DRAIN_REPLACED, -1);
}

/* --- messages --------------------------------------------------------------------------------- */

static enum http_drain drain_kind(int32_t number)
{
	switch ((enum wire_drain)number) {
	case WIRE_DRAIN_RETIRED:
		return HTTP_DRAIN_RETIRED;
	case WIRE_DRAIN_SHUTDOWN:
		return HTTP_DRAIN_SHUTDOWN;
	case WIRE_DRAIN_REPLACED:
		break;
	}
	return HTTP_DRAIN_REPLACED;
}

static void adopt(struct worker *worker, int channel)
{
	struct error error;

	if (http_server_adopt(worker->server, channel, &error) != 0)
		(void)fprintf(stderr, "cannot take over connections: %s\n", error.text);
}

static void set_heir(struct worker *worker, int heir)
{
	if (worker->heir >= 0) { /* before_server_stop still runs */
		fd_close(&worker->heir);
		worker->heir = heir;
		return;
	}
	http_server_set_heir(worker->server, heir);
}

static bool is_secure(const struct worker *worker, size_t listener)
{
	const struct slice terms = worker->birth->terms;

	return terms.size != 0 ? record_find(terms, "tls") != NULL
			       : worker->settings.is_secure[listener];
}

/* The word to accept has come. What has connected by now waits in the sockets. */
static void serve(struct worker *worker)
{
	struct error error;

	for (size_t i = 0; i < worker->birth->listener_count; i++) {
		struct tls_context *tls = is_secure(worker, i) ? worker->birth->tls : NULL;

		if (http_server_listen(worker->server, worker->birth->listeners[i], tls,
			    worker->settings.app_of[i], &error) != 0)
			fail_start_error(worker, &error);
	}
}

static void on_message(void *context, const struct wire_message *message, int fd)
{
	struct worker *worker = context;

	switch ((enum wire_type)message->type) {
	case WIRE_SERVE:
		serve(worker);
		break;
	case WIRE_DRAIN:
		begin_drain(worker, drain_kind(message->number), fd);
		break;
	case WIRE_HEIR:
		set_heir(worker, fd);
		break;
	case WIRE_ADOPT:
		adopt(worker, fd);
		break;
	default:
		fd_close(&fd);
		break;
	}
}

static const struct lifeline_owner lifeline_owner = {
	.on_message = on_message,
	.on_orphaned = on_orphaned,
};

/* --- the beginning ---------------------------------------------------------------------------- */

static void on_heartbeat(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	shm_seat_beat(worker->birth->seat, clock_now());
	recycle_look(&worker->recycle);
}

static void on_terminate(uv_signal_t *handle, int number)
{
	(void)number;
	tell(handle->data, WIRE_LEAVING, SLICE(""));
}

/* This worker is used up. */
static void on_used_up(void *context, const char *why)
{
	tell(context, WIRE_LEAVING, (struct slice){why, strlen(why)});
}

static int start_watchdog(struct worker *worker, struct error *error)
{
	const struct watchdog_setup setup = {.script = worker->script,
		.server = worker->server,
		.seat = worker->birth->seat,
		.place = shm_activity_of(worker->birth->seat_number),
		.control = worker->birth->control,
		.worker_timeout = worker->settings.worker_timeout,
		.slow_callback = worker->settings.slow_callback};

	return watchdog_start(&setup, error);
}

static int open_feed(struct worker *worker, struct http_counters *counters, struct error *error)
{
	const struct worker_birth *birth = worker->birth;
	const struct worker_feed_place place = {.feed = birth->feed,
		.bell = birth->bell,
		.seat = birth->seat_number,
		.limit = worker->settings.publish_limit};

	return worker_feed_open(
		&worker->feed, &worker->loop, worker->server, counters, &place, error);
}

/* Whether it is in a slot of the manager's. */
static bool is_worker(const struct worker *worker)
{
	return worker->birth->single == NULL && worker->birth->terms.size == 0;
}

/* before_server_start is done. */
static void on_may_serve(void *context, bool ok, struct slice text)
{
	struct worker *worker = context;
	struct error error;

	if (!ok)
		fail_start(worker, text);
	shm_seat_beat(worker->birth->seat, clock_now());
	if (is_worker(worker)) { /* else nobody would replace it */
		if (start_watchdog(worker, &error) != 0)
			fail_start_error(worker, &error);
		recycle_start(&worker->recycle, &worker->settings.recycle, on_used_up, worker);
	}
	/* Before it is said: main_process_ready comes after what a hook does without waiting. */
	script_start(worker->script, "perigee.worker", "after_start", SLICE(""), on_told, worker);
	tell(worker, WIRE_READY, SLICE(""));
	if (worker->birth->terms.size != 0)
		serve(worker); /* that word is for workers */
}

static void open_handles(struct worker *worker)
{
	uint64_t beat = worker->settings.worker_timeout / 4;

	if (beat == 0 || beat > HEARTBEAT)
		beat = HEARTBEAT;
	CHECK(uv_timer_init(&worker->loop, &worker->heartbeat) == 0);
	CHECK(uv_signal_init(&worker->loop, &worker->terminate) == 0);
	worker->heartbeat.data = worker;
	worker->terminate.data = worker;
	(void)uv_timer_start(&worker->heartbeat, on_heartbeat, beat, beat);
	(void)uv_signal_start(&worker->terminate, on_terminate, SIGTERM);
}

static struct slice describe(const struct worker *worker, struct buffer *block)
{
	char number[16];

	if (worker->birth->terms.size != 0)
		CHECK(buffer_add(block, worker->birth->terms.data, worker->birth->terms.size) == 0);
	(void)record_add(block, "role", worker->birth->terms.size != 0 ? "managed" : "worker");
	(void)snprintf(number, sizeof number, "%u", worker->birth->slot);
	(void)record_add(block, "slot", number);
	(void)snprintf(number, sizeof number, "%u", worker->birth->generation);
	(void)record_add(block, "generation", number);
	(void)snprintf(number, sizeof number, "%d", (int)getpid());
	(void)record_add(block, "pid", number);
	return (struct slice){block->data, block->size};
}

_Noreturn void worker_main(struct script *script, const struct worker_birth *birth)
{
	static struct worker worker;     /* one per process */
	static struct http_counters own; /* what is no client of the app's does not count as one */
	struct http_counters *counters =
		birth->terms.size != 0 ? &own
				       : (struct http_counters *)(void *)birth->seat->counters;
	struct buffer block = {0};
	struct error error;

	worker = (struct worker){.birth = birth, .script = script, .heir = -1};
	CHECK(uv_loop_init(&worker.loop) == 0);
	script_set_loop(script, &worker.loop);
	lifeline_open(&worker.lifeline, &worker.loop, script,
		birth->terms.size != 0 ? WIRE_ROLE_MANAGED : WIRE_ROLE_WORKER, birth->control,
		&lifeline_owner, &worker);
	if (worker_settings_read(&worker.settings, birth->plan, &error) != 0 ||
		http_server_new(&worker.server, &worker.loop, &worker.settings.http, &handler,
			&worker, counters, &error) != 0 ||
		open_feed(&worker, counters, &error) != 0 ||
		bell_watch_shared(&worker.bell, &worker.loop, script, &error) != 0)
		fail_start_error(&worker, &error);
	script_set_publish(script, worker_feed_publish, &worker.feed);
	activity_start(&worker.activity, &worker.loop, worker.server, script,
		shm_activity_of(birth->seat_number));
	open_handles(&worker);
	if (birth->single != NULL)
		birth->single->on_loop(&worker.loop);
	script_start(script, "perigee.worker", "before_start", describe(&worker, &block),
		on_may_serve, &worker);
	buffer_free(&block);
	(void)uv_run(&worker.loop, UV_RUN_DEFAULT);
	UNREACHABLE("the heartbeat keeps the loop alive until lifeline_leave()");
}
