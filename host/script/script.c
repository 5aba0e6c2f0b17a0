/*
 * The Lua state of one process: the way in and out of Lua, the scheduler's timer, and starting Lua
 * functions in coroutines. script_open.c opens it.
 *
 * Runs in the command, the zygote, and every process forked from a zygote. Functions marked
 * "may longjmp" run under a protected call and own nothing that only they would free.
 */
#include "script/script_internal.h"

#include <errno.h>
#include <luajit.h>
#include <luv/luv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "script/json_codec.h"
#include "script/urlencoded.h"
#include "wire/role.h"

/* A function started by script_start, until its end has been told. */
struct script_call {
	struct list node; /* in script->calls */
	struct script *script;
	script_done *done; /* NULL when nobody waits any more */
	void *context;
	bool finished;
	bool ok;
	struct buffer text; /* result or error */
};

static const char registry_key; /* its address is the registry's key for the struct script */

void script_log(const char *what, const char *text)
{
	size_t size = strlen(text);

	fprintf(stderr, "%s%s%s", what, text, size > 0 && text[size - 1] == '\n' ? "" : "\n");
	(void)fflush(stderr);
}

/* May longjmp. */
void script_bind(lua_State *lua, struct script *script)
{
	lua_pushlightuserdata(lua, (void *)(size_t)&registry_key);
	lua_pushlightuserdata(lua, script);
	lua_rawset(lua, LUA_REGISTRYINDEX);
}

static struct script *script_of(lua_State *lua)
{
	struct script *script;

	lua_pushlightuserdata(lua, (void *)(size_t)&registry_key);
	lua_rawget(lua, LUA_REGISTRYINDEX);
	script = lua_touserdata(lua, -1);
	lua_pop(lua, 1);
	return script;
}

/* ── In and out of Lua ───────────────────────────────────────────────────────────────────── */

void script_enter(struct script *script)
{
	CHECK(script->depth == 0);
	script->depth = 1;
	script->entries++;
	script->state.serving = 0;
}

void script_event_add(struct script *script, struct script_event event)
{
	if (script->event_count == script->event_capacity) {
		size_t capacity = script->event_capacity == 0 ? 16 : script->event_capacity * 2;
		struct script_event *events =
			realloc(script->events, capacity * sizeof *script->events);

		CHECK(events != NULL);
		script->events = events;
		script->event_capacity = capacity;
	}
	script->events[script->event_count++] = event;
}

/* Hands over what came while Lua was running; what comes meanwhile is appended and seen too. */
static void events_deliver(struct script *script)
{
	for (size_t i = 0; i < script->event_count; i++) {
		struct script_event event = script->events[i];

		if (event.kind == SCRIPT_EVENT_ANSWER)
			script_answer_event(script, &event);
		else
			script_http_event(script, &event);
	}
	script->event_count = 0;
}

/* The oldest call whose function has ended, or NULL. */
static struct script_call *call_finished(struct script *script)
{
	/* What calls_tell frees is out of the list, which the analyzer cannot follow. */
	LIST_EACH(node, &script->calls) /* NOLINT(clang-analyzer-unix.Malloc) */
	{
		struct script_call *call = LIST_ENTRY(node, struct script_call, node);

		if (call->finished)
			return call;
	}
	return NULL;
}

/* Tells the ends of calls. `done` may start others, which are told in their turn. */
static void calls_tell(struct script *script)
{
	struct script_call *call;

	while ((call = call_finished(script)) != NULL) {
		list_remove(&call->node);
		if (call->done != NULL) {
			call->done(call->context, call->ok,
				(struct slice){.data = call->text.data, .size = call->text.size});
		}
		buffer_free(&call->text);
		free(call);
	}
}

void script_leave(struct script *script)
{
	CHECK(script->depth == 1);
	while (script->state.ready != 0) {
		script->state.ready = 0;
		(void)script_call(script, SCRIPT_READY, 0, 0);
	}
	script->depth = 0;
	if (script->leaving)
		return; /* an outer script_leave is at it */
	script->leaving = true;
	while (script->event_count != 0 || call_finished(script) != NULL) {
		events_deliver(script);
		calls_tell(script);
	}
	script->leaving = false;
}

int script_call(struct script *script, enum script_function function, int arguments, int results)
{
	lua_State *lua = script->lua;
	int handler = lua_gettop(lua) - arguments + 1;

	lua_rawgeti(lua, LUA_REGISTRYINDEX, script->functions[SCRIPT_TRACE]);
	lua_insert(lua, handler);
	lua_rawgeti(lua, LUA_REGISTRYINDEX, script->functions[function]);
	lua_insert(lua, handler + 1);
	if (lua_pcall(lua, arguments, results, handler) != 0) {
		const char *text = lua_tostring(lua, -1);

		script_log("error: in Perigee itself: ", text != NULL ? text : "(no message)");
		lua_settop(lua, handler - 1);
		return -1;
	}
	lua_remove(lua, handler);
	return 0;
}

/*
 * luv's way of calling back: as luv_cfpcall in its contract, but an error is logged with its
 * traceback and the process lives on.
 */
int script_callback(lua_State *lua, int arguments, int results, int flags)
{
	struct script *script = script_of(lua);
	int handler = lua_gettop(lua) - arguments;
	bool outermost = script->depth == 0;
	int count;

	(void)flags;
	if (outermost)
		script_enter(script);
	lua_rawgeti(lua, LUA_REGISTRYINDEX, script->functions[SCRIPT_TRACE]);
	lua_insert(lua, handler);
	if (lua_pcall(lua, arguments, results, handler) == 0) {
		lua_remove(lua, handler);
		count = lua_gettop(lua) - handler + 1;
	} else {
		const char *text = lua_tostring(lua, -1);

		script_log("error: in a libuv callback: ", text != NULL ? text : "(no message)");
		lua_settop(lua, handler - 1);
		count = -LUA_ERRRUN;
	}
	if (outermost)
		script_leave(script);
	return count;
}

/* ── The scheduler's timer ───────────────────────────────────────────────────────────────── */

static void timer_on(uv_timer_t *timer)
{
	struct script *script = timer->data;

	script_enter(script);
	(void)script_call(script, SCRIPT_TICK, 0, 0);
	script_leave(script);
}

void script_where(struct script *script, uint64_t serial, char *text, size_t size)
{
	text[0] = '\0';
	script_enter(script);
	lua_pushnumber(script->lua, (lua_Number)serial);
	if (script_call(script, SCRIPT_WHERE, 1, 1) == 0) {
		const char *where = lua_tostring(script->lua, -1);

		(void)snprintf(text, size, "%s", where != NULL ? where : "");
		lua_pop(script->lua, 1);
	}
	script_leave(script);
}

void script_shared_changed(struct script *script)
{
	script_enter(script);
	(void)script_call(script, SCRIPT_CHANGED, 0, 0);
	script_leave(script);
}

double script_now(void)
{
	return (double)uv_hrtime() / 1e6;
}

/* The handle is made when it is first needed, so that a loop nobody sleeps on stays empty. */
static void timer_open(struct script *script)
{
	CHECK(uv_timer_init(script->loop, &script->timer) == 0);
	script->timer.data = script;
	script->timer_state = SCRIPT_TIMER_OPEN;
}

static void timer_on_close(uv_handle_t *handle)
{
	struct script *script = handle->data;

	script->timer_state = SCRIPT_TIMER_NONE;
}

/* Waits for the handle to be gone from the loop. */
static void timer_close(struct script *script)
{
	if (script->timer_state == SCRIPT_TIMER_OPEN) {
		script->timer_state = SCRIPT_TIMER_CLOSING;
		uv_close((uv_handle_t *)&script->timer, timer_on_close);
	}
	while (script->timer_state == SCRIPT_TIMER_CLOSING)
		(void)uv_run(script->loop, UV_RUN_NOWAIT);
}

void script_timer_set(struct script_state *state, double delay)
{
	struct script *script = (struct script *)(void *)state;

	if (script->timer_state == SCRIPT_TIMER_NONE)
		timer_open(script);
	if (delay < 0) {
		(void)uv_timer_stop(&script->timer);
		return;
	}
	if (delay > 1e15)
		delay = 1e15;
	/* The loop's clock has whole milliseconds, cut off: one more, or it would fire early. */
	uv_update_time(script->loop);
	(void)uv_timer_start(&script->timer, timer_on, delay == 0 ? 0 : (uint64_t)delay + 1, 0);
}

/* ── The end ──────────────────────────────────────────────────────────────────────────────── */

void script_close(struct script *script)
{
	allocator_close(&script->allocator, script->lua);
	lua_close(script->lua);
	timer_close(script);
	LIST_EACH(node, &script->calls)
	{
		struct script_call *call = LIST_ENTRY(node, struct script_call, node);

		buffer_free(&call->text);
		free(call);
	}
	free(script->threads);
	free(script->state.idle);
	free(script->events);
	free(script);
}

void script_set_loop(struct script *script, uv_loop_t *loop)
{
	script->loop = loop;
	luv_set_loop(script->lua, loop);
	script->timer_state = SCRIPT_TIMER_NONE;
}

/* ── Calls that may yield ────────────────────────────────────────────────────────────────── */

struct start_arguments {
	struct script *script;
	struct script_call *call;
	const char *module;
	const char *function;
	struct slice argument;
};

/* lua_CFunction finish(ok, text): the end of a started function. May longjmp before it has
 * changed anything. */
static int call_finish(lua_State *lua)
{
	struct script_call *call = lua_touserdata(lua, lua_upvalueindex(1));
	size_t size;
	const char *text = luaL_checklstring(lua, 2, &size);

	call->ok = lua_toboolean(lua, 1);
	if (buffer_add(&call->text, text, size) != 0)
		call->ok = false;
	call->finished = true;
	return 0;
}

/* May longjmp. */
static int start_protected(lua_State *lua)
{
	const struct start_arguments *arguments = lua_touserdata(lua, 1);

	lua_rawgeti(lua, LUA_REGISTRYINDEX, arguments->script->functions[SCRIPT_START]);
	lua_pushstring(lua, arguments->module);
	lua_pushstring(lua, arguments->function);
	lua_pushlstring(lua, arguments->argument.size == 0 ? "" : arguments->argument.data,
		arguments->argument.size);
	lua_pushlightuserdata(lua, arguments->call);
	lua_pushcclosure(lua, call_finish, 1);
	lua_call(lua, 4, 0);
	return 0;
}

static struct script_call *call_start(struct script *script, const char *module,
	const char *function, struct slice argument, script_done *done, void *context)
{
	struct script_call *call = calloc(1, sizeof *call);
	struct start_arguments arguments = {
		.script = script,
		.call = call,
		.module = module,
		.function = function,
		.argument = argument,
	};

	CHECK(call != NULL);
	call->script = script;
	call->done = done;
	call->context = context;
	list_append(&script->calls, &call->node);
	script_enter(script);
	if (lua_cpcall(script->lua, start_protected, &arguments) != 0) {
		const char *text = lua_tostring(script->lua, -1);

		if (text != NULL)
			(void)buffer_add(&call->text, text, strlen(text));
		call->ok = false;
		call->finished = true;
		lua_pop(script->lua, 1);
	}
	return call;
}

void script_start(struct script *script, const char *module, const char *function,
	struct slice argument, script_done *done, void *context)
{
	(void)call_start(script, module, function, argument, done, context);
	script_leave(script);
}

struct run {
	bool done;
	bool ok;
	bool late;
	struct buffer *text;
};

static void run_done(void *context, bool ok, struct slice text)
{
	struct run *run = context;

	run->done = true;
	run->ok = ok;
	if (buffer_add(run->text, text.data, text.size) != 0)
		run->ok = false;
}

static void run_late(uv_timer_t *timer)
{
	struct run *run = timer->data;

	run->late = true;
}

static void run_timer_closed(uv_handle_t *handle)
{
	bool *closed = handle->data;

	*closed = true;
}

/* Replaces the text by an error of ours. */
static int run_failed(struct run *run, const char *module, const char *function, const char *why)
{
	char text[256];
	int size = snprintf(text, sizeof text, "%s.%s %s", module, function, why);

	run->text->size = 0;
	(void)buffer_add(
		run->text, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
	return -1;
}

int script_run(struct script *script, const char *module, const char *function,
	struct slice argument, uint64_t deadline, struct buffer *text)
{
	struct run run = {.text = text};
	struct script_call *call;
	uv_timer_t timer;
	bool closed = false;
	bool alive = true;

	text->size = 0;
	CHECK(uv_timer_init(script->loop, &timer) == 0);
	timer.data = &run;
	uv_unref((uv_handle_t *)&timer);
	call = call_start(script, module, function, argument, run_done, &run);
	script_leave(script);
	if (!run.done && deadline != 0) {
		uint64_t now = clock_now();

		uv_update_time(script->loop);
		(void)uv_timer_start(&timer, run_late, deadline > now ? deadline - now : 0, 0);
	}
	while (!run.done && !run.late && alive)
		alive = uv_run(script->loop, UV_RUN_ONCE) != 0;
	if (!run.done)
		call->done = NULL;
	timer.data = &closed;
	uv_close((uv_handle_t *)&timer, run_timer_closed);
	while (!closed)
		(void)uv_run(script->loop, UV_RUN_NOWAIT);
	if (!run.done && run.late)
		return run_failed(&run, module, function, "did not end before its deadline");
	if (!run.done)
		return run_failed(&run, module, function, "waits for something that cannot happen");
	return run.ok ? 0 : -1;
}

int script_check_loop(struct script *script, struct error *error)
{
	int result = 0;

	timer_close(script);
	(void)uv_run(script->loop, UV_RUN_NOWAIT); /* what was closed gets its close callback */
	script_enter(script);
	if (script_call(script, SCRIPT_LEAKS, 0, 1) == 0) {
		if (lua_isstring(script->lua, -1))
			result = error_set(error, EBUSY, "%s", lua_tostring(script->lua, -1));
		lua_pop(script->lua, 1);
	}
	script_leave(script);
	if (result == 0 && script->loop->active_reqs.count != 0) {
		result = error_set(error, EBUSY,
			"%u operations (files, names, writes) are still under way in the main "
			"process; "
			"wait for their end in the hook that started them",
			script->loop->active_reqs.count);
	}
	return result;
}
