/* The lifeline. Runs in every process forked from a zygote. */
#include "worker/lifeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"

#define ORPHAN_FINISH 700 /* ms to finish what is in flight once the manager is dead */

/* What must be undone belongs into the last hook of the role. */
_Noreturn void lifeline_leave(int status)
{
	(void)fflush(NULL);
	_exit(status);
}

static int send_message(
	struct lifeline *lifeline, enum wire_type type, int32_t number, struct slice body)
{
	struct wire_message message = {
		.type = (uint16_t)type, .role = (uint16_t)lifeline->role, .number = number};

	if (lifeline->control < 0) {
		errno = EPIPE;
		return -1;
	}
	return wire_send(lifeline->control, &message, body.data, body.size, NULL, 0, 0);
}

void lifeline_tell(struct lifeline *lifeline, enum wire_type type, struct slice text)
{
	if (text.size > WIRE_TEXT_LIMIT)
		text.size = WIRE_TEXT_LIMIT;
	(void)send_message(lifeline, type, 0, text);
}

static int on_request(void *context, int32_t id, struct slice block)
{
	return send_message(context, WIRE_REQUEST, id, block);
}

/* --- the end of the manager ------------------------------------------------------------------- */

static void on_orphan_deadline(uv_timer_t *timer)
{
	(void)timer;
	lifeline_leave(EXIT_FAILURE);
}

/* The manager is dead, and nobody will ever restart it with our sockets: end soon. */
static void on_manager_gone(struct lifeline *lifeline)
{
	(void)uv_poll_stop(&lifeline->poll);
	fd_close(&lifeline->control);
	(void)uv_timer_start(&lifeline->orphaned, on_orphan_deadline, ORPHAN_FINISH, 0);
	lifeline->owner->on_orphaned(lifeline->context);
}

/* --- messages --------------------------------------------------------------------------------- */

static void on_message(
	struct lifeline *lifeline, const struct wire_message *message, int *fds, size_t count)
{
	for (size_t i = 1; i < count; i++)
		fd_close(&fds[i]);
	if (message->type == WIRE_ANSWER)
		script_answer(lifeline->script, message->number,
			(struct slice){lifeline->body.data, lifeline->body.size});
	else
		lifeline->owner->on_message(lifeline->context, message, count != 0 ? fds[0] : -1);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	struct lifeline *lifeline = handle->data;

	(void)status;
	(void)events;
	while (lifeline->control >= 0) {
		struct wire_message message;
		int fds[FD_PASS_MAX];
		size_t count = FD_PASS_MAX;
		int result = wire_receive(
			lifeline->control, &message, &lifeline->body, fds, &count, MSG_DONTWAIT);

		if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (result <= 0) {
			on_manager_gone(lifeline);
			break;
		}
		on_message(lifeline, &message, fds, count);
	}
	buffer_free(&lifeline->body); /* messages are rare and the room for one is large */
}

void lifeline_open(struct lifeline *lifeline, uv_loop_t *loop, struct script *script,
	enum wire_role role, int control, const struct lifeline_owner *owner, void *context)
{
	*lifeline = (struct lifeline){.owner = owner,
		.context = context,
		.script = script,
		.role = role,
		.control = control};
	CHECK(uv_timer_init(loop, &lifeline->orphaned) == 0);
	CHECK(uv_poll_init(loop, &lifeline->poll, control) == 0);
	lifeline->poll.data = lifeline;
	(void)uv_poll_start(&lifeline->poll, UV_READABLE, on_readable);
	script_set_request(script, on_request, lifeline);
}
