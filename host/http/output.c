/* Writing: the batch, and the bytes a slow client leaves behind. Used by workers. */
#include "http/output.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/check.h"
#include "http/secure.h"
#include "http/server_state.h"

/* MSG_NOSIGNAL: a client that has gone is an error value here, never a SIGPIPE. MSG_MORE: a head
 * waits for the file's first bytes, which are sent next. */
static size_t send_parts(struct http_connection *connection, struct iovec *parts, size_t count)
{
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
	const struct http_exchange *exchange = connection->exchange;
	int flags = MSG_NOSIGNAL;
	ssize_t sent;

	if (exchange != NULL && exchange->file_body != NULL && connection->tls == NULL)
		flags |= MSG_MORE;

	do {
		if (count == 1)
			sent = send(connection->fd, parts->iov_base, parts->iov_len, flags);
		else
			sent = sendmsg(connection->fd, &message, flags);
	} while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return (size_t)sent;
	if (errno != EAGAIN && errno != EWOULDBLOCK)
		connection->broken = true;
	return 0;
}

/* Keeps what lies behind the first `sent` bytes of the parts. */
static void keep_parts(
	struct http_connection *connection, const struct iovec *parts, size_t count, size_t sent)
{
	if (connection->broken)
		return;
	for (size_t i = 0; i < count; i++) {
		size_t skip = sent < parts[i].iov_len ? sent : parts[i].iov_len;

		sent -= skip;
		if (buffer_add(&connection->output, (const char *)parts[i].iov_base + skip,
			    parts[i].iov_len - skip) != 0)
			connection->broken = true;
	}
}

void http_output_begin(struct http_connection *connection)
{
	struct http_batch *batch = &connection->server->batch;

	CHECK(batch->owner == NULL);
	CHECK(batch->size == 0);
	batch->owner = connection;
}

/* The same as write_batch, under TLS. */
static void secure_batch(
	struct http_connection *connection, const struct slice *parts, size_t count)
{
	struct http_batch *batch = &connection->server->batch;
	struct slice collected = {.data = batch->data, .size = batch->size};

	if (batch->owner == connection) {
		batch->size = 0;
		http_secure_send(connection, &collected, 1);
	}
	http_secure_send(connection, parts, count);
}

/* Writes the batch and `count` more parts behind it in one call; keeps what is not taken. */
static void write_batch(struct http_connection *connection, const struct slice *parts, size_t count)
{
	struct http_batch *batch = &connection->server->batch;
	struct iovec vector[HTTP_PARTS_MAX + 1];
	size_t used = 0;
	size_t total = 0;
	size_t sent;

	if (connection->tls != NULL) {
		secure_batch(connection, parts, count);
		return;
	}
	if (batch->owner == connection && batch->size != 0)
		vector[used++] = (struct iovec){.iov_base = batch->data, .iov_len = batch->size};
	for (size_t i = 0; i < count; i++)
		if (parts[i].size != 0)
			vector[used++] =
				(struct iovec){.iov_base = (void *)(uintptr_t)parts[i].data,
					.iov_len = parts[i].size};
	for (size_t i = 0; i < used; i++)
		total += vector[i].iov_len;
	if (batch->owner == connection)
		batch->size = 0;
	if (total == 0)
		return;
	sent = send_parts(connection, vector, used);
	if (sent < total)
		keep_parts(connection, vector, used, sent);
}

void http_output_finish(struct http_connection *connection)
{
	struct http_batch *batch = &connection->server->batch;

	CHECK(batch->owner == connection);
	if (!connection->broken)
		write_batch(connection, NULL, 0);
	batch->size = 0;
	batch->owner = NULL;
}

static void batch_add(struct http_batch *batch, const struct slice *parts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (parts[i].size == 0)
			continue;
		memcpy(batch->data + batch->size, parts[i].data, parts[i].size);
		batch->size += parts[i].size;
	}
}

void http_output_add(struct http_connection *connection, const struct slice *parts, size_t count)
{
	struct http_batch *batch = &connection->server->batch;
	size_t total = 0;

	CHECK(count <= HTTP_PARTS_MAX);
	if (connection->broken)
		return;
	if (connection->output.size != 0 && connection->tls != NULL) {
		http_secure_send(connection, parts, count);
		return;
	}
	if (connection->output.size != 0) {
		for (size_t i = 0; i < count; i++)
			if (buffer_add(&connection->output, parts[i].data, parts[i].size) != 0)
				connection->broken = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		total += parts[i].size;
	if (batch->owner == connection && total <= HTTP_BATCH_SIZE - batch->size)
		batch_add(batch, parts, count);
	else
		write_batch(connection, parts, count);
}

char *http_output_room(struct http_connection *connection, size_t size)
{
	const struct http_batch *batch = &connection->server->batch;

	if (connection->broken || connection->output.size != 0 || batch->owner != connection ||
		size > HTTP_BATCH_SIZE - batch->size)
		return NULL;
	return batch->data + batch->size;
}

void http_output_put(struct http_connection *connection, size_t size)
{
	struct http_batch *batch = &connection->server->batch;

	CHECK(size <= HTTP_BATCH_SIZE - batch->size);
	batch->size += size;
}

void http_output_send(struct http_connection *connection, struct slice records)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)records.data, .iov_len = records.size};
	size_t sent = 0;

	if (connection->broken)
		return;
	if (connection->output.size == 0)
		sent = send_parts(connection, &part, 1);
	if (sent < records.size)
		keep_parts(connection, &part, 1, sent);
}

size_t http_output_flush(struct http_connection *connection)
{
	struct buffer *output = &connection->output;
	struct iovec part;
	size_t sent;

	part.iov_base = output->data + connection->output_at;
	part.iov_len = output->size - connection->output_at;
	sent = send_parts(connection, &part, 1);
	connection->output_at += sent;
	if (connection->output_at == output->size) {
		buffer_free(output);
		connection->output_at = 0;
	} else if (connection->output_at > output->size / 2) {
		/* Moves each byte once at most for each time it is written. */
		buffer_consume(output, connection->output_at);
		connection->output_at = 0;
	}
	return sent;
}
