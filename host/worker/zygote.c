/* The zygote: loads the application, then waits for orders. One per generation. */
#include "worker/zygote.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "script/script.h"
#include "shm/region.h"
#include "shm/slots.h"
#include "shm/tail.h"
#include "shm/wait.h"
#include "wire/message.h"
#include "wire/record.h"
#include "wire/role.h"
#include "worker/load.h"
#include "worker/managed.h"
#include "worker/title.h"
#include "worker/worker.h"
#include "worker/worker_settings.h"
#include "worker/zygote_fork.h"
#include "worker/zygote_orders.h"

struct zygote {
	pid_t manager;
	struct script *script;
	uv_loop_t loop;
	struct shm_slots *slots;
	struct tls_context *tls; /* its workers', or NULL */
	struct buffer plan;      /* every setting, resolved; children read it */
	struct zygote_orders orders;
};

static void tell(enum wire_type type, uint64_t child, pid_t pid, int number, struct slice text)
{
	struct wire_message message = {.type = (uint16_t)type,
		.role = WIRE_ROLE_ZYGOTE,
		.child = child,
		.pid = pid,
		.number = number};

	if (text.size > WIRE_TEXT_LIMIT)
		text.size = WIRE_TEXT_LIMIT;
	(void)wire_send(WIRE_FD_CONTROL, &message, text.data, text.size, NULL, 0, 0);
}

static int fail_load(const char *text, size_t size)
{
	tell(WIRE_LOAD_FAILED, 0, 0, 0, (struct slice){text, size});
	return EXIT_FAILURE;
}

static int fail_load_error(const struct error *error)
{
	return fail_load(error->text, strlen(error->text));
}

/* --- loading ---------------------------------------------------------------------------------- */

static int set_up(struct zygote *zygote, struct error *error)
{
	/* The manager's pid, and not our parent's at a later time. */
	zygote->manager = getppid();
	for (int fd = WIRE_FD_SETTINGS; fd < WIRE_FD_END; fd++)
		(void)fd_set_cloexec(fd, 1);
	shm_region_use(WIRE_FD_REGION);
	shm_bells_use(WIRE_FD_BELLS);
	shm_tail_use(WIRE_FD_TAIL);
	zygote->slots = shm_slots_map(WIRE_FD_SLOTS, error);
	if (zygote->slots == NULL || shm_slots_map_activity(WIRE_FD_SLOTS, error) != 0)
		return -1;
	shm_slots_protect(zygote->slots);
	/* A line printed is a line logged, though stdout is a pipe; the children inherit this. */
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (uv_loop_init(&zygote->loop) != 0)
		return error_set(error, ENOMEM, "cannot make the event loop");
	if (script_open(&zygote->script, &zygote->loop, error) != 0)
		return -1;
	zygote_orders_open(&zygote->orders, zygote->script);
	return 0;
}

/* Runs the user's files and the main_process_start listeners. Returns 0, or what to exit with. */
static int load(struct zygote *zygote)
{
	struct error error;

	if (load_application(zygote->script, WIRE_FD_SETTINGS, &zygote->plan) != 0)
		return fail_load(zygote->plan.data, zygote->plan.size);
	if (worker_settings_tls(&zygote->tls, (struct slice){zygote->plan.data, zygote->plan.size},
		    &error) != 0)
		return fail_load_error(&error);
	tell(WIRE_PLAN, 0, 0, 0, (struct slice){zygote->plan.data, zygote->plan.size});
	return 0;
}

/* --- orders ----------------------------------------------------------------------------------- */

/* The descriptors of a WIRE_FORK, in their order. */
struct fork_fds {
	int control;
	int out;
	int err;
	int listeners[WIRE_BIND_MAX];
	size_t listener_count;
};

static int take_fds(struct fork_fds *fds, const int *received, size_t count)
{
	if (count < 3 || count > 3 + WIRE_BIND_MAX)
		return -1;
	fds->control = received[0];
	fds->out = received[1];
	fds->err = received[2];
	fds->listener_count = count - 3;
	memcpy(fds->listeners, received + 3, sizeof(int) * fds->listener_count);
	return 0;
}

static void close_fds(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
}

/*
 * What a child must not keep of its zygote: its channel to the manager, the settings, its loop.
 * What the application opened while loading stays, as it would across any fork.
 */
static void forget_zygote(struct zygote *zygote, struct fork_fds *fds)
{
	(void)close(WIRE_FD_CONTROL);
	(void)close(WIRE_FD_SETTINGS);
	(void)close(WIRE_FD_SLOTS);
	(void)dup2(fds->out, STDOUT_FILENO);
	(void)dup2(fds->err, STDERR_FILENO);
	fd_close(&fds->out);
	fd_close(&fds->err);
	(void)uv_loop_close(&zygote->loop);
	zygote_orders_forget(&zygote->orders);
}

/* What a process that serves is born with; it lives as long as it. */
static struct worker_birth *be_born(
	struct zygote *zygote, const struct wire_message *order, struct fork_fds *fds)
{
	static struct worker_birth birth; /* one per process */

	forget_zygote(zygote, fds);
	shm_slots_take(zygote->slots, (unsigned)order->number);
	birth = (struct worker_birth){.slot = order->slot,
		.generation = order->generation,
		.seat = shm_slots_seat(zygote->slots, (unsigned)order->number),
		.seat_number = (unsigned)order->number,
		.plan = {zygote->plan.data, zygote->plan.size},
		.control = fds->control,
		.feed = WIRE_FD_FEED,
		.bell = WIRE_FD_BELL,
		.tls = zygote->tls,
		.listener_count = fds->listener_count};
	memcpy(birth.listeners, fds->listeners, sizeof birth.listeners);
	return &birth;
}

_Noreturn static void become_worker(
	struct zygote *zygote, const struct wire_message *order, struct fork_fds *fds)
{
	const struct worker_birth *birth = be_born(zygote, order, fds);

	title_set("worker %u gen %u", order->slot, order->generation);
	worker_main(zygote->script, birth);
}

/* A managed process that serves clients lives as a worker does, with terms of its own. */
_Noreturn static void become_server(
	struct zygote *zygote, const struct zygote_order *order, struct fork_fds *fds)
{
	struct worker_birth *birth = be_born(zygote, &order->message, fds);
	const char *name;

	birth->terms = (struct slice){order->body.data, order->body.size};
	name = record_find(birth->terms, "process");
	title_set("%s gen %u", name != NULL ? name : "managed", order->message.generation);
	worker_main(zygote->script, birth);
}

_Noreturn static void become_managed(
	struct zygote *zygote, const struct zygote_order *order, struct fork_fds *fds)
{
	static struct managed_birth birth; /* one per process; lives as long as it */
	const struct slice terms = {order->body.data, order->body.size};
	const char *name = record_find(terms, "process");

	forget_zygote(zygote, fds);
	title_set("%s gen %u", name != NULL ? name : "managed", order->message.generation);
	shm_slots_take(zygote->slots, (unsigned)order->message.number);
	birth = (struct managed_birth){.generation = order->message.generation,
		.terms = terms,
		.plan = {zygote->plan.data, zygote->plan.size},
		.control = fds->control,
		.feed = WIRE_FD_FEED,
		.bell = WIRE_FD_BELL,
		.seat = (unsigned)order->message.number};
	managed_main(zygote->script, &birth);
}

_Noreturn static void become(
	struct zygote *zygote, const struct zygote_order *order, struct fork_fds *fds)
{
	if (order->message.role == WIRE_ROLE_MANAGED && fds->listener_count != 0)
		become_server(zygote, order, fds);
	if (order->message.role == WIRE_ROLE_MANAGED)
		become_managed(zygote, order, fds);
	become_worker(zygote, &order->message, fds);
}

/* Whether an order to fork can be obeyed; its descriptors are in *fds then. */
static bool understand(const struct zygote_order *order, struct fork_fds *fds)
{
	const struct slice body = {order->body.data, order->body.size};
	struct error ignored;

	return (order->message.role == WIRE_ROLE_WORKER ||
		       order->message.role == WIRE_ROLE_MANAGED) &&
	       record_check(body, &ignored) == 0 && take_fds(fds, order->fds, order->count) == 0;
}

static void obey_fork(struct zygote *zygote, struct zygote_order *received)
{
	const struct wire_message *order = &received->message;
	struct fork_fds fds = {0};
	pid_t pid;

	if (!understand(received, &fds)) {
		tell(WIRE_FORK_FAILED, order->child, 0, EPROTO, SLICE(""));
		close_fds(received->fds, received->count);
		return;
	}
	(void)fflush(NULL); /* what is buffered now would be written by both */
	pid = zygote_fork(zygote->manager);
	if (pid == 0)
		become(zygote, received, &fds);
	if (pid > 0)
		tell(WIRE_FORKED, order->child, pid, 0, SLICE(""));
	else
		tell(WIRE_FORK_FAILED, order->child, 0, errno, SLICE(""));
	close_fds(received->fds, received->count);
}

/* A hook that leaves a handle open would leave it in every child to come. */
static void run_hook(struct zygote *zygote, const char *name)
{
	struct buffer text = {0};
	struct error error;

	if (script_run(zygote->script, "perigee.boot", name, SLICE(""), 0, &text) != 0)
		tell(WIRE_HOOK_FAILED, 0, 0, 0, (struct slice){text.data, text.size});
	else if (script_check_loop(zygote->script, &error) != 0)
		tell(WIRE_HOOK_FAILED, 0, 0, 0, (struct slice){error.text, strlen(error.text)});
	buffer_free(&text);
}

/* Returns false when the zygote is to end. */
static bool obey(struct zygote *zygote)
{
	struct zygote_order order;

	if (!zygote_orders_next(&zygote->orders, &order))
		return false; /* the manager is gone */
	if (order.message.type == WIRE_FORK)
		obey_fork(zygote, &order);
	else
		close_fds(order.fds, order.count);
	buffer_free(&order.body);
	if (order.message.type == WIRE_ALL_READY)
		run_hook(zygote, "ready");
	if (order.message.type == WIRE_STOP)
		run_hook(zygote, "stop");
	return order.message.type != WIRE_STOP;
}

int zygote_main(void)
{
	static struct zygote zygote; /* one per process */
	struct error error;
	int status;

	if (set_up(&zygote, &error) != 0)
		return fail_load_error(&error);
	status = load(&zygote);
	if (status != 0)
		return status;
	while (obey(&zygote))
		continue;
	return EXIT_SUCCESS;
}
