/* One process for everything: see single.h. Owns what a manager would make for it. */
#include "worker/single.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"
#include "script/script.h"
#include "shm/feed.h"
#include "shm/region.h"
#include "shm/slots.h"
#include "shm/wait.h"
#include "wire/message.h"
#include "wire/record.h"
#include "wire/role.h"
#include "worker/load.h"
#include "worker/worker.h"
#include "worker/worker_settings.h"

/* Where the bells go, which have to have numbers that follow one another: above whatever the
 * process may have been given. */
#define FIRST_BELL 512

/* Signals that stop; SIGQUIT keeps its default action, for an app that is stuck. The others are for
 * a manager, and would end us. */
static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU};

#define WATCHED_COUNT (sizeof watched / sizeof watched[0])

static struct single {
	const struct single_sockets *sockets;
	struct script *script;
	struct buffer plan;
	uint64_t graceful_timeout;
	struct worker_birth birth;
	struct shm_slots *slots;
	int64_t start_at; /* clock_wall() */
	int channel;      /* our end of the worker's, where its manager would be */
	uv_poll_t poll;
	struct buffer body; /* of the message being read */
	uv_signal_t signals[WATCHED_COUNT];
	uv_timer_t deadline;
	int stopping; /* the signal that did it, or 0 */
} single;             /* one per process */

_Noreturn static void leave(int status)
{
	single.sockets->close();
	(void)fflush(NULL);
	_exit(status);
}

static int fail(const char *text, size_t size)
{
	(void)fprintf(stderr, "perigee: %.*s%s", (int)size, text,
		size != 0 && text[size - 1] == '\n' ? "" : "\n");
	return EXIT_FAILURE;
}

static int fail_error(const struct error *error)
{
	return fail(error->text, strlen(error->text));
}

/* What the app reads of its processes: this one. */
static void show(bool serving)
{
	const struct shm_process process = {.name = "worker-0",
		.role = "worker",
		.number = 1,
		.start_at = single.start_at,
		.pid = (int32_t)getpid(),
		.generation = 1,
		.starts = 1,
		.state = serving ? SHM_STATE_ACKED : SHM_STATE_STARTED,
		.server = 1,
		.serving = serving};

	shm_slots_write(single.slots, 0, &process);
}

/* --- signals ---------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer)
{
	(void)timer;
	(void)fputs("perigee: not done within graceful_timeout\n", stderr);
	leave(EXIT_SUCCESS);
}

static void stop(int number)
{
	struct wire_message drain = {
		.type = WIRE_DRAIN, .role = WIRE_ROLE_WORKER, .number = WIRE_DRAIN_SHUTDOWN};

	if (single.stopping != 0)
		leave(128 + number);
	single.stopping = number;
	(void)fprintf(
		stderr, "perigee: SIG%s: stopping; once more to force it\n", sigabbrev_np(number));
	/* One millisecond at the least, as 0 is no time to end in. */
	(void)uv_timer_start(&single.deadline, on_deadline, single.graceful_timeout + 1, 0);
	(void)wire_send(single.channel, &drain, NULL, 0, NULL, 0, 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)handle;
	if (number == SIGINT || number == SIGTERM)
		stop(number);
	else
		(void)fprintf(stderr,
			"perigee: SIG%s is for a manager, and --single-process has none\n",
			sigabbrev_np(number));
}

/* --- the worker's steps ----------------------------------------------------------------------- */

static void on_ready_run(void *context, bool ok, struct slice text)
{
	(void)context;
	if (!ok)
		(void)fprintf(stderr, "%.*s\n", (int)text.size, text.data);
}

static void on_ready(void)
{
	struct wire_message serve = {.type = WIRE_SERVE, .role = WIRE_ROLE_WORKER};

	(void)wire_send(single.channel, &serve, NULL, 0, NULL, 0, 0);
	show(true);
	for (size_t i = 0; i < single.birth.listener_count; i++)
		(void)fprintf(stderr, "perigee: \"%s\" at %s, in one process, pid %d\n",
			single.sockets->app(i), single.sockets->url(i), (int)getpid());
	script_start(single.script, "perigee.boot", "ready", SLICE(""), on_ready_run, NULL);
}

/* Whatever the app asks of its manager. */
static void refuse(int32_t request)
{
	struct wire_message answer = {
		.type = WIRE_ANSWER, .role = WIRE_ROLE_WORKER, .number = request};
	struct buffer block = {0};

	(void)record_add(&block, WIRE_KEY_OK, "0");
	(void)record_add(&block, WIRE_KEY_MESSAGE,
		"there is no manager: the app runs with --single-process");
	(void)record_add(&block, WIRE_KEY_CODE, "ENOTSUP");
	(void)wire_send(single.channel, &answer, block.data, block.size, NULL, 0, 0);
	buffer_free(&block);
}

/* What a manager would be told. */
static void on_channel(uv_poll_t *handle, int status, int events)
{
	struct wire_message message;
	int fds[FD_PASS_MAX];
	size_t count = FD_PASS_MAX;

	(void)handle;
	(void)status;
	(void)events;
	if (wire_receive(single.channel, &message, &single.body, fds, &count, MSG_DONTWAIT) != 1)
		return;
	for (size_t i = 0; i < count; i++)
		fd_close(&fds[i]);
	if (message.type == WIRE_READY)
		on_ready();
	else if (message.type == WIRE_REQUEST)
		refuse(message.number);
}

static void on_loop(uv_loop_t *loop)
{
	sigset_t none;

	CHECK(uv_poll_init(loop, &single.poll, single.channel) == 0);
	CHECK(uv_poll_start(&single.poll, UV_READABLE, on_channel) == 0);
	CHECK(uv_timer_init(loop, &single.deadline) == 0);
	for (size_t i = 0; i < WATCHED_COUNT; i++) {
		CHECK(uv_signal_init(loop, &single.signals[i]) == 0);
		CHECK(uv_signal_start(&single.signals[i], on_signal, watched[i]) == 0);
	}
	/* As pid 1 we have held them from the beginning, see main.c. */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void on_failed(struct slice why)
{
	leave(fail(why.data, why.size));
}

static void on_over(void *context, bool ok, struct slice text)
{
	(void)context;
	if (!ok)
		(void)fprintf(stderr, "%.*s\n", (int)text.size, text.data);
	leave(EXIT_SUCCESS);
}

static void on_stopped(void)
{
	script_start(single.script, "perigee.boot", "stop", SLICE(""), on_over, NULL);
}

static const struct worker_single steps = {
	.on_loop = on_loop, .on_failed = on_failed, .on_stopped = on_stopped};

/* --- the beginning ---------------------------------------------------------------------------- */

static int make_bells(struct error *error)
{
	int fds[SHM_BELLS];

	if (shm_bells_create(fds, FIRST_BELL + SHM_BELLS, error) != 0)
		return -1;
	for (int i = 0; i < SHM_BELLS; i++) {
		if (dup3(fds[i], FIRST_BELL + i, O_CLOEXEC) < 0)
			return error_set_errno(error, "cannot place the bells");
		fd_close(&fds[i]);
	}
	shm_bells_use(FIRST_BELL);
	return 0;
}

/* What the manager makes otherwise. */
static int make_memory(int settings, struct error *error)
{
	struct buffer block = {0};
	uint64_t size = SHM_REGION_DEFAULT;
	int region;

	if (record_load(&block, settings, error) != 0)
		return -1;
	(void)record_number((struct slice){block.data, block.size}, "shared_memory", 1,
		UINT64_MAX >> 1, &size, error);
	buffer_free(&block);
	region = shm_region_create(size, error);
	single.birth.feed = region < 0 ? -1 : shm_feed_create(error);
	single.birth.bell = single.birth.feed < 0 ? -1 : shm_feed_create_bell(error);
	if (single.birth.bell < 0 || make_bells(error) != 0)
		return -1;
	shm_region_use(region);
	return 0;
}

static int make_channel(void)
{
	int pair[2];

	if (fd_packet_pair(pair) != 0)
		return -1;
	single.channel = pair[0];
	single.birth.control = pair[1];
	return 0;
}

static int take_seat(struct error *error)
{
	int fd = shm_slots_create(error);
	struct shm_slots *slots = fd < 0 ? NULL : shm_slots_map(fd, error);
	int result = slots == NULL ? -1 : shm_slots_map_activity(fd, error);

	fd_close(&fd);
	if (result != 0)
		return -1;
	single.slots = slots;
	single.birth.seat = shm_slots_seat(slots, 0);
	shm_seat_clear(single.birth.seat, clock_now());
	shm_slots_take(slots, 0);
	show(false);
	return 0;
}

static int set_up(uv_loop_t *loop, int settings, struct error *error)
{
	(void)signal(SIGPIPE, SIG_IGN);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)fd_set_cloexec(settings, 1);
	fd_raise_limit();
	if (make_channel() != 0)
		return error_set_errno(error, "cannot make a channel");
	if (make_memory(settings, error) != 0 || take_seat(error) != 0)
		return -1;
	if (uv_loop_init(loop) != 0)
		return error_set(error, ENOMEM, "cannot make the event loop");
	return script_open(&single.script, loop, error);
}

static int open_sockets(struct error *error)
{
	struct worker_birth *birth = &single.birth;

	birth->plan = (struct slice){single.plan.data, single.plan.size};
	if (worker_settings_tls(&birth->tls, birth->plan, error) != 0 ||
		record_number(birth->plan, "graceful_timeout", 0, UINT32_MAX,
			&single.graceful_timeout, error) != 0)
		return -1;
	return single.sockets->open(birth->plan, birth->listeners, &birth->listener_count, error);
}

int single_main(int settings, const struct single_sockets *sockets)
{
	uv_loop_t loop; /* of the loading only, as in a zygote; the worker has its own */
	struct error error;

	single.sockets = sockets;
	single.start_at = clock_wall();
	single.birth = (struct worker_birth){.generation = 1, .single = &steps};
	if (set_up(&loop, settings, &error) != 0)
		return fail_error(&error);
	if (load_application(single.script, settings, &single.plan) != 0)
		return fail(single.plan.data, single.plan.size);
	(void)close(settings);
	(void)uv_loop_close(&loop);
	if (open_sockets(&error) != 0)
		return fail_error(&error);
	worker_main(single.script, &single.birth);
}
