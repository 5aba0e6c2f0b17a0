/*
 * A bell heard by a loop: an eventfd that many processes ring and nobody reads, so that it is
 * readable for ever, watched for its edges. Runs in processes forked from a zygote.
 */
#ifndef PERIGEE_WORKER_BELL_H
#define PERIGEE_WORKER_BELL_H

#include <uv.h>

#include "base/error.h"
#include "script/script.h"

typedef void bell_heard(void *context);

struct bell {
	uv_poll_t poll;
	bell_heard *heard;
	void *context;
};

/* Calls `heard` after each ring of `fd`, several rings at once as one. It lasts as long as the
 * process. Returns 0, or -1 with *error. */
int bell_watch(struct bell *bell, uv_loop_t *loop, int fd, bell_heard *heard, void *context,
	struct error *error);

/* The same for this process's bell of shared objects: what waits in Lua is tried again. */
int bell_watch_shared(
	struct bell *bell, uv_loop_t *loop, struct script *script, struct error *error);

#endif
