/*
 * Topics: which WebSockets of this process get what is published.
 *
 * A topic exists while somebody is subscribed to it. A message is made into a frame once and
 * written to each subscriber from there; only what a slow one does not take is copied, and one
 * that has more than websocket_buffer_limit waiting is closed with 1013 and counted.
 */
#ifndef PERIGEE_HTTP_WEBSOCKET_TOPIC_H
#define PERIGEE_HTTP_WEBSOCKET_TOPIC_H

#include <stddef.h>

#include "base/list.h"

#define WEBSOCKET_TOPIC_BUCKETS 1024

struct http_server;
struct http_websocket;

/* The topics of a server, by hash. Zeroed: none. */
struct websocket_topics {
	struct websocket_topic **buckets; /* WEBSOCKET_TOPIC_BUCKETS; NULL before the first one */
};

/* Ends all its subscriptions. */
void websocket_topic_leave_all(struct http_websocket *websocket);

void websocket_topics_free(struct websocket_topics *topics);

#endif
