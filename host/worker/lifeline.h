/*
 * The lifeline: what ties a process forked from a zygote to the manager.
 *
 * Its channel, in both directions; the requests that Lua makes of the manager and their answers;
 * and what to do when the manager is dead. Owned by the role main of the process, on its loop.
 */
#ifndef PERIGEE_WORKER_LIFELINE_H
#define PERIGEE_WORKER_LIFELINE_H

#include <uv.h>

#include "base/buffer.h"
#include "base/slice.h"
#include "script/script.h"
#include "wire/message.h"
#include "wire/role.h"

/* What the owner of one does with it; `context` is the owner. */
struct lifeline_owner {
	/* A message that is for the role; `fd` came with it, the owner's from now on, or is -1. */
	void (*on_message)(void *context, const struct wire_message *message, int fd);
	/* The manager is dead: the process ends soon, whatever is done here. */
	void (*on_orphaned)(void *context);
};

struct lifeline {
	const struct lifeline_owner *owner;
	void *context;
	struct script *script;
	enum wire_role role;
	uv_poll_t poll;
	uv_timer_t orphaned; /* running once the manager is gone */
	int control;         /* -1 once the manager is gone */
	struct buffer body;  /* of the message being read */
};

/* Takes up `control`. From now on Lua's requests have a way to the manager. */
void lifeline_open(struct lifeline *lifeline, uv_loop_t *loop, struct script *script,
	enum wire_role role, int control, const struct lifeline_owner *owner, void *context);

/* Tells the manager something; a text that is too long is cut. Nothing happens once it is dead. */
void lifeline_tell(struct lifeline *lifeline, enum wire_type type, struct slice text);

/* Ends the process at once. Lua's finalizers do not run. */
_Noreturn void lifeline_leave(int status);

#endif
