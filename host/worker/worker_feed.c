/* Publishing across workers: see worker_feed.h. Runs in workers. */
#include "worker/worker_feed.h"

#include <stdio.h>
#include <sys/epoll.h>

#include "base/check.h"
#include "base/fd.h"
#include "shm/feed.h"
#include "wire/role.h"

static void warn_of_loss(struct worker_feed *worker_feed)
{
	uint64_t lost = shm_feed_lost(worker_feed->feed);

	if (lost == worker_feed->lost)
		return;
	(void)fprintf(stderr,
		"warn: %llu published messages of other workers came faster than they could be "
		"read and are lost\n",
		(unsigned long long)(lost - worker_feed->lost));
	worker_feed->lost = lost;
	worker_feed->counters->publications_lost = lost;
}

static void on_bell(uv_poll_t *poll, int status, int events)
{
	struct worker_feed *worker_feed = poll->data;
	struct shm_feed_message message;
	struct epoll_event event;
	int fd;

	(void)status;
	(void)events;
	/* Takes the edge first: what is published from here on rings again. */
	if (uv_fileno((uv_handle_t *)poll, &fd) == 0)
		(void)epoll_wait(fd, &event, 1, 0);
	while (shm_feed_read(worker_feed->feed, &message))
		(void)http_server_publish(
			worker_feed->server, message.topic, (int)message.kind, message.data);
	warn_of_loss(worker_feed);
}

/* An epoll that is readable after each ring; the bell itself stays readable for ever. */
static int watch_bell(int bell, struct error *error)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLET};
	int fd = epoll_create1(EPOLL_CLOEXEC);

	if (fd < 0)
		return error_set_errno(error, "cannot watch the feed");
	if (epoll_ctl(fd, EPOLL_CTL_ADD, bell, &event) != 0) {
		(void)error_set_errno(error, "cannot watch the feed");
		fd_close(&fd);
	}
	return fd;
}

int worker_feed_open(struct worker_feed *worker_feed, uv_loop_t *loop, struct http_server *server,
	struct http_counters *counters, unsigned seat, uint64_t limit, struct error *error)
{
	int fd = watch_bell(WIRE_FD_BELL, error);

	if (fd < 0)
		return -1;
	*worker_feed = (struct worker_feed){.server = server, .counters = counters, .limit = limit};
	worker_feed->feed = shm_feed_join(WIRE_FD_FEED, WIRE_FD_BELL, seat, error);
	if (worker_feed->feed == NULL) {
		fd_close(&fd);
		return -1;
	}
	CHECK(uv_poll_init(loop, &worker_feed->poll, fd) == 0);
	worker_feed->poll.data = worker_feed;
	CHECK(uv_poll_start(&worker_feed->poll, UV_READABLE, on_bell) == 0);
	return 0;
}

int worker_feed_publish(void *context, struct slice topic, int kind, struct slice message)
{
	struct worker_feed *worker_feed = context;
	struct shm_feed_message record = {.kind = (uint32_t)kind, .topic = topic, .data = message};
	int result;

	if (message.size > worker_feed->limit || topic.size > worker_feed->limit - message.size)
		return HTTP_TOO_LONG;
	result = http_server_publish(worker_feed->server, topic, kind, message);
	if (result < 0)
		return result;
	CHECK(shm_feed_write(worker_feed->feed, &record) == 0);
	return HTTP_OK;
}
