/* Topics of a server's WebSockets: see websocket_topic.h. Owned by the server; used by workers. */
#include "http/websocket_topic.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "http/export.h"
#include "http/server_state.h"
#include "http/websocket.h"
#include "http/websocket_deflate.h"

struct websocket_topic {
	struct websocket_topic *next; /* in its bucket */
	struct websocket_topics *topics;
	struct list subscriptions; /* struct websocket_subscription, by `of_topic` */
	uint64_t hash;
	size_t size;
	char name[]; /* `size` bytes */
};

struct websocket_subscription {
	struct list of_topic;
	struct list of_websocket;
	struct websocket_topic *topic;
	struct http_websocket *websocket;
};

/* A message on its way to subscribers: its frame as it is and, once one wants it, compressed. */
struct publication {
	enum websocket_opcode opcode;
	struct slice payload;
	struct slice compressed; /* made for window_bits; no data: not made, or not shorter */
	int window_bits;         /* 0: nobody has asked yet */
};

/* FNV-1a; topics are the application's own, so nobody outside picks them. */
static uint64_t hash_of(struct slice name)
{
	uint64_t hash = 0xcbf29ce484222325u;

	for (size_t i = 0; i < name.size; i++)
		hash = (hash ^ (uint8_t)name.data[i]) * 0x100000001b3u;
	return hash;
}

/* Where the topic hangs, or would: the end of its bucket's chain. */
static struct websocket_topic **find(struct websocket_topics *topics, struct slice name)
{
	uint64_t hash = hash_of(name);
	struct websocket_topic **at = &topics->buckets[hash % WEBSOCKET_TOPIC_BUCKETS];

	while (*at != NULL && ((*at)->hash != hash || (*at)->size != name.size ||
				      memcmp((*at)->name, name.data, name.size) != 0))
		at = &(*at)->next;
	return at;
}

static struct websocket_topic *find_or_make(struct websocket_topics *topics, struct slice name)
{
	struct websocket_topic **at;
	struct websocket_topic *topic;

	if (topics->buckets == NULL)
		topics->buckets = calloc(WEBSOCKET_TOPIC_BUCKETS, sizeof(struct websocket_topic *));
	if (topics->buckets == NULL)
		return NULL;
	at = find(topics, name);
	if (*at != NULL)
		return *at;
	topic = malloc(sizeof *topic + name.size);
	if (topic == NULL)
		return NULL;
	*topic = (struct websocket_topic){
		.topics = topics, .hash = hash_of(name), .size = name.size};
	list_init(&topic->subscriptions);
	if (name.size != 0)
		memcpy(topic->name, name.data, name.size);
	*at = topic;
	return topic;
}

static void drop_unused(struct websocket_topic *topic)
{
	struct websocket_topic **at;

	if (!list_empty(&topic->subscriptions))
		return;
	at = find(topic->topics, (struct slice){.data = topic->name, .size = topic->size});
	CHECK(*at == topic);
	*at = topic->next;
	free(topic);
}

static void leave(struct websocket_subscription *subscription)
{
	list_remove(&subscription->of_topic);
	list_remove(&subscription->of_websocket);
	drop_unused(subscription->topic);
	free(subscription);
}

void websocket_topic_leave_all(struct http_websocket *websocket)
{
	while (!list_empty(&websocket->subscriptions))
		leave(LIST_ENTRY(list_take_first(&websocket->subscriptions),
			struct websocket_subscription, of_websocket));
}

void websocket_topics_free(struct websocket_topics *topics)
{
	free((void *)topics->buckets); /* the topics went with their subscribers */
	topics->buckets = NULL;
}

/* ---- What Lua calls ------------------------------------------------------------------------ */

static struct websocket_subscription *subscription_of(
	const struct http_websocket *websocket, struct slice name)
{
	LIST_EACH(node, &websocket->subscriptions)
	{
		struct websocket_subscription *subscription =
			LIST_ENTRY(node, struct websocket_subscription, of_websocket);

		if (slice_equal(name, (struct slice){.data = subscription->topic->name,
					      .size = subscription->topic->size}))
			return subscription;
	}
	return NULL;
}

HTTP_EXPORT int http_websocket_subscribe(
	struct http_request *request, uint64_t serial, const char *topic, size_t topic_size)
{
	struct http_websocket *websocket = http_websocket_of(request, serial);
	struct slice name = {.data = topic, .size = topic_size};
	struct websocket_subscription *subscription;

	if (websocket == NULL || websocket->state != WEBSOCKET_OPEN || websocket->handler_done)
		return HTTP_OVER;
	if (subscription_of(websocket, name) != NULL)
		return HTTP_OK;
	subscription = malloc(sizeof *subscription);
	if (subscription == NULL)
		return HTTP_NO_MEMORY;
	subscription->topic = find_or_make(&websocket->server->topics, name);
	if (subscription->topic == NULL) {
		free(subscription);
		return HTTP_NO_MEMORY;
	}
	subscription->websocket = websocket;
	list_append(&subscription->topic->subscriptions, &subscription->of_topic);
	list_append(&websocket->subscriptions, &subscription->of_websocket);
	return HTTP_OK;
}

HTTP_EXPORT int http_websocket_unsubscribe(
	struct http_request *request, uint64_t serial, const char *topic, size_t topic_size)
{
	struct http_websocket *websocket = http_websocket_of(request, serial);
	struct websocket_subscription *subscription;

	if (websocket == NULL)
		return HTTP_OVER;
	subscription =
		subscription_of(websocket, (struct slice){.data = topic, .size = topic_size});
	if (subscription == NULL)
		return 0;
	leave(subscription);
	return 1;
}

/* ---- Publishing ---------------------------------------------------------------------------- */

static void compress(struct publication *publication, int window_bits)
{
	if (publication->window_bits == window_bits)
		return;
	publication->window_bits = window_bits;
	publication->compressed = websocket_deflate(
		window_bits, publication->payload.data, publication->payload.size);
}

static void deliver(struct http_websocket *websocket, struct publication *publication)
{
	struct http_server *server = websocket->server;
	const struct http_config *config = server->config;
	bool compressed = websocket->window_bits != 0 &&
			  publication->payload.size >= config->websocket_compression_min;

	if (http_websocket_pending(websocket) > config->websocket_buffer_limit) {
		server->counters->websockets_slow++;
		http_websocket_begin_close(websocket, WEBSOCKET_CODE_TRY_LATER,
			SLICE("too slow for what is published"));
		return;
	}
	if (compressed)
		compress(publication, websocket->window_bits);
	if (compressed && publication->compressed.data != NULL)
		http_websocket_send_frame(
			websocket, publication->opcode, true, publication->compressed);
	else
		http_websocket_send_frame(
			websocket, publication->opcode, false, publication->payload);
}

bool http_publication_valid(int kind, struct slice message)
{
	return kind == HTTP_WEBSOCKET_BINARY || websocket_utf8_valid(message.data, message.size);
}

int http_server_publish(
	struct http_server *server, struct slice topic, int kind, struct slice message)
{
	struct publication publication = {
		.opcode = kind == HTTP_WEBSOCKET_BINARY ? WEBSOCKET_BINARY : WEBSOCKET_TEXT,
		.payload = message,
	};
	struct websocket_topic *found;
	int count = 0;

	if (!http_publication_valid(kind, message))
		return HTTP_BAD_TEXT;
	if (server->topics.buckets == NULL)
		return 0;
	found = *find(&server->topics, topic);
	if (found == NULL)
		return 0;
	/* The last slow one may take the topic with it: hold it by a subscription of nobody's. */
	struct list guard;
	list_append(&found->subscriptions, &guard);
	LIST_EACH(node, &found->subscriptions)
	{
		if (node == &guard)
			break;
		deliver(LIST_ENTRY(node, struct websocket_subscription, of_topic)->websocket,
			&publication);
		count++;
	}
	list_remove(&guard);
	drop_unused(found);
	return count;
}
