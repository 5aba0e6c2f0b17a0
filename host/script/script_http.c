/*
 * Requests into Lua: one pooled coroutine each.
 *
 * A coroutine that waits for a request has put its number into state.idle and yielded; it is
 * resumed with state.current set, answers through the FFI, puts its number back and yields. One
 * that parks in the middle (a sleep) just yields, and the scheduler in Lua resumes it later. So
 * the hot path is one lua_resume and no allocation.
 *
 * Runs in workers.
 */
#include "script/script_internal.h"

#include <stdlib.h>

#include "base/check.h"
#include "http/file_abi.h"
#include "http/websocket_abi.h"
#include "shm/activity_abi.h"
#include "shm/shm_abi.h"
#include "shm/state_abi.h"

/*
 * Functions that only Lua calls, by name, through the FFI: naming them here has the linker keep
 * them.
 */
extern const void *const script_ffi_functions[];
const void *const script_ffi_functions[] = {
	(const void *)http_request_header,
	(const void *)http_request_header_at,
	(const void *)http_request_ip,
	(const void *)http_request_id_prefix,
	(const void *)http_request_body_wait,
	(const void *)http_request_body_take,
	(const void *)http_request_trailer_at,
	(const void *)http_response_send,
	(const void *)http_response_begin,
	(const void *)http_response_write,
	(const void *)http_response_end,
	(const void *)http_response_abort,
	(const void *)http_file_root_open,
	(const void *)http_file_find,
	(const void *)http_response_file,
	(const void *)http_file_list,
	(const void *)http_file_list_free,
	(const void *)http_websocket_check,
	(const void *)http_websocket_accept,
	(const void *)http_websocket_receive,
	(const void *)http_websocket_send,
	(const void *)http_websocket_ping,
	(const void *)http_websocket_close,
	(const void *)http_websocket_closing,
	(const void *)http_websocket_code_valid,
	(const void *)http_websocket_finish,
	(const void *)http_websocket_subscribe,
	(const void *)http_websocket_unsubscribe,
	(const void *)shm_value_open,
	(const void *)shm_value_get_int64,
	(const void *)shm_value_set_int64,
	(const void *)shm_value_add_int64,
	(const void *)shm_value_get_double,
	(const void *)shm_value_set_double,
	(const void *)shm_value_add_double,
	(const void *)shm_lease_take,
	(const void *)shm_lease_release,
	(const void *)shm_region_reserve,
	(const void *)shm_last_error,
	(const void *)shm_activity_requests,
	(const void *)shm_activity_stall,
	(const void *)shm_state_seats,
	(const void *)shm_state_read,
	(const void *)shm_state_totals,
	(const void *)shm_state_own,
	(const void *)shm_state_set_keys,
	(const void *)script_timer_set,
	(const void *)script_now,
	(const void *)script_trace_note,
	(const void *)script_publish,
	(const void *)script_headers_json,
	(const void *)script_request,
};

static const char unavailable[] = "503 Service Unavailable\n";
static const char internal[] = "500 Internal Server Error\n";

/* ── Coroutines ──────────────────────────────────────────────────────────────────────────── */

/* Makes room for twice as many coroutines. Returns 0, or -1 when memory is out. */
static int threads_grow(struct script *script)
{
	uint32_t capacity = script->thread_capacity == 0 ? 64 : script->thread_capacity * 2;
	struct script_thread *threads;
	uint32_t *idle;

	idle = realloc(script->state.idle, capacity * sizeof *idle);
	if (idle == NULL)
		return -1;
	script->state.idle = idle;
	threads = realloc(script->threads, capacity * sizeof *threads);
	if (threads == NULL)
		return -1;
	script->threads = threads;
	script->thread_capacity = capacity;
	return 0;
}

/* Takes a free slot. Returns 0, or -1 when memory is out. */
static int slot_take(struct script *script, uint32_t *ret_slot)
{
	if (script->free_slot != SCRIPT_NO_SLOT) {
		*ret_slot = script->free_slot;
		script->free_slot = script->threads[*ret_slot].next_free;
		return 0;
	}
	if (script->thread_count == script->thread_capacity && threads_grow(script) != 0)
		return -1;
	*ret_slot = script->thread_count++;
	return 0;
}

static void slot_give(struct script *script, uint32_t slot)
{
	script->threads[slot].lua = NULL;
	script->threads[slot].next_free = script->free_slot;
	script->free_slot = slot;
}

/* Makes a coroutine that waits: its body and slot number are on its stack. May longjmp. */
static int thread_new_protected(lua_State *lua)
{
	struct script *script = lua_touserdata(lua, 1);
	lua_State *coroutine = lua_newthread(lua);
	int reference = luaL_ref(lua, LUA_REGISTRYINDEX);
	uint32_t slot;

	if (slot_take(script, &slot) != 0) {
		luaL_unref(lua, LUA_REGISTRYINDEX, reference);
		return luaL_error(lua, "out of memory for a coroutine");
	}
	lua_rawgeti(coroutine, LUA_REGISTRYINDEX, script->functions[SCRIPT_SERVE]);
	lua_pushinteger(coroutine, (lua_Integer)slot);
	script->threads[slot].reference = reference;
	script->threads[slot].lua = coroutine;
	script->state.idle[script->state.idle_count++] = slot;
	return 0;
}

int script_thread_release(lua_State *lua)
{
	struct script *script = lua_touserdata(lua, lua_upvalueindex(1));
	uint32_t slot = (uint32_t)luaL_checkinteger(lua, 1);

	CHECK(slot < script->thread_count && script->threads[slot].lua != NULL);
	luaL_unref(lua, LUA_REGISTRYINDEX, script->threads[slot].reference);
	slot_give(script, slot);
	return 0;
}

/* A handler raised: Lua logs it and answers. When that fails too, it is a bug of ours. */
static void thread_died(
	struct script *script, uint32_t slot, struct http_request *request, uint64_t serial)
{
	lua_pushinteger(script->lua, (lua_Integer)slot);
	lua_xmove(script->threads[slot].lua, script->lua, 1);
	if (script_call(script, SCRIPT_FAILED, 2, 0) != 0) {
		(void)http_response_send(request, serial, 500, HTTP_TYPE_TEXT, NULL, 0, internal,
			sizeof internal - 1);
	}
}

/* ── Events ──────────────────────────────────────────────────────────────────────────────── */

static void request_serve(struct script *script, struct http_request *request)
{
	uint64_t serial = request->serial;
	lua_State *thread;
	uint32_t slot;
	int status;

	script_enter(script);
	if (script->state.idle_count == 0 &&
		lua_cpcall(script->lua, thread_new_protected, script) != 0) {
		lua_pop(script->lua, 1);
		script_log("error: ", "no memory for another request");
		(void)http_response_send(request, serial, 503, HTTP_TYPE_TEXT, NULL, 0, unavailable,
			sizeof unavailable - 1);
		script_leave(script);
		return;
	}
	slot = script->state.idle[--script->state.idle_count];
	thread = script->threads[slot].lua;
	script->state.current = request;
	script->state.serving = serial;
	/* A new coroutine has its body and the slot number on its stack, another has nothing. */
	status = lua_resume(thread, lua_gettop(thread) == 0 ? 0 : 1);
	if (status == 0 || status == LUA_YIELD)
		lua_settop(thread, 0);
	else
		thread_died(script, slot, request, serial);
	script_leave(script);
}

void script_http_event(struct script *script, const struct script_event *event)
{
	if (event->kind == SCRIPT_EVENT_REQUEST) {
		if (event->request->serial == event->serial)
			request_serve(script, event->request);
		return;
	}
	script_enter(script);
	lua_pushnumber(script->lua, (lua_Number)event->serial);
	if (event->kind == SCRIPT_EVENT_CANCEL) {
		lua_pushinteger(script->lua, event->why);
		(void)script_call(script, SCRIPT_CANCEL, 2, 0);
	} else if (event->kind == SCRIPT_EVENT_WEBSOCKET) {
		(void)script_call(script, SCRIPT_WEBSOCKET, 1, 0);
	} else {
		(void)script_call(script,
			event->kind == SCRIPT_EVENT_BODY ? SCRIPT_BODY : SCRIPT_WRITABLE, 1, 0);
	}
	script_leave(script);
}

static void event_take(struct script *script, struct script_event event)
{
	if (script->depth == 0)
		script_http_event(script, &event);
	else
		script_event_add(script, event);
}

void script_http_request(struct script *script, struct http_request *request)
{
	if (script->depth == 0) {
		request_serve(script, request);
		return;
	}
	script_event_add(script, (struct script_event){.kind = SCRIPT_EVENT_REQUEST,
					 .request = request,
					 .serial = request->serial});
}

void script_http_body(struct script *script, struct http_request *request)
{
	event_take(script,
		(struct script_event){
			.kind = SCRIPT_EVENT_BODY, .request = request, .serial = request->serial});
}

void script_http_cancel(struct script *script, struct http_request *request, enum http_cancel why)
{
	event_take(script, (struct script_event){.kind = SCRIPT_EVENT_CANCEL,
				   .request = request,
				   .serial = request->serial,
				   .why = why});
}

void script_set_publish(struct script *script, script_publish_function *publish, void *context)
{
	script->publish = publish;
	script->publish_context = context;
}

int script_publish(struct script_state *state, const char *topic, size_t topic_size, int kind,
	const char *message, size_t message_size)
{
	const struct script *script = (const struct script *)(const void *)state;

	if (script->publish == NULL)
		return SCRIPT_NOT_HERE;
	return script->publish(script->publish_context,
		(struct slice){.data = topic, .size = topic_size}, kind,
		(struct slice){.data = message, .size = message_size});
}

void script_http_websocket(struct script *script, struct http_request *request)
{
	event_take(script, (struct script_event){.kind = SCRIPT_EVENT_WEBSOCKET,
				   .request = request,
				   .serial = request->serial});
}

void script_http_writable(struct script *script, struct http_request *request)
{
	event_take(script, (struct script_event){.kind = SCRIPT_EVENT_WRITABLE,
				   .request = request,
				   .serial = request->serial});
}
