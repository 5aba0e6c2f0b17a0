/* A bell heard by a loop: see bell.h. */
#include "worker/bell.h"

#include <sys/epoll.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/wait.h"

static void on_ring(uv_poll_t *poll, int status, int events)
{
	const struct bell *bell = poll->data;
	struct epoll_event event;
	int fd;

	(void)status;
	(void)events;
	/* Takes the edge first: what happens from here on rings again. */
	if (uv_fileno((uv_handle_t *)poll, &fd) == 0)
		(void)epoll_wait(fd, &event, 1, 0);
	bell->heard(bell->context);
}

/* An epoll that is readable after each ring; the bell itself stays readable for ever. */
static int watch_edges(int fd, struct error *error)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int edges = epoll_create1(EPOLL_CLOEXEC);

	if (edges < 0)
		return error_set_errno(error, "cannot watch a bell");
	if (epoll_ctl(edges, EPOLL_CTL_ADD, fd, &event) != 0) {
		(void)error_set_errno(error, "cannot watch a bell");
		fd_close(&edges);
	}
	return edges;
}

int bell_watch(struct bell *bell, uv_loop_t *loop, int fd, bell_heard *heard, void *context,
	struct error *error)
{
	int edges = watch_edges(fd, error);

	if (edges < 0)
		return -1;
	bell->heard = heard;
	bell->context = context;
	CHECK(uv_poll_init(loop, &bell->poll, edges) == 0);
	bell->poll.data = bell;
	CHECK(uv_poll_start(&bell->poll, UV_READABLE, on_ring) == 0);
	return 0;
}

static void on_shared(void *context)
{
	script_shared_changed(context);
}

int bell_watch_shared(
	struct bell *bell, uv_loop_t *loop, struct script *script, struct error *error)
{
	int fd = shm_bells_listen(error);

	return fd < 0 ? -1 : bell_watch(bell, loop, fd, on_shared, script, error);
}
