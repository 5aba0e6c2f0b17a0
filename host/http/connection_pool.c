/* The memory of a server's connections: see connection.h. Used by workers. */
#include "http/connection.h"

#include <stdlib.h>

#define SLAB_SIZE 16384 /* bytes of connections taken from malloc at once */

#define SLAB_COUNT                                                                                 \
	((SLAB_SIZE - sizeof(struct http_connection_slab)) / sizeof(struct http_connection))

struct http_connection_slab {
	struct http_connection_slab *next;
	struct http_connection connections[];
};

struct http_connection *http_connection_pool_take(struct http_connection_pool *pool)
{
	struct list *node;

	if (list_empty(&pool->free)) {
		struct http_connection_slab *slab = malloc(SLAB_SIZE);

		if (slab == NULL)
			return NULL;
		slab->next = pool->slabs;
		pool->slabs = slab;
		for (size_t i = 0; i < SLAB_COUNT; i++)
			list_append(&pool->free, &slab->connections[i].link);
	}
	node = pool->free.next;
	list_remove(node);
	return LIST_ENTRY(node, struct http_connection, link);
}

void http_connection_pool_free(struct http_connection_pool *pool)
{
	while (pool->slabs != NULL) {
		struct http_connection_slab *slab = pool->slabs;

		pool->slabs = slab->next;
		free(slab);
	}
	list_init(&pool->free);
}
