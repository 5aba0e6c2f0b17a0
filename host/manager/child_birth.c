/* Making children: channels, a seat, the exec of a zygote or the order to fork. In the manager. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "manager/child_private.h"
#include "manager/command.h"
#include "manager/manager.h"
#include "manager/spawn.h"
#include "wire/record.h"

#define PIPE_BYTES (256 * 1024) /* asked of the kernel for each output pipe */

static void on_control(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	child_read_messages(handle->data);
}

/* The descriptors a child is born with, its ends of what the manager keeps the other ends of. */
struct birth_fds {
	int control;
	int out;
	int err;
};

static void close_birth(struct birth_fds *birth)
{
	fd_close(&birth->control);
	fd_close(&birth->out);
	fd_close(&birth->err);
}

/* Neither end blocks: a child that prints more than is taken loses lines, never time. */
static int make_pipe(const struct identity *identity, int *ret_ours, int *ret_theirs)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
		return -1;
	(void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
	identity_own(identity, ends[1]); /* /dev/stderr can be opened by who has it */
	*ret_ours = ends[0];
	*ret_theirs = ends[1];
	return 0;
}

static int make_channels(struct child *child, struct birth_fds *birth)
{
	int pair[2];

	if (fd_packet_pair(pair) != 0)
		return -1;
	child->control = pair[0];
	birth->control = pair[1];
	child->spare = fcntl(child->control, F_DUPFD_CLOEXEC, 0);
	if (child->spare < 0)
		return -1;
	if (make_pipe(&child->manager->identity, &child->out.fd, &birth->out) != 0)
		return -1;
	return make_pipe(&child->manager->identity, &child->err.fd, &birth->err);
}

/* Undoes child_new. */
static void child_abandon(struct child *child, struct birth_fds *birth)
{
	child->state = CHILD_GONE;
	child->fate = CHILD_FATE_KILLED;
	place_leave(child);
	close_birth(birth);
	fd_close(&child->control);
	fd_close(&child->spare);
	fd_close(&child->out.fd);
	fd_close(&child->err.fd);
	free(child);
}

/* A record and its channels, nothing of which libuv knows yet. */
static struct child *child_new(struct generation *generation, enum wire_role role,
	struct place *place, struct birth_fds *birth, struct error *error)
{
	struct manager *manager = generation->manager;
	struct child *child = calloc(1, sizeof *child);

	*birth = (struct birth_fds){-1, -1, -1};
	if (child == NULL) {
		(void)error_set(error, ENOMEM, "no memory for another process");
		return NULL;
	}
	child->manager = manager;
	child->generation = generation;
	child->role = role;
	child->command_pidfd = -1;
	child->pidfd = child->spare = child->control = child->out.fd = child->err.fd = -1;
	child->started = clock_now();
	child->number = ++manager->last_child;
	list_init(&child->node);
	if (make_channels(child, birth) != 0) {
		(void)error_set_errno(error, "cannot make the channels of another process");
		child_abandon(child, birth);
		return NULL;
	}
	if (place_enter(place, child, error) != 0) {
		child_abandon(child, birth);
		return NULL;
	}
	return child;
}

/* From now on it is in the manager's list and its handles are libuv's. */
static void child_open(struct child *child)
{
	struct manager *manager = child->manager;
	char label[SINK_LABEL_SIZE];
	struct error error;

	child_label(child, label);
	list_append(&manager->children, &child->node);
	child->generation->children++;
	/* Initialising a handle fails for want of memory only, and then there is no way on. */
	CHECK(uv_timer_init(&manager->loop, &child->deadline) == 0);
	CHECK(uv_poll_init(&manager->loop, &child->control_poll, child->control) == 0);
	CHECK(sink_source_open(&child->out, &manager->sink, child->out.fd, label, &error) == 0);
	CHECK(sink_source_open(&child->err, &manager->sink, child->err.fd, label, &error) == 0);
	child->handles = 4;
	child->deadline.data = child;
	child->control_poll.data = child;
	(void)uv_poll_start(&child->control_poll, UV_READABLE, on_control);
}

struct child *child_exec_zygote(
	struct manager *manager, struct generation *generation, struct error *error)
{
	struct birth_fds birth;
	struct child *child =
		child_new(generation, WIRE_ROLE_ZYGOTE, &manager->main, &birth, error);
	pid_t pid;

	if (child == NULL)
		return NULL;
	pid = spawn_exec_zygote(&(struct spawn_zygote){.identity = &manager->identity,
					.settings = manager->settings_fd,
					.control = birth.control,
					.slots = manager->slots_fd,
					.region = manager->region_fd,
					.feed = manager->feed_fd,
					.bell = manager->bell_fd,
					.tail = manager->tail_fd,
					.bells = manager->bells,
					.out = birth.out,
					.err = birth.err},
		error);
	if (pid < 0) {
		child_abandon(child, &birth);
		return NULL;
	}
	close_birth(&birth);
	child_open(child);
	child_learn_pid(child, pid);
	child_enter(child, CHILD_STARTING, generation->settings.start_timeout);
	return child;
}

/* `body`: what a managed process is to be, a record block. */
static int send_order(
	const struct child *child, const struct birth_fds *birth, const struct buffer *body)
{
	struct manager *manager = child->manager;
	struct wire_message order = {.type = WIRE_FORK,
		.role = (uint16_t)child->role,
		.slot = (uint16_t)child->slot,
		.generation = child->generation->number,
		.child = child->number,
		.number = (int32_t)child->seat};
	int fds[FD_PASS_MAX] = {birth->control, birth->out, birth->err};
	size_t count = 3;

	if (child->role == WIRE_ROLE_WORKER)
		count += listen_sockets(&manager->listen, child->slot, fds + 3);
	else if (child->instance != NULL && child->instance->managed->door != NULL)
		count += listen_sockets(child->instance->managed->door, 0, fds + 3);
	return wire_send(child->generation->zygote->control, &order, body->data, body->size, fds,
		count, MSG_DONTWAIT);
}

/* Sends the order, and opens the child. Returns it, or NULL with *error and the child freed. */
static struct child *order(struct child *child, struct birth_fds *birth, const struct buffer *body,
	struct error *error)
{
	if (send_order(child, birth, body) != 0) {
		(void)error_set_errno(error, "cannot order a process of generation %u",
			child->generation->number);
		child_abandon(child, birth);
		return NULL;
	}
	close_birth(birth);
	child_open(child);
	child_enter(child, CHILD_ORDERED, child_start_timeout(child));
	return child;
}

struct child *child_order_worker(
	struct manager *manager, struct generation *generation, uint32_t slot, struct error *error)
{
	struct birth_fds birth;
	struct child *child =
		child_new(generation, WIRE_ROLE_WORKER, &manager->slots[slot].place, &birth, error);

	if (child == NULL)
		return NULL;
	child->slot = slot;
	return order(child, &birth, &(struct buffer){0}, error);
}

/* --- managed processes ------------------------------------------------------------------------ */

static struct child *new_managed(struct generation *generation, enum wire_role role,
	struct managed_instance *instance, struct birth_fds *birth, struct error *error)
{
	struct child *child = child_new(generation, role, &instance->place, birth, error);

	if (child == NULL)
		return NULL;
	child->instance = instance;
	child->stop_timeout = instance->managed->terms.stop_timeout;
	return child;
}

struct child *child_order_managed(
	struct generation *generation, struct managed_instance *instance, struct error *error)
{
	const struct buffer *terms = &instance->managed->terms.block;
	struct buffer body = {0};
	struct birth_fds birth;
	struct child *child = new_managed(generation, WIRE_ROLE_MANAGED, instance, &birth, error);
	char index[16];

	if (child == NULL)
		return NULL;
	(void)snprintf(index, sizeof index, "%u", instance->index);
	CHECK(buffer_add(&body, terms->data, terms->size) == 0);
	(void)record_add(&body, "process", instance->place.name);
	(void)record_add(&body, "index", index);
	child = order(child, &birth, &body, error);
	buffer_free(&body);
	return child;
}

/* A program may well take a write that does not wait for an error; whoever reads is us. */
static void let_block(const struct birth_fds *birth)
{
	(void)fd_set_nonblocking(birth->out, 0);
	(void)fd_set_nonblocking(birth->err, 0);
}

struct child *child_exec_command(
	struct generation *generation, struct managed_instance *instance, struct error *error)
{
	struct birth_fds birth;
	struct child *child = new_managed(generation, WIRE_ROLE_SHEPHERD, instance, &birth, error);
	pid_t pid;

	if (child == NULL)
		return NULL;
	let_block(&birth);
	pid = command_exec(instance, birth.control, birth.out, birth.err, error);
	if (pid < 0) {
		child_abandon(child, &birth);
		return NULL;
	}
	close_birth(&birth);
	child_open(child);
	child_learn_pid(child, pid);
	child_enter(child, CHILD_STARTING, child_start_timeout(child));
	return child;
}

/* --- adoption --------------------------------------------------------------------------------- */

static bool seed_makes_sense(const struct manager *manager, const struct child_seed *seed)
{
	siginfo_t status = {0};

	return (seed->role == WIRE_ROLE_ZYGOTE || seed->role == WIRE_ROLE_WORKER) &&
	       seed->slot < MANAGER_WORKERS_MAX && seed->seat < SHM_SEATS_MAX &&
	       !manager->seats_taken[seed->seat] && seed->pid > 1 && seed->control >= 0 &&
	       seed->out >= 0 && seed->err >= 0 &&
	       waitid(P_PID, (id_t)seed->pid, &status, WEXITED | WNOHANG | WNOWAIT) == 0;
}

int child_adopt(struct generation *generation, const struct child_seed *seed, struct error *error)
{
	struct manager *manager = generation->manager;
	struct slot *slot = seed->role == WIRE_ROLE_WORKER ? &manager->slots[seed->slot] : NULL;
	struct child *child = calloc(1, sizeof *child);

	if (child == NULL)
		return error_set(error, ENOMEM, "no memory for another process");
	if (!seed_makes_sense(manager, seed)) {
		free(child);
		return error_set(error, EPROTO, "process %d is not ours", (int)seed->pid);
	}
	*child = (struct child){.manager = manager,
		.generation = generation,
		.role = seed->role,
		.number = seed->number,
		.slot = seed->slot,
		.seat = seed->seat,
		.started = seed->started,
		.ready = seed->ready,
		.control = seed->control,
		.pidfd = -1,
		.spare = -1,
		.out.fd = seed->out,
		.err.fd = seed->err};
	list_init(&child->node);
	place_adopt(slot != NULL ? &slot->place : &manager->main, child, seed->starts);
	child_open(child);
	child_watch_pid(child, seed->pid);
	child_enter(child, CHILD_READY, 0);
	if (slot != NULL)
		slot->serving = child;
	else
		generation->zygote = child;
	return 0;
}
