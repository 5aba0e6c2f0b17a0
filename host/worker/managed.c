/*
 * A managed process's life: be confined, run the function, end. Runs in the process a zygote forked
 * for it. Asked to end, by the manager or by SIGTERM, it tells Lua, which has the function return;
 * how long that may take is the manager's affair.
 */
#include "worker/managed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/confine.h"
#include "base/fd.h"
#include "shm/feed.h"
#include "wire/record.h"
#include "worker/bell.h"
#include "worker/lifeline.h"
#include "worker/worker_feed.h"

struct managed_process {
	struct script *script;
	uv_loop_t loop;
	struct lifeline lifeline;
	struct worker_feed feed;
	struct bell bell; /* of the shared objects that somebody waits for */
	uv_signal_t terminate;
	bool stopping;
};

static void log_text(struct slice text)
{
	(void)fprintf(stderr, "error: %.*s\n", (int)text.size, text.data);
}

_Noreturn static void fail(struct managed_process *process, struct slice why)
{
	lifeline_tell(&process->lifeline, WIRE_START_FAILED, why);
	lifeline_leave(EXIT_FAILURE);
}

/* --- the end ---------------------------------------------------------------------------------- */

/* The function has returned, or raised. */
static void on_done(void *context, bool ok, struct slice text)
{
	if (ok)
		lifeline_leave(EXIT_SUCCESS);
	log_text(text);
	fail(context, text);
}

static void on_told(void *context, bool ok, struct slice text)
{
	(void)context;
	if (!ok)
		log_text(text);
}

static void stop(struct managed_process *process)
{
	if (process->stopping)
		return;
	process->stopping = true;
	script_start(process->script, "perigee.managed", "stop", SLICE(""), on_told, process);
}

static void on_message(void *context, const struct wire_message *message, int fd)
{
	fd_close(&fd);
	if (message->type == WIRE_DRAIN)
		stop(context);
}

static void on_orphaned(void *context)
{
	stop(context);
}

static void on_terminate(uv_signal_t *handle, int number)
{
	(void)number;
	stop(handle->data);
}

static const struct lifeline_owner lifeline_owner = {
	.on_message = on_message,
	.on_orphaned = on_orphaned,
};

/* --- the beginning ---------------------------------------------------------------------------- */

/* As a shepherd does for a command (manager/shepherd.c), in the same order. */
static int confine(struct slice terms, struct error *error)
{
	static const struct {
		const char *key;
		int (*apply)(const char *value, struct error *error);
	} kinds[] = {
		{"limit", confine_limit},
		{"env", confine_variable},
		{"cwd", confine_directory},
		{"user", confine_user},
	};

	for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
		const char *key;
		const char *value;
		size_t offset = 0;

		while (record_next(terms, &offset, &key, &value)) {
			if (strcmp(key, kinds[kind].key) == 0 &&
				kinds[kind].apply(value, error) != 0)
				return -1;
		}
	}
	return 0;
}

/* What it publishes goes to the workers. */
static int open_feed(
	struct managed_process *process, const struct managed_birth *birth, struct error *error)
{
	struct worker_feed_place place = {
		.feed = birth->feed, .bell = birth->bell, .seat = birth->seat};

	if (record_number(birth->plan, "publish_limit", 1, SHM_FEED_MESSAGE_MAX, &place.limit,
		    error) != 0 ||
		worker_feed_open(&process->feed, &process->loop, NULL, NULL, &place, error) != 0)
		return -1;
	script_set_publish(process->script, worker_feed_publish, &process->feed);
	return 0;
}

static struct slice describe(const struct managed_birth *birth, struct buffer *block)
{
	char number[16];

	CHECK(buffer_add(block, birth->terms.data, birth->terms.size) == 0);
	(void)snprintf(number, sizeof number, "%u", birth->generation);
	(void)record_add(block, "generation", number);
	(void)snprintf(number, sizeof number, "%d", (int)getpid());
	(void)record_add(block, "pid", number);
	return (struct slice){block->data, block->size};
}

_Noreturn void managed_main(struct script *script, const struct managed_birth *birth)
{
	static struct managed_process process; /* one per process */
	const char *notify = record_find(birth->terms, "notify");
	struct buffer block = {0};
	struct error error;

	process = (struct managed_process){.script = script};
	CHECK(uv_loop_init(&process.loop) == 0);
	script_set_loop(script, &process.loop);
	lifeline_open(&process.lifeline, &process.loop, script, WIRE_ROLE_MANAGED, birth->control,
		&lifeline_owner, &process);
	CHECK(uv_signal_init(&process.loop, &process.terminate) == 0);
	process.terminate.data = &process;
	(void)uv_signal_start(&process.terminate, on_terminate, SIGTERM);
	if (bell_watch_shared(&process.bell, &process.loop, script, &error) != 0 ||
		open_feed(&process, birth, &error) != 0 || confine(birth->terms, &error) != 0)
		fail(&process, (struct slice){error.text, strlen(error.text)});
	if (notify == NULL || strcmp(notify, "0") == 0)
		lifeline_tell(&process.lifeline, WIRE_READY, SLICE(""));
	script_start(script, "perigee.managed", "run", describe(birth, &block), on_done, &process);
	buffer_free(&block);
	(void)uv_run(&process.loop, UV_RUN_DEFAULT);
	UNREACHABLE("the lifeline keeps the loop alive until lifeline_leave()");
}
