/* Child processes: their records, their life as a state × event table. Owned by the manager. */
#include "manager/child_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "manager/command.h"
#include "manager/manager.h"

#define ABORT_GRACE  2000 /* ms from SIGABRT to SIGKILL */
#define KILL_INSIST  1000 /* ms between two SIGKILLs of a group that does not go */
#define REFUSE_GRACE 2000 /* ms a process that cannot start has to end by itself */

/* --- signals and messages --------------------------------------------------------------------- */

/* The group, and the leader by itself: it may not have made its group yet. */
static void signal_group(const struct child *child, int number)
{
	if (child->pid <= 0)
		return;
	/* A shepherd passes it on, and ends when the tree has; it is killed itself if it does not.
	 */
	if (child->role == WIRE_ROLE_SHEPHERD && child->state != CHILD_KILLING) {
		command_signal(child, number);
		return;
	}
	(void)kill(-child->pid, number);
	(void)pidfd_send_signal(child->pidfd, number, NULL, 0);
}

int child_send(
	struct child *child, enum wire_type type, int32_t number, const int *fds, size_t count)
{
	struct wire_message message = {
		.type = (uint16_t)type, .role = (uint16_t)child->role, .number = number};

	return wire_send(child->control, &message, NULL, 0, fds, count, MSG_DONTWAIT);
}

void child_label(const struct child *child, char label[SINK_LABEL_SIZE])
{
	if (child->role == WIRE_ROLE_SHEPHERD)
		(void)snprintf(label, SINK_LABEL_SIZE, "%.40s", child->place->name);
	else if (child->role != WIRE_ROLE_WORKER)
		(void)snprintf(label, SINK_LABEL_SIZE, "%.32s gen %u", child->place->name,
			child->generation->number);
	else
		(void)snprintf(label, SINK_LABEL_SIZE, "%s %u gen %u", wire_role_names[child->role],
			child->slot, child->generation->number);
}

/* --- the record ------------------------------------------------------------------------------- */

static void release(struct child *child)
{
	if (child->handles != 0 || child->state != CHILD_GONE)
		return;
	buffer_free(&child->refusal);
	generation_release(child->generation);
	free(child);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct child *child = handle->data;

	child->handles--;
	release(child);
}

static void on_source_closed(void *owner)
{
	struct child *child = owner;

	child->handles--;
	release(child);
}

/* Everything is over: the record waits for libuv to let go of its handles. */
static void bury(struct child *child)
{
	child->state = CHILD_GONE;
	list_remove(&child->node);
	place_leave(child);
	/* The handle before its descriptor: libuv forgets the number as it closes, and by then it
	 * must not be another's already. */
	uv_close((uv_handle_t *)&child->control_poll, on_handle_closed);
	fd_close(&child->control);
	fd_close(&child->spare);
	uv_close((uv_handle_t *)&child->deadline, on_handle_closed);
	sink_source_close(&child->out, on_source_closed, child);
	sink_source_close(&child->err, on_source_closed, child);
	if (child->pidfd >= 0) {
		uv_close((uv_handle_t *)&child->exit_poll, on_handle_closed);
		fd_close(&child->pidfd);
	}
}

static void obituary(struct child *child)
{
	char text[ERROR_TEXT_MAX];

	/* Of a start that fails, manager_fail tells, with its error first. */
	if (!child->manager->served)
		return;
	child_verdict(child, text, sizeof text);
	sink_log(&child->manager->sink, "%s", text);
}

/* --- the table -------------------------------------------------------------------------------- */

enum child_event {
	CHILD_EVENT_FORKED,
	CHILD_EVENT_LOST, /* it was never forked */
	CHILD_EVENT_READY,
	CHILD_EVENT_REFUSED,
	CHILD_EVENT_DRAIN,
	CHILD_EVENT_KILL,
	CHILD_EVENT_STUCK,
	CHILD_EVENT_DEADLINE,
	CHILD_EVENT_EXIT,
	CHILD_EVENT_COUNT
};

typedef void child_action(struct child *child);

static void happen(struct child *child, enum child_event event);

static void on_deadline(uv_timer_t *timer)
{
	happen(timer->data, CHILD_EVENT_DEADLINE);
}

void child_enter(struct child *child, enum child_state state, uint64_t deadline)
{
	child->state = state;
	if (deadline != 0)
		(void)uv_timer_start(&child->deadline, on_deadline, deadline, 0);
	else
		(void)uv_timer_stop(&child->deadline);
	place_show(child);
}

static void blame(struct child *child, enum child_fate fate)
{
	if (child->fate == CHILD_FATE_NONE || child->fate == CHILD_FATE_DRAINED)
		child->fate = fate;
}

static void kill_now(struct child *child)
{
	signal_group(child, SIGKILL);
	child_enter(child, CHILD_KILLING, KILL_INSIST);
}

uint64_t child_start_timeout(const struct child *child)
{
	if (child->instance != NULL && child->instance->managed->terms.start_timeout != 0)
		return child->instance->managed->terms.start_timeout;
	return child->generation->settings.start_timeout;
}

/* Its word came by its own channel before the zygote's, by another, that it exists. */
static void note_ready(struct child *child)
{
	child->early = CHILD_EARLY_READY;
}

static void note_refused(struct child *child)
{
	child->early = CHILD_EARLY_REFUSED;
}

static void do_forked(struct child *child)
{
	if (child->fate == CHILD_FATE_KILLED) {
		kill_now(child); /* it was given up while the order was on its way */
		return;
	}
	child_enter(child, CHILD_STARTING, child_start_timeout(child));
	if (child->early == CHILD_EARLY_READY)
		happen(child, CHILD_EVENT_READY);
	else if (child->early == CHILD_EARLY_REFUSED)
		happen(child, CHILD_EVENT_REFUSED);
	if (child->drain_early)
		child_drain(child, WIRE_DRAIN_SHUTDOWN, -1);
}

/* Its zygote does not obey: a hook of it hangs, or it is stopped. Nothing can be forked from it
 * any more, so it goes, and what waits for it is told. */
static void do_unobeyed(struct child *child)
{
	(void)uv_timer_stop(&child->deadline);
	if (child->generation->zygote != NULL)
		child_kill(child->generation->zygote, CHILD_FATE_STUCK);
}

static void do_lost(struct child *child)
{
	obituary(child);
	bury(child);
	manager_on_child_gone(child->manager, child);
}

static void do_ready(struct child *child)
{
	child->ready = clock_now();
	child_enter(child, CHILD_READY, 0);
	manager_on_child_ready(child->manager, child);
}

static void do_refused(struct child *child)
{
	blame(child, CHILD_FATE_REFUSED);
	child_enter(child, CHILD_STARTING, REFUSE_GRACE);
}

static void do_late(struct child *child)
{
	blame(child, CHILD_FATE_LATE);
	kill_now(child);
}

static void do_drain(struct child *child)
{
	uint64_t timeout = child->generation->settings.graceful_timeout;

	if (child->stop_timeout != 0)
		timeout = child->stop_timeout;
	blame(child, CHILD_FATE_DRAINED);
	/* 0 would mean no deadline: a graceful_timeout of 0 is one millisecond. */
	child_enter(child, CHILD_DRAINING, timeout + 1);
}

/* What a managed process does before it is ready is its own affair: it may end it well. */
static void do_drain_early(struct child *child)
{
	if (child->instance != NULL)
		do_drain(child);
	else
		kill_now(child);
}

static void do_stuck(struct child *child)
{
	blame(child, CHILD_FATE_STUCK);
	(void)pidfd_send_signal(child->pidfd, SIGABRT, NULL, 0);
	child_enter(child, CHILD_ABORTING, ABORT_GRACE);
}

static void do_overdue(struct child *child)
{
	blame(child, CHILD_FATE_OVERDUE);
	kill_now(child);
}

static void do_exit(struct child *child)
{
	sink_source_drain(&child->out);
	sink_source_drain(&child->err);
	obituary(child);
	guardian_remove(&child->manager->guardian, child->pid);
	bury(child);
	manager_on_child_gone(child->manager, child);
}

/* What is empty is ignored: an event that cannot come in a state (a second ready, say) is a lie. */
static child_action *const actions[CHILD_STATE_COUNT][CHILD_EVENT_COUNT] = {
	[CHILD_ORDERED] =
		{
			[CHILD_EVENT_FORKED] = do_forked,
			[CHILD_EVENT_LOST] = do_lost,
			[CHILD_EVENT_READY] = note_ready,
			[CHILD_EVENT_REFUSED] = note_refused,
			[CHILD_EVENT_DEADLINE] = do_unobeyed,
			/* DRAIN, KILL: its fate is set, and do_forked sees it. */
		},
	[CHILD_STARTING] =
		{
			[CHILD_EVENT_READY] = do_ready,
			[CHILD_EVENT_REFUSED] = do_refused,
			[CHILD_EVENT_DRAIN] = do_drain_early,
			[CHILD_EVENT_KILL] = kill_now,
			[CHILD_EVENT_DEADLINE] = do_late,
			[CHILD_EVENT_EXIT] = do_exit,
		},
	[CHILD_READY] =
		{
			[CHILD_EVENT_DRAIN] = do_drain,
			[CHILD_EVENT_KILL] = kill_now,
			[CHILD_EVENT_STUCK] = do_stuck,
			[CHILD_EVENT_EXIT] = do_exit,
		},
	[CHILD_DRAINING] =
		{
			[CHILD_EVENT_KILL] = kill_now,
			[CHILD_EVENT_DEADLINE] = do_overdue, /* also what ends a stuck one */
			[CHILD_EVENT_EXIT] = do_exit,
		},
	[CHILD_ABORTING] =
		{
			[CHILD_EVENT_KILL] = kill_now,
			[CHILD_EVENT_DEADLINE] = kill_now,
			[CHILD_EVENT_EXIT] = do_exit,
		},
	[CHILD_KILLING] =
		{
			[CHILD_EVENT_DEADLINE] = kill_now,
			[CHILD_EVENT_EXIT] = do_exit,
		},
	[CHILD_GONE] = {NULL},
};

static void happen(struct child *child, enum child_event event)
{
	child_action *action = actions[child->state][event];

	if (action != NULL)
		action(child);
}

/* --- what happens to it ----------------------------------------------------------------------- */

void child_read_messages(struct child *child)
{
	struct manager *manager = child->manager;

	if (child->role == WIRE_ROLE_SHEPHERD) {
		command_read(child);
		return;
	}
	while (child->state != CHILD_GONE) {
		struct wire_message message;
		int fds[FD_PASS_MAX];
		size_t count = FD_PASS_MAX;
		int result = wire_receive(
			child->control, &message, &manager->body, fds, &count, MSG_DONTWAIT);

		if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (result <= 0) {
			if (result < 0 && errno != ECONNRESET)
				sink_log(&manager->sink,
					"cannot understand the %s of generation %u: %s",
					wire_role_names[child->role], child->generation->number,
					strerror(errno));
			(void)uv_poll_stop(
				&child->control_poll); /* what it becomes, its pidfd tells */
			return;
		}
		manager_on_message(manager, child, &message, fds, count);
	}
}

void child_check_exit(struct child *child)
{
	struct manager *manager = child->manager;
	siginfo_t status = {0};

	if (child->pidfd < 0 || child->ended)
		return;
	if (waitid(P_PIDFD, (id_t)child->pidfd, &status, WEXITED | WNOHANG | WNOWAIT) != 0 ||
		status.si_pid == 0)
		return;
	/* Its last messages may tell why; that it was ready, it is too late to believe. */
	child->ended = true;
	child_read_messages(child);
	/* The rest of its group, while the unreaped leader keeps the number ours. */
	(void)kill(-child->pid, SIGKILL);
	(void)waitid(P_PIDFD, (id_t)child->pidfd, &status, WEXITED | WNOHANG);
	child->status = status;
	if (child->role == WIRE_ROLE_SHEPHERD)
		command_on_gone(child);
	if (status.si_code != CLD_EXITED && status.si_status == SIGKILL) {
		uint64_t seen = child_oom_count();

		child->oom = child->state != CHILD_KILLING && seen != manager->oom_seen;
		manager->oom_seen = seen;
	}
	happen(child, CHILD_EVENT_EXIT);
}

static void on_exit_poll(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	child_check_exit(handle->data);
}

void child_watch_pid(struct child *child, pid_t pid)
{
	child->pid = pid;
	fd_close(&child->spare);
	child->pidfd = pidfd_open(pid, 0);
	CHECK(child->pidfd >= 0); /* it is ours and not reaped, and its number was kept free */
	CHECK(uv_poll_init(&child->manager->loop, &child->exit_poll, child->pidfd) == 0);
	child->exit_poll.data = child;
	child->handles++;
	(void)uv_poll_start(&child->exit_poll, UV_READABLE, on_exit_poll);
}

void child_learn_pid(struct child *child, pid_t pid)
{
	child_watch_pid(child, pid);
	guardian_add(&child->manager->guardian, pid);
}

void child_on_forked(struct child *child, pid_t pid)
{
	if (child->state != CHILD_ORDERED)
		return;
	child_learn_pid(child, pid);
	happen(child, CHILD_EVENT_FORKED);
}

void child_on_fork_failed(struct child *child, int code)
{
	if (code != 0)
		sink_log(&child->manager->sink, "cannot fork: %s", strerror(code));
	happen(child, CHILD_EVENT_LOST);
}

void child_on_ready(struct child *child)
{
	if (!child->ended)
		happen(child, CHILD_EVENT_READY);
}

void child_on_refused(struct child *child, const char *text, size_t size)
{
	child->refusal.size = 0;
	(void)buffer_add(&child->refusal, text, size);
	happen(child, CHILD_EVENT_REFUSED);
}

/* Tells it to end, in the way of its role. */
static void tell_to_end(struct child *child, enum wire_drain how, int heir)
{
	const enum wire_type type = child->role == WIRE_ROLE_ZYGOTE ? WIRE_STOP : WIRE_DRAIN;

	if (child->role == WIRE_ROLE_SHEPHERD) {
		command_stop(child);
		return;
	}
	child->retiring = how == WIRE_DRAIN_RETIRED;
	if (child_send(child, type, (int32_t)how, &heir, heir >= 0) != 0)
		child_kill(child, CHILD_FATE_KILLED);
}

void child_drain(struct child *child, enum wire_drain how, int heir)
{
	const bool managed = child->instance != NULL;

	if (child->state == CHILD_READY || (managed && child->state == CHILD_STARTING))
		tell_to_end(child, how, heir);
	else if (managed && child->state == CHILD_ORDERED)
		child->drain_early = true;
	else if (child->state == CHILD_ORDERED || child->state == CHILD_STARTING)
		blame(child, CHILD_FATE_KILLED);
	fd_close(&heir);
	happen(child, CHILD_EVENT_DRAIN);
}

void child_on_stuck(struct child *child, const char *where, size_t size)
{
	struct sink *sink = &child->manager->sink;
	const char *line_end = size != 0 ? memchr(where, '\n', size) : NULL;
	size_t line = line_end != NULL ? (size_t)(line_end - where) + 1 : size;
	char label[SINK_LABEL_SIZE];

	if (child->state == CHILD_READY && size != 0) {
		child_label(child, label);
		sink_log(
			sink, "%s pid %d is stuck: %.*s", label, (int)child->pid, (int)line, where);
		sink_text(sink, "manager", where + line, size - line);
		child->explained = true;
	}
	happen(child, CHILD_EVENT_STUCK);
}

void child_kill(struct child *child, enum child_fate fate)
{
	blame(child, fate);
	happen(child, CHILD_EVENT_KILL);
}
