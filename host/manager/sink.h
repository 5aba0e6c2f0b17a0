/*
 * The log: whole lines from many processes into one file, by one writer.
 *
 * Every child's stdout and stderr is a pipe of its own, a `struct sink_source` here; who speaks is
 * known by the pipe, from the manager's records, not from what is said. The manager never waits
 * for whoever reads the log: what the reader does not take is kept up to SINK_PENDING_LIMIT, and
 * dropped and counted beyond.
 */
#ifndef PERIGEE_MANAGER_SINK_H
#define PERIGEE_MANAGER_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buffer.h"
#include "base/error.h"
#include "manager/identity.h"
#include "shm/tail.h"

#define SINK_LINE_LIMIT    (64 * 1024)   /* bytes of one line; a longer one is cut into several */
#define SINK_PENDING_LIMIT (1024 * 1024) /* bytes kept for a reader that is behind */
#define SINK_LABEL_SIZE    48            /* bytes of "worker 12 gen 345", the final NUL included */

struct sink {
	uv_loop_t *loop;
	const struct identity *identity; /* whose the log file is */
	uv_poll_t *writable;   /* malloc'ed; active while `pending` waits for the reader; or NULL */
	int fd;                /* where lines go: a descriptor of our own, not shared with others */
	char *path;            /* of the log file, or NULL for stderr */
	struct buffer pending; /* lines not yet taken */
	uint64_t dropped;      /* lines dropped since the last one that was written */
	struct shm_tail *tail; /* gets each line too; NULL before it is there */
};

/* One pipe whose lines go to the sink. Embedded in its owner. */
struct sink_source {
	struct sink *sink;
	uv_poll_t readable; /* data: this source */
	int fd;             /* read end, -1 once closed */
	char label[SINK_LABEL_SIZE];
	struct buffer partial;          /* a line whose end has not come */
	void (*on_closed)(void *owner); /* the handle is closed; memory may go */
	void *owner;
};

/* Opens the log, on stderr. `identity` lives as long as it. Returns 0, or -1 with *error. */
int sink_open(
	struct sink *sink, uv_loop_t *loop, const struct identity *identity, struct error *error);

/* Changes to another file, stderr when `path` is ""; the old one goes on when that fails. Returns
 * 0, or -1 with *error. */
int sink_redirect(struct sink *sink, const char *path, struct error *error);

/* Opens the log file's path anew (it was rotated away); for stderr nothing happens. */
int sink_reopen(struct sink *sink, struct error *error);

/* Writes what is pending, as far as that is taken now. */
void sink_flush(struct sink *sink);

/* Writes what is pending, waiting for the reader at most `milliseconds`, and closes. */
void sink_close(struct sink *sink, uint64_t milliseconds);

/* A line of the manager's own. */
__attribute__((format(printf, 2, 3))) void sink_log(struct sink *sink, const char *format, ...);

/* Each line of `text` as one of `label`'s. */
void sink_text(struct sink *sink, const char *label, const char *text, size_t size);

/* Starts reading `fd`, which the source owns from now on. Returns 0, or -1 with *error. */
int sink_source_open(struct sink_source *source, struct sink *sink, int fd, const char *label,
	struct error *error);

/* Takes all that is in the pipe now, without waiting: the last words before an obituary. */
void sink_source_drain(struct sink_source *source);

/* Writes an unfinished line, stops reading and closes; on_closed(owner) comes from the loop. */
void sink_source_close(struct sink_source *source, void (*on_closed)(void *owner), void *owner);

#endif
