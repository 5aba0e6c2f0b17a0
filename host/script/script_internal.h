/*
 * What the files of this room share: the struct, and the rules for entering Lua.
 *
 * Every entry from C into Lua is protected (lua_pcall, lua_cpcall or lua_resume), and lies between
 * script_enter and script_leave. While Lua runs, perhaps in compiled code that called us through
 * the FFI, it must not be entered again: LuaJIT does not allow it. What happens meanwhile is kept
 * as a script_event and handed over by script_leave.
 */
#ifndef PERIGEE_SCRIPT_INTERNAL_H
#define PERIGEE_SCRIPT_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "base/list.h"
#include "script/allocator.h"
#include "script/script.h"

/* Lua finds these functions in the program by name. */
#pragma GCC visibility push(default)
#include "script/script_abi.h"
#pragma GCC visibility pop

enum script_event_kind {
	SCRIPT_EVENT_REQUEST = 1,
	SCRIPT_EVENT_BODY,
	SCRIPT_EVENT_CANCEL,
	SCRIPT_EVENT_WRITABLE,
	SCRIPT_EVENT_WEBSOCKET,
	SCRIPT_EVENT_ANSWER
};

struct script_event {
	enum script_event_kind kind;
	struct http_request *request; /* looked at only while `serial` is still its serial */
	uint64_t serial;
	enum http_cancel why;
	struct buffer text; /* an answer, freed once it is delivered */
};

/* The functions that perigee.entry.open returned, as registry references. */
enum script_function {
	SCRIPT_START,     /* (module, name, argument, finish): runs a function in a coroutine */
	SCRIPT_SERVE,     /* (slot): body of a request coroutine */
	SCRIPT_FAILED,    /* (slot, error): a request coroutine died of an error */
	SCRIPT_BODY,      /* (serial): what was asked for of the body is there */
	SCRIPT_CANCEL,    /* (serial, why): the request is over */
	SCRIPT_WRITABLE,  /* (serial): its client takes bytes again */
	SCRIPT_WEBSOCKET, /* (serial): a message, or it is not open any more */
	SCRIPT_ANSWER,    /* (id, block): what the manager says to a request */
	SCRIPT_TICK,      /* (): the timer ran out */
	SCRIPT_READY,     /* (): resumes what was woken */
	SCRIPT_WHERE,     /* (serial): where the handler of a request waits */
	SCRIPT_CHANGED,   /* (): shared objects that are waited for may have changed */
	SCRIPT_LEAKS,     /* (): names the open handles, or nil */
	SCRIPT_TRACE,     /* (error): message handler */
	SCRIPT_FUNCTIONS
};

#define SCRIPT_NO_SLOT UINT32_MAX

struct script_thread {
	lua_State *lua;     /* NULL: the slot is free */
	int reference;      /* what keeps the coroutine from being collected */
	uint32_t next_free; /* slot, while this one is free */
};

enum script_timer { SCRIPT_TIMER_NONE = 0, SCRIPT_TIMER_OPEN, SCRIPT_TIMER_CLOSING };

struct script {
	struct script_state state;  /* first, so that the FFI's pointer is ours too */
	lua_State *lua;             /* main state */
	struct allocator allocator; /* its memory */
	uv_loop_t *loop;
	uv_timer_t timer; /* the scheduler's one timer; on `loop` */
	enum script_timer timer_state;
	unsigned depth;                  /* entries into Lua that have not returned; 0 or 1 */
	uint64_t entries;                /* how many there ever were; another thread reads it */
	bool leaving;                    /* a script_leave is handing things over */
	int functions[SCRIPT_FUNCTIONS]; /* registry references */
	struct script_thread *threads;   /* coroutines for requests, by slot number */
	uint32_t thread_count;           /* entries of `threads` and of state.idle */
	uint32_t thread_capacity;
	uint32_t free_slot;               /* first free entry of `threads`, or SCRIPT_NO_SLOT */
	script_publish_function *publish; /* NULL in processes that cannot */
	void *publish_context;
	script_request_function *request; /* NULL in processes without a manager */
	void *request_context;
	struct list calls;           /* script_call, oldest first */
	struct script_event *events; /* what came while Lua was running, in order */
	size_t event_count;
	size_t event_capacity;
};

void script_enter(struct script *script);

/* Ends an entry: hands over the events, resumes woken coroutines, and tells the ends of calls. */
void script_leave(struct script *script);

/* Keeps an event for script_leave. Without memory for it the process cannot keep its promises
 * to the clients and ends. */
void script_event_add(struct script *script, struct script_event event);

/* Calls functions[function] with the `arguments` on top of the stack, which are removed; a result
 * is left when `results` is 1. Between enter and leave. Returns 0, or -1 after logging the error.
 */
int script_call(struct script *script, enum script_function function, int arguments, int results);

/* Delivers one event to Lua. Only with depth 0. */
void script_http_event(struct script *script, const struct script_event *event);

/* Delivers an answer of the manager's to Lua, and frees it. Only with depth 0. */
void script_answer_event(struct script *script, struct script_event *event);

/* lua_CFunction release(slot): a request coroutine is about to end for good. */
int script_thread_release(lua_State *lua);

/* lua_CFunction: the module perigee.json_send, see json_send.c. */
int script_json_send_open(lua_State *lua);

/* Writes "error: " and the text with a newline to stderr at once, for the manager's log. */
void script_log(const char *what, const char *text);

/* Learns where this LuaJIT keeps what script_stack.c needs to know; if it cannot, stacks are told
 * without what compiled code and C functions hide. */
void script_stack_learn(struct script *script);

/* What the build generates from lua/perigee and the ABI headers. */
struct embedded_module {
	const char *name; /* "perigee.app" */
	const char *path; /* "perigee/app.lua", relative to lua/; also the chunk's name */
	const unsigned char *code;
	size_t size;
};

extern const struct embedded_module embedded_modules[];
extern const size_t embedded_module_count;
extern const char embedded_abi[]; /* the ABI headers, without their directives */

/* script.c, for script_open.c: makes `script` the one of this state. May longjmp. */
void script_bind(lua_State *lua, struct script *script);

/* The same: luv's way of calling back, luv_CFpcall. */
int script_callback(lua_State *lua, int arguments, int results, int flags);

#endif
