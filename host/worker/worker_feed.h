/*
 * What is published: to this worker's WebSockets at once, to the others' through the feed, and what
 * others publish to ours. Owned by the worker; on its loop.
 */
#ifndef PERIGEE_WORKER_WORKER_FEED_H
#define PERIGEE_WORKER_WORKER_FEED_H

#include <uv.h>

#include "base/error.h"
#include "base/slice.h"
#include "http/server.h"
#include "worker/bell.h"

struct shm_feed;

struct worker_feed {
	struct shm_feed *feed;
	struct http_server *server;
	struct http_counters *counters;
	uint64_t limit; /* bytes of a topic and its message: publish_limit */
	struct bell bell;
	uint64_t lost; /* messages that are in the log already */
};

/* The feed that a worker is given, and how it takes part. */
struct worker_feed_place {
	int feed; /* memfd and eventfd; they stay the caller's */
	int bell;
	unsigned seat;
	uint64_t limit; /* setting publish_limit */
};

/* Joins it. Without a server and counters it is only published, to the others. Returns 0, or -1
 * with *error. */
int worker_feed_open(struct worker_feed *worker_feed, uv_loop_t *loop, struct http_server *server,
	struct http_counters *counters, const struct worker_feed_place *place, struct error *error);

/*
 * Publishes; a script_publish_function, whose context is the worker_feed. Returns HTTP_OK,
 * HTTP_BAD_TEXT, or HTTP_TOO_LONG.
 */
int worker_feed_publish(void *context, struct slice topic, int kind, struct slice message);

#endif
