/* Opening files and reading small ones. Shared by a worker's cache and answers. */
#include "http/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/fd.h"
#include "http/date.h"
#include "http/http_abi.h"

#define TRIES      4 /* at a file that changes while it is opened */
#define YOUNG_TIME 2 /* s after a change in which the next one may not show in the file's time */

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_content(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && same_time(a->st_mtim, b->st_mtim);
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* What the path leads to, without opening it: to open a device or a FIFO may do something. */
static int look(struct http_file_root *root, const char *path, struct stat *ret_stat)
{
	int fd = http_file_root_descend(root, path, O_PATH);
	int result;

	if (fd < 0)
		return http_file_root_result(errno);
	result = fstat(fd, ret_stat) == 0 ? HTTP_OK : HTTP_FILE_FAILED;
	fd_close(&fd);
	if (result == HTTP_OK && S_ISDIR(ret_stat->st_mode))
		return HTTP_FILE_DIRECTORY;
	if (result == HTTP_OK && !S_ISREG(ret_stat->st_mode))
		return HTTP_FILE_MISSING;
	return result;
}

/* The time of a file ticks coarsely, and a write sets it before it brings the bytes. */
static bool is_young(const struct stat *stat)
{
	return stat->st_ctim.tv_sec + YOUNG_TIME >= time(NULL);
}

/* Reads the whole content. Returns HTTP_OK or HTTP_FILE_FAILED; *ret_whole is false when the file
 * became another one meanwhile. */
static int read_content(struct http_file *file, bool *ret_whole)
{
	size_t size = (size_t)file->stat.st_size;
	size_t done = 0;
	struct stat after = {0};

	file->young = is_young(&file->stat);
	file->data = malloc(size == 0 ? 1 : size);
	if (file->data == NULL)
		return HTTP_FILE_FAILED;
	while (done < size) {
		ssize_t got = pread(file->fd, file->data + done, size - done, (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return HTTP_FILE_FAILED;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	if (fstat(file->fd, &after) != 0)
		return HTTP_FILE_FAILED;
	*ret_whole = done == size && same_content(&file->stat, &after);
	fd_close(&file->fd);
	return HTTP_OK;
}

/* One attempt. *ret_whole is false when the file was changed or replaced in the midst of it. */
static int try_open(struct http_file *file, struct http_file_root *root, const char *path,
	uint64_t memory_limit, bool *ret_whole)
{
	struct stat seen = {0};
	int result = look(root, path, &seen);

	if (result != HTTP_OK)
		return result;
	file->fd = http_file_root_descend(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return http_file_root_result(errno);
	if (fstat(file->fd, &file->stat) != 0)
		return HTTP_FILE_FAILED;
	*ret_whole = same_file(&seen, &file->stat);
	file->size = (uint64_t)file->stat.st_size;
	if (!*ret_whole)
		return HTTP_OK;
	if (file->size <= memory_limit)
		return read_content(file, ret_whole);
	(void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	return HTTP_OK;
}

static void empty(struct http_file *file)
{
	fd_close(&file->fd);
	free(file->data);
	file->data = NULL;
}

int http_file_open(struct http_file **ret_file, struct http_file_root *root, const char *path,
	uint64_t memory_limit)
{
	struct http_file *file = calloc(1, sizeof *file);
	bool whole = false;
	int result = HTTP_FILE_FAILED;

	if (file == NULL)
		return HTTP_FILE_FAILED;
	file->fd = -1;
	file->references = 1;
	for (int i = 0; i < TRIES && !whole; i++) {
		empty(file);
		result = try_open(file, root, path, memory_limit, &whole);
		if (result != HTTP_OK)
			break;
	}
	if (result == HTTP_OK && whole) {
		*ret_file = file;
		return HTTP_OK;
	}
	http_file_release(file);
	return result == HTTP_OK ? HTTP_FILE_FAILED : result;
}

static void add_line(struct http_file *file, const char *name, struct slice value)
{
	size_t room = sizeof file->lines - file->lines_size;
	int size = snprintf(file->lines + file->lines_size, room, "%s: %.*s\r\n", name,
		(int)value.size, value.data);

	CHECK(size > 0 && (size_t)size < room);
	file->lines_size = (uint16_t)(file->lines_size + size);
}

void http_file_describe(
	struct http_file *file, struct slice type, enum http_coding coding, bool varies)
{
	char date[HTTP_DATE_SIZE + 1];
	struct slice name = http_coding_name(coding);
	const struct timespec *modified = &file->stat.st_mtim;
	int size = snprintf(file->etag, sizeof file->etag, "\"%" PRIx64 "-%" PRIx64 "%s%.*s\"",
		(uint64_t)modified->tv_sec * 1000000000 + (uint64_t)modified->tv_nsec, file->size,
		coding == HTTP_CODING_IDENTITY ? "" : "-",
		coding == HTTP_CODING_IDENTITY ? 0 : (int)name.size, name.data);

	file->etag_size = (uint8_t)size;
	file->lines_size = 0;
	add_line(file, "Content-Type", type);
	file->coding_at = file->lines_size;
	if (coding != HTTP_CODING_IDENTITY)
		add_line(file, "Content-Encoding", name);
	file->validators_at = file->lines_size;
	http_date_write(modified->tv_sec, date);
	add_line(file, "Last-Modified", (struct slice){.data = date, .size = HTTP_DATE_SIZE});
	add_line(file, "ETag", (struct slice){.data = file->etag, .size = file->etag_size});
	add_line(file, "Accept-Ranges", SLICE("bytes"));
	if (varies)
		add_line(file, "Vary", SLICE("Accept-Encoding"));
}

bool http_file_is_current(
	const struct http_file *file, struct http_file_root *root, const char *path)
{
	struct stat now = {0};

	return !file->young && look(root, path, &now) == HTTP_OK && same_file(&now, &file->stat) &&
	       same_content(&now, &file->stat) && same_time(now.st_ctim, file->stat.st_ctim);
}

bool http_file_exists(struct http_file_root *root, const char *path)
{
	struct stat now = {0};

	return look(root, path, &now) == HTTP_OK;
}

bool http_file_is_unchanged(const struct http_file *file)
{
	struct stat now;

	return file->fd < 0 || (fstat(file->fd, &now) == 0 && same_content(&now, &file->stat));
}

enum http_file_change http_file_change(const struct http_file *file)
{
	struct stat now = {0};

	if (file->fd < 0)
		return HTTP_FILE_WHOLE;
	if (fstat(file->fd, &now) != 0 || now.st_size < file->stat.st_size)
		return HTTP_FILE_CHANGED;
	if (now.st_size > file->stat.st_size || same_content(&now, &file->stat))
		return HTTP_FILE_WHOLE;
	return HTTP_FILE_IN_DOUBT;
}

void http_file_release(struct http_file *file)
{
	if (file == NULL || --file->references != 0)
		return;
	empty(file);
	free(file);
}
