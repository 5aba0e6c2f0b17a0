/* Publishing across workers: see worker_feed.h. Runs in workers and managed processes. */
#include "worker/worker_feed.h"

#include <stdio.h>

#include "base/check.h"
#include "shm/feed.h"

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

static void on_bell(void *context)
{
	struct worker_feed *worker_feed = context;
	struct shm_feed_message message;

	while (shm_feed_read(worker_feed->feed, &message))
		(void)http_server_publish(
			worker_feed->server, message.topic, (int)message.kind, message.data);
	warn_of_loss(worker_feed);
}

int worker_feed_open(struct worker_feed *worker_feed, uv_loop_t *loop, struct http_server *server,
	struct http_counters *counters, const struct worker_feed_place *place, struct error *error)
{
	*worker_feed =
		(struct worker_feed){.server = server, .counters = counters, .limit = place->limit};
	worker_feed->feed = shm_feed_join(place->feed, place->bell, place->seat, error);
	if (worker_feed->feed == NULL)
		return -1;
	if (server == NULL)
		return 0; /* there is nobody here to read it for */
	return bell_watch(&worker_feed->bell, loop, place->bell, on_bell, worker_feed, error);
}

/* To the subscribers in this process. Returns less than 0, HTTP_BAD_TEXT, when it is not done. */
static int publish_here(
	const struct worker_feed *worker_feed, struct slice topic, int kind, struct slice message)
{
	if (worker_feed->server != NULL)
		return http_server_publish(worker_feed->server, topic, kind, message);
	return http_publication_valid(kind, message) ? HTTP_OK : HTTP_BAD_TEXT;
}

int worker_feed_publish(void *context, struct slice topic, int kind, struct slice message)
{
	struct worker_feed *worker_feed = context;
	struct shm_feed_message record = {.kind = (uint32_t)kind, .topic = topic, .data = message};
	int result;

	if (message.size > worker_feed->limit || topic.size > worker_feed->limit - message.size)
		return HTTP_TOO_LONG;
	result = publish_here(worker_feed, topic, kind, message);
	if (result < 0)
		return result;
	CHECK(shm_feed_write(worker_feed->feed, &record) == 0);
	return HTTP_OK;
}
