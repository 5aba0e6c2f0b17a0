/*
 * Files as answers, as Lua names them through LuaJIT's FFI; see http_abi.h for requests.
 *
 * This file is included by the C that implements it and fed to ffi.cdef as it is, so it holds
 * plain declarations only: no directive but this guard and the includes, which the build strips.
 */
#ifndef PERIGEE_HTTP_FILE_ABI_H
#define PERIGEE_HTTP_FILE_ABI_H

#include <stddef.h>
#include <stdint.h>

struct http_request;

/* A directory that files are served from. Lives as long as the process, forks included. */
struct http_file_root;

enum http_file_flag {
	HTTP_FILE_DOTFILES = 1,     /* serves names that begin with a dot */
	HTTP_FILE_NO_SYMLINKS = 2,  /* refuses links; else those are followed that stay inside */
	HTTP_FILE_PRECOMPRESSED = 4 /* looks for name.br and name.gz beside a name */
};

/* What the functions below return besides enum http_result. */
enum http_file_result {
	HTTP_FILE_MISSING = -20,   /* no regular file, or one that the root's rules refuse */
	HTTP_FILE_DENIED = -21,    /* this process may not read it */
	HTTP_FILE_DIRECTORY = -22, /* the path names a directory */
	HTTP_FILE_FAILED = -23     /* the system failed: descriptors, memory, the disk */
};

/*
 * Opens a root at `directory`, an absolute path; `flags` of enum http_file_flag. Returns NULL and
 * a sentence in *why when it cannot be served from. The directory itself is opened in each process
 * and followed when another takes its path. Paths below it are refused when they leave it in any
 * way (".." segments, backslashes, NUL, symbolic links) or name a dotfile.
 */
struct http_file_root *http_file_root_open(const char *directory, uint32_t flags, const char **why);

/*
 * Says what a path is: HTTP_OK for a file that can be sent, or one of enum http_file_result.
 * Without a root (NULL) the path is absolute, trusted, and follows every link.
 */
int http_file_find(struct http_request *request, uint64_t serial, struct http_file_root *root,
	const char *path, size_t path_size);

/*
 * Answers with a file: conditional and range requests, HEAD and precompressed siblings included
 * (RFC 9110, 13 and 14) when `status` is 200. `type` is HTTP_TYPE_FILE for the one that the file's
 * name says, HTTP_TYPE_NONE when `headers` has one. Body bytes may leave later, which is the
 * server's business; a file that shrinks meanwhile closes the connection unterminated.
 * Returns enum http_result or enum http_file_result; nothing is answered then.
 */
int http_response_file(struct http_request *request, uint64_t serial, struct http_file_root *root,
	const char *path, size_t path_size, int status, int type, const char *headers,
	size_t headers_size);

/*
 * Reads a directory below a root: entries in no order, each "TYPE SIZE MTIME NAME" and a NUL, where
 * TYPE is "d" or "f", MTIME in seconds of the epoch. What the root would refuse to serve is left
 * out. *truncated is set to 1 when there are more than the 10,000 that are read. Returns memory for
 * http_file_list_free with *size, or NULL when it is no directory that can be read.
 */
char *http_file_list(struct http_file_root *root, const char *path, size_t path_size, size_t *size,
	int *truncated);

void http_file_list_free(char *list);

#endif
