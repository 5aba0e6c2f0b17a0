/*
 * A regular file as it was at one moment: its content, or a descriptor for it, and the header lines
 * that describe it. Shared, by counted references, between the cache and the answers that send it.
 */
#ifndef PERIGEE_HTTP_FILE_H
#define PERIGEE_HTTP_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "http/coding.h"
#include "http/file_root.h"

#define HTTP_ETAG_SIZE       48  /* bytes of an entity-tag at most */
#define HTTP_FILE_LINES_SIZE 384 /* bytes of a file's header lines at most */

struct http_file {
	uint32_t references;
	int fd;           /* -1 when the content is in memory */
	char *data;       /* the content, `size` bytes; NULL when there is a descriptor */
	uint64_t size;    /* bytes that are sent for it */
	struct stat stat; /* when it was opened */
	bool young; /* its content was read so soon after a change that it may be another by now */
	char etag[HTTP_ETAG_SIZE];
	uint8_t etag_size;
	/* "Content-Type: …", "Content-Encoding: …", then what a 304 has too. */
	char lines[HTTP_FILE_LINES_SIZE];
	uint16_t coding_at;     /* where the lines after Content-Type begin */
	uint16_t validators_at; /* where those of a 304 begin */
	uint16_t lines_size;
};

/*
 * Opens what `path` names below `root`, with one reference; files up to `memory_limit` bytes are
 * read. Returns HTTP_OK with *ret_file, or one of enum http_file_result.
 */
int http_file_open(struct http_file **ret_file, struct http_file_root *root, const char *path,
	uint64_t memory_limit);

/* Writes its header lines: the type of the name asked for, the coding this file is in, and whether
 * there are others to choose from. */
void http_file_describe(
	struct http_file *file, struct slice type, enum http_coding coding, bool varies);

/* Whether the path still leads to the same file with the same content. */
bool http_file_is_current(
	const struct http_file *file, struct http_file_root *root, const char *path);

/* Whether the path leads to a regular file. */
bool http_file_exists(struct http_file_root *root, const char *path);

/* What has become of an open file since, seen from its size and time. */
enum http_file_change {
	HTTP_FILE_WHOLE = 0, /* nothing, or bytes were added to its end: as announced */
	HTTP_FILE_IN_DOUBT,  /* a write sets the time first: bytes are being added or replaced */
	HTTP_FILE_CHANGED
};

/* Always HTTP_FILE_WHOLE of one in memory. */
enum http_file_change http_file_change(const struct http_file *file);

/* Whether it is as it was: not written to in place, and no bytes were added. */
bool http_file_is_unchanged(const struct http_file *file);

static inline struct http_file *http_file_retain(struct http_file *file)
{
	file->references++;
	return file;
}

/* Gives a reference back; NULL is none. */
void http_file_release(struct http_file *file);

#endif
