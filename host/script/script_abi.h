/*
 * What the Lua half and script.c share through LuaJIT's FFI: one struct at one address for the
 * life of the process, and the scheduler's clock.
 *
 * This file is included by the C that implements it and fed to ffi.cdef as it is, so it holds
 * plain declarations only: no directive but this guard and the includes, which the build strips.
 */
#ifndef PERIGEE_SCRIPT_ABI_H
#define PERIGEE_SCRIPT_ABI_H

#include <stddef.h>
#include <stdint.h>

struct http_request;

struct script_state {
	struct http_request *current; /* the request a coroutine is being resumed for */
	uint32_t *idle;               /* numbers of the coroutines that wait for a request */
	uint32_t idle_count;          /* used entries of idle; there is room for every coroutine */
	uint32_t idle_limit; /* above it a coroutine that is done ends instead of waiting */
	uint32_t ready;      /* not 0: coroutines are to be resumed once Lua has returned */
	uint64_t serving;    /* serial of the request whose code runs, 0 for none */
};

/* Has the scheduler's tick called in `delay` milliseconds; a negative one means never. Replaces
 * what was set before. */
void script_timer_set(struct script_state *state, double delay);

enum { SCRIPT_NOT_HERE = -100 }; /* this process cannot do that */

/* Sends a message to all that have subscribed to a topic, in every worker; `kind` is enum
 * http_websocket_kind. Returns HTTP_OK, HTTP_BAD_TEXT, HTTP_TOO_LONG or SCRIPT_NOT_HERE. */
int script_publish(struct script_state *state, const char *topic, size_t topic_size, int kind,
	const char *message, size_t message_size);

/*
 * The header fields of a request as the text of a JSON object: names in lower case, each once, with
 * its values joined as req.headers does. *text is good until the next call. Returns HTTP_OK,
 * HTTP_OVER, HTTP_BAD_TEXT when a value is no UTF-8, or HTTP_NO_MEMORY.
 */
int script_headers_json(
	const struct http_request *request, uint64_t serial, const char **text, size_t *size);

/* A trace was compiled whose code begins at `place`, "app.lua:10"; copied. See perigee.traces. */
void script_trace_note(uint32_t number, const char *place);

/* Sends a request to the manager: a record block (wire/record.h) with `op` and what that needs. Its
 * answer comes to perigee.control with the same `id`. Returns 0, SCRIPT_NOT_HERE, or -1 when it
 * cannot be sent. */
int script_request(struct script_state *state, int32_t id, const char *block, size_t size);

/* Monotonic time in milliseconds, with a fraction. */
double script_now(void);

#endif
