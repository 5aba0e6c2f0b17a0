/* Sending files: sendfile(2) for open ones, memory for small ones. Used by workers. */
#include "http/file_body.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/sendfile.h>

#include "base/check.h"
#include "http/secure.h"
#include "http/server_state.h"

#define TURN_SIZE      (1 << 20) /* bytes of one file sent before others get their turn */
#define PART_HEAD_SIZE 384       /* bytes of a part's head at most */

/* Boundaries differ between answers, and nobody can put the next one into a file. */
static void write_boundary(char ret_boundary[HTTP_BOUNDARY_SIZE + 1])
{
	static uint64_t seed;
	static uint32_t count;

	if (seed == 0 && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
		seed = (uint64_t)(uintptr_t)ret_boundary;
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	(void)snprintf(
		ret_boundary, HTTP_BOUNDARY_SIZE + 1, "%016" PRIx64 "%08" PRIx32, seed, count++);
}

struct http_file_body *http_file_body_new(struct http_exchange *exchange, struct http_file *file,
	const struct http_range *ranges, int count, struct slice type)
{
	struct http_file_body *body = arena_alloc(&exchange->arena, sizeof *body);

	if (body == NULL)
		return NULL;
	memset(body, 0, sizeof *body);
	body->file = http_file_retain(file);
	memcpy(body->ranges, ranges, (size_t)count * sizeof *ranges);
	body->count = (uint32_t)count;
	body->at = ranges[0].first;
	body->type = type;
	if (count > 1)
		write_boundary(body->boundary);
	return body;
}

void http_file_body_drop(struct http_exchange *exchange)
{
	if (exchange->file_body == NULL)
		return;
	http_file_release(exchange->file_body->file);
	exchange->file_body = NULL;
}

/* ---- Parts --------------------------------------------------------------------------------- */

/* RFC 9110, 14.6: what stands in front of a range when there are several. Returns its size. */
static size_t part_head(
	const struct http_file_body *body, uint32_t index, char ret_text[PART_HEAD_SIZE])
{
	const struct http_range *range = &body->ranges[index];
	int size = snprintf(ret_text, PART_HEAD_SIZE,
		"%s--%s\r\n%.*sContent-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n\r\n",
		index == 0 ? "" : "\r\n", body->boundary, (int)body->type.size, body->type.data,
		range->first, range->end - 1, body->file->size);

	CHECK(size > 0 && size < PART_HEAD_SIZE);
	return (size_t)size;
}

/* What stands behind the last range. Returns its size. */
static size_t closing(const struct http_file_body *body, char ret_text[PART_HEAD_SIZE])
{
	return (size_t)snprintf(ret_text, PART_HEAD_SIZE, "\r\n--%s--\r\n", body->boundary);
}

uint64_t http_file_body_length(const struct http_file_body *body)
{
	char text[PART_HEAD_SIZE];
	uint64_t length = 0;

	for (uint32_t i = 0; i < body->count; i++) {
		length += body->ranges[i].end - body->ranges[i].first;
		if (body->count > 1)
			length += part_head(body, i, text);
	}
	return body->count > 1 ? length + closing(body, text) : length;
}

/* ---- Sending ------------------------------------------------------------------------------- */

/* Bytes that are at hand: all are taken, sent or kept. Returns how many. */
static uint64_t send_memory(struct http_exchange *exchange, const char *data, size_t size)
{
	struct slice piece = {.data = data, .size = size};

	exchange->owed -= size;
	http_output_add(exchange->connection, &piece, 1);
	return size;
}

/* Up to `size` bytes of the current range. Returns how many; 0 when the client takes no more, or
 * the answer is broken off. */
static uint64_t send_range(struct http_exchange *exchange, uint64_t size)
{
	struct http_file_body *body = exchange->file_body;
	struct http_connection *connection = exchange->connection;
	off_t at = (off_t)body->at;
	ssize_t sent;

	if (body->file->data != NULL) {
		body->at += size;
		return send_memory(exchange, body->file->data + at, (size_t)size);
	}
	do
		sent = connection->tls != NULL
			       ? http_secure_send_file(
					 connection, body->file->fd, &at, (size_t)size)
			       : sendfile(connection->fd, body->file->fd, &at, (size_t)size);
	while (sent < 0 && errno == EINTR);
	if (sent > 0) {
		body->at += (uint64_t)sent;
		exchange->owed -= (uint64_t)sent;
		return (uint64_t)sent;
	}
	if (sent == 0 || errno == EIO) /* the file is shorter now, or the disk fails */
		(void)http_response_abort(&exchange->view, exchange->view.serial);
	else if (errno != EAGAIN)
		connection->broken = true;
	return 0;
}

/* Moves on where the current range is at its end. Returns whether there is something to send. */
static bool next_range(struct http_exchange *exchange, uint64_t *sent)
{
	struct http_file_body *body = exchange->file_body;
	char text[PART_HEAD_SIZE];

	if (body->at == body->ranges[body->current].end && body->current + 1 < body->count) {
		body->current++;
		body->at = body->ranges[body->current].first;
		body->in_part = false;
	}
	if (body->at == body->ranges[body->current].end) {
		size_t size = body->count > 1 ? closing(body, text) : 0;

		http_file_body_drop(exchange);
		if (size != 0)
			*sent += send_memory(exchange, text, size);
		CHECK(exchange->owed == 0);
		(void)http_response_end(&exchange->view, exchange->view.serial);
		return false;
	}
	if (!body->in_part && body->count > 1)
		*sent += send_memory(exchange, text, part_head(body, body->current, text));
	body->in_part = true;
	return true;
}

/* Whether the file may be sent from; if not, the answer is broken off or body->in_doubt is set. */
static bool check_file(struct http_exchange *exchange)
{
	struct http_file_body *body = exchange->file_body;
	enum http_file_change change = http_file_change(body->file);

	if (change == HTTP_FILE_IN_DOUBT && !body->in_doubt) {
		body->in_doubt = true;
		return false;
	}
	body->in_doubt = false;
	if (change == HTTP_FILE_WHOLE)
		return true;
	(void)http_response_abort(&exchange->view, exchange->view.serial);
	return false;
}

uint64_t http_file_body_send(struct http_exchange *exchange)
{
	struct http_connection *connection = exchange->connection;
	struct http_file_body *body = exchange->file_body;
	uint64_t sent = 0;

	if (!check_file(exchange))
		return 0;
	while (sent < TURN_SIZE && connection->output.size == 0 && !connection->broken) {
		uint64_t left;
		uint64_t taken;

		if (!next_range(exchange, &sent))
			break;
		left = body->ranges[body->current].end - body->at;
		taken = send_range(exchange, left < TURN_SIZE - sent ? left : TURN_SIZE - sent);
		if (taken == 0)
			break;
		sent += taken;
	}
	return sent;
}
