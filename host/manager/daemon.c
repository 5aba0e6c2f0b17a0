/* Going into the background. Runs in the launcher, and in the manager. */
#include "manager/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "manager/signals.h"
#include "manager/spawn.h"

/* The one word to the launcher; its end without one means that the manager was killed. */
enum word { WORD_SERVES = 's', WORD_FAILED = 'f', WORD_STOPPED = 'x' };

static void use_null(int first, int last)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int target = first; fd >= 0 && target <= last; target++)
		(void)dup2(fd, target);
	if (fd > STDERR_FILENO)
		fd_close(&fd);
}

/* --- the launcher ----------------------------------------------------------------------------- */

_Noreturn static void wait_for_word(int channel)
{
	char word = 0;
	ssize_t received;

	do
		received = recv(channel, &word, sizeof word, 0);
	while (received < 0 && errno == EINTR);
	if (received == sizeof word && word == WORD_SERVES)
		_exit(EXIT_SUCCESS);
	if (received == sizeof word && word == WORD_STOPPED)
		(void)fputs("perigee: it was stopped before it served\n", stderr);
	else if (received != sizeof word)
		(void)fputs("perigee: the manager was killed before it served\n", stderr);
	_exit(EXIT_FAILURE);
}

/* --- the manager ------------------------------------------------------------------------------ */

/* In a child: leaves the terminal, and for good by not being its session's leader. */
static void leave_session(void)
{
	pid_t pid;

	(void)setsid();
	pid = spawn_fork();
	if (pid != 0)
		_exit(pid > 0 ? EXIT_SUCCESS : EXIT_FAILURE);
	spawn_reset_signals();
	signals_hold();
	use_null(STDIN_FILENO, STDIN_FILENO);
}

int daemon_start(struct daemon *daemon, struct error *error)
{
	int pair[2];
	pid_t pid;

	if (fd_packet_pair(pair) != 0)
		return error_set_errno(error, "cannot make the daemon's channel");
	pid = spawn_fork();
	if (pid < 0) {
		(void)error_set_errno(error, "cannot go into the background");
		fd_close(&pair[0]);
		fd_close(&pair[1]);
		return -1;
	}
	if (pid > 0) {
		fd_close(&pair[1]);
		spawn_reset_signals();
		wait_for_word(pair[0]);
	}
	fd_close(&pair[0]);
	leave_session();
	*daemon = (struct daemon){.on = true, .launcher = pair[1]};
	return 0;
}

static void let_go(struct daemon *daemon)
{
	if (daemon->launcher < 0)
		return;
	(void)uv_poll_stop(&daemon->poll);
	uv_close((uv_handle_t *)&daemon->poll, NULL);
	fd_close(&daemon->launcher);
}

static void on_launcher(uv_poll_t *handle, int status, int events)
{
	struct daemon *daemon = handle->data;

	(void)status;
	(void)events;
	let_go(daemon);
	daemon->on_lost(daemon->context);
}

void daemon_watch(
	struct daemon *daemon, uv_loop_t *loop, void (*on_lost)(void *context), void *context)
{
	if (!daemon->on)
		return;
	daemon->on_lost = on_lost;
	daemon->context = context;
	CHECK(uv_poll_init(loop, &daemon->poll, daemon->launcher) == 0);
	daemon->poll.data = daemon;
	CHECK(uv_poll_start(&daemon->poll, UV_READABLE, on_launcher) == 0);
}

static void tell(struct daemon *daemon, enum word word)
{
	const char byte = (char)word;

	if (daemon->launcher >= 0)
		(void)send(daemon->launcher, &byte, sizeof byte, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void daemon_serves(struct daemon *daemon)
{
	if (!daemon->on)
		return;
	use_null(STDOUT_FILENO, STDERR_FILENO);
	tell(daemon, WORD_SERVES);
	let_go(daemon);
}

void daemon_ends(struct daemon *daemon, bool failed)
{
	if (!daemon->on)
		return;
	tell(daemon, failed ? WORD_FAILED : WORD_STOPPED);
	fd_close(&daemon->launcher);
}
