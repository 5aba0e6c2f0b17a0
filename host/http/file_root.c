/*
 * Roots: directories to serve from. The kernel resolves each path beneath the directory's
 * descriptor (openat2, RESOLVE_BENEATH), so no link and no race with a rename leads out of it.
 *
 * Made where the app is loaded, in the zygote, and never freed; each worker opens its own
 * descriptor when it first needs it. Used by workers.
 */
#include "http/file_root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "http/export.h"

#define RETRIES 8 /* of a look-up that a rename has disturbed */

struct http_file_root {
	struct http_file_root *next; /* in `roots` */
	uint32_t flags;              /* enum http_file_flag */
	int fd;                      /* O_PATH; -1 until it is needed */
	dev_t device;                /* of what fd is */
	ino_t inode;
	char directory[];
};

/* All of this process, so that none is ever lost. */
static struct http_file_root *roots;

HTTP_EXPORT struct http_file_root *http_file_root_open(
	const char *directory, uint32_t flags, const char **why)
{
	size_t size = strlen(directory) + 1;
	struct http_file_root *root;
	int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0) {
		*why = strerror(errno);
		return NULL;
	}
	root = malloc(sizeof *root + size);
	if (root == NULL) {
		fd_close(&fd);
		*why = strerror(ENOMEM);
		return NULL;
	}
	*root = (struct http_file_root){.next = roots, .flags = flags, .fd = -1};
	memcpy(root->directory, directory, size);
	roots = root;
	fd_close(&fd); /* it was only to see that there is one: forks shall not share it */
	return root;
}

uint32_t http_file_root_flags(const struct http_file_root *root)
{
	return root == NULL ? 0 : root->flags;
}

bool http_file_root_allows(const struct http_file_root *root, struct slice path)
{
	const char *at = path.data;
	const char *end = path.data + path.size;

	if (path.size >= HTTP_FILE_PATH_MAX || memchr(at, '\0', path.size) != NULL)
		return false;
	if (root == NULL)
		return path.size != 0 && *at == '/';
	if (memchr(at, '\\', path.size) != NULL)
		return false;
	for (;;) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		size_t size = (size_t)((slash == NULL ? end : slash) - at);
		bool dots = size != 0 && *at == '.';

		if (size == 0 || (dots && (root->flags & HTTP_FILE_DOTFILES) == 0) ||
			(dots && (size == 1 || (size == 2 && at[1] == '.'))))
			return false;
		if (slash == NULL)
			return true;
		at = slash + 1;
	}
}

/* The directory's descriptor, opened anew when another directory has taken its path: that is how
 * releases are switched. Returns -1 with errno. */
static int root_fd(struct http_file_root *root)
{
	struct stat found;

	if (stat(root->directory, &found) != 0) {
		fd_close(&root->fd);
		return -1;
	}
	if (root->fd >= 0 && found.st_dev == root->device && found.st_ino == root->inode)
		return root->fd;
	fd_close(&root->fd);
	root->fd = open(root->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root->fd < 0 || fstat(root->fd, &found) != 0) {
		fd_close(&root->fd);
		return -1;
	}
	root->device = found.st_dev;
	root->inode = found.st_ino;
	return root->fd;
}

/* Where the kernel (before 5.6) or a sandbox has no openat2: step by step, following no link. */
static int descend_by_steps(int base, const char *path, int flags)
{
	char name[NAME_MAX + 1];
	int folder = base;
	int fd;

	for (;;) {
		const char *slash = strchrnul(path, '/');
		size_t size = (size_t)(slash - path);
		bool last = *slash == '\0';

		if (size > NAME_MAX) {
			errno = ENAMETOOLONG;
			fd = -1;
		} else {
			memcpy(name, path, size);
			name[size] = '\0';
			fd = openat(folder, name,
				(last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC);
		}
		if (folder != base)
			fd_close(&folder);
		if (fd < 0 || last)
			return fd;
		folder = fd;
		path = slash + 1;
	}
}

int http_file_root_descend(struct http_file_root *root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -1;
	int base;

	if (root == NULL)
		return open(path, flags | O_CLOEXEC);
	base = root_fd(root);
	if (base < 0)
		return -1;
	if ((root->flags & HTTP_FILE_NO_SYMLINKS) != 0)
		how.resolve |= RESOLVE_NO_SYMLINKS;
	if (*path == '\0')
		path = ".";
	for (int i = 0; i < RETRIES; i++) {
		fd = syscall(SYS_openat2, base, path, &how, sizeof how);
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	if (fd < 0 && errno == ENOSYS)
		return descend_by_steps(base, path, flags);
	return (int)fd;
}

int http_file_root_result(int code)
{
	switch (code) {
	case ENOENT:
	case ENOTDIR:
	case ENAMETOOLONG:
	case ELOOP: /* a link where none is followed */
	case EXDEV: /* a link that leaves the root */
	case ENXIO: /* a socket or a device without a driver */
	case ENODEV:
		return HTTP_FILE_MISSING;
	case EACCES:
	case EPERM:
		return HTTP_FILE_DENIED;
	default:
		return HTTP_FILE_FAILED;
	}
}
