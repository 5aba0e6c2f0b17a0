/* Roots of file_abi.h: directories to serve from, and opening what is below them. */
#ifndef PERIGEE_HTTP_FILE_ROOT_H
#define PERIGEE_HTTP_FILE_ROOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "http/file_abi.h"

#define HTTP_FILE_PATH_MAX 4096 /* bytes of a path below a root, its NUL included */

/*
 * Whether the root's rules let a path through, before the file system is asked: relative, no
 * empty, "." or ".." segment, no backslash or NUL, and no dotfile unless the root serves them.
 * Without a root any path without a NUL will do.
 */
bool http_file_root_allows(const struct http_file_root *root, struct slice path);

/* The flags it was made with; 0 without a root. */
uint32_t http_file_root_flags(const struct http_file_root *root);

/*
 * Opens a path that http_file_root_allows ("" for the root itself), by open(2)'s `flags`. The
 * directory is looked up first, as another may have taken its place.
 * Returns a descriptor, or -1 with errno: EXDEV or ELOOP for a link that leaves the root.
 */
int http_file_root_descend(struct http_file_root *root, const char *path, int flags);

/* enum http_file_result for the errno of such a failure. */
int http_file_root_result(int code);

#endif
