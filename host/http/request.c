/*
 * Exchanges: the pool, and the accessors of http_abi.h. Used by workers.
 *
 * The pool and the serial are one per process, for the reason given in request.h.
 */
#include "http/request.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "compress/compressor.h"
#include "http/connection.h"
#include "http/export.h"
#include "http/file_body.h"
#include "http/server_state.h"

#define SLAB_COUNT  16   /* exchanges taken from malloc at once */
#define KEPT_COUNT  64   /* free exchanges that keep their buffers */
#define KEPT_BUFFER 8192 /* bytes of a buffer that are kept */

struct slab {
	struct slab *next;
	struct http_exchange exchanges[SLAB_COUNT];
};

static struct {
	struct slab *slabs; /* all there are; none is ever freed */
	struct list free;   /* by `ready`; those used last first, as they are in the cache */
	uint32_t free_count;
	int32_t count;   /* exchanges there are */
	uint64_t serial; /* the last one given */
} pool;

static int pool_grow(void)
{
	struct slab *slab = calloc(1, sizeof *slab);

	if (slab == NULL)
		return -1;
	slab->next = pool.slabs;
	pool.slabs = slab;
	if (pool.free.next == NULL)
		list_init(&pool.free);
	for (size_t i = 0; i < SLAB_COUNT; i++) {
		struct http_exchange *exchange = &slab->exchanges[i];

		exchange->fields = exchange->inline_fields;
		exchange->field_capacity = HTTP_FIELDS_INLINE;
		exchange->view.serial = ++pool.serial;
		exchange->view.number = pool.count++;
		list_append(&pool.free, &exchange->ready);
	}
	pool.free_count += SLAB_COUNT;
	return 0;
}

struct http_exchange *http_exchange_new(struct http_connection *connection)
{
	struct http_exchange *exchange;

	if ((pool.free.next == NULL || list_empty(&pool.free)) && pool_grow() != 0)
		return NULL;
	exchange = LIST_ENTRY(pool.free.next, struct http_exchange, ready);
	list_remove(&exchange->ready);
	pool.free_count--;
	exchange->connection = connection;
	exchange->ip[0] = '\0';
	exchange->begun = false;
	exchange->view.is_secure = connection->tls != NULL;
	exchange->view.app = connection->app;
	return exchange;
}

struct http_exchange *http_exchange_find(uint64_t serial)
{
	for (struct slab *slab = pool.slabs; slab != NULL; slab = slab->next) {
		for (size_t i = 0; i < SLAB_COUNT; i++) {
			struct http_exchange *exchange = &slab->exchanges[i];

			if (exchange->view.serial == serial && exchange->view.state != 0)
				return exchange;
		}
	}
	return NULL;
}

static void trim(struct buffer *buffer, size_t keep)
{
	buffer->size = 0;
	if (buffer->capacity > keep)
		buffer_free(buffer);
}

static void drop_fields(struct http_exchange *exchange)
{
	if (exchange->fields == exchange->inline_fields)
		return;
	free(exchange->fields);
	exchange->fields = exchange->inline_fields;
	exchange->field_capacity = HTTP_FIELDS_INLINE;
}

static void drop_compressor(struct http_exchange *exchange)
{
	if (exchange->compressor == NULL)
		return;
	compressor_free(exchange->compressor);
	exchange->compressor = NULL;
}

/* Ends the request: what it holds goes, but for buffers of up to `keep` bytes. */
static void end_request(struct http_exchange *exchange, size_t keep)
{
	/* A WebSocket has taken its connection away. */
	if (exchange->connection != NULL && exchange->connection->server->access != NULL)
		http_access_end(exchange);
	exchange->view.serial = ++pool.serial;
	exchange->view.state = 0;
	http_file_body_drop(exchange);
	trim(&exchange->head, keep);
	trim(&exchange->body, keep);
	if (exchange->trailers.size != 0)
		buffer_free(&exchange->trailers);
	drop_fields(exchange);
	drop_compressor(exchange);
	if (exchange->arena.blocks == NULL)
		;
	else if (keep != 0)
		arena_reset(&exchange->arena);
	else
		arena_free(&exchange->arena);
	list_remove(&exchange->ready);
	exchange->begun = false;
}

void http_exchange_reset(struct http_exchange *exchange)
{
	end_request(exchange, KEPT_BUFFER);
}

void http_exchange_drop(struct http_exchange *exchange)
{
	exchange->view.serial = ++pool.serial;
	exchange->view.state = 0;
	http_file_body_drop(exchange);
	trim(&exchange->body, KEPT_BUFFER);
	list_remove(&exchange->ready);
	exchange->dropped = 0;
	exchange->dropping = true;
}

void http_exchange_free(struct http_exchange *exchange)
{
	bool keep = pool.free_count < KEPT_COUNT;

	/* Most have been reset just now, and are done but for the rest. */
	if (exchange->begun || !keep)
		end_request(exchange, keep ? KEPT_BUFFER : 0);
	exchange->connection = NULL;
	exchange->rest_at = 0;
	trim(&exchange->rest, keep ? KEPT_BUFFER : 0);
	list_remove(&exchange->ready);
	list_append(pool.free.next, &exchange->ready);
	pool.free_count++;
}

/* The exchange of a request that is not over, or NULL. */
static const struct http_exchange *check(const struct http_request *request, uint64_t serial)
{
	if (request->serial != serial || request->state == 0)
		return NULL;
	return (const struct http_exchange *)(const void *)request;
}

HTTP_EXPORT const char *http_request_header(const struct http_request *request, uint64_t serial,
	const char *name, size_t name_size, uint32_t nth, size_t *size)
{
	const struct http_exchange *exchange = check(request, serial);

	if (exchange == NULL)
		return NULL;
	for (uint32_t i = 0; i < exchange->field_count; i++) {
		const struct http_field *field = &exchange->fields[i];

		if (field->name_size != name_size ||
			strncasecmp(exchange->base + field->name_at, name, name_size) != 0)
			continue;
		if (nth-- != 0)
			continue;
		*size = field->value_size;
		return exchange->base + field->value_at;
	}
	return NULL;
}

HTTP_EXPORT int http_request_header_at(const struct http_request *request, uint64_t serial,
	uint32_t index, const char **name, size_t *name_size, const char **value,
	size_t *value_size)
{
	const struct http_exchange *exchange = check(request, serial);
	const struct http_field *field;

	if (exchange == NULL || index >= exchange->field_count)
		return 0;
	field = &exchange->fields[index];
	*name = exchange->base + field->name_at;
	*name_size = field->name_size;
	*value = exchange->base + field->value_at;
	*value_size = field->value_size;
	return 1;
}

static void write_ip(int fd, char ip[HTTP_IP_SIZE])
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	} peer = {.any = {.sa_family = AF_UNSPEC}};
	socklen_t size = sizeof peer;

	(void)getpeername(fd, &peer.any, &size);
	if (peer.any.sa_family == AF_INET)
		(void)inet_ntop(AF_INET, &peer.in.sin_addr, ip, HTTP_IP_SIZE);
	else if (peer.any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&peer.in6.sin6_addr))
		(void)inet_ntop(AF_INET, &peer.in6.sin6_addr.s6_addr[12], ip, HTTP_IP_SIZE);
	else if (peer.any.sa_family == AF_INET6)
		(void)inet_ntop(AF_INET6, &peer.in6.sin6_addr, ip, HTTP_IP_SIZE);
	else
		(void)snprintf(
			ip, HTTP_IP_SIZE, "%s", peer.any.sa_family == AF_UNIX ? "unix:" : "");
}

const char *http_exchange_ip(struct http_exchange *exchange)
{
	if (exchange->ip[0] == '\0')
		write_ip(exchange->connection->fd, exchange->ip);
	return exchange->ip;
}

HTTP_EXPORT const char *http_request_ip(const struct http_request *request, uint64_t serial)
{
	const struct http_exchange *exchange = check(request, serial);

	/* The view is const for the caller; the exchange behind it is ours. */
	return exchange == NULL ? NULL
				: http_exchange_ip((struct http_exchange *)(uintptr_t)exchange);
}
