/*
 * The Lua state of one process, and the calls into it.
 *
 * Owned by the role main that opens it; one loop, one thread. Made in the command and in the
 * zygote; a forked child inherits the zygote's and moves it to its own loop.
 *
 * Lua code runs in coroutines, so what is called here may yield: a call is started, the loop runs,
 * and `done` tells the end.
 */
#ifndef PERIGEE_SCRIPT_SCRIPT_H
#define PERIGEE_SCRIPT_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/slice.h"
#include "http/server.h"

struct script;

/*
 * The end of a call. `ok`: `text` is the string the function returned ("" for nil). Not ok: `text`
 * is the error for a person: the message with file:line on the first line, the traceback after it.
 */
typedef void script_done(void *context, bool ok, struct slice text);

/*
 * Opens a Lua state with the standard libraries, luv on `loop`, cjson, and Perigee's modules:
 * embedded ones, or those in the directory PERIGEE_LUA_PATH names. Returns 0, or -1 with *error.
 */
int script_open(struct script **ret_script, uv_loop_t *loop, struct error *error);

/* Closes the state: finalizers run. The loop must have been drained of its handles. */
void script_close(struct script *script);

/* In a forked child, before anything else: puts luv on the child's new loop. */
void script_set_loop(struct script *script, uv_loop_t *loop);

/*
 * Starts `require(module)[function](argument)` in a coroutine. `done` is called once, from here if
 * the function does not yield, else from the loop.
 */
void script_start(struct script *script, const char *module, const char *function,
	struct slice argument, script_done *done, void *context);

/*
 * As script_start, and runs the loop until the end. `deadline` (clock_now's time, 0 for none) ends
 * the waiting of a function that yielded, not one that computes. Returns 0 with the result in
 * *text, or -1 with the error in it; the old content is replaced.
 */
int script_run(struct script *script, const char *module, const char *function,
	struct slice argument, uint64_t deadline, struct buffer *text);

/*
 * Whether the loop holds nothing that Lua opened, as it must before a fork. Returns 0, or -1 with
 * *error naming each handle left and the file:line that made it.
 */
int script_check_loop(struct script *script, struct error *error);

/*
 * How a process publishes for app:publish. Returns HTTP_OK, HTTP_BAD_TEXT or HTTP_TOO_LONG; called
 * out of Lua, so it must not enter it.
 */
typedef int script_publish_function(
	void *context, struct slice topic, int kind, struct slice message);

/* Sets that; without it app:publish says that it is too early. */
void script_set_publish(struct script *script, script_publish_function *publish, void *context);

/* Shared objects that somebody in this process waits for may have changed: they are tried again. */
void script_shared_changed(struct script *script);

/* How a process asks its manager. Returns 0 when the request is on its way, else -1; called out of
 * Lua, so it must not enter it. */
typedef int script_request_function(void *context, int32_t id, struct slice block);

/* Sets that; without it app.m and app.manager say that it is too early. */
void script_set_request(struct script *script, script_request_function *request, void *context);

/* The manager's answer to request `id`, a record block. May be called while Lua runs. */
void script_answer(struct script *script, int32_t id, struct slice block);

/* Where in the app's code the handler of request `serial` waits: "app.lua:10"; "" when that cannot
 * be told. `text` gets at most `size` bytes, the NUL included. */
void script_where(struct script *script, uint64_t serial, char *text, size_t size);

/* The handler's side of a request; a worker's struct http_handler calls these. */
void script_http_request(struct script *script, struct http_request *request);
void script_http_cancel(struct script *script, struct http_request *request, enum http_cancel why);
void script_http_websocket(struct script *script, struct http_request *request);
void script_http_body(struct script *script, struct http_request *request);
void script_http_writable(struct script *script, struct http_request *request);

/*
 * Runs the command line: `perigee.cli`.main(arguments). Returns the exit status, or -1 when the
 * command is to become the manager: *settings is then the record block to hand it.
 */
int script_command(struct script *script, int argc, char **argv, struct buffer *settings);

#endif
