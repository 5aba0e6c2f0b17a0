/* The log. Owned by the manager; its one thread reads all pipes and writes all lines. */
#include "manager/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/fd.h"

#define SINK_READS_PER_TURN 16 /* of 64 KiB each, so that one loud child does not stop the rest */

/*
 * A descriptor of our own for stderr: its O_NONBLOCK must not reach whoever shares the terminal
 * or pipe with us. A socket (systemd's journal) cannot be opened again and is duplicated.
 */
static int open_stderr(void)
{
	int fd = open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return fd;
}

static int open_target(const struct identity *identity, const char *path, struct error *error)
{
	int fd;

	if (path[0] == '\0') {
		fd = open_stderr();
		return fd >= 0 ? fd : error_set_errno(error, "cannot write to stderr");
	}
	fd = identity_open(identity, path,
		O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);
	return fd >= 0 ? fd : error_set_errno(error, "cannot open the log file %s", path);
}

static ssize_t write_some(int fd, const char *data, size_t size)
{
	ssize_t written = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (written < 0 && errno == ENOTSOCK)
		written = write(fd, data, size);
	return written;
}

static void on_writable(uv_poll_t *handle, int status, int events);

/* Whether the descriptor can be waited for; a regular file cannot, and never needs it. */
static bool wait_for_writable(struct sink *sink)
{
	if (sink->writable == NULL) {
		uv_poll_t *handle = malloc(sizeof *handle);

		if (handle == NULL || uv_poll_init(sink->loop, handle, sink->fd) != 0) {
			free(handle);
			return false;
		}
		handle->data = sink;
		sink->writable = handle;
	}
	return uv_poll_start(sink->writable, UV_WRITABLE, on_writable) == 0;
}

static void flush(struct sink *sink)
{
	size_t done = 0;

	while (done < sink->pending.size) {
		ssize_t written =
			write_some(sink->fd, sink->pending.data + done, sink->pending.size - done);

		if (written > 0) {
			done += (size_t)written;
			continue;
		}
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) &&
			wait_for_writable(sink))
			break;
		/* A closed reader or a full disk: these lines are lost, the service goes on. */
		sink->dropped++;
		done = sink->pending.size;
	}
	buffer_consume(&sink->pending, done);
	if (sink->pending.size == 0 && sink->writable != NULL)
		(void)uv_poll_stop(sink->writable);
}

static void on_writable(uv_poll_t *handle, int status, int events)
{
	(void)status;
	(void)events;
	flush(handle->data);
}

static bool add_line(struct sink *sink, const char *label, const char *text, size_t size)
{
	char head[CLOCK_STAMP_SIZE + SINK_LABEL_SIZE + 8];
	char stamp[CLOCK_STAMP_SIZE];
	int head_size;

	clock_stamp(stamp);
	head_size = snprintf(head, sizeof head, "%s %s | ", stamp, label);
	if (sink->pending.size + (size_t)head_size + size + 1 > SINK_PENDING_LIMIT ||
		buffer_reserve(&sink->pending, (size_t)head_size + size + 1) != 0)
		return false;
	(void)buffer_add(&sink->pending, head, (size_t)head_size);
	(void)buffer_add(&sink->pending, text, size);
	(void)buffer_add(&sink->pending, "\n", 1);
	if (sink->tail != NULL)
		shm_tail_write(sink->tail,
			sink->pending.data + sink->pending.size - (size_t)head_size - size - 1,
			(size_t)head_size + size + 1);
	return true;
}

static void write_line(struct sink *sink, const char *label, const char *text, size_t size)
{
	if (sink->dropped != 0) {
		char note[96];
		int note_size = snprintf(note, sizeof note,
			"%llu log lines were dropped: nobody took them in time",
			(unsigned long long)sink->dropped);

		if (!add_line(sink, "manager", note, (size_t)note_size)) {
			sink->dropped++;
			return;
		}
		sink->dropped = 0;
	}
	if (!add_line(sink, label, text, size))
		sink->dropped++;
	flush(sink);
}

int sink_open(
	struct sink *sink, uv_loop_t *loop, const struct identity *identity, struct error *error)
{
	*sink = (struct sink){.loop = loop, .identity = identity, .fd = -1};
	sink->fd = open_target(identity, "", error);
	return sink->fd >= 0 ? 0 : -1;
}

static void free_handle(uv_handle_t *handle)
{
	free(handle);
}

/* Leaves the descriptor to be closed; the handle goes when libuv is done with it. */
static void retire_writable(struct sink *sink)
{
	if (sink->writable == NULL)
		return;
	uv_close((uv_handle_t *)sink->writable, free_handle);
	sink->writable = NULL;
}

void sink_flush(struct sink *sink)
{
	flush(sink);
}

int sink_redirect(struct sink *sink, const char *path, struct error *error)
{
	int fd = open_target(sink->identity, path, error);

	if (fd < 0)
		return -1;
	flush(sink);
	retire_writable(sink);
	fd_close(&sink->fd);
	sink->fd = fd;
	free(sink->path);
	sink->path = path[0] == '\0' ? NULL : strdup(path);
	flush(sink);
	return 0;
}

int sink_reopen(struct sink *sink, struct error *error)
{
	char *path;
	int result;

	if (sink->path == NULL)
		return 0;
	path = strdup(sink->path);
	if (path == NULL)
		return error_set(error, ENOMEM, "no memory to reopen the log file");
	result = sink_redirect(sink, path, error);
	free(path);
	return result;
}

void sink_close(struct sink *sink, uint64_t milliseconds)
{
	uint64_t deadline = clock_now() + milliseconds;

	retire_writable(sink);
	while (sink->pending.size != 0) {
		struct pollfd wait = {.fd = sink->fd, .events = POLLOUT};
		uint64_t now = clock_now();
		ssize_t written;

		if (now >= deadline || poll(&wait, 1, (int)(deadline - now)) <= 0)
			break;
		written = write_some(sink->fd, sink->pending.data, sink->pending.size);
		if (written <= 0)
			break;
		buffer_consume(&sink->pending, (size_t)written);
	}
	buffer_free(&sink->pending);
	free(sink->path);
	sink->path = NULL;
	fd_close(&sink->fd);
}

void sink_log(struct sink *sink, const char *format, ...)
{
	char text[2 * ERROR_TEXT_MAX];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	sink_text(sink, "manager", text, strlen(text));
}

void sink_text(struct sink *sink, const char *label, const char *text, size_t size)
{
	while (size != 0) {
		const char *end = memchr(text, '\n', size);
		size_t length = end != NULL ? (size_t)(end - text) : size;

		write_line(sink, label, text, length);
		length += end != NULL;
		text += length;
		size -= length;
	}
}

/* Writes the whole lines of what was collected; cuts a line that passes its limit. */
static void source_emit(struct sink_source *source)
{
	struct buffer *partial = &source->partial;
	size_t done = 0;

	while (done < partial->size) {
		const char *start = partial->data + done;
		size_t rest = partial->size - done;
		const char *end = memchr(start, '\n', rest);

		if (end != NULL) {
			write_line(source->sink, source->label, start, (size_t)(end - start));
			done += (size_t)(end - start) + 1;
		} else if (rest >= SINK_LINE_LIMIT) {
			write_line(source->sink, source->label, start, SINK_LINE_LIMIT);
			done += SINK_LINE_LIMIT;
		} else {
			break;
		}
	}
	buffer_consume(partial, done);
	if (partial->size == 0)
		buffer_free(partial);
}

/* One read. Returns false when there is nothing more now, or ever. */
static bool source_read(struct sink_source *source)
{
	ssize_t received;

	if (buffer_reserve(&source->partial, SINK_LINE_LIMIT) != 0)
		return false;
	do
		received = read(source->fd, source->partial.data + source->partial.size,
			source->partial.capacity - source->partial.size);
	while (received < 0 && errno == EINTR);
	if (received > 0)
		source->partial.size += (size_t)received;
	else if (received == 0)
		(void)uv_poll_stop(&source->readable);
	source_emit(source);
	return received > 0;
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
	struct sink_source *source = handle->data;

	(void)status;
	(void)events;
	for (int i = 0; i < SINK_READS_PER_TURN && source_read(source); i++)
		continue;
}

int sink_source_open(struct sink_source *source, struct sink *sink, int fd, const char *label,
	struct error *error)
{
	int result;

	*source = (struct sink_source){.sink = sink, .fd = fd};
	(void)snprintf(source->label, sizeof source->label, "%s", label);
	result = uv_poll_init(sink->loop, &source->readable, fd);
	if (result == 0)
		result = uv_poll_start(&source->readable, UV_READABLE, on_readable);
	if (result != 0)
		return error_set(error, -result, "cannot read the output of %s: %s", label,
			uv_strerror(result));
	source->readable.data = source;
	return 0;
}

void sink_source_drain(struct sink_source *source)
{
	if (source->fd < 0)
		return;
	for (int i = 0; i < SINK_READS_PER_TURN && source_read(source); i++)
		continue;
}

static void on_source_closed(uv_handle_t *handle)
{
	struct sink_source *source = handle->data;

	buffer_free(&source->partial);
	source->on_closed(source->owner);
}

void sink_source_close(struct sink_source *source, void (*on_closed)(void *owner), void *owner)
{
	CHECK(source->fd >= 0);
	if (source->partial.size != 0)
		write_line(source->sink, source->label, source->partial.data, source->partial.size);
	source->partial.size = 0;
	source->on_closed = on_closed;
	source->owner = owner;
	uv_close((uv_handle_t *)&source->readable, on_source_closed);
	fd_close(&source->fd);
}
