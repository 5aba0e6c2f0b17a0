/* Directory listings: http_file_list of file_abi.h. No state; used by workers. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/fd.h"
#include "http/export.h"
#include "http/file_root.h"

#define ENTRIES_MAX 10000

/* Adds an entry if the root would serve it: links are looked at as they would be followed. Returns
 * 0, or -1 when memory is out. */
static int add_entry(
	struct buffer *list, struct http_file_root *root, const char *folder, const char *name)
{
	char path[HTTP_FILE_PATH_MAX];
	char facts[64];
	struct stat found;
	bool known;
	int fd;
	int size = snprintf(path, sizeof path, "%s%s%s", folder, *folder == '\0' ? "" : "/", name);
	struct slice whole = {.data = path, .size = (size_t)size};

	if (size < 0 || (size_t)size >= sizeof path || !http_file_root_allows(root, whole))
		return 0;
	fd = http_file_root_descend(root, path, O_PATH);
	if (fd < 0)
		return 0;
	known = fstat(fd, &found) == 0 && (S_ISREG(found.st_mode) || S_ISDIR(found.st_mode));
	fd_close(&fd);
	if (!known)
		return 0;
	size = snprintf(facts, sizeof facts, "%c %" PRIu64 " %" PRIi64 " ",
		S_ISDIR(found.st_mode) ? 'd' : 'f', (uint64_t)found.st_size,
		(int64_t)found.st_mtim.tv_sec);
	if (buffer_add(list, facts, (size_t)size) != 0)
		return -1;
	return buffer_add(list, name, strlen(name) + 1);
}

HTTP_EXPORT char *http_file_list(struct http_file_root *root, const char *path, size_t path_size,
	size_t *size, int *truncated)
{
	struct slice folder = {.data = path, .size = path_size};
	struct buffer list = {0};
	struct dirent *entry;
	DIR *directory = NULL;
	int count = 0;
	int fd = -1;

	if (path_size == 0 || http_file_root_allows(root, folder))
		fd = http_file_root_descend(root, path, O_RDONLY | O_DIRECTORY);
	if (fd >= 0)
		directory = fdopendir(fd);
	if (directory == NULL) {
		fd_close(&fd);
		return NULL;
	}
	*truncated = 0;
	while ((entry = readdir(directory)) != NULL) {
		if (count++ == ENTRIES_MAX) {
			*truncated = 1;
			break;
		}
		if (add_entry(&list, root, path, entry->d_name) != 0)
			break;
	}
	(void)closedir(directory);
	if (buffer_reserve(&list, 1) != 0)
		return NULL;
	*size = list.size;
	return list.data;
}

HTTP_EXPORT void http_file_list_free(char *list)
{
	free(list);
}
